"""Finds replicas that a file declares for a service that we scale: `.railway/railway.py`, `.ts` or `.go`.

`railway config apply` sets the count back to what such a file says. The files are programs in three languages, and are
only looked through, never run: what they compute is not known here, and is said to be doubtful.
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
"""Of a file that is looked through."""

_COMMENT = {".py": r"#[^\n]*", ".ts": r"//[^\n]*|/\*.*?\*/", ".go": r"//[^\n]*|/\*.*?\*/"}
_STRING = (
    r'"""(?:\\.|[^\\])*?"""|'
    r"'''(?:\\.|[^\\])*?'''|"
    r'"(?:\\.|[^"\\\n])*"|'
    r"'(?:\\.|[^'\\\n])*'|"
    r"`(?:\\.|[^`\\])*`"
)
"""Each character can be taken in one way only: else looking through a string that is never closed takes forever."""
_CALL = re.compile(r"\b(?:service|fn|database|postgres|mysql|mongo|redis)\s*(?:<[^<>()]{0,200}>)?\s*\(", re.IGNORECASE)
_NAMES = "replicas|regions|numReplicas|multiRegionConfig"
_IS_SET = r"\s{0,100}[:=](?![=>])"
# replicas=3, replicas: 3, w.replicas = 3, .replicas(3), WithReplicas(3)
_BARE_KEY = re.compile(rf"\b(?:with|set)?_?(?P<key>{_NAMES})(?:{_IS_SET}|\s{{0,100}}\()", re.IGNORECASE)
# "replicas": 3, ["replicas"]: 3, w["replicas"] = 3
_QUOTED_KEY = re.compile(rf"([\"'`])(?P<key>{_NAMES})\1(?:\s{{0,100}}\])?{_IS_SET}", re.IGNORECASE)
# In TypeScript, where a variable is called so too: { start, replicas }
_SHORTHAND = re.compile(rf"[{{,]\s{{0,100}}(?P<key>{_NAMES})\s{{0,100}}(?=[,}}])")
_LITERAL = r"\s{0,100}(?:name\s{0,100}=\s{0,100})?"


@dataclass(frozen=True, slots=True)
class Declared:
    """key: what sets the count. certain: it stands in the declaration of this very service."""

    line: int
    key: str
    certain: bool


def nearest(start: Path) -> tuple[Path, ...]:
    """The files that the Railway CLI may take: of the first of this folder and those above it that has any.

    What cannot be looked at counts as not there.
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
    """What the file sets of the count of the service of that name; None where it sets nothing.

    Raises:
        OSError: The file cannot be read.
    """
    with file.open("rb") as stream:
        text = stream.read(MOST_BYTES).decode(errors="replace")
    return declared(text, service, file.suffix)


def declared(text: str, service: str, suffix: str) -> Declared | None:
    """suffix: the language, as the file's name ends.

    What stands in the declaration of another service is that one's. What stands anywhere else may be of this one: it
    may be spread into its declaration, or be set after it.
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
    """All that may set a count, in the order of the file; `bare` is without strings."""
    found = [*_BARE_KEY.finditer(bare), *_QUOTED_KEY.finditer(code)]
    found += _SHORTHAND.finditer(bare) if suffix == ".ts" else ()
    yield from sorted(found, key=lambda key: key.start("key"))


def _without_comments(text: str, suffix: str) -> str:
    """As long as the text, so that places stay the same; a comment's sign within a string begins none."""
    pattern = re.compile(rf"(?:{_STRING})|(?P<comment>{_COMMENT[suffix]})", re.DOTALL)
    return pattern.sub(lambda found: re.sub(r"[^\n]", " ", found[0]) if found["comment"] else found[0], text)


def _arguments(bare: str) -> Iterator[tuple[int, int]]:
    """From where to where the arguments of each declaration go; `bare` is without comments and strings."""
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
    """The same places without overlaps, so that one look tells of each. spans: by their beginnings."""
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
