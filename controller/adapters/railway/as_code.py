"""Finds replicas that a file declares for a service that we scale: `.railway/railway.py`, `.ts` or `.go`.

`railway config apply` sets the count back to what such a file says. The files are programs in three languages, and are
only looked through, never run: what they compute is not known here, and is said to be doubtful.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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
_CALL = re.compile(r"\b(?:service|fn)\s*\(", re.IGNORECASE)
_NAMES = "replicas|regions|numReplicas|multiRegionConfig"
_BARE_KEY = re.compile(rf"\b(?P<key>{_NAMES})\s{{0,100}}[:=](?!=)", re.IGNORECASE)
_QUOTED_KEY = re.compile(rf"([\"'`])(?P<key>{_NAMES})\1\s{{0,100}}:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Declared:
    """key: what sets the count. certain: it stands in the declaration of this very service."""

    line: int
    key: str
    certain: bool


def nearest(start: Path) -> Path | None:
    """The file that the Railway CLI would take: the first of this folder and those above it; None where there is none.

    What cannot be looked at counts as not there.
    """
    for folder in (start, *start.parents):
        for name in FILES:
            file = folder / ".railway" / name
            try:
                if file.is_file():
                    return file
            except OSError:
                continue
    return None


def declared_in(file: Path, service: str) -> Declared | None:
    """What the file sets of the count of the service of that name; None where it sets nothing.

    Raises:
        OSError: The file cannot be read.
    """
    with file.open("rb") as stream:
        text = stream.read(MOST_BYTES).decode(errors="replace")
    return declared(text, service, file.suffix)


def declared(text: str, service: str, suffix: str) -> Declared | None:
    """suffix: the language, as the file's name ends."""
    code = _without_comments(text, suffix)
    bare = re.sub(_STRING, lambda string: " " * len(string[0]), code, flags=re.DOTALL)
    name = rf"([\"'`]){re.escape(service)}\1"
    first = re.compile(rf"\s*{name}")
    is_declared = False
    for start, end in _arguments(bare):
        if first.match(code, start):
            is_declared = True
            if key := _BARE_KEY.search(bare, start, end) or _QUOTED_KEY.search(code, start, end):
                return _found(code, key, certain=True)
    if is_declared or not re.search(name, code):
        return None
    key = _BARE_KEY.search(bare)
    return None if key is None else _found(code, key, certain=False)


def _without_comments(text: str, suffix: str) -> str:
    """As long as the text, so that places stay the same; a comment's sign within a string begins none."""
    pattern = re.compile(rf"(?:{_STRING})|(?P<comment>{_COMMENT[suffix]})", re.DOTALL)
    return pattern.sub(lambda found: re.sub(r"[^\n]", " ", found[0]) if found["comment"] else found[0], text)


def _arguments(bare: str) -> Iterator[tuple[int, int]]:
    """From where to where the arguments of each declaration go; `bare` is without comments and strings."""
    for call in _CALL.finditer(bare):
        at, depth = call.end(), 1
        while at < len(bare) and depth:
            depth += {"(": 1, ")": -1}.get(bare[at], 0)
            at += 1
        yield call.end(), at


def _found(code: str, key: re.Match[str], *, certain: bool) -> Declared:
    return Declared(code.count("\n", 0, key.start()) + 1, key["key"], certain)
