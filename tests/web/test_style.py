"""What `make check` says about web/: style, and types."""

from tests.tools import Tools


def test_the_client_is_written_in_one_style(tools: Tools) -> None:
    tools.run("biome", "check", ".")


def test_the_types_of_the_client_agree(tools: Tools) -> None:
    tools.run("tsc", "--noEmit")
