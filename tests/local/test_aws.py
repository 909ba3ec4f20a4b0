import socket
from pathlib import Path

import pytest

from local.aws import environment, require_free
from local.stack import Settings, StackError


def test_the_local_aws_listens_to_this_machine_only_and_checks_permissions(tmp_path: Path) -> None:
    found = environment(Settings(home=tmp_path, aws_port=4567), tmp_path, {})
    assert found["BIND_HOST"] == "127.0.0.1"
    assert found["GATEWAY_PORT"] == "4567"
    assert found["AUTH"] == "true"


def test_functions_do_not_see_what_the_person_has_in_the_environment(tmp_path: Path) -> None:
    inherited = {
        "AWS_PROFILE": "prod",
        "AWS_SESSION_TOKEN": "real",
        "PYTHONPATH": "/x",
        "PATH": "/",
    }
    found = environment(Settings(home=tmp_path), tmp_path, inherited)
    assert found["PATH"] == "/"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN", "PYTHONPATH"} & found.keys()


def test_a_port_that_is_taken_is_named_with_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StackError, match=f"Port {port} is in use.*PRESENCE_PORT={port + 1}"):
            require_free(port, "PRESENCE_PORT")
    require_free(port, "PRESENCE_PORT")
