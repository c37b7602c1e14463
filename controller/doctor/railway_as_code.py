"""Finds a replica count that `.railway/railway.py`, `.ts` or `.go` declares for a service that we scale.

`railway config apply` resets the count to what such a file says. The files are programs in three languages. They are
searched with regular expressions and never run, so a computed count cannot be read; a match is then reported as not
certain.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

FILES = ("railway.py", "railway.ts", "railway.go")
MOST_BYTES = 1_000_000
"""Only this much of a file is searched."""

_COMMENT = {".py": r"#[^\n]*", ".ts": r"//[^\n]*|/\*.*?\*/", ".go": r"//[^\n]*|/\*.*?\*/"}
_STRING = (
    r'"""(?:\\.|[^\\])*?"""|'
    r"'''(?:\\.|[^\\])*?'''|"
    r'"(?:\\.|[^"\\\n])*"|'
    r"'(?:\\.|[^'\\\n])*'|"
    r"`(?:\\.|[^`\\])*`"
)
"""Each character matches in one way only; otherwise an unclosed string makes the regex backtrack without end."""
_CALL = re.compile(r"\b(?:service|fn|database|postgres|mysql|mongo|redis)\s*(?:<[^<>()]{0,200}>)?\s*\(", re.IGNORECASE)
_NAMES = "replicas|regions|numReplicas|multiRegionConfig"
_IS_SET = r"\s{0,100}[:=](?![=>])"
# replicas=3, replicas: 3, w.replicas = 3, .replicas(3), WithReplicas(3)
_BARE_KEY = re.compile(rf"\b(?:with|set)?_?(?P<key>{_NAMES})(?:{_IS_SET}|\s{{0,100}}\()", re.IGNORECASE)
# "replicas": 3, ["replicas"]: 3, w["replicas"] = 3
_QUOTED_KEY = re.compile(rf"([\"'`])(?P<key>{_NAMES})\1(?:\s{{0,100}}\])?{_IS_SET}", re.IGNORECASE)
# TypeScript's shorthand for a variable of the same name: { start, replicas }
_SHORTHAND = re.compile(rf"[{{,]\s{{0,100}}(?P<key>{_NAMES})\s{{0,100}}(?=[,}}])")
_LITERAL = r"\s{0,100}(?:name\s{0,100}=\s{0,100})?"


@dataclass(frozen=True, slots=True)
class Declared:
    """key: the name that sets the count. certain: it is inside the declaration of this service."""

    line: int
    key: str
    certain: bool


def nearest(start: Path) -> tuple[Path, ...]:
    """The files that the Railway CLI would use: those of the nearest folder, from `start` upwards, that has any.

    A file that cannot be accessed counts as missing.
    """
    for folder in (start, *start.parents):
        files = tuple(file for file in (folder / ".railway" / name for name in FILES) if _is_file(file))
        if files:
            return files
    return ()


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:
        return False


def declared_in(file: Path, service: str) -> Declared | None:
    """Where the file sets the count of the service of that name; None if it does not.

    Raises:
        OSError: The file cannot be read.
    """
    with file.open("rb") as stream:
        text = stream.read(MOST_BYTES).decode(errors="replace")
    return declared(text, service, file.suffix)


def declared(text: str, service: str, suffix: str) -> Declared | None:
    """suffix: the file name's, which tells the language.

    A count inside another service's declaration is ignored. A count outside any declaration may belong to this service,
    as it may be spread into its declaration or set after it; it is returned with certain=False.
    """
    code = _without_comments(text, suffix)
    bare = re.sub(_STRING, lambda string: " " * len(string[0]), code, flags=re.DOTALL)
    name = rf"([\"'`]){re.escape(service)}\1"
    if not re.search(name, code):
        return None
    this, literal = re.compile(_LITERAL + name), re.compile(_LITERAL + "[\"'`]")
    calls = list(_arguments(bare))
    own = _merged(call for call in calls if this.match(code, call[0]))
    others = _merged(call for call in calls if literal.match(code, call[0]) and not this.match(code, call[0]))
    keys = list(_keys(code, bare, suffix))
    for key in keys:
        if _is_within(key.start("key"), own):
            return _found(code, key, certain=True)
    for key in keys:
        if not _is_within(key.start("key"), others):
            return _found(code, key, certain=False)
    return None


def _keys(code: str, bare: str, suffix: str) -> Iterator[re.Match[str]]:
    """All places that may set a count, in file order. bare: the code with its strings blanked."""
    found = [*_BARE_KEY.finditer(bare), *_QUOTED_KEY.finditer(code)]
    found += _SHORTHAND.finditer(bare) if suffix == ".ts" else ()
    yield from sorted(found, key=lambda key: key.start("key"))


def _without_comments(text: str, suffix: str) -> str:
    """Blanks comments. Keeps the text's length, so that positions stay valid; comment marks within strings stay."""
    pattern = re.compile(rf"(?:{_STRING})|(?P<comment>{_COMMENT[suffix]})", re.DOTALL)
    return pattern.sub(lambda found: re.sub(r"[^\n]", " ", found[0]) if found["comment"] else found[0], text)


def _arguments(bare: str) -> Iterator[tuple[int, int]]:
    """Start and end of each declaration's arguments. bare: the code with its comments and strings blanked."""
    ends: dict[int, int] = {}
    opened: list[int] = []
    for sign in re.finditer(r"[()]", bare):
        if sign[0] == "(":
            opened.append(sign.start())
        elif opened:
            ends[opened.pop()] = sign.start()
    for call in _CALL.finditer(bare):
        yield call.end(), ends.get(call.end() - 1, len(bare))


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Joins overlapping spans, so that one binary search finds whether a place is inside. spans: sorted by start."""
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _is_within(place: int, merged: list[tuple[int, int]]) -> bool:
    at = bisect_right(merged, (place, math.inf)) - 1
    return at >= 0 and place < merged[at][1]


def _found(code: str, key: re.Match[str], *, certain: bool) -> Declared:
    return Declared(code.count("\n", 0, key.start("key")) + 1, key["key"], certain)
