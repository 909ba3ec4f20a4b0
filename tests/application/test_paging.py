from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from presence.application.paging import paginate
from presence.domain.user import Presence, Status

NAMES = [f"user-{number:02}" for number in range(20)]


@given(
    offline=st.sets(st.sampled_from(NAMES)),
    limit=st.integers(1, 25),
    most=st.integers(1, 25),
)
def test_pages_hold_each_user_online_once_whatever_fits(
    offline: set[str], limit: int, most: int
) -> None:
    def read(user_ids: Sequence[str]) -> Sequence[Presence]:
        return [
            Presence(it, Status.OFFLINE if it in offline else Status.ONLINE, None, 1)
            for it in user_ids
        ]

    seen, after = list[str](), ""
    while True:
        ahead = (it for it in NAMES if it > after)
        page = paginate(ahead, limit, read, lambda users: min(len(users), most))
        assert len(page.users) <= min(limit, most)
        seen += [user.user_id for user in page.users]
        if page.last_id is None:
            break
        assert page.users, "a page before the last is not empty"
        after = page.last_id

    assert seen == [it for it in NAMES if it not in offline]
