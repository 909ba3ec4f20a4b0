"""The state machine at the settings of CI: the same examples every time, about a minute of one CPU.

For more, `python -m tests.stateful`.
"""

from functools import partial

import pytest
from hypothesis import HealthCheck, settings

from tests.stateful.machine import Presence

SETTINGS = partial(
    settings,
    stateful_step_count=50,
    deadline=None,
    database=None,
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)

TestPresence = pytest.mark.slow(Presence.TestCase)
TestPresence.settings = SETTINGS(max_examples=200, derandomize=True)
