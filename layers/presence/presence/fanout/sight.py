"""Which users a viewer may see at all, before blocks: by chat sessions, claim and policy.

    the user, and back ends                                      yes
    a token with a claim, and a user in none of its sessions     no
    both are in a chat session                                   yes
    anything else                                                the policy of the stack

A user who may not be seen looks like one who was never here. Where all may see all, which is the
default, nothing is read for it, but for viewers whose token has a claim.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

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


#: Subscribers, and the ids of the users of whom they are to be told.
Audience: TypeAlias = tuple[Iterable[Subscriber], Collection[str]]


@dataclass(frozen=True)
class _Target:
    """A user who may be seen; what most viewers see is computed once for all of them."""

    user: User

    @cached_property
    def _usual(self) -> frozenset[str]:
        return self.user.sessions_seen_by(None)

    @cached_property
    def _is_online(self) -> bool:
        return self.user.presence.is_online

    def is_online_to(self, viewer_id: str) -> bool:
        is_special = viewer_id == self.user.user_id or viewer_id in self.user.special_viewers
        return self.user.seen_by(viewer_id).is_online if is_special else self._is_online

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
        questions = {(str(viewer_id), name) for name, it in answers.items() if it is None}
        told = self.visibility.may_see(questions) if questions else {}
        if len(told) < len(questions):
            raise Unavailable(
                "Which users may be seen cannot be said now; try again.", retry_after_seconds=2
            )
        return {name for name, it in answers.items() if it or told.get((str(viewer_id), name))}

    # ── fan-out ────────────────────────────────────────────────────────────────────────

    def unseen(
        self, audiences: Iterable[Audience], targets: Mapping[str, Sequence[User]]
    ) -> Collection[tuple[str, str]]:
        """The pairs of a connection and a user that it must not be told of.

        *targets* are users as they were at some moments, the newest last. A question that is not
        answered in time is a no: a function of the owner's that fails stops no announcement. All
        are put at once.
        """
        asked = defaultdict[Subscriber, set[str]](set)
        for subscribers, user_ids in audiences:
            for it in subscribers:
                if it.is_limited or not self.visibility.is_open:
                    asked[it].update(user_ids)
        if not asked:
            return ()
        viewers = self._viewers(asked)
        images = {name: [_Target(it) for it in some] for name, some in targets.items()}
        verdicts = {
            (it, name): _ever_sees(viewers[it], images[name])
            for it, user_ids in asked.items()
            for name in user_ids
        }
        open_ones = {(it.user_id, name) for (it, name), said in verdicts.items() if said is None}
        told = self.visibility.may_see(open_ones) if open_ones else {}
        return {
            (it.connection_id, name)
            for (it, name), said in verdicts.items()
            if not (told.get((it.user_id, name)) if said is None else said)
        }

    def _viewers(self, subscribers: Collection[Subscriber]) -> Mapping[Subscriber, _Viewer | None]:
        """None for a connection that is closed: its claim is not known any more."""
        claims = self._claims(it.connection_id for it in subscribers if it.is_limited)
        users = self.users.read_many({it.user_id for it in subscribers}, consistent=True)
        return {
            it: _Viewer(users[it.user_id], claims.get(it.connection_id))
            if not it.is_limited or it.connection_id in claims
            else None
            for it in subscribers
        }

    def _claims(self, connection_ids: Iterable[str]) -> Mapping[str, AllowedSessions]:
        """The claims of connections that are not closed."""
        found = self.records.read_many(set(connection_ids))
        return {name: it.allowed_sessions for name, it in found.items() if it.user_id is not None}


def _ever_sees(viewer: _Viewer | None, images: Sequence[_Target]) -> bool | None:
    """Whether the viewer may see the user as in the last of these; None: the policy says so.

    A viewer who sees the user offline by then may have seen the user in any of them, and hears the
    end of that. Of a user who is online it says too much: the viewer may have come later.
    """
    if viewer is None or viewer.user is None:
        return False
    is_end = not images[-1].is_online_to(viewer.user.user_id)
    answers = {viewer.may_see(it) for it in (images if is_end else images[-1:])}
    if True in answers:
        return True
    return None if None in answers else False
