"""DATABASE_URL and REDIS_URL as people write them: what of them is used, what is only noted, and what is wrong.

No message ever holds a value, nor a name that may be a piece of a password which a raw special character tore apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SPECIAL = (
    "it holds a special character in its user or password that must be percent-encoded; write % as %25, / as %2F, "
    "? as %3F, # as %23, @ as %40, [ as %5B, ] as %5D, a space as %20"
)
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
SHOWABLE = re.compile(r"[A-Za-z_][\w.\[\]-]{0,39}", re.ASCII)
"""The name of a parameter that may be shown."""


def is_host(name: str) -> bool:
    """Whether a name can be looked up at all: no label of it is empty, or longer than 63 characters."""
    try:
        return bool(name.encode("idna"))
    except UnicodeError:
        return False


@dataclass(frozen=True, slots=True)
class Address:
    """An address as it was written, and what it is used as.

    url: without what its client does not understand. search_path: of a PostgreSQL, as SQL would have it; empty for the
    user's own. secrets: what must never be shown. notes: what a person should know, and need not change.
    """

    url: str
    search_path: str = ""
    secrets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def refused(written: str, problem: str) -> Address:
    return Address(written, secrets=(written,), problems=(problem,))


def raw_in(password: str | None, characters: str) -> tuple[str, ...]:
    """The note on special characters of a password that this client reads as they stand."""
    raw = [one for one in characters if (BAD_ESCAPE.search(password or "") if one == "%" else one in (password or ""))]
    if not raw:
        return ()
    found = " and ".join(f"a raw {one}" for one in raw)
    why = "it is read as it stands here, but not by every client"
    return (f"the password holds {found}; {why}: percent-encode it (# as %23, ? as %3F, @ as %40, % as %25)",)
