"""What every test may use: one instant, and a world of fakes around the real use cases."""

import pytest

from tests.world import World


@pytest.fixture
def world() -> World:
    return World()
