"""What PostgreSQL's plan of a depth query tells: which tables it reads and how, and which index would serve it. Pure.

A plan is what EXPLAIN (VERBOSE, FORMAT JSON) prints; with ANALYZE and BUFFERS it also tells what really happened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

BIG_PAGES = 1000
"""8 MB: a table that is smaller is read whole in a few milliseconds."""
_MANY_ROWS = 10_000
"""Looked at in vain, or one by one, by a query that is asked every few seconds."""
_A_CALL = re.compile(r"\w\(|\bSubPlan\b|\bInitPlan\b|\$\d|= ANY \(")
"""What can be no condition of an index, or should be none: its value is another one the next time."""


@dataclass(frozen=True, slots=True)
class Scan:
    """How one table is read.

    indexes: those that were gone by. condition: what is looked up there. rest: what is tested row by row. returned and
    dropped: rows that passed the test and that did not; None where the query was not run.
    """

    schema: str
    table: str
    alias: str
    whole: bool
    indexes: tuple[str, ...]
    condition: str
    rest: str
    returned: int | None
    dropped: int | None

    @property
    def name(self) -> str:
        return sql.Identifier(self.schema, self.table).as_string()

    @property
    def rows(self) -> int:
        return (self.returned or 0) + (self.dropped or 0)

    def is_wasteful(self) -> bool:
        """Whether it reads, of a big table, what it has no need of."""
        if self.whole:
            return True
        if self.dropped is not None:
            return self.rows >= _MANY_ROWS and self.dropped * 2 > self.rows
        return any(not _A_CALL.search(part) for part in conjuncts(self.rest))

    def index(self) -> str | None:
        """The statement that makes an index for it; None where nothing says what it looks for."""
        parts = [*conjuncts(self.condition), *conjuncts(self.rest)]
        fixed = [part for part in parts if not _A_CALL.search(part)]
        moving = [part for part in parts if _A_CALL.search(part)]
        columns = self._columns(moving) or self._columns(fixed)
        if not columns:
            return None
        where = f" WHERE {' AND '.join(map(self._bare, fixed))}" if fixed else ""
        return f"CREATE INDEX CONCURRENTLY ON {self.name} ({', '.join(columns)}){where};"

    def _columns(self, parts: list[str]) -> list[str]:
        """The first column of each part, as SQL would have it."""
        found = (re.search(rf'(?<![\w"]){re.escape(self._alias)}\.("(?:[^"]|"")+"|\w+)', part) for part in parts)
        return list(dict.fromkeys(match[1] for match in found if match))

    def _bare(self, part: str) -> str:
        return re.sub(rf'(?<![\w"]){re.escape(self._alias)}\.', "", part)

    @property
    def _alias(self) -> str:
        return self.alias if re.fullmatch(r"[a-z_][a-z0-9_]*", self.alias) else sql.Identifier(self.alias).as_string()


@dataclass(frozen=True, slots=True)
class Plan:
    """pages: how many it touched, and took_ms: how long it took; None where it was not run."""

    scans: tuple[Scan, ...]
    pages: int | None
    took_ms: float | None

    @property
    def counted(self) -> int:
        """Rows that were of use."""
        return sum(scan.returned or 0 for scan in self.scans)

    @property
    def indexes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(index for scan in self.scans for index in scan.indexes))

    def steps_over_the_dead(self) -> bool:
        """Whether it touched far more pages than what it counted can lie on, and not for want of an index."""
        wasteful = any(scan.is_wasteful() for scan in self.scans)
        return self.pages is not None and not wasteful and self.pages > 10 * (self.counted + 100)


def read_plan(explained: Mapping[str, Any]) -> Plan:
    """The first element of what EXPLAIN (FORMAT JSON) returns."""
    top = explained["Plan"]
    pages = top["Shared Hit Blocks"] + top["Shared Read Blocks"] if "Shared Hit Blocks" in top else None
    return Plan(tuple(_scans(top)), pages, explained.get("Execution Time"))


def _scans(node: Mapping[str, Any]) -> Iterator[Scan]:
    children = node.get("Plans", ())
    if "Relation Name" in node:
        loops = node.get("Actual Loops")
        lookups = [node, *(child for child in _below(node) if child["Node Type"] == "Bitmap Index Scan")]
        yield Scan(
            schema=node.get("Schema", ""),
            table=node["Relation Name"],
            alias=node.get("Alias", node["Relation Name"]),
            whole=node["Node Type"] in {"Seq Scan", "Sample Scan"},
            indexes=tuple(one["Index Name"] for one in lookups if "Index Name" in one),
            condition=" AND ".join(one["Index Cond"] for one in lookups if "Index Cond" in one),
            rest=node.get("Filter", ""),
            returned=None if loops is None else round(node["Actual Rows"] * loops),
            dropped=None if loops is None else round(node.get("Rows Removed by Filter", 0) * loops),
        )
    for child in children:
        yield from _scans(child)


def _below(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for child in node.get("Plans", ()):
        yield child
        yield from _below(child)


def conjuncts(condition: str) -> list[str]:
    """The parts that ANDs join, at the top; quotes and parentheses are kept together."""
    text = condition.strip()
    while text.startswith("(") and _closing(text) == len(text) - 1:
        text = text[1:-1]
    parts, begin, depth = [], 0, 0
    for index, character in _outside_quotes(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and text.startswith(" AND ", index):
            parts.append(text[begin:index])
            begin = index + len(" AND ")
    return [part.strip() for part in (*parts, text[begin:]) if part.strip()]


def _closing(text: str) -> int:
    """Where the parenthesis that the text begins with is closed."""
    depth = 0
    for index, character in _outside_quotes(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return index
    return -1


def _outside_quotes(text: str) -> Iterator[tuple[int, str]]:
    quote = ""
    for index, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        else:
            yield index, character
