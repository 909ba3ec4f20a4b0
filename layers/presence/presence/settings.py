"""Settings from the environment: read once, typed, frozen and checked against each other."""

from collections.abc import Mapping
from dataclasses import dataclass

from presence.domain.disclosure import Precision
from presence.limits import HEARTBEATS_PER_LEASE, HIDDEN_TAB_SECONDS

#: The kinds of tokens that a stack takes, where their issuer marks them.
TOKEN_USES = ("any", "access", "id")

#: Which viewers see users that are in no chat session with them.
VISIBILITIES = ("everyone", "shared-sessions", "function")


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
    lease_seconds: int
    browser_clients: bool
    grace_seconds: int
    authentication_seconds: int
    max_connection_seconds: int
    large_audience: int
    tick_seconds: int
    global_presence: bool
    public_reads: bool
    last_seen_precision: Precision

    def __post_init__(self) -> None:
        if self.lease_seconds < HEARTBEATS_PER_LEASE * self.heartbeat_seconds:
            raise SettingsError(
                f"LEASE_SECONDS has to be {HEARTBEATS_PER_LEASE} times HEARTBEAT_SECONDS or more."
            )
        if self.browser_clients and self.lease_seconds < HIDDEN_TAB_SECONDS:
            raise SettingsError(
                f"LEASE_SECONDS has to be {HIDDEN_TAB_SECONDS} or more: a hidden tab sends once a "
                "minute. Set BROWSER_CLIENTS to false if no web page connects."
            )
        if self.grace_seconds >= self.lease_seconds:
            raise SettingsError("GRACE_SECONDS has to be less than LEASE_SECONDS.")
        self._check_tokens()

    def _check_tokens(self) -> None:
        if bool(self.token_secret_parameter) == bool(self.token_jwks_url):
            raise SettingsError("Set one of TOKEN_SECRET_PARAMETER and TOKEN_JWKS_URL, not both.")
        if not self.token_user_claim:
            raise SettingsError("TOKEN_USER_CLAIM may not be empty.")
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
    return Settings(
        connections_table=_text(environment, "CONNECTIONS_TABLE"),
        users_table=_text(environment, "USERS_TABLE"),
        subscriptions_table=_text(environment, "SUBSCRIPTIONS_TABLE"),
        timer_queue_url=_text(environment, "TIMER_QUEUE_URL"),
        delivery_queue_url=_text(environment, "DELIVERY_QUEUE_URL"),
        callback_url=_text(environment, "CALLBACK_URL"),
        websocket_url=_text(environment, "WEBSOCKET_URL"),
        token_issuer=frozenset(_some(environment, "TOKEN_ISSUER")),
        token_audience=frozenset(_some(environment, "TOKEN_AUDIENCE")),
        token_user_claim=_text(environment, "TOKEN_USER_CLAIM"),
        token_audience_claims=_some(environment, "TOKEN_AUDIENCE_CLAIMS"),
        token_use=_text(environment, "TOKEN_USE"),
        token_claim_prefix=_text(environment, "TOKEN_CLAIM_PREFIX"),
        token_secret_parameter=_text(environment, "TOKEN_SECRET_PARAMETER"),
        token_jwks_url=_text(environment, "TOKEN_JWKS_URL"),
        authorizer_arn=_text(environment, "AUTHORIZER_ARN"),
        visibility=_text(environment, "VISIBILITY"),
        visibility_arn=_text(environment, "VISIBILITY_ARN"),
        allowed_origins=frozenset(_names(environment, "ALLOWED_ORIGINS")),
        heartbeat_seconds=_seconds(environment, "HEARTBEAT_SECONDS"),
        lease_seconds=_seconds(environment, "LEASE_SECONDS"),
        browser_clients=_flag(environment, "BROWSER_CLIENTS"),
        grace_seconds=_seconds(environment, "GRACE_SECONDS"),
        authentication_seconds=_seconds(environment, "AUTHENTICATION_SECONDS"),
        max_connection_seconds=_seconds(environment, "MAX_CONNECTION_SECONDS"),
        large_audience=_number(environment, "LARGE_AUDIENCE"),
        tick_seconds=_seconds(environment, "TICK_SECONDS"),
        global_presence=_flag(environment, "GLOBAL_PRESENCE"),
        public_reads=_flag(environment, "PUBLIC_READS"),
        last_seen_precision=_precision(environment, "LAST_SEEN_PRECISION"),
    )


def _text(environment: Mapping[str, str], name: str) -> str:
    if name not in environment:
        raise SettingsError(f"{name} is not set.")
    return environment[name]


def _seconds(environment: Mapping[str, str], name: str) -> int:
    return _number(environment, name, " of whole seconds")


def _number(environment: Mapping[str, str], name: str, of_what: str = "") -> int:
    value = _text(environment, name)
    if not (value.isascii() and value.isdigit()):
        raise SettingsError(f"{name} has to be a number{of_what}.")
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


def _some(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    names = _names(environment, name)
    if not names:
        raise SettingsError(f"{name} may not be empty.")
    return names
