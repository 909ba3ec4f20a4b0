"""Leaves out of the built layer the data of botocore that Presence does not use.

    python -m local.layer FOLDER

botocore makes a client from JSON files: to find the newest version of one service it looks into the
folders of all, some 440; it reads the endpoints of all; and most of what describes a service is
documentation. That took most of the time of the first client (docs/decisions/functions.md, 31).
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from pathlib import Path
from typing import Any

#: What `presence.bootstrap` makes clients of, by botocore's names.
SERVICES = frozenset({"apigatewaymanagementapi", "dynamodb", "lambda", "sqs", "ssm"})


def shrink(folder: Path) -> None:
    """Shrink the layer whose import path is this folder."""
    data = folder / "botocore" / "data"
    for service in [path for path in data.iterdir() if path.is_dir()]:
        if service.name not in SERVICES:
            shutil.rmtree(service)
    addresses = data / "endpoints.json"
    _write(addresses, _endpoints(json.loads(addresses.read_bytes())))
    for packed in data.glob("*/*/service-2.json.gz"):
        _write(
            packed.with_suffix(""), _undocumented(json.loads(gzip.decompress(packed.read_bytes())))
        )
        packed.unlink()


def _write(file: Path, content: Any) -> None:  # noqa: ANN401  JSON
    file.write_text(json.dumps(content, separators=(",", ":")), "utf-8")


def _endpoints(known: Any) -> Any:  # noqa: ANN401  JSON
    for partition in known["partitions"]:
        services = partition["services"]
        partition["services"] = {name: services[name] for name in SERVICES & services.keys()}
    return known


def _undocumented(node: Any) -> Any:  # noqa: ANN401  JSON
    """The same without texts; a member of a shape may have that name, but is no text."""
    if isinstance(node, list):
        return [_undocumented(item) for item in node]
    if isinstance(node, dict):
        kept = {k: v for k, v in node.items() if k != "documentation" or not isinstance(v, str)}
        return {key: _undocumented(value) for key, value in kept.items()}
    return node


if __name__ == "__main__":
    shrink(Path(sys.argv[1]))
