"""The events that AWS hands to a function, as it documents them; times are milliseconds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeAlias

from bench.bill.days import MINUTE, SECOND
from bench.bill.endpoints import Message, Write
from bench.bill.template import Node, Template, UnknownTemplate
from bench.units import TABLES, Item

Event: TypeAlias = dict[str, Any]

HOST = "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com"
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:139.0) Gecko/20100101 Firefox/139.0"
_SEQUENCE = count(1)


@dataclass
class Connection:
    """One WebSocket at API Gateway."""

    connection_id: str
    socket: int
    client: int
    opened_at: int
    used_at: int
    is_open: bool = False
    #: Both sides are done with it.
    is_over: bool = False


def socket_event(now: int, connection: Connection, route: str, kind: str) -> Event:
    context = {
        "routeKey": route,
        "messageId": "L0STxcOFvHcCNhw=",
        "eventType": kind,
        "extendedRequestId": "L0STxGm4PHcFkOA=",
        "requestTime": "02/Jun/2025:09:30:43 +0000",
        "messageDirection": "IN",
        "stage": "live",
        "connectedAt": connection.opened_at,
        "requestTimeEpoch": now,
        "identity": {"userAgent": AGENT, "sourceIp": "203.0.113.7"},
        "requestId": "L0STxGm4PHcFkOA=",
        "domainName": HOST,
        "connectionId": connection.connection_id,
        "apiId": "a1b2c3d4e5",
    }
    return {"requestContext": context, "isBase64Encoded": False}


def type_of(text: str) -> str:
    return str(json.loads(text).get("type", "?"))


def rate(text: str) -> int:
    """`rate(1 minute)` in milliseconds."""
    number, _, unit = text.removeprefix("rate(").rstrip(")").partition(" ")
    units = {"minute": 1, "minutes": 1, "hour": 60, "hours": 60, "day": 1440, "days": 1440}
    if unit not in units:
        raise UnknownTemplate(f"the meter reads rate(…), and not the schedule {text}")
    return int(number) * units[unit] * MINUTE


def record(write: Write, now: int) -> dict[str, Any]:
    kind = "INSERT" if write.before is None else "REMOVE" if write.after is None else "MODIFY"
    whole = write.after or write.before or {}
    images = {"OldImage": write.before, "NewImage": write.after}
    data = {
        "ApproximateCreationDateTime": now // 1000,
        "Keys": {name: whole[name] for name in TABLES[write.table].key},
        "SequenceNumber": f"{next(_SEQUENCE):021}",
        "SizeBytes": 1,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
        **{name: image for name, image in images.items() if image is not None},
    }
    return {
        "eventID": "7de3041dd709b024af6f29e4fa13d34c",
        "eventName": kind,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-central-1",
        "dynamodb": data,
        "eventSourceARN": f"arn:aws:dynamodb:eu-central-1:123456789012:table/{write.table}/stream",
    }


def is_wanted(record: Item, source: Node) -> bool:
    """Lambda's filter: one pattern that fits is enough; without patterns all fit."""
    patterns = [json.loads(it["Pattern"]) for it in _filters(source)]
    return not patterns or any(fits(it, record) for it in patterns)


def _filters(source: Node) -> Sequence[Mapping[str, str]]:
    found: Sequence[Mapping[str, str]] = source.get("FilterCriteria", {}).get("Filters", [])
    return found


def fits(pattern: Node, value: Node) -> bool:
    """Event filtering, as far as it is used: values, `exists`, `prefix`, `anything-but`."""
    if isinstance(pattern, list):
        return any(_fits_one(it, value) for it in pattern)
    inside = value if isinstance(value, dict) else {}
    return all(fits(it, inside.get(name)) for name, it in pattern.items())


def _fits_one(rule: Node, value: Node) -> bool:
    match rule:
        case {"exists": wanted}:
            return (value is not None) is bool(wanted)
        case {"prefix": text}:
            return isinstance(value, str) and value.startswith(text)
        case {"anything-but": others}:
            return value is not None and value not in others
        case dict():
            raise UnknownTemplate(f"the meter does not know the filter {rule}")
    return bool(rule == value and isinstance(value, bool) == isinstance(rule, bool))


def received(message: Message, times: int, number: int, now: int) -> Event:
    return {
        "messageId": f"m{number}",
        "receiptHandle": "AQEBzbVv3MVQyqCm6KqLh0T2c7yYbE9xUa",
        "body": message.body,
        "attributes": {
            "ApproximateReceiveCount": str(times),
            "SentTimestamp": str(now - message.delay_seconds * SECOND),
            "SenderId": "AROAEXAMPLEROLEID0000:presence",
            "ApproximateFirstReceiveTimestamp": str(now),
        },
        "messageAttributes": {},
        "md5OfBody": "71495e25ab89a13dadbfa587c0969f96",
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:eu-central-1:123456789012:{message.queue}",
        "awsRegion": "eu-central-1",
    }


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """One route of the HTTP API, and its function."""

    function: str
    method: str
    path: str

    @property
    def key(self) -> str:
        return f"{self.method} {self.path}"

    def fits(self, method: str, path: str) -> bool:
        return method == self.method and self._values(path) is not None

    def _values(self, path: str) -> dict[str, str] | None:
        """What stands for the names in braces; None if the path is another."""
        wanted, given = self.path.split("/"), path.split("/")
        if len(wanted) != len(given):
            return None
        pairs = list(zip(wanted, given, strict=True))
        if any(name != it for name, it in pairs if not name.startswith("{")):
            return None
        return {name[1:-1]: it for name, it in pairs if name.startswith("{")}

    def event(
        self, path: str, query: str, headers: Mapping[str, str], body: str | None, now: int
    ) -> Event:
        event: Event = {
            "version": "2.0",
            "routeKey": self.key,
            "rawPath": path,
            "rawQueryString": query,
            "headers": {name.lower(): it for name, it in headers.items()},
            "requestContext": self._context(path, now),
            "pathParameters": self._values(path) or {},
            "isBase64Encoded": False,
        }
        if query:
            event["queryStringParameters"] = dict(it.split("=", 1) for it in query.split("&"))
        return event | {"body": body} if body else event

    def _context(self, path: str, now: int) -> Event:
        http = {
            "method": self.method,
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": "203.0.113.7",
            "userAgent": AGENT,
        }
        return {
            "accountId": "123456789012",
            "apiId": "f6g7h8i9j0",
            "domainName": HOST,
            "http": http,
            "requestId": "L0SYBj5LliAEPNg=",
            "routeKey": self.key,
            "stage": "$default",
            "timeEpoch": now,
        }


def http_routes(template: Template) -> Sequence[HttpRoute]:
    """Those without names in braces first: they are the more exact ones."""
    found = [
        HttpRoute(function.name, source["Method"], source["Path"])
        for function in template.functions.values()
        for source in function.sources("HttpApi")
    ]
    return sorted(found, key=lambda it: it.path.count("{"))
