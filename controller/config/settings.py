"""Addresses and secrets, from the environment. Frozen, and masked wherever they are shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import SecretStr

from controller.config.adapters import Adapters
from controller.config.address import Address
from controller.config.platform import PlatformSettings
from controller.config.timing import Timing
from controller.config.variables import OTLP_ENDPOINT, OTLP_HEADERS, OTLP_INTERVAL, OTLP_PROTOCOL
from controller.core.problems import ConfigurationError, Problem
from controller.core.text.references import unresolved, unusable

_UNSET = {
    "DATABASE_URL": "write the address of the queue's PostgreSQL, such as postgresql://user:password@host:5432/database",
    "REDIS_URL": "write the address of a Redis, such as redis://:password@host:6379/0",
}
"""What to do about an address that is not set; it has no default, since a guess may lead to another system's data."""
WORD = re.compile(r"[\x21-\x7e]+")
_KEY_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,63}")
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SHORTEST_LEASE_S = 1.0
_LONGEST_REPLICA = 128
_SHORT_TOKEN = 16
_QUOTATION_MARKS = "\"'`\u00ab\u00bb\u2018\u2019\u201c\u201d\u201e"
"""Typographic ones too, which a word processor puts there."""
_QUOTED = re.compile(f"""(["'`])(.*)\\1|[{_QUOTATION_MARKS[3:]}](.*)[{_QUOTATION_MARKS[3:]}]""", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Settings:
    """database_url, database_direct_url: as libpq takes them. search_path: where DATABASE_URL says that tables are.

    group: the name of this group of controllers, which its keys in Redis carry: replicas that share it share a lease.
    secrets: what must never be printed: the addresses whole, as written and as used, and their passwords.
    notes: what of the addresses is without effect, or read otherwise by other programs. warnings: what works, and
    should be changed all the same.
    """

    database_url: SecretStr
    database_direct_url: SecretStr | None
    search_path: str
    redis_url: SecretStr
    port: int
    http_token: SecretStr | None
    log_format: Literal["json", "text"] | None
    timing: Timing
    key_prefix: str
    group: str
    replica: str
    hidden: tuple[SecretStr, ...]
    notes: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    push_every_s: float | None = None
    """How often the metrics are sent to an OpenTelemetry collector; None: never."""

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(one.get_secret_value() for one in self.hidden)


def load_settings(environment: Mapping[str, str], adapters: Adapters) -> Settings:
    """The settings, or everything that is wrong with them at once.

    Raises:
        ConfigurationError: naming every missing or malformed variable, and none of their secret values.
    """
    reader = EnvironmentReader(environment, adapters.platforms)
    database = reader.address("DATABASE_URL", adapters.database)
    direct = reader.direct_address(adapters.database)
    settings = Settings(
        database_url=SecretStr(database.url),
        database_direct_url=SecretStr(direct.url) if direct else None,
        search_path=database.search_path,
        redis_url=SecretStr(reader.address("REDIS_URL", adapters.redis).url),
        port=reader.port(),
        http_token=reader.http_token(),
        log_format=reader.log_format(),
        timing=reader.timing(),
        key_prefix=reader.key_prefix(),
        group=reader.group(),
        replica=_replica(environment, adapters.platforms),
        push_every_s=reader.push_every_s(),
        hidden=reader.hidden(),
        notes=tuple(reader.notes),
        warnings=tuple(setting_warnings(environment)),
    )
    if reader.problems:
        raise ConfigurationError(reader.problems)
    return settings


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """What leads to the journal; of each field, see Settings."""

    redis_url: SecretStr
    timing: Timing
    key_prefix: str
    group: str
    hidden: tuple[SecretStr, ...]


def load_journal(environment: Mapping[str, str], adapters: Adapters) -> JournalSettings:
    """For a command that needs the journal and nothing else.

    Raises:
        ConfigurationError: naming every missing or malformed variable.
    """
    reader = EnvironmentReader(environment, adapters.platforms)
    address = reader.address("REDIS_URL", adapters.redis)
    timing, prefix, group = reader.timing(), reader.key_prefix(), reader.group()
    if reader.problems:
        raise ConfigurationError(reader.problems)
    return JournalSettings(SecretStr(address.url), timing, prefix, group, reader.hidden())


def key_prefix(environment: Mapping[str, str]) -> str:
    """With which our own keys in Redis begin."""
    return environment.get("REDIS_KEY_PREFIX", "").strip() or "autoscaler"


def setting_warnings(environment: Mapping[str, str]) -> Iterator[Problem]:
    """Of the variables that are set, whether the others are or not: what works, and should be changed all the same."""
    yield from blanks_around(environment, ("HTTP_TOKEN",))


def blanks_around(environment: Mapping[str, str], names: Iterable[str]) -> Iterator[Problem]:
    """A note on each of these variables whose value has blanks around it."""
    for name in names:
        value = environment.get(name, "")
        if value.strip() and value != value.strip():
            yield Problem(name, "has blanks or line breaks around it, which are ignored; remove them")


def load_database(environment: Mapping[str, str], adapters: Adapters, *, why: str) -> Address:
    """DATABASE_URL alone, for a command that needs nothing else. why: what it is needed for.

    Raises:
        ConfigurationError: it is not set or malformed; no secret value is in the message.
    """
    reader = EnvironmentReader(environment, adapters.platforms)
    address = reader.address("DATABASE_URL", adapters.database, why=why)
    if reader.problems:
        raise ConfigurationError(reader.problems)
    return address


class EnvironmentReader:
    """Reads variables one by one and collects what is wrong with them, so that all of it can be said at once."""

    def __init__(self, environment: Mapping[str, str], platforms: Sequence[PlatformSettings]) -> None:
        self._environment = environment
        self._platforms = platforms
        self._references = [platform.references for platform in platforms]
        self._words = {"HTTP_TOKEN", *(name for platform in platforms for name in platform.names("token", "id"))}
        """Tokens and ids, in which a quotation mark is never meant."""
        self._unresolved: set[str] = set()
        self._secrets: list[str] = []
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []

    def get(self, name: str) -> str:
        value = self._environment.get(name, "").strip()
        if name not in self._unresolved and (problem := self._unusable(name, value)) is not None:
            self.refuse(name, problem)
            self._unresolved.add(name)
        return value

    def _unusable(self, name: str, value: str) -> str | None:
        """What is wrong with a value that is not yet, or not only, what was meant."""
        if (problem := unusable(value)) is not None:
            return problem
        if "\0" in value:
            return "holds a NUL character; remove it"
        if value.startswith(f"{name}="):
            return f"begins with its own name; take {name}= out of the value"
        if _QUOTED.fullmatch(value):
            return "has quotation marks around it, which count as part of the value; remove them"
        if name in self._words and (value[:1] in _QUOTATION_MARKS or value[-1:] in _QUOTATION_MARKS) and value:
            return "begins or ends with a quotation mark, which counts as part of the value; remove it"
        return unresolved(value, self._references)

    def refuse(self, name: str, text: str) -> None:
        """But once where the value is not the one that was meant: all else that is wrong with it follows from that."""
        if name not in self._unresolved:
            self.problems.append(Problem(name, text))

    def address(self, name: str, read: Callable[[str], Address], *, why: str = "") -> Address:
        value = self.get(name)
        if not value:
            self.refuse(name, "; ".join(part for part in ("is not set", why, _UNSET.get(name)) if part))
            return Address("")
        address = read(value)
        for problem in address.problems:
            self.refuse(name, problem)
        self.notes += [Problem(name, note) for note in address.notes]
        self._secrets += address.secrets
        return address

    def direct_address(self, read: Callable[[str], Address]) -> Address | None:
        """PostgreSQL without a pooler in between, for LISTEN."""
        if not self.get("DATABASE_DIRECT_URL"):
            return None
        return self.address("DATABASE_DIRECT_URL", read)

    def hidden(self) -> tuple[SecretStr, ...]:
        """Of the addresses, and what libpq takes from the environment by itself."""
        every = (*self._secrets, self._environment.get("PGPASSWORD", ""))
        return tuple(SecretStr(secret) for secret in dict.fromkeys(every) if secret)

    def _number(self, name: str, default: int, lowest: int, highest: int, what: str) -> int:
        text = self.get(name) or str(default)
        if not text.isascii() or not text.isdigit() or len(text) > 9 or not lowest <= int(text) <= highest:
            self.refuse(name, f"must be {what}, not {text[:40]!r}")
            return default
        return int(text)

    def port(self) -> int:
        return self._number("PORT", 8080, 0, 65535, "a port, 1 to 65535 (0: any free one)")

    def http_token(self) -> SecretStr | None:
        """In ASCII: clients write other characters each in their own way."""
        value = self.get("HTTP_TOKEN")
        if not value:
            if "HTTP_TOKEN" in self._environment:
                self.notes.append(
                    Problem("HTTP_TOKEN", "is empty, which counts as not set: the pages are open to everyone")
                )
            return None
        if not WORD.fullmatch(value):
            self.refuse("HTTP_TOKEN", "may have ASCII letters, digits and signs only, and no spaces")
        elif len(value) < _SHORT_TOKEN:
            note = f"has only {len(value)} characters, which can be guessed; `openssl rand -hex 32` makes a better one"
            self.notes.append(Problem("HTTP_TOKEN", note))
        self._secrets.append(value)
        return SecretStr(value)

    def timing(self) -> Timing:
        """What is not set follows from the lease's life; what is set must fit together."""
        before = len(self.problems)
        lowest = int(SHORTEST_LEASE_S * 1000)
        ttl = self._number("LEASE_TTL_MS", 15000, lowest, 600_000, f"milliseconds, {lowest} to 600000") / 1000
        renew, redis_timeout = self._milliseconds("LEASE_RENEW_MS"), self._milliseconds("REDIS_TIMEOUT_MS")
        # One lease serves all platforms: the longest of their deadlines has to fit into it.
        timeouts = [(self._milliseconds(one.change_timeout), one.change_timeout) for one in self._platforms]
        change_timeout, variable = max(timeouts, key=lambda one: one[0] or 0.0, default=(None, "change_timeout"))
        timing = Timing.around(
            ttl,
            renew=renew,
            redis_timeout=redis_timeout,
            change_timeout=change_timeout,
            landing_bound=self._milliseconds("LANDING_BOUND_MS"),
        )
        if len(self.problems) == before:  # a number that is none fits nothing
            for name, problem in timing.problems(variable):
                self.refuse(name, problem)
        return timing

    def _milliseconds(self, name: str) -> float | None:
        if not self.get(name):
            return None
        return self._number(name, 1000, 50, 3_600_000, "milliseconds, 50 to 3600000") / 1000

    def log_format(self) -> Literal["json", "text"] | None:
        value = self.get("LOG_FORMAT")
        if value.lower() == "json":
            return "json"
        if value.lower() == "text":
            return "text"
        if value:
            self.refuse("LOG_FORMAT", f"must be json or text, not {value[:40]!r}")
        return None

    def push_every_s(self) -> float | None:
        """OpenTelemetry's own variables, of which its exporter reads the address and the headers by itself."""
        headers = self._environment.get(OTLP_HEADERS, "")
        self._secrets += [secret for pair in headers.split(",") if (secret := pair.partition("=")[2].strip())]
        endpoint = self.get(OTLP_ENDPOINT)
        if not endpoint:
            return None
        if not re.match(r"https?://[^/\s]", endpoint):
            self.refuse(OTLP_ENDPOINT, "must be the address of a collector, such as http://collector:4318")
        if (protocol := self.get(OTLP_PROTOCOL)) not in {"", "http/protobuf"}:
            self.refuse(OTLP_PROTOCOL, f"must be http/protobuf or unset, not {protocol[:40]!r}")
        return self._number(OTLP_INTERVAL, 60_000, 1_000, 3_600_000, "milliseconds, 1000 to 3600000") / 1000

    def key_prefix(self) -> str:
        self.get("REDIS_KEY_PREFIX")  # says what is odd about it
        value = key_prefix(self._environment)
        if not _KEY_PREFIX.fullmatch(value):
            self.refuse("REDIS_KEY_PREFIX", "may have letters, digits, ':', '.', '_' and '-' only, at most 64")
        return value

    def group(self) -> str:
        """AUTOSCALER_GROUP; without it the platform's id of the environment, as before there were groups."""
        named = self.get("AUTOSCALER_GROUP")
        by_platform = (self._environment.get(platform.group, "").strip() for platform in self._platforms)
        if named and not _GROUP.fullmatch(named):
            self.refuse("AUTOSCALER_GROUP", "may have letters, digits, '.', '_' and '-' only, at most 64")
        return named or next(filter(None, by_platform), "default")


def _replica(environment: Mapping[str, str], platforms: Iterable[PlatformSettings]) -> str:
    """A label, and nothing that a person chose: what is odd in it is left out, and stops nothing."""
    for name in (*(platform.replica for platform in platforms), "HOSTNAME"):
        label = "".join(letter for letter in environment.get(name, "") if letter.isprintable())
        if label.strip():
            return label.strip()[:_LONGEST_REPLICA]
    return "here"
