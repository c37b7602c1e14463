"""REDIS_URL, as redis-py takes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from controller.config.address import SHOWABLE, SPECIAL, Address, is_host, raw_in, refused

_EXAMPLE = "redis://:password@host:6379/0 (rediss:// with TLS)"
_OPTIONS = frozenset({"family", "cluster", "ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
"""`family` is what people add for a Node client, and is taken no notice of."""
_VALUES = {"cluster": ("true", "false"), "ssl_cert_reqs": ("required", "optional", "none")}
_MOST_DATABASES = 2**31
_ADDED = re.compile(r"(?:redis|valkey)s?([+-]([a-z0-9_]+))")


def redis_address(written: str) -> Address:
    scheme, _, rest = written.partition("://")
    if scheme not in {"redis", "rediss"} or not rest:
        return refused(written, _of_scheme(scheme.lower() if rest else ""))
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if _is_torn(authority, rest[len(authority) :]):
        return refused(written, f"is not a Redis address: {SPECIAL}")
    try:
        parts = urlsplit(written)
        parts.port  # noqa: B018  # reading it is what checks it
    except ValueError:
        return refused(written, f"must be a Redis address, such as {_EXAMPLE}")
    if not parts.hostname or not is_host(parts.hostname):
        return refused(written, f"must be a Redis address, such as {_EXAMPLE}")
    secrets = (written, parts.password, unquote(parts.password or ""))
    return Address(
        written,
        secrets=tuple(dict.fromkeys(filter(None, secrets))),
        notes=raw_in(parts.password, "@%"),
        problems=tuple(_problems(scheme, parts.path.strip("/"), parts.query)),
    )


def _of_scheme(scheme: str) -> str:
    tls = "s" if re.match("(?:rediss|valkeys)(?![a-z])", scheme) else ""
    if "sentinel" in scheme:
        return f"names a Sentinel, which is not supported; give the address of the primary itself, such as {_EXAMPLE}"
    if re.fullmatch("(?:redis|valkey)s?[+-]cluster", scheme):
        return f"must begin with redis{tls}://, and end in ?cluster=true for a Redis Cluster"
    if added := _ADDED.fullmatch(scheme):
        tls = "s" if tls or added[2] in {"ssl", "tls"} else ""
        return f"names a driver: take out {added[1]}, so that it begins with redis{tls}://"
    if scheme in {"valkey", "valkeys"}:
        return f"must begin with redis{tls}://, also for Valkey"
    if scheme in {"http", "https"}:
        return f"is an HTTP address; write a Redis address, such as {_EXAMPLE}"
    return f"must be a Redis address, such as {_EXAMPLE}"


def _is_torn(authority: str, rest: str) -> bool:
    """Whether a raw special character ended the password before its time, so that any part may be of it."""
    if re.search(r"\s", authority + rest) or re.search(r"[\[\]].*@", authority):
        return True
    before, _, query = rest.partition("?")
    if "@" in before or ("@" in query and "@" not in authority):
        return True
    names = {pair.partition("=")[0] for pair in query.split("&") if pair}
    return "@" in query and not names <= _OPTIONS


def _problems(scheme: str, database: str, query: str) -> Iterator[str]:
    if database and not re.fullmatch("[0-9]+", database):
        yield f"must end in a database number, such as {_EXAMPLE}"
        return
    if database and int(database[:20]) >= _MOST_DATABASES:
        yield "ends in a database number that is out of range: most Redis have 16 of them, 0 to 15"
    options = [pair.partition("=") for pair in query.split("&") if pair]
    for option, _, value in options:
        shown = f" {option!r}" if SHOWABLE.fullmatch(option) else ""
        if option == "db":
            yield "has the option 'db', which is not used here; put the number at the address' end: redis://host:6379/1"
        elif option not in _OPTIONS:
            yield f"has the option{shown}, which is not used here; leave it out"
        elif option.startswith("ssl_") and scheme != "rediss":
            yield f"has the option{shown}, which is not used here without TLS; write rediss://, or leave it out"
        elif option in _VALUES and value not in _VALUES[option]:
            yield f"has an option {option} that may only be {' or '.join(_VALUES[option])}"
    if ("cluster", "=", "true") in options and database.strip("0"):
        yield "asks for a database number, and a Redis Cluster has only database 0"
