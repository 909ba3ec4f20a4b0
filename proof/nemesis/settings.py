"""The durations of a run, so short that many deaths fit into it, and who takes part."""

from collections.abc import Mapping

from presence.domain.heartbeat import Heartbeats
from proof.nemesis.history import Rules

#: Heartbeats of docs/heartbeats.md in seconds, the foreground's and the background's.
SETTINGS = {"fast": (30, 30), "usual": (60, 540), "thrifty": (540, 540)}
#: Heartbeats, and what proves to viewers that a user is there, are as much shorter in a run. What
#: is done in between takes as long as on any machine: grace and the answer to a probe are not.
SCALE = 10
_FRESH = 30


def rules(setting: str) -> Rules:
    """The rules of a run in the setting of this name.

    There is more than the time that news may take between two sweeps: a timer that is lost must
    not be made up for in time.
    """
    foreground, background = (seconds // SCALE for seconds in SETTINGS[setting])
    return _rules(foreground, background, grace=3, sweep=5)


def _rules(foreground: int, background: int, *, grace: int, sweep: int) -> Rules:
    heartbeats = Heartbeats(foreground * 1000, background * 1000, browsers=False)
    lease, long = (heartbeats.lease(it * 1000) / 1000 for it in (foreground, background))
    return Rules(
        heartbeat=foreground,
        lease=lease,
        grace=grace,
        sweep=sweep,
        background=background,
        background_lease=long,
        fresh=_FRESH // SCALE,
        probe=2,
    )


#: For a test.
SHORT = _rules(4, 12, grace=2, sweep=5)

#: How many devices each user has.
USERS = {f"user-{number}": 1 for number in range(1, 8)} | {"user-8": 2, "user-9": 2, "user-10": 1}
#: Those who are read over HTTP. A read notices by itself that a lease is over, and has it told: who
#: is never read is left to the sweep.
READ = [f"user-{number}" for number in (1, 3, 5, 8)]
#: Users that observers verify.
LOOKED_AT = [f"user-{number}" for number in (4, 9, 10)]
#: Who falls silent in the end, each with a single device: one whom only the sweep finds, and one
#: whom others verify.
SILENT = ("user-2", "user-10")
OBSERVERS = ("watcher", "member", "poller")
#: Those who verify: two over a socket, and one over HTTP.
LOOKERS = ("looker", "visitor", "caller")


def parameters(seed: int, rules: Rules) -> Mapping[str, object]:
    """Of the template; every fourth run has `GlobalPresence`."""
    return {
        "HeartbeatSeconds": int(rules.heartbeat),
        "BackgroundHeartbeatSeconds": int(rules.background),
        "BrowserClients": "false",
        "GraceSeconds": int(rules.grace),
        "AuthenticationSeconds": 4,
        "FreshSeconds": int(rules.fresh),
        "ProbeSeconds": int(rules.probe),
        "GlobalPresence": "true" if seed % 4 == 0 else "false",
    }
