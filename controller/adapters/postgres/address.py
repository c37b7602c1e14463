"""DATABASE_URL, as it was written for any client of PostgreSQL, and as libpq takes it.

An address that was written for Prisma, node-postgres, asyncpg, JDBC, Rails, SQLAlchemy or pgx has parameters that libpq
does not know, and libpq refuses the whole address for one of them. Here a parameter that says something that can be
honoured is honoured, one that concerns its own client alone is left out with a note, and what no client has is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote, unquote

from controller.adapters.postgres.client_parameters import NAMES, is_of_another_client, plain
from controller.config.address import BAD_ESCAPE, SHOWABLE, SPECIAL, Address, is_host, raw_in, refused
from controller.core.text.guesses import nearest

_EXAMPLE = "postgresql://user:password@host:5432/database"
_LONGEST = 4000
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_DRIVER = re.compile(r"postgres(?:ql)?\+([a-z0-9_]+)", re.IGNORECASE)
_PAIR = re.compile(r"\s*([^\s=]+)\s*=\s*('(?:\\.|[^'\\])*'|(?:\\.|[^\s\\])*)\s*", re.DOTALL)
_SEMICOLONS = re.compile(r"\s*(?:host|server|data source|user id|username|database|port)\s*=[^;]*;", re.IGNORECASE)

_TIME_ZONE = re.compile(r"(?:^|(?<=\s))(?:-c\s*|--)timezone=(?:\\.|[^\s\\])*\s*", re.IGNORECASE)
"""As the server takes it in options: -c timezone=UTC."""

_SCHEMA = "schema"
"""Prisma's: one name, as it stands."""
_SEARCH_PATHS = frozenset({"currentschema", "searchpath", "schemasearchpath", "optionssearchpath"})
"""JDBC's, pgx', Rails' and sqlx': a list of names, as SQL reads one."""
_OURS = frozenset(
    {
        *("application_name", "client_encoding", "connect_timeout", "tcp_user_timeout"),
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
    }
)
"""Parameters of libpq's that the controller sets by itself."""
_WITHOUT_A_WORD = frozenset({"pgbouncer", "uselibpqcompat"})
"""As it is anyway: nothing is prepared, and libpq reads the address."""
_RENAMED = {
    "channelBinding": "channel_binding",
    "gssEncMode": "gssencmode",
    "kerberosServerName": "krbsrvname",
    "loadBalanceHosts": "load_balance_hosts",
    "requireAuth": "require_auth",
    "ssl-ca": "sslrootcert",
    "ssl-cert": "sslcert",
    "ssl-key": "sslkey",
    "ssl-mode": "sslmode",
    "ssl-root-cert": "sslrootcert",
    "sslNegotiation": "sslnegotiation",
    "targetServerType": "target_session_attrs",
}
"""What JDBC and sqlx call a parameter of libpq's."""
_SERVER_TYPES = {"master": "primary", "secondary": "standby", "slave": "standby", "preferSecondary": "prefer-standby"}
_MEANT = {
    "database": "dbname",
    "db": "dbname",
    "username": "user",
    "pass": "password",
    "passwd": "password",
    "pwd": "password",
    "hostname": "host",
    "server": "host",
}


def database_address(written: str) -> Address:
    """DATABASE_URL, or DATABASE_DIRECT_URL, in any form that a client of PostgreSQL takes."""
    scheme, separator, rest = written.partition("://")
    if len(written) > _LONGEST or (separator and not rest):
        return refused(written, f"must be a PostgreSQL address, such as {_EXAMPLE}")
    if separator and re.fullmatch(r"[A-Za-z][\w+.:-]*", scheme):
        if scheme not in {"postgres", "postgresql"}:
            return refused(written, _of_scheme(scheme))
        parts = _Parts.of(rest)
        if _is_torn(parts):
            return refused(written, f"is not a PostgreSQL address: {SPECIAL}")
        return _address(written, parts)
    if _SEMICOLONS.match(written):
        return refused(written, f"has the form of .NET, with semicolons; write {_EXAMPLE}")
    return _address(written, None)


def _of_scheme(scheme: str) -> str:
    if driver := _DRIVER.fullmatch(scheme):
        return (
            f"names a driver of SQLAlchemy's, which is for Python programs only: take out +{driver[1]}, so that it "
            "begins with postgresql://"
        )
    if scheme.lower().startswith("jdbc:"):
        return f"is an address for JDBC: take out jdbc:, and write it as {_EXAMPLE}"
    if scheme.lower() in {"prisma", "prisma+postgres"}:
        return f"leads to Prisma's proxy, which only Prisma can ask; give PostgreSQL's own address, such as {_EXAMPLE}"
    if scheme.lower() in {
        "pgsql",
        "psql",
        "postgis",
        "ecto",
        "postgres",
        "postgresql",
        "pg",
        "cockroachdb",
        "timescale",
    }:
        return "must begin with postgresql://; write that instead of what is before ://"
    return f"must be a PostgreSQL address, such as {_EXAMPLE}"


class _Parts(NamedTuple):
    """An address as libpq takes it apart.

    The password ends at the first "@", if no "/" comes before it; "?" and "#" mean nothing in it.
    """

    user: str | None
    password: str | None
    hosts: str
    path: str
    query: str

    @classmethod
    def of(cls, rest: str) -> _Parts:
        user, password = None, None
        first = re.search("[@/]", rest)
        if first is not None and first[0] == "@":
            user, colon, after = rest[: first.start()].partition(":")
            password, rest = (after if colon else None), rest[first.end() :]
        hosts = re.split("[/?]", rest, maxsplit=1)[0]
        path, _, query = rest[len(hosts) :].partition("?")
        return cls(user, password, hosts, path, query)

    @property
    def head(self) -> str:
        """All that stands before the parameters."""
        password = "" if self.password is None else f":{self.password}"
        return f"{'' if self.user is None else f'{self.user}{password}@'}{self.hosts}{self.path}"


def _is_torn(parts: _Parts) -> bool:
    """Whether a raw special character has torn the address apart, so that any part of it may be of the password."""
    if BAD_ESCAPE.search(parts.head) or re.search(r"\s", parts.head) or "@" in parts.hosts + parts.path:
        return True
    if "@" not in parts.query:
        return False
    port = re.sub(r"\[[^]]*\]", "", parts.hosts).partition(":")[2]
    names = [name for name, _, _ in _pairs(parts.query)]
    return (parts.user is None and not re.fullmatch("[0-9,:]*", port)) or not all(map(_is_listed, names))


def _pairs(query: str) -> list[tuple[str, str, str]]:
    found = (one.partition("=") for one in query.split("&") if one)
    return [(unquote(name), equals, value) for name, equals, value in found]


def _is_listed(name: str) -> bool:
    is_schema = plain(name) == _SCHEMA or plain(name) in _SEARCH_PATHS
    is_libpq_s = name in _libpq_keywords() or name in _RENAMED
    return is_libpq_s or is_schema or is_of_another_client(name, by_prefix=False)


def _libpq_keywords() -> frozenset[str]:
    from psycopg.pq import Conninfo  # noqa: PLC0415  # 20 MB that only a command with a database needs

    return frozenset(option.keyword.decode() for option in Conninfo.get_defaults()) - {"replication"}


@dataclass
class _Reading:
    """One address, while its parameters are gone through.

    kept: what libpq is given, as it was written. others, ours: names that are without effect. hides: a name that is not
    known may be a piece of a password.
    """

    kept: list[tuple[str, str]] = field(default_factory=list)
    schemas: tuple[str, ...] = ()
    others: list[str] = field(default_factory=list)
    ours: list[str] = field(default_factory=list)
    tls: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    hides: bool = False

    def take(self, name: str, raw: str, value: str) -> None:
        if plain(name) == _SCHEMA:
            self._schemas([value.strip()])
        elif plain(name) in _SEARCH_PATHS:
            self._schemas([_as_sql_reads(one.strip()) for one in value.split(",")])
        elif plain(name) in {"ssl", "sslaccept"}:
            self.tls[plain(name)] = value.lower()
        elif name in _OURS:
            self.ours.append(name)
        elif name == "options" and _TIME_ZONE.search(value):
            self._without_time_zone(raw, value)
        elif name == "targetServerType":
            self.kept.append(("target_session_attrs", _SERVER_TYPES.get(value, raw)))
        elif name in _RENAMED or name in _libpq_keywords():
            self.kept.append((_RENAMED.get(name, name), raw))
        elif plain(name) in _WITHOUT_A_WORD:
            pass
        elif is_of_another_client(name):
            self.others.append(name)
        else:
            self.problems.append(_unknown(name, hides=self.hides))

    def _schemas(self, names: Sequence[str]) -> None:
        self.schemas = tuple(filter(None, names))
        if not self.schemas or "\0" in "".join(names):
            self.problems.append("has a schema without a name; name it, or leave the parameter out")

    def _without_time_zone(self, raw: str, value: str) -> None:
        """It would hide the zone that the server has for everybody else, in which workers write times."""
        self.others.append("timezone")
        if rest := _TIME_ZONE.sub(" ", value).strip():
            self.kept.append(("options", rest if raw == value else quote(rest)))

    def settle_tls(self) -> None:
        """What other clients say of TLS, as an sslmode of libpq's."""
        given = dict(self.kept)
        written = unquote(given["sslmode"]) if "sslmode" in given else None
        mode = written if written != "no-verify" else "require"  # node-postgres: TLS, and no look at the certificate
        if mode is None and "ssl" in self.tls:
            mode = _mode_of_ssl(self.tls["ssl"])
        accept = self.tls.get("sslaccept")
        if accept == "strict" and mode not in {"disable", "verify-ca", "verify-full"}:
            mode = "verify-full"
            if "sslrootcert" not in given:
                self.kept.append(("sslrootcert", "system"))
        if accept not in {None, "strict", "accept_invalid_certs"}:
            self.problems.append("has an invalid sslaccept; write strict or accept_invalid_certs")
        if mode is not None and mode not in _SSL_MODES:
            name = "sslmode" if written is not None else "ssl"
            self.problems.append(f"has an {name} that is not known; write one of {', '.join(sorted(_SSL_MODES))}")
        elif mode is not None and mode != written:
            self.kept = [pair for pair in self.kept if pair[0] != "sslmode"] + [("sslmode", mode)]

    def notes(self) -> Iterator[str]:
        if self.others:
            yield f"{_listed(self.others)}: for other clients, without effect here"
        if self.ours:
            yield f"{_listed(self.ours)}: without effect here, the controller sets its own"


def _as_sql_reads(name: str) -> str:
    return name[1:-1].replace('""', '"') if re.fullmatch('".*"', name, re.DOTALL) else name.lower()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(sorted({name if SHOWABLE.fullmatch(name) else "…" for name in names}))


def _mode_of_ssl(value: str) -> str:
    if value in {"true", "1", "yes", "on", "t", "", "required", "no-verify"}:
        return "require"
    return "disable" if value in {"false", "0", "no", "off", "f"} else value


def _unknown(name: str, *, hides: bool) -> str:
    known = {plain(one): one for one in (*NAMES, *sorted(_libpq_keywords()), _SCHEMA)}
    near = nearest(plain(name), known, cutoff=0.75)
    meant = _MEANT.get(name.lower()) or (known[near] if near else None)
    shown = f"the parameter {name}" if SHOWABLE.fullmatch(name) and not hides else "a parameter"
    fix = f"did you mean {meant}?" if meant else "take it out"
    return f"is not a PostgreSQL address: it has {shown}, which no client knows; {fix}"


def _address(written: str, parts: _Parts | None) -> Address:
    """parts: None where it is written as `host=h dbname=d`."""
    reading = _Reading()
    pairs = _pairs(parts.query) if parts else _keywords_and_values(written)
    for name, equals, raw in pairs:
        if equals:
            # What follows a password without quotes may be the rest of one that has a space in it.
            reading.hides = not parts and "password" in dict(reading.kept)
            reading.take(name, raw, unquote(raw) if parts else raw)
        else:
            reading.problems.append("has a parameter without a value; write NAME=VALUE, joined by &")
    reading.settle_tls()
    kept = [(name, re.sub(r"[=\s]", _escaped, raw) if parts else raw) for name, raw in reading.kept]
    is_as_written = kept == [(name, raw) for name, _, raw in pairs]
    url = written if is_as_written or not pairs else _built(written, parts, kept)
    passwords = _checked(url, reading.problems)
    if parts and parts.password:
        passwords += [parts.password, unquote(parts.password)]
    path = ", ".join('"{}"'.format(schema.replace('"', '""')) for schema in reading.schemas)
    return Address(
        url,
        path,
        secrets=tuple(dict.fromkeys(filter(None, [written, url, *passwords]))),
        notes=(*reading.notes(), *raw_in(parts.password if parts else None, "?#")),
        problems=tuple(dict.fromkeys(reading.problems)),
    )


def _escaped(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02X}" if match[0].isascii() else match[0]


def _checked(url: str, problems: list[str]) -> list[str]:
    """The passwords in it, as libpq reads it; what libpq does not understand of it is added to the problems."""
    # psycopg's own complaints may quote the password, so they are never shown.
    from psycopg import ProgrammingError  # noqa: PLC0415  # as above
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415  # as above

    try:
        found = conninfo_to_dict(url)
    except (ProgrammingError, UnicodeError):
        if not problems:
            problems.append(
                f"is not a PostgreSQL address; write {_EXAMPLE} (with special characters of the password as %40 …)"
            )
        return []
    ports = [port for port in str(found.get("port") or "").split(",") if port]
    if not all(re.fullmatch("[0-9]{1,5}", port) and 1 <= int(port) <= 65535 for port in ports):
        problems.append(f"has an invalid port; write {_EXAMPLE}")
    hosts = [host for host in str(found.get("host") or "").split(",") if host and not host.startswith(("/", "@"))]
    if not all(map(is_host, hosts)):
        problems.append(f"has an invalid host; write {_EXAMPLE}")
    return [str(found[name]) for name in ("password", "sslpassword", "oauth_client_secret") if name in found]


def _keywords_and_values(written: str) -> list[tuple[str, str, str]]:
    """Of `host=h dbname=d`, as libpq reads it; none where it is nothing like that."""
    pairs, position = [], 0
    while position < len(written):
        pair = _PAIR.match(written, position)
        if pair is None:
            return []
        value = pair[2][1:-1] if pair[2].startswith("'") else pair[2]
        pairs.append((pair[1], "=", re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)))
        position = pair.end()
    return pairs


def _built(written: str, parts: _Parts | None, pairs: Sequence[tuple[str, str]]) -> str:
    if parts is None:
        return " ".join("{}='{}'".format(name, re.sub(r"(['\\])", r"\\\1", value)) for name, value in pairs)
    query = "&".join(f"{name}={raw}" for name, raw in pairs)
    return f"{written.partition('://')[0]}://{parts.head}{'?' if query else ''}{query}"
