"""The TypeScript client in Node, against the same stacks as the Python one: web/tests/stack."""

from tests.node import Tools
from tests.stack import RunningStack


def test_the_client_does_in_node_what_it_does_in_a_browser(
    tools: Tools, deployed: RunningStack, private: RunningStack
) -> None:
    where = {
        "PRESENCE_STACK": str(deployed.home / "stack.json"),
        "PRESENCE_PRIVATE_STACK": str(private.home / "stack.json"),
    }
    tools.run("vitest", "run", "--project", "stack", environment=where)
