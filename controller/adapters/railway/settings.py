"""Railway's settings from environment variables: the token, the project, the environment, the API's address.

RAILWAY declares all that other rooms need to know of them: a variable of Railway's is a row here and nowhere else.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from controller.adapters.railway import SOURCE
from controller.config.platform import PlatformSettings, change_timeout
from controller.config.settings import WORD, EnvironmentReader, blanks_around
from controller.config.variables import EnvironmentVariable
from controller.core.problems import ConfigurationError, Problem
from controller.core.text.references import References

RAILWAY_API = "https://backboard.railway.com/graphql/v2"
_VARIABLES = (
    EnvironmentVariable("RAILWAY_API_TOKEN", "account or workspace token", required="one of the two", holds="token"),
    EnvironmentVariable(
        "RAILWAY_TOKEN", "project token: narrower, safer, and enough", required="one of the two", holds="token"
    ),
    EnvironmentVariable("RAILWAY_PROJECT_ID", "project", required="yes", holds="id"),
    EnvironmentVariable("RAILWAY_ENVIRONMENT_ID", "environment", required="yes", holds="id"),
    EnvironmentVariable("RAILWAY_WORKER_SERVICE_ID", "the worker service to scale", required="by the shipped policy"),
    change_timeout("RAILWAY_TIMEOUT_MS", SOURCE.name),
    EnvironmentVariable(
        "RAILWAY_API_URL",
        "another endpoint, such as the fake's; `http://` to another machine is a warning, because the token would "
        "cross the network unencrypted",
        "Railway's",
        holds="address",
    ),
)
REFERENCES = References(
    platform=SOURCE.name,
    opening="${{",
    closing="}}",
    name="SERVICE.VARIABLE",
    unreplaced=re.compile(r"(?:\$|^)\{\{([^{}]*)(?:\}|$)"),
    fix="under Variables in the dashboard, with the service's exact name, and look whether that service is in the same "
    "project and environment and has that variable",
)


@dataclass(frozen=True, slots=True)
class RailwayToken:
    """kind "account" also stands for workspace tokens: both go into `Authorization: Bearer`."""

    kind: Literal["account", "project"]
    value: SecretStr

    @property
    def variable(self) -> str:
        return "RAILWAY_API_TOKEN" if self.kind == "account" else "RAILWAY_TOKEN"


@dataclass(frozen=True, slots=True)
class RailwaySettings:
    """What is needed to call Railway's API."""

    api_url: str
    token: RailwayToken
    project_id: str
    environment_id: str

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.token.value.get_secret_value(),)


def load_railway(environment: Mapping[str, str]) -> RailwaySettings:
    """The settings of Railway.

    Raises:
        ConfigurationError: names every missing or malformed variable, without secret values.
    """
    reader = EnvironmentReader(environment, [RAILWAY])
    settings = RailwaySettings(
        _api_url(reader),
        _token(reader),
        _identifier(reader, "RAILWAY_PROJECT_ID"),
        _identifier(reader, "RAILWAY_ENVIRONMENT_ID"),
    )
    if reader.problems:
        raise ConfigurationError(reader.problems)
    return settings


def railway_if_set(environment: Mapping[str, str]) -> RailwaySettings | None:
    """The settings, or None if any is missing or malformed; for commands that can do without Railway."""
    try:
        return load_railway(environment)
    except ConfigurationError:
        return None


def railway_warnings(environment: Mapping[str, str]) -> Iterator[Problem]:
    """Warnings about set variables that work but should be changed, even if others are missing."""
    yield from blanks_around(environment, RAILWAY.names("token", "id"))
    url = environment.get("RAILWAY_API_URL", "").strip()
    parts = _split(url)
    if parts is not None and parts.scheme == "http" and parts.hostname and not _is_loopback(parts.hostname):
        yield Problem(
            "RAILWAY_API_URL",
            "begins with http://, so the token is sent unencrypted; write https://",
        )


RAILWAY = PlatformSettings(
    name=SOURCE.name,
    target="service",
    variables=_VARIABLES,
    references=REFERENCES,
    load=load_railway,
    warnings=railway_warnings,
    group="RAILWAY_ENVIRONMENT_ID",
    group_in_words="the Railway environment's id",
    replica="RAILWAY_REPLICA_ID",
    change_timeout="RAILWAY_TIMEOUT_MS",
    opens="controller.adapters.railway.opening:open_railway",
    checks="controller.doctor.railway:check_railway",
)


def _identifier(reader: EnvironmentReader, name: str) -> str:
    value = reader.get(name)
    if not value:
        reader.refuse(name, "is not set; find it with `railway status` or in the dashboard's address")
    elif not WORD.fullmatch(value):
        reader.refuse(name, "is not an id: it contains spaces or unprintable characters")
    return value


def _token(reader: EnvironmentReader) -> RailwayToken:
    account, project = reader.get("RAILWAY_API_TOKEN"), reader.get("RAILWAY_TOKEN")
    if account and project:
        reader.refuse("RAILWAY_API_TOKEN, RAILWAY_TOKEN", "are both set; keep one (a project token is safer)")
    elif not account and not project:
        reader.refuse(
            "RAILWAY_API_TOKEN",
            "is not set; set it to an account or workspace token, or set RAILWAY_TOKEN to a project token",
        )
    token = RailwayToken("account" if account else "project", SecretStr(account or project))
    if (account or project) and not WORD.fullmatch(account or project):
        reader.refuse(token.variable, "is not a token: it contains spaces or unprintable characters")
    return token


def _api_url(reader: EnvironmentReader) -> str:
    """The address with a query string, because Railway's edge limits requests without one much more strictly."""
    url = reader.get("RAILWAY_API_URL") or RAILWAY_API
    parts = _split(url)
    if parts is None or parts.scheme not in {"http", "https"} or not _is_web_address(url):
        reader.refuse("RAILWAY_API_URL", f"must be an http:// or https:// address, for example {RAILWAY_API}")
        return url
    if "@" in url.split("/", 3)[2]:
        reader.refuse("RAILWAY_API_URL", "contains a user or password, which would replace the token")
    return url if parts.query else f"{url}?source=worker-autoscaler"


def _is_web_address(url: str) -> bool:
    from controller.adapters.http import httpx  # noqa: PLC0415  # only a command that talks to Railway needs it

    if len(url) > 2000 or not WORD.fullmatch(url):
        return False
    try:
        return bool(httpx.URL(url).host)
    except (httpx.InvalidURL, ValueError):
        return False


def _is_loopback(host: str) -> bool:
    """Whether the host is this machine, so that nothing sent to it crosses a network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.rstrip(".").lower() == "localhost" or host.rstrip(".").lower().endswith(".localhost")
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # reading it is what checks it
    except ValueError:
        return None
    return parts
