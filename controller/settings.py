"""Addresses and secrets, from the environment. Frozen, and masked wherever they are shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from controller.policy_text import ConfigurationError, Problem
from controller.timing import Timing

RAILWAY_API = "https://backboard.railway.com/graphql/v2"
_WORD = re.compile(r"[\x21-\x7e]+")
_KEY_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,63}")
SHORTEST_LEASE_S = 1.0
_REDIS_OPTIONS = frozenset({"family", "cluster", "ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
"""Options of REDIS_URL; `family` is what people add for a Node client, and is taken no notice of."""
_REDIS_VALUES = {"cluster": ("true", "false"), "ssl_cert_reqs": ("required", "optional", "none")}
_SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})


@dataclass(frozen=True, slots=True)
class RailwayToken:
    """kind "account" also stands for workspace tokens: both go into `Authorization: Bearer`."""

    kind: Literal["account", "project"]
    value: SecretStr

    @property
    def variable(self) -> str:
        return "RAILWAY_API_TOKEN" if self.kind == "account" else "RAILWAY_TOKEN"


@dataclass(frozen=True, slots=True)
class Settings:
    railway_api_url: str
    railway_token: RailwayToken
    project_id: str
    environment_id: str
    database_url: SecretStr
    database_direct_url: SecretStr | None
    redis_url: SecretStr
    port: int
    log_format: Literal["json", "text"] | None
    timing: Timing
    key_prefix: str
    replica: str

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be printed: the token, the addresses whole, and the passwords in them."""
        addresses = (self.database_url, self.database_direct_url, self.redis_url)
        urls = [address.get_secret_value() for address in addresses if address is not None]
        passwords = (_password(url) for url in urls)
        return tuple(secret for secret in (self.railway_token.value.get_secret_value(), *urls, *passwords) if secret)


def load_settings(environment: Mapping[str, str]) -> Settings:
    """The settings, or everything that is wrong with them at once.

    Raises:
        ConfigurationError: naming every missing or malformed variable, and none of their secret values.
    """
    reader = _Reader(environment)
    settings = Settings(
        railway_api_url=reader.api_url(),
        railway_token=reader.token(),
        project_id=reader.identifier("RAILWAY_PROJECT_ID"),
        environment_id=reader.identifier("RAILWAY_ENVIRONMENT_ID"),
        database_url=SecretStr(reader.checked("DATABASE_URL", _database_problems)),
        database_direct_url=reader.direct_url(),
        redis_url=SecretStr(reader.checked("REDIS_URL", _redis_problems)),
        port=reader.port(),
        log_format=reader.log_format(),
        timing=reader.timing(),
        key_prefix=reader.key_prefix(),
        replica=environment.get("RAILWAY_REPLICA_ID", "").strip() or environment.get("HOSTNAME", "").strip() or "here",
    )
    if reader.problems:
        raise ConfigurationError(reader.problems)
    return settings


@dataclass(frozen=True, slots=True)
class RailwayAccess:
    """What it takes to ask Railway, and nothing else."""

    api_url: str
    token: RailwayToken
    project_id: str
    environment_id: str


def railway_access(environment: Mapping[str, str]) -> RailwayAccess | None:
    """None where any of it is not set, or wrong: for what can do without."""
    reader = _Reader(environment)
    access = RailwayAccess(
        reader.api_url(),
        reader.token(),
        reader.identifier("RAILWAY_PROJECT_ID"),
        reader.identifier("RAILWAY_ENVIRONMENT_ID"),
    )
    return None if reader.problems else access


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[Problem] = []

    def _get(self, name: str) -> str:
        return self._environment.get(name, "").strip()

    def _refuse(self, name: str, text: str) -> None:
        self.problems.append(Problem(name, text))

    def identifier(self, name: str) -> str:
        value = self._get(name)
        if not value:
            self._refuse(name, "is not set; `railway status` shows it, and so does the address of the dashboard's page")
        elif not _WORD.fullmatch(value):
            self._refuse(name, "is not an id: it holds spaces or unprintable characters")
        return value

    def token(self) -> RailwayToken:
        account, project = self._get("RAILWAY_API_TOKEN"), self._get("RAILWAY_TOKEN")
        if account and project:
            self._refuse("RAILWAY_API_TOKEN, RAILWAY_TOKEN", "are both set; keep one (a project token is the safer)")
        elif not account and not project:
            self._refuse(
                "RAILWAY_API_TOKEN",
                "is not set; set it to an account or workspace token, or RAILWAY_TOKEN to a project token",
            )
        token = RailwayToken("account" if account else "project", SecretStr(account or project))
        if (account or project) and not _WORD.fullmatch(account or project):
            self._refuse(token.variable, "is not a token: it holds spaces or unprintable characters")
        return token

    def checked(self, name: str, check: Callable[[str], Iterator[str]]) -> str:
        value = self._get(name)
        if not value:
            self._refuse(name, "is not set")
        else:
            for problem in check(value):
                self._refuse(name, problem)
        return value

    def direct_url(self) -> SecretStr | None:
        """PostgreSQL without a pooler in between, for LISTEN."""
        if not self._get("DATABASE_DIRECT_URL"):
            return None
        return SecretStr(self.checked("DATABASE_DIRECT_URL", _database_problems))

    def api_url(self) -> str:
        """With a query string: Railway's edge is much stricter with requests that have none."""
        url = self._get("RAILWAY_API_URL") or RAILWAY_API
        parts = _split(url)
        if parts is None or parts.scheme not in {"http", "https"} or not _is_web_address(url):
            self._refuse("RAILWAY_API_URL", f"must be an http:// or https:// address, such as {RAILWAY_API}")
            return url
        if "@" in url.split("/", 3)[2]:
            self._refuse("RAILWAY_API_URL", "holds a user or password, which would take the place of the token")
        return url if parts.query else f"{url}?source=worker-autoscaler"

    def _number(self, name: str, default: int, lowest: int, highest: int, what: str) -> int:
        text = self._get(name) or str(default)
        if not text.isascii() or not text.isdigit() or len(text) > 9 or not lowest <= int(text) <= highest:
            self._refuse(name, f"must be {what}, not {text[:40]!r}")
            return default
        return int(text)

    def port(self) -> int:
        return self._number("PORT", 8080, 0, 65535, "a port, 1 to 65535 (0: any free one)")

    def timing(self) -> Timing:
        """What is not set follows from the lease's life; what is set must fit together."""
        before = len(self.problems)
        lowest = int(SHORTEST_LEASE_S * 1000)
        ttl = self._number("LEASE_TTL_MS", 15000, lowest, 600_000, f"milliseconds, {lowest} to 600000") / 1000
        timing = Timing.around(
            ttl,
            renew=self._milliseconds("LEASE_RENEW_MS"),
            redis_timeout=self._milliseconds("REDIS_TIMEOUT_MS"),
            railway_timeout=self._milliseconds("RAILWAY_TIMEOUT_MS"),
            landing_bound=self._milliseconds("LANDING_BOUND_MS"),
        )
        if len(self.problems) == before:  # a number that is none fits nothing
            for name, problem in timing.problems():
                self._refuse(name, problem)
        return timing

    def _milliseconds(self, name: str) -> float | None:
        if not self._get(name):
            return None
        return self._number(name, 1000, 50, 3_600_000, "milliseconds, 50 to 3600000") / 1000

    def log_format(self) -> Literal["json", "text"] | None:
        value = self._get("LOG_FORMAT").lower()
        if value == "json":
            return "json"
        if value == "text":
            return "text"
        if value:
            self._refuse("LOG_FORMAT", f"must be json or text, not {value[:40]!r}")
        return None

    def key_prefix(self) -> str:
        value = self._get("REDIS_KEY_PREFIX") or "autoscaler"
        if not _KEY_PREFIX.fullmatch(value):
            self._refuse("REDIS_KEY_PREFIX", "may have letters, digits, ':', '.', '_' and '-' only, at most 64")
        return value


def _is_web_address(url: str) -> bool:
    from httpx import URL, InvalidURL  # noqa: PLC0415  # only a command that talks to Railway needs it

    if len(url) > 2000 or not _WORD.fullmatch(url):
        return False
    try:
        return bool(URL(url).host)
    except (InvalidURL, ValueError):
        return False


def _database_problems(url: str) -> Iterator[str]:
    # psycopg's own complaints may quote the password, so they are never shown.
    from psycopg import ProgrammingError  # noqa: PLC0415  # 20 MB that only a command with a database needs
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415  # as above

    example = "postgresql://user:password@host:5432/database"
    scheme, separator, rest = url.partition("://")
    if (separator and scheme not in {"postgres", "postgresql"}) or (separator and not rest) or len(url) > 4000:
        yield f"must be a PostgreSQL address, such as {example}"
        return
    try:
        info = conninfo_to_dict(url)
    except ProgrammingError:
        yield f"is not a PostgreSQL address; write {example} (encode special characters of the password as %40 …)"
        return
    if info.get("sslmode") is not None and info["sslmode"] not in _SSL_MODES:
        yield f"has an sslmode that is none; it may be {', '.join(sorted(_SSL_MODES))}"
    for port in filter(None, str(info.get("port") or "").split(",")):
        if not port.isdigit() or not 1 <= int(port) <= 65535:
            yield f"names a port that is none; write {example}"


def _redis_problems(url: str) -> Iterator[str]:
    example = "redis://:password@host:6379/0 (rediss:// with TLS)"
    if "sentinel" in url.partition(":")[0]:
        yield f"names a Sentinel, which is not supported; give the address of the primary itself, such as {example}"
        return
    parts = _split(url)
    if parts is None or parts.scheme not in {"redis", "rediss"} or not parts.hostname:
        yield f"must be a Redis address, such as {example}"
        return
    if parts.path.strip("/") and not parts.path.strip("/").isdigit():
        yield f"must end in a database number, such as {example}"
        return
    options = [pair.partition("=") for pair in parts.query.split("&") if pair]
    for option, _, value in options:
        if option not in _REDIS_OPTIONS or (option.startswith("ssl_") and parts.scheme != "rediss"):
            yield f"has the option {option[:40]!r}, which is not used here; leave it out"
        elif option in _REDIS_VALUES and value not in _REDIS_VALUES[option]:
            yield f"has an option {option} that may only be {' or '.join(_REDIS_VALUES[option])}"
    if ("cluster", "=", "true") in options and parts.path.strip("/0"):
        yield "asks for a database number, and a Redis Cluster has only database 0"


def _split(url: str) -> _Parts | None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # reading it is what checks it
    except ValueError:
        return None
    return _Parts(parts.scheme, parts.hostname or "", parts.path, parts.query, parts.password or "")


@dataclass(frozen=True, slots=True)
class _Parts:
    scheme: str
    hostname: str
    path: str
    query: str
    password: str


def _password(url: str) -> str:
    parts = _split(url)
    return parts.password if parts else ""
