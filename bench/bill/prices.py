"""List prices of us-east-1 in dollars, without free tiers and discounts, and where they stand."""

from collections.abc import Mapping
from dataclasses import dataclass

#: When the sources were read.
READ_ON = "2026-11-30"


@dataclass(frozen=True, slots=True)
class Price:
    """What one line of a bill costs.

    Attributes:
        name: of the line.
        dollars: for `per` of them.
        per: as the source states it: a million, a GB, one.
        unit: what is counted.
        source: where the price stands.
    """

    name: str
    dollars: float
    per: float
    unit: str
    source: str

    def of(self, amount: float) -> float:
        return amount * self.dollars / self.per


_MILLION, _GB = 1e6, 1e9
_GATEWAY = "aws.amazon.com/api-gateway/pricing"
_LAMBDA = "aws.amazon.com/lambda/pricing"
_DYNAMODB = "aws.amazon.com/dynamodb/pricing/on-demand"
_SQS = "aws.amazon.com/sqs/pricing"
_CLOUDWATCH = "aws.amazon.com/cloudwatch/pricing"

PRICES: Mapping[str, Price] = {
    "messages_in": Price("Messages from clients", 1.00, _MILLION, "of 32 KB begun", _GATEWAY),
    "messages_out": Price("Messages to clients", 1.00, _MILLION, "of 32 KB begun", _GATEWAY),
    "minutes": Price("Connection minutes", 0.25, _MILLION, "begun", _GATEWAY),
    "http": Price("HTTP requests", 1.00, _MILLION, "of 512 KB begun", _GATEWAY),
    "invocations": Price("Lambda requests", 0.20, _MILLION, "", _LAMBDA),
    "gb_seconds": Price("Lambda GB-s", 13.3334, _MILLION, "on arm64, of 1 ms begun", _LAMBDA),
    "writes": Price("DynamoDB write units", 0.625, _MILLION, "of 1 KB begun", _DYNAMODB),
    "reads": Price("DynamoDB read units", 0.125, _MILLION, "of 4 KB begun", _DYNAMODB),
    "sqs": Price("SQS requests", 0.40, _MILLION, "of 64 KB begun", _SQS),
    "log_bytes": Price("Log bytes", 0.50, _GB, "ingested", _CLOUDWATCH),
    "metrics": Price("Metrics of our own", 0.30, 1, "a month", _CLOUDWATCH),
    "alarms": Price("Alarms", 0.10, 1, "a month", _CLOUDWATCH),
    "dashboards": Price("Dashboards", 3.00, 1, "a month", _CLOUDWATCH),
}

#: Billed perhaps, or by another page: printed beside the sum, never in it.
APART: Mapping[str, Price] = {
    "empty_answers": Price(
        "Empty answers: an empty frame, if one is sent", 1.00, _MILLION, "unknown", _GATEWAY
    ),
    "bytes_out": Price(
        "Traffic to the internet", 0.09, _GB, "frames and bodies", "aws.amazon.com/ec2/pricing"
    ),
}
