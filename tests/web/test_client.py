"""The client's own tests, in all their projects: in Node, and with both versions of React."""

import pytest

from tests.node import Tools


@pytest.mark.slow
def test_the_tests_of_the_client_pass(tools: Tools) -> None:
    tools.run("vitest", "run")
