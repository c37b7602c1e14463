"""What the environment says of Railway: the token, the project, the environment, the address of the API."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from controller.config.settings import WORD, EnvironmentReader, blanks_around
from controller.core.problems import ConfigurationError, Problem

RAILWAY_API = "https://backboard.railway.com/graphql/v2"
_VARIABLES = ("RAILWAY_API_TOKEN", "RAILWAY_TOKEN", "RAILWAY_PROJECT_ID", "RAILWAY_ENVIRONMENT_ID")


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
    """What it takes to ask Railway."""

    api_url: str
    token: RailwayToken
    project_id: str
    environment_id: str


def load_railway(environment: Mapping[str, str]) -> RailwaySettings:
    """The settings of Railway.

    Raises:
        ConfigurationError: naming every missing or malformed variable, and none of their secret values.
    """
    reader = EnvironmentReader(environment)
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
    """None where any of it is not set, or wrong: for what can do without."""
    try:
        return load_railway(environment)
    except ConfigurationError:
        return None


def railway_warnings(environment: Mapping[str, str]) -> Iterator[Problem]:
    """Of the variables that are set, whether the others are or not: what works, and should be changed all the same."""
    yield from blanks_around(environment, _VARIABLES)
    url = environment.get("RAILWAY_API_URL", "").strip()
    parts = _split(url)
    if parts is not None and parts.scheme == "http" and parts.hostname and not _is_loopback(parts.hostname):
        yield Problem(
            "RAILWAY_API_URL",
            "begins with http://, so that the token crosses the network unencrypted; write https://",
        )


def _identifier(reader: EnvironmentReader, name: str) -> str:
    value = reader.get(name)
    if not value:
        reader.refuse(name, "is not set; `railway status` shows it, and so does the address of the dashboard's page")
    elif not WORD.fullmatch(value):
        reader.refuse(name, "is not an id: it holds spaces or unprintable characters")
    return value


def _token(reader: EnvironmentReader) -> RailwayToken:
    account, project = reader.get("RAILWAY_API_TOKEN"), reader.get("RAILWAY_TOKEN")
    if account and project:
        reader.refuse("RAILWAY_API_TOKEN, RAILWAY_TOKEN", "are both set; keep one (a project token is the safer)")
    elif not account and not project:
        reader.refuse(
            "RAILWAY_API_TOKEN",
            "is not set; set it to an account or workspace token, or RAILWAY_TOKEN to a project token",
        )
    token = RailwayToken("account" if account else "project", SecretStr(account or project))
    if (account or project) and not WORD.fullmatch(account or project):
        reader.refuse(token.variable, "is not a token: it holds spaces or unprintable characters")
    return token


def _api_url(reader: EnvironmentReader) -> str:
    """With a query string: Railway's edge is much stricter with requests that have none."""
    url = reader.get("RAILWAY_API_URL") or RAILWAY_API
    parts = _split(url)
    if parts is None or parts.scheme not in {"http", "https"} or not _is_web_address(url):
        reader.refuse("RAILWAY_API_URL", f"must be an http:// or https:// address, such as {RAILWAY_API}")
        return url
    if "@" in url.split("/", 3)[2]:
        reader.refuse("RAILWAY_API_URL", "holds a user or password, which would take the place of the token")
    return url if parts.query else f"{url}?source=worker-autoscaler"


def _is_web_address(url: str) -> bool:
    from controller.adapters.railway.http import httpx  # noqa: PLC0415  # only a command that talks to Railway needs it

    if len(url) > 2000 or not WORD.fullmatch(url):
        return False
    try:
        return bool(httpx.URL(url).host)
    except (httpx.InvalidURL, ValueError):
        return False


def _is_loopback(host: str) -> bool:
    """Whether what is sent there leaves this machine."""
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
