"""Leaves out of the built layer what botocore knows of services that Presence does not call.

    python -m local.layer FOLDER

A client is made from JSON files. Of some 440 services, botocore looks into every folder to find
the versions, and reads the addresses of all in one file: together most of the time that the first
client of a cold start takes (docs/decisions/0031).
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

#: What `presence.bootstrap` makes clients of, by botocore's names.
SERVICES = frozenset({"apigatewaymanagementapi", "dynamodb", "lambda", "sqs", "ssm"})


def shrink(folder: Path) -> None:
    """Shrink the layer whose import path is this folder."""
    data = folder / "botocore" / "data"
    for service in [path for path in data.iterdir() if path.is_dir()]:
        if service.name not in SERVICES:
            shutil.rmtree(service)
    addresses = data / "endpoints.json"
    known = json.loads(addresses.read_text("utf-8"))
    for partition in known["partitions"]:
        services = partition["services"]
        partition["services"] = {name: services[name] for name in SERVICES & services.keys()}
    addresses.write_text(json.dumps(known), "utf-8")


if __name__ == "__main__":
    shrink(Path(sys.argv[1]))
