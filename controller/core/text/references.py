"""Finds references in the environment that Railway, a shell or a compose file should have replaced but did not."""

from __future__ import annotations

import re

_RAILWAY = re.compile(r"(?:\$|^)\{\{([^{}]*)(?:\}|$)")
_BRACES = re.compile(r"\$\{([^{}]*)\}")
_WHOLE = re.compile(r"\$\(?([A-Z_][A-Z0-9_]*)\)?")
_SEPARATORS = re.compile(r"[:/@?&=,\s]+")
_SAFE_REFERENCE = re.compile(r"(?:[A-Za-z0-9][\w .-]{0,60}\.)?[A-Z_][A-Z0-9_]{0,60}")
_SAFE_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,60}")

LONGEST = 65_536
"""Longest value of a variable, in characters: twice the length of the longest query."""


def unusable(value: str) -> str | None:
    """The problem of a value that is too long or not UTF-8, with the fix; None: it can be used.

    Python represents bytes that are not UTF-8 as surrogates, which no client can send.
    """
    if len(value) > LONGEST:
        return f"is longer than {LONGEST:,} characters; shorten it"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "holds bytes that are not UTF-8; set it again, in UTF-8"
    return None


def unresolved(value: str) -> str | None:
    """The problem of a value that still contains a reference, with the fix; None: it contains none.

    The text inside a reference is only shown if it looks like a name, because a password may contain braces, too. A
    bare $NAME counts if it is the whole value, or a whole part of an address.
    """
    if railway := _RAILWAY.search(value):
        reference = railway[1].strip()
        name = f" ${{{{{reference}}}}}" if _SAFE_REFERENCE.fullmatch(reference) else ""
        return (
            f"holds the reference{name}, which Railway did not replace; write it as ${{{{SERVICE.VARIABLE}}}} under "
            "Variables in the dashboard, with the service's exact name, and look whether that service is in the same "
            "project and environment and has that variable"
        )
    if braces := _BRACES.search(value):
        return _unreplaced(f"${{{braces[1]}}}" if _SAFE_NAME.fullmatch(braces[1]) else "a reference ${…}")
    for part in _SEPARATORS.split(value):
        if whole := _WHOLE.fullmatch(part):
            return _unreplaced(f"${whole[1]}")
    return None


def _unreplaced(reference: str) -> str:
    return (
        f"holds {reference}, which nothing has replaced; write the value itself, or on Railway "
        "${{SERVICE.VARIABLE}} (a $ that belongs to a password in an address is written %24)"
    )
