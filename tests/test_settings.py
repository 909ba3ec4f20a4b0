"""The environment of a function: all there, of the right kind, and in agreement with itself."""

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from presence.domain.disclosure import Precision
from presence.settings import Settings, SettingsError, read_settings

ENVIRONMENT = {
    "CONNECTIONS_TABLE": "Connections",
    "USERS_TABLE": "Users",
    "SUBSCRIPTIONS_TABLE": "Subscriptions",
    "TIMER_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/timers",
    "CALLBACK_URL": "https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/live",
    "WEBSOCKET_URL": "wss://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/live",
    "HEARTBEAT_SECONDS": "30",
    "BACKGROUND_HEARTBEAT_SECONDS": "540",
    "BROWSER_CLIENTS": "true",
    "GRACE_SECONDS": "10",
    "AUTHENTICATION_SECONDS": "12",
    "MAX_CONNECTION_SECONDS": "7200",
    "FRESH_SECONDS": "30",
    "PROBE_SECONDS": "10",
    "LARGE_AUDIENCE": "1000",
    "TICK_SECONDS": "2",
    "GLOBAL_PRESENCE": "true",
    "PUBLIC_READS": "false",
    "LAST_SEEN_PRECISION": "exact",
    "ALLOWED_ORIGINS": "https://app.example.com,http://localhost:4000",
    "TOKEN_ISSUER": "https://issuer.example.com",
    "TOKEN_AUDIENCE": "presence, web",
    "TOKEN_USER_CLAIM": "sub",
    "TOKEN_AUDIENCE_CLAIMS": "aud,client_id",
    "TOKEN_USE": "any",
    "TOKEN_CLAIM_PREFIX": "",
    "TOKEN_SECRET_PARAMETER": "/presence/token-secret",
    "TOKEN_JWKS_URL": "",
    "DELIVERY_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/deliveries",
    "AUTHORIZER_ARN": "",
    "VISIBILITY": "everyone",
    "VISIBILITY_ARN": "",
}
SETTINGS = Settings(
    connections_table="Connections",
    users_table="Users",
    subscriptions_table="Subscriptions",
    timer_queue_url="https://sqs.eu-central-1.amazonaws.com/123456789012/timers",
    delivery_queue_url="https://sqs.eu-central-1.amazonaws.com/123456789012/deliveries",
    callback_url="https://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/live",
    websocket_url="wss://a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com/live",
    token_issuer=frozenset({"https://issuer.example.com"}),
    token_audience=frozenset({"presence", "web"}),
    token_user_claim="sub",
    token_audience_claims=("aud", "client_id"),
    token_use="any",
    token_claim_prefix="",
    token_secret_parameter="/presence/token-secret",
    token_jwks_url="",
    authorizer_arn="",
    visibility="everyone",
    visibility_arn="",
    allowed_origins=frozenset({"https://app.example.com", "http://localhost:4000"}),
    heartbeat_seconds=30,
    background_heartbeat_seconds=540,
    browser_clients=True,
    grace_seconds=10,
    authentication_seconds=12,
    max_connection_seconds=7200,
    fresh_seconds=30,
    probe_seconds=10,
    large_audience=1_000,
    tick_seconds=2,
    global_presence=True,
    public_reads=False,
    last_seen_precision=Precision.EXACT,
)
DURATIONS = [name for name in ENVIRONMENT if name.endswith("_SECONDS")]
FLAGS = ["BROWSER_CLIENTS", "GLOBAL_PRESENCE", "PUBLIC_READS"]


def read(**changes: str) -> Settings:
    return read_settings({**ENVIRONMENT, **changes})


def test_every_setting_is_read_into_its_own_field() -> None:
    assert read() == SETTINGS


def test_there_is_one_name_for_each_field() -> None:
    assert {name.lower() for name in ENVIRONMENT} == {field.name for field in fields(Settings)}


def test_settings_cannot_change() -> None:
    settings: Any = read()

    with pytest.raises(FrozenInstanceError):
        settings.public_reads = True


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_a_setting_that_is_missing_is_named(name: str) -> None:
    environment = {other: value for other, value in ENVIRONMENT.items() if other != name}

    with pytest.raises(SettingsError, match=f"^{name} is not set"):
        read_settings(environment)


@pytest.mark.parametrize("value", ["", "-1", "+1", "1.5", "30s", " 30", "3 0", "1e2", "٣٠", "²"])
@pytest.mark.parametrize("name", DURATIONS)
def test_a_duration_is_a_number_of_whole_seconds(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} "):
        read(**{name: value})


@pytest.mark.parametrize("value", ["", "True", "TRUE", "yes", "1", "0", "on", " true", "false "])
@pytest.mark.parametrize("name", FLAGS)
def test_a_flag_is_true_or_false_and_nothing_like_it(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} "):
        read(**{name: value})


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"HEARTBEAT_SECONDS": "1"}, id="fast-heartbeats"),
        pytest.param({"BACKGROUND_HEARTBEAT_SECONDS": "30"}, id="fast-everywhere"),
        pytest.param({"HEARTBEAT_SECONDS": "540"}, id="slow-everywhere"),
        pytest.param({"GRACE_SECONDS": "74"}, id="grace-shorter-than-a-lease"),
        pytest.param({"GRACE_SECONDS": "0"}, id="no-grace"),
    ],
)
def test_durations_that_agree_are_taken(changes: dict[str, str]) -> None:
    settings = read(**changes)

    assert all(str(getattr(settings, name.lower())) == value for name, value in changes.items())


@pytest.mark.fault("Settings contradict each other, or the secret is too short.")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"HEARTBEAT_SECONDS": "0"}, "HEARTBEAT_SECONDS has to be 1 or more"),
        ({"BACKGROUND_HEARTBEAT_SECONDS": "29"}, "BACKGROUND_HEARTBEAT_SECONDS not less"),
        ({"BACKGROUND_HEARTBEAT_SECONDS": "541"}, "540 or less"),
        ({"GRACE_SECONDS": "75"}, "less than a lease: 75 s"),
    ],
)
def test_durations_that_disagree_are_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read(**changes)


@pytest.mark.parametrize(("browsers", "lease"), [("true", 75), ("false", 23)])
def test_a_short_lease_is_for_stacks_without_web_pages(browsers: str, lease: int) -> None:
    assert read(HEARTBEAT_SECONDS="15", BROWSER_CLIENTS=browsers).lease_seconds == lease


def test_a_stack_may_have_a_key_set_instead_of_a_secret() -> None:
    url = "https://issuer.example.com/keys"

    assert read(TOKEN_SECRET_PARAMETER="", TOKEN_JWKS_URL=url).token_jwks_url == url


@pytest.mark.parametrize(
    ("parameter", "url"),
    [("", ""), ("/secret", "https://issuer.example.com/keys")],
    ids=["neither", "both"],
)
def test_a_stack_has_a_secret_or_a_key_set_and_never_both(parameter: str, url: str) -> None:
    with pytest.raises(SettingsError, match="not both"):
        read(TOKEN_SECRET_PARAMETER=parameter, TOKEN_JWKS_URL=url)


@pytest.mark.parametrize(
    "name", ["TOKEN_ISSUER", "TOKEN_AUDIENCE", "TOKEN_USER_CLAIM", "TOKEN_AUDIENCE_CLAIMS"]
)
def test_no_token_is_taken_by_a_setting_that_is_empty(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} may not be empty"):
        read(**{name: ""})


@pytest.mark.parametrize("value", ["", "refresh", "ACCESS", "any,id"])
def test_a_kind_of_token_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=r"^TOKEN_USE "):
        read(TOKEN_USE=value)


@pytest.mark.parametrize(
    "changes",
    [
        {"VISIBILITY": "friends"},
        {"VISIBILITY": "function"},
        {"VISIBILITY_ARN": "arn:aws:lambda:eu-central-1:123456789012:function:mine"},
        {"VISIBILITY": "shared-sessions", "PUBLIC_READS": "true"},
    ],
)
def test_policies_of_visibility_that_contradict_are_refused(changes: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="VISIBILITY"):
        read(**changes)


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example.com/keys",
        "file:///etc/passwd",
        "ftp://issuer.example.com/keys",
        "data:application/json,{}",
        "//issuer.example.com/keys",
        "issuer.example.com/keys",
        " https://issuer.example.com/keys",
    ],
)
def test_keys_come_over_https_only(url: str) -> None:
    with pytest.raises(SettingsError, match="https://"):
        read(TOKEN_SECRET_PARAMETER="", TOKEN_JWKS_URL=url)


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", set()),
        (" , ,", set()),
        ("*", {"*"}),
        (" https://a.test , https://b.test,", {"https://a.test", "https://b.test"}),
    ],
    ids=["none", "commas", "any", "spaces"],
)
def test_origins_are_a_list_with_commas(text: str, origins: set[str]) -> None:
    assert read(ALLOWED_ORIGINS=text).allowed_origins == origins


@pytest.mark.parametrize(
    ("allowed", "origin", "is_allowed"),
    [
        ("https://a.test", "https://a.test", True),
        ("https://a.test", None, True),
        ("", None, True),
        ("", "https://a.test", False),
        ("*", "https://a.test", True),
        ("*", "null", True),
        ("https://a.test", "null", False),
        ("https://a.test", "", False),
        ("https://a.test", "*", False),
        ("https://a.test", "http://a.test", False),
        ("https://a.test", "https://a.test:444", False),
        ("https://a.test", "https://a.test.evil.test", False),
        ("https://a.test", "https://evil-a.test", False),
        ("https://*.a.test", "https://b.a.test", False),
        ("https://a.test,https://b.test", "https://a.test,https://b.test", False),
    ],
)
def test_an_origin_is_compared_whole(allowed: str, origin: str | None, *, is_allowed: bool) -> None:
    assert read(ALLOWED_ORIGINS=allowed).allows_origin(origin) is is_allowed
