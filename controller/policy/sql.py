"""SQL that a policy holds: what of it can be refused before any database sees it."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict

# Those of a transaction go with it; these stay with the session, which is one that we keep, or a pooler's.
_SESSION_LOCK = re.compile(r'(?<![\w$])"?(pg_(?:try_)?advisory_lock(?:_shared)?)"?\s*\(', re.IGNORECASE)
# What a parenthesis or a name may stand in without being one. A backslash escapes in E'' only; comments nest.
_TOKEN = re.compile(
    r"""--[^\n]* | (?P<block>/\*) | (?P<escapes>\b[uU]&"(?:[^"]|"")*") | "(?:[^"]|"")*"
    | \b[eE]'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*' | (?P<dollar>\$(?:[A-Za-z_]\w*)?\$)""",
    re.VERBOSE | re.DOTALL,
)
_DOLLAR = re.compile(r"(?=(\$(?:[A-Za-z_]\w*)?\$))")
_BLOCK = re.compile(r"/\*|\*/")
_ESCAPE = re.compile(r"\\(?:\\|([0-9A-Fa-f]{4})|\+([0-9A-Fa-f]{6}))")


def _bare(text: str, *, keep_comments: bool = False) -> str:
    """The SQL without its texts (each is two quotes) and comments (each is a space), its names in plain letters."""
    parts: list[str] = []
    at = 0
    closings: dict[str, list[int]] = defaultdict(list)
    for found in _DOLLAR.finditer(text):
        closings[found[1]].append(found.start())
    while (token := _TOKEN.search(text, at)) is not None:
        parts.append(text[at : token.start()])
        at = token.end()
        if token["block"] is not None or token[0].startswith("--"):
            end = _end_of_block(text, at) if token["block"] is not None else at
            parts.append(text[token.start() : end] if keep_comments else " ")
            at = end
        elif (tag := token["dollar"]) is not None:
            nth = bisect_left(closings[tag], at)
            if nth == len(closings[tag]):
                parts.append(tag)
            else:
                parts.append("''")
                at = closings[tag][nth] + len(tag)
        elif token[0].endswith("'"):
            parts.append("''")
        elif token["escapes"] is not None:
            parts.append(_ESCAPE.sub(_unescaped, token[0][2:]))
        else:
            parts.append(token[0])
    return "".join([*parts, text[at:]])


def _end_of_block(text: str, at: int) -> int:
    depth = 1
    while depth and (mark := _BLOCK.search(text, at)) is not None:
        depth += 1 if mark[0] == "/*" else -1
        at = mark.end()
    return len(text) if depth else at


def _unescaped(escape: re.Match[str]) -> str:
    digits = escape[1] or escape[2]
    return "\\" if digits is None or int(digits, 16) > 0x10FFFF else chr(int(digits, 16))


def session_lock_problem(text: str) -> str | None:
    """Why the query may not be asked, where it takes a lock that would outlast its transaction.

    As far as its text shows; what a function does is seen after each reading, by adapters/postgres/session.py.
    """
    lock = _SESSION_LOCK.search(_bare(text))
    if lock is None:
        return None
    name = lock[1].lower()
    fix = f"read pg_locks, or take {name.replace('_lock', '_xact_lock')}, which ends with the query"
    return f"calls {name}, and the lock would stay with the connection; {fix}"


def condition_problem(text: str) -> str | None:
    """Why the text cannot stand in parentheses as one condition of a WHERE; None where it can, as far as it shows."""
    if re.match(r"\s*where\b", _bare(text), re.IGNORECASE):
        return "begins with WHERE; write the condition alone, such as kind = 'mail'"
    return fragment_problem(text)


def fragment_problem(text: str) -> str | None:
    """Why the text cannot be a piece of a larger statement; None where it can, as far as it shows.

    PostgreSQL has the last word; this keeps a text from closing the parentheses that it is put into, and from turning
    what stands behind it into a comment.
    """
    if "\0" in text:
        return "holds a NUL character, which PostgreSQL does not take; delete it"
    bare = re.sub(r'"(?:[^"]|"")*"', "''", _bare(text, keep_comments=True))
    if "--" in bare or "/*" in bare or "*/" in bare:
        return "has a comment; leave it out"
    if ";" in bare:
        return "has a semicolon; leave it out"
    if "'" in bare.replace("''", "") or '"' in bare:
        return "has a quote that is not closed"
    depth = 0
    for character in bare:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            return "closes a parenthesis that it does not open"
    if depth:
        return "opens a parenthesis that it does not close"
    return session_lock_problem(text)
