"""SQL that a policy holds: what of it can be refused before any database sees it."""

from __future__ import annotations

import re

# Those of a transaction go with it; these stay with the session, which is one that we keep, or a pooler's.
_SESSION_LOCK = re.compile(r'\b(pg_(?:try_)?advisory_lock(?:_shared)?)"?\s*\(', re.IGNORECASE)
# What a parenthesis may stand in without being one. A backslash escapes in E'' only.
_QUOTED = re.compile(
    r"""(?P<escaped>\b[eE]'(?:[^'\\]|''|\\.)*')
    | (?P<text>'(?:[^']|'')*') | (?P<name>"(?:[^"]|"")*")
    | (?P<dollar>\$(?P<tag>[A-Za-z_]?\w*)\$.*?\$(?P=tag)\$)""",
    re.VERBOSE | re.DOTALL,
)


def session_lock_problem(text: str) -> str | None:
    """Why the query may not be asked, where it takes a lock that would outlast its transaction."""
    lock = _SESSION_LOCK.search(text)
    if lock is None:
        return None
    name = lock[1].lower()
    mend = f"read pg_locks, or take {name.replace('_lock', '_xact_lock')}, which ends with the query"
    return f"calls {name}, and the lock would stay with the connection; {mend}"


def condition_problem(text: str) -> str | None:
    """Why the text cannot stand in parentheses as one condition of a WHERE; None where it can, as far as is seen here.

    PostgreSQL has the last word; this keeps a text from closing the parentheses that it is put into, and from turning
    what stands behind it into a comment.
    """
    if "\0" in text:
        return "holds a character that no condition can have"
    bare = _QUOTED.sub("''", text)
    if "--" in bare or "/*" in bare or "*/" in bare:
        return "has a comment; leave it out"
    if ";" in bare:
        return "has a semicolon; write one condition, such as kind = 'mail'"
    if "'" in bare.replace("''", "") or '"' in bare:
        return "has a quote that is not closed"
    if re.match(r"\s*where\b", bare, re.IGNORECASE):
        return "begins with WHERE; write the condition alone, such as kind = 'mail'"
    depth = 0
    for character in bare:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            return "closes a parenthesis that it does not open"
    if depth:
        return "opens a parenthesis that it does not close"
    return session_lock_problem(text)
