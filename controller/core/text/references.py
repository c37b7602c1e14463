"""Finds references in the environment that a platform, a shell or a compose file should have replaced but did not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_BRACES = re.compile(r"\$\{([^{}]*)\}")
_WHOLE = re.compile(r"\$\(?([A-Z_][A-Z0-9_]*)\)?")
_SEPARATORS = re.compile(r"[:/@?&=,\s]+")
_SAFE_REFERENCE = re.compile(r"(?:[A-Za-z0-9][\w .-]{0,60}\.)?[A-Z_][A-Z0-9_]{0,60}")
_SAFE_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,60}")

LONGEST = 65_536
"""Longest value of a variable, in characters: twice the length of the longest query."""


@dataclass(frozen=True, slots=True)
class References:
    """How a platform writes a reference to a variable, which it replaces before it starts a process.

    opening, closing: what stands around the variable's name. name: an example of a name. unreplaced: finds one that
    was not replaced; its group 1 is the name. fix: where to write it instead, and what to look at, as the end of a
    sentence.
    """

    platform: str
    opening: str
    closing: str
    name: str
    unreplaced: re.Pattern[str]
    fix: str

    def written(self, name: str) -> str:
        return f"{self.opening}{name}{self.closing}"

    @property
    def example(self) -> str:
        return self.written(self.name)


def unusable(value: str) -> str | None:
    """The problem of a value that is too long or not UTF-8, with the fix; None: it can be used.

    Python represents bytes that are not UTF-8 as surrogates, which no client can send.
    """
    if len(value) > LONGEST:
        return f"is longer than {LONGEST:,} characters; shorten it"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "holds bytes that are not UTF-8; set it again, in UTF-8"
    return None


def unresolved(value: str, references: Sequence[References] = ()) -> str | None:
    """The problem of a value that still contains a reference, with the fix; None: it contains none.

    references: of the platforms that a process may run on. The text inside a reference is only shown if it looks like
    a name, because a password may contain braces, too. A bare $NAME counts if it is the whole value, or a whole part of
    an address.
    """
    for one in references:
        if found := one.unreplaced.search(value):
            name = found[1].strip()
            shown = f" {one.written(name)}" if _SAFE_REFERENCE.fullmatch(name) else ""
            return (
                f"holds the reference{shown}, which {one.platform} did not replace; write it as {one.example} {one.fix}"
            )
    if braces := _BRACES.search(value):
        shown = f"${{{braces[1]}}}" if _SAFE_NAME.fullmatch(braces[1]) else "a reference ${…}"
        return _unreplaced(shown, references)
    for part in _SEPARATORS.split(value):
        if whole := _WHOLE.fullmatch(part):
            return _unreplaced(f"${whole[1]}", references)
    return None


def _unreplaced(shown: str, references: Sequence[References]) -> str:
    instead = "".join(f", or on {one.platform} {one.example}" for one in references)
    return (
        f"holds {shown}, which nothing has replaced; write the value itself{instead} "
        "(a $ that belongs to a password in an address is written %24)"
    )
