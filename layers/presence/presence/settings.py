"""Settings from the environment: read once, typed, frozen and checked against each other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from presence.domain.disclosure import Precision
from presence.domain.heartbeat import Heartbeats
from presence.limits import MAX_HEARTBEAT_SECONDS

#: The kinds of tokens that a stack takes, where their issuer marks them.
TOKEN_USES = ("any", "access", "id")

#: Which viewers see users that are in no chat session with them.
VISIBILITIES = ("everyone", "shared-sessions", "function")


#: Without one of these, no token would pass.
_FILLED = ("token_issuer", "token_audience", "token_user_claim", "token_audience_claims")


class SettingsError(Exception):
    """A setting is missing or contradicts another; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations in seconds, as in the template's parameters."""

    connections_table: str
    users_table: str
    subscriptions_table: str
    timer_queue_url: str
    delivery_queue_url: str
    callback_url: str
    websocket_url: str
    token_issuer: frozenset[str]
    token_audience: frozenset[str]
    token_user_claim: str
    token_audience_claims: tuple[str, ...]
    token_use: str
    token_claim_prefix: str
    token_secret_parameter: str
    token_jwks_url: str
    authorizer_arn: str
    visibility: str
    visibility_arn: str
    allowed_origins: frozenset[str]
    heartbeat_seconds: int
    background_heartbeat_seconds: int
    browser_clients: bool
    grace_seconds: int
    authentication_seconds: int
    max_connection_seconds: int
    fresh_seconds: int
    probe_seconds: int
    large_audience: int
    tick_seconds: int
    global_presence: bool
    public_reads: bool
    last_seen_precision: Precision

    def __post_init__(self) -> None:
        self._check_heartbeats()
        self._check_tokens()

    @property
    def heartbeats(self) -> Heartbeats:
        foreground, background = self.heartbeat_seconds, self.background_heartbeat_seconds
        return Heartbeats(foreground * 1000, background * 1000, self.browser_clients)

    @property
    def lease_seconds(self) -> int:
        """How long a connection counts without a frame, with the usual heartbeat."""
        return self.heartbeats.usual_lease // 1000

    def _check_heartbeats(self) -> None:
        if not 1 <= self.heartbeat_seconds <= self.background_heartbeat_seconds:
            raise SettingsError(
                "HEARTBEAT_SECONDS has to be 1 or more, and BACKGROUND_HEARTBEAT_SECONDS not less."
            )
        if self.background_heartbeat_seconds > MAX_HEARTBEAT_SECONDS:
            raise SettingsError(
                f"BACKGROUND_HEARTBEAT_SECONDS has to be {MAX_HEARTBEAT_SECONDS} or less: API "
                "Gateway ends a connection that is silent for ten minutes."
            )
        if self.grace_seconds >= self.lease_seconds:
            raise SettingsError(
                f"GRACE_SECONDS has to be less than a lease: {self.lease_seconds} s with these "
                "heartbeats."
            )
        if not (self.fresh_seconds and self.probe_seconds):
            raise SettingsError("FRESH_SECONDS and PROBE_SECONDS have to be 1 or more.")

    def _check_tokens(self) -> None:
        if bool(self.token_secret_parameter) == bool(self.token_jwks_url):
            raise SettingsError("Set one of TOKEN_SECRET_PARAMETER and TOKEN_JWKS_URL, not both.")
        for name in _FILLED:
            if not getattr(self, name):
                raise SettingsError(f"{name.upper()} may not be empty.")
        if self.token_use not in TOKEN_USES:
            raise SettingsError(f"TOKEN_USE has to be one of {', '.join(TOKEN_USES)}.")
        if self.token_jwks_url and not self.token_jwks_url.startswith("https://"):
            raise SettingsError("TOKEN_JWKS_URL has to begin with https://.")
        self._check_visibility()

    def _check_visibility(self) -> None:
        if self.visibility not in VISIBILITIES:
            raise SettingsError(f"VISIBILITY has to be one of {', '.join(VISIBILITIES)}.")
        if (self.visibility == "function") != bool(self.visibility_arn):
            raise SettingsError("Set VISIBILITY_ARN with VISIBILITY=function, and only then.")
        if self.public_reads and self.visibility != "everyone":
            raise SettingsError("PUBLIC_READS shows all users: it needs VISIBILITY=everyone.")

    def allows_origin(self, origin: str | None) -> bool:
        """Exact match of scheme, host and port; only browsers send an Origin."""
        return origin is None or "*" in self.allowed_origins or origin in self.allowed_origins


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings in *environment*.

    Raises:
        SettingsError: a setting is missing, is not of its type, or contradicts another.
    """
    values = {it.name: _READERS[it.type](environment, it.name.upper()) for it in fields(Settings)}
    return Settings(**values)


def _text(environment: Mapping[str, str], name: str) -> str:
    if name not in environment:
        raise SettingsError(f"{name} is not set.")
    return environment[name]


def _number(environment: Mapping[str, str], name: str) -> int:
    value = _text(environment, name)
    if not (value.isascii() and value.isdigit()):
        unit = " of whole seconds" if name.endswith("_SECONDS") else ""
        raise SettingsError(f"{name} has to be a number{unit}.")
    return int(value)


def _flag(environment: Mapping[str, str], name: str) -> bool:
    value = _text(environment, name)
    if value not in ("true", "false"):
        raise SettingsError(f"{name} has to be true or false.")
    return value == "true"


def _precision(environment: Mapping[str, str], name: str) -> Precision:
    value = _text(environment, name)
    if value not in set(Precision):
        raise SettingsError(f"{name} has to be one of {', '.join(Precision)}.")
    return Precision(value)


def _names(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    names = (item.strip() for item in _text(environment, name).split(","))
    return tuple(item for item in names if item)


def _set(environment: Mapping[str, str], name: str) -> frozenset[str]:
    return frozenset(_names(environment, name))


#: How a setting is read, by the type of its field.
_READERS: Mapping[Any, Callable[[Mapping[str, str], str], Any]] = {
    str: _text,
    int: _number,
    bool: _flag,
    Precision: _precision,
    tuple[str, ...]: _names,
    frozenset[str]: _set,
}
