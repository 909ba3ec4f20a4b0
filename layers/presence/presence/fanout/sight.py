"""Which users a viewer may see at all, before blocks: by chat sessions, claim and policy.

    the user, and back ends                                      yes
    a token with a claim, and a user in none of its sessions     no
    both are in a chat session                                   yes
    anything else                                                the policy of the stack

A user who may not be seen looks like one who was never here. Where all may see all, which is the
default, nothing is read for it, but for viewers whose token has a claim.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from presence.domain.errors import Unavailable
from presence.domain.standing import AllowedSessions, Standing
from presence.domain.user import User
from presence.ports import ConnectionRecords, Subscriber, Users, Visibility


@dataclass(frozen=True, slots=True)
class Reach:
    """Which users a reader may see, as far as its token says it; a back end sees all."""

    allowed_sessions: AllowedSessions = None
    sees_all: bool = False


#: A reader whose token has no claim: only the policy limits it.
FREE = Reach()
#: A reader who is let into a chat session sees all of its members.
ALL = Reach(sees_all=True)


@dataclass(frozen=True)
class _Target:
    """A user who may be seen; what most viewers see is computed once for all of them."""

    user: User

    @cached_property
    def _usual(self) -> frozenset[str]:
        return self.user.sessions_seen_by(None)

    def sessions_seen_by(self, viewer_id: str | None) -> frozenset[str]:
        is_special = viewer_id is not None and viewer_id in self.user.blocked
        return self.user.sessions_seen_by(viewer_id) if is_special else self._usual


@dataclass(frozen=True)
class _Viewer:
    """A viewer whose token allows these chat sessions; None is a reader without a token."""

    user: User | None
    allowed: AllowedSessions

    @cached_property
    def _standing(self) -> Standing:
        return Standing() if self.user is None else self.user.standing

    @cached_property
    def _sessions(self) -> frozenset[str]:
        return frozenset(filter(self._is_let_into, self.user.sessions if self.user else ()))

    def _is_let_into(self, session_id: str) -> bool:
        # A chat session that a token names shows nothing to a user who is kept out of it.
        return self._standing.lets_into(session_id, self.allowed)

    def may_see(self, target: _Target) -> bool | None:
        """Whether the viewer may see the target; None if the policy has to decide."""
        viewer_id = None if self.user is None else self.user.user_id
        if viewer_id == target.user.user_id:
            return True
        seen_in = target.sessions_seen_by(viewer_id)
        if self.allowed is not None and not any(map(self._is_let_into, seen_in)):
            return False
        return None if seen_in.isdisjoint(self._sessions) else True


@dataclass(frozen=True, slots=True)
class Sight:
    users: Users
    records: ConnectionRecords
    visibility: Visibility

    def is_restricted(self, reach: Reach) -> bool:
        """Whether there may be users that a reader may not see."""
        has_claim = reach.allowed_sessions is not None
        return not reach.sees_all and (has_claim or not self.visibility.is_open)

    def visible(
        self, viewer_id: str | None, reach: Reach, targets: Collection[User]
    ) -> Collection[str]:
        """The ids of those that a reader may see."""
        if not self.is_restricted(reach):
            return {it.user_id for it in targets}
        user = None if viewer_id is None else self.users.read(viewer_id, consistent=True)
        viewer = _Viewer(user, reach.allowed_sessions)
        answers = {it.user_id: viewer.may_see(_Target(it)) for it in targets}
        open_questions = {(str(viewer_id), name) for name, it in answers.items() if it is None}
        granted = self._granted(open_questions)
        return {name for name, it in answers.items() if it or (str(viewer_id), name) in granted}

    def _granted(self, pairs: Collection[tuple[str, str]]) -> Collection[tuple[str, str]]:
        if self.visibility.is_open or not pairs:
            return pairs
        return self.visibility.may_see(pairs)

    def _granted_or_none(self, pairs: Collection[tuple[str, str]]) -> Collection[tuple[str, str]]:
        """Without an answer, none: a function of the owner's that fails stops no announcement."""
        try:
            return self._granted(pairs)
        except Unavailable:
            return ()

    # ── fan-out ────────────────────────────────────────────────────────────────────────

    def unseen(
        self, subscribers: Iterable[Subscriber], targets: Mapping[str, Collection[User]]
    ) -> Collection[tuple[str, str]]:
        """The pairs of a connection and a user that it must not be told of.

        *targets* are users as they were at some moments; to be seen in one of them is enough, so
        that a viewer hears the end of what was seen.
        """
        some = [it for it in subscribers if it.is_limited or not self.visibility.is_open]
        if not some:
            return ()
        claims = self._claims(it.connection_id for it in some if it.is_limited)
        users = self.users.read_many({it.user_id for it in some}, consistent=True)
        images = {name: [_Target(it) for it in targets[name]] for name in targets}
        hidden = set[tuple[str, str]]()
        questions = dict[tuple[str, str], tuple[str, str]]()
        for it in some:
            is_known = not it.is_limited or it.connection_id in claims
            viewer = _Viewer(users[it.user_id], claims.get(it.connection_id))
            for user_id, some_images in images.items():
                answers = {viewer.may_see(image) for image in some_images}
                if not is_known or answers <= {False}:
                    hidden.add((it.connection_id, user_id))
                elif True not in answers:
                    questions[it.connection_id, user_id] = it.user_id, user_id
        granted = self._granted_or_none(set(questions.values()))
        return hidden | {pair for pair, asked in questions.items() if asked not in granted}

    def _claims(self, connection_ids: Iterable[str]) -> Mapping[str, AllowedSessions]:
        """The claims of connections that are not closed."""
        found = self.records.read_many(set(connection_ids))
        return {name: it.allowed_sessions for name, it in found.items() if it.user_id is not None}
