import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from local.layer import SERVICES, shrink

MODEL = {
    "documentation": "<p>Long.</p>",
    "shapes": {
        "Part": {
            "type": "structure",
            "documentation": "<p>Long.</p>",
            "members": {"documentation": {"shape": "Text", "documentation": "<p>Long.</p>"}},
        }
    },
}
ENDPOINTS = {"partitions": [{"partition": "aws", "services": {"sqs": {"a": 1}, "s3": {"b": 2}}}]}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """botocore's data as it comes, after it was shrunk."""
    data = tmp_path / "botocore" / "data"
    for service in (*SERVICES, "s3", "ec2"):
        write(data / service / "2012-11-05" / "service-2.json.gz", MODEL)
    write(data / "endpoints.json", ENDPOINTS)
    write(data / "partitions.json", {"kept": True})
    shrink(tmp_path)
    return data


def write(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content).encode()
    file.write_bytes(gzip.compress(text) if file.suffix == ".gz" else text)


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def test_only_services_that_presence_calls_are_left(data: Path) -> None:
    assert {path.name for path in data.iterdir() if path.is_dir()} == SERVICES
    (partition,) = read(data / "endpoints.json")["partitions"]
    assert partition == {"partition": "aws", "services": {"sqs": {"a": 1}}}
    assert read(data / "partitions.json") == {"kept": True}


def test_texts_are_left_out_and_members_of_that_name_are_not(data: Path) -> None:
    members = {"documentation": {"shape": "Text"}}
    (model,) = (data / "sqs" / "2012-11-05").iterdir()
    assert model.name == "service-2.json"  # unpacked, too
    assert read(model) == {"shapes": {"Part": {"type": "structure", "members": members}}}
