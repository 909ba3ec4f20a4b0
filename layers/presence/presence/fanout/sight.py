"""Who may see whom at all, before blocks: being together in a chat session, the claim, the policy.

    the user, and back ends                                      yes
    a token with a claim, and a user in none of its sessions     no
    both are in a chat session                                   yes
    anything else                                                the policy of the stack

A user who may not be seen looks like one who was never here. Where all may see all, which is the
default, nothing is read for it, but for viewers whose token has a claim.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from presence.domain.errors import Unavailable
from presence.domain.standing import AllowedSessions, is_allowed
from presence.domain.user import User
from presence.ports import ConnectionRecords, Subscriber, Users, Visibility


@dataclass(frozen=True, slots=True)
class Reach:
    """What a reader's token says of whom it may see; a back end sees all."""

    allowed_sessions: AllowedSessions = None
    sees_all: bool = False


#: A reader whose token has no claim: only the policy limits it.
FREE = Reach()
#: A reader who is let into a chat session sees all of its members.
ALL = Reach(sees_all=True)


def may_reach(viewer: User | None, target: User, allowed: AllowedSessions) -> bool | None:
    """Whether a viewer whose token allows these chat sessions may see the target; None: policy."""
    viewer_id = None if viewer is None else viewer.user_id
    barred = frozenset[str]() if viewer is None else viewer.standing.barred
    if viewer_id == target.user_id:
        return True
    # A chat session that a token names shows nothing to a user who is kept out of it.
    seen_in = target.sessions_seen_by(viewer_id) - barred
    if allowed is not None and not any(is_allowed(name, allowed) for name in seen_in):
        return False
    shared = seen_in & viewer.sessions if viewer else frozenset[str]()
    return True if any(is_allowed(name, allowed) for name in shared) else None


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
        viewer = None if viewer_id is None else self.users.read(viewer_id, consistent=True)
        answers = {it.user_id: may_reach(viewer, it, reach.allowed_sessions) for it in targets}
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
        """Each connection and user that must not be sent to it.

        *targets* are users as they were at some moments; to be seen in one of them is enough, so
        that a viewer hears the end of what was seen.
        """
        some = [it for it in subscribers if it.is_limited or not self.visibility.is_open]
        if not some:
            return ()
        claims = self._claims(it.connection_id for it in some if it.is_limited)
        viewers = self.users.read_many({it.user_id for it in some}, consistent=True)
        hidden = set[tuple[str, str]]()
        questions = dict[tuple[str, str], tuple[str, str]]()
        for it in some:
            is_known = not it.is_limited or it.connection_id in claims
            viewer, allowed = viewers[it.user_id], claims.get(it.connection_id)
            for user_id, images in targets.items():
                answers = {may_reach(viewer, image, allowed) for image in images}
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
