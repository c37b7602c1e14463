"""Reads PostgreSQL's plan of a depth query: which tables it scans and how, and which index would help. Pure.

The input is the JSON that EXPLAIN (VERBOSE, FORMAT JSON) prints. With ANALYZE and BUFFERS it also holds measured rows,
pages and time; without them those figures are None.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import sql

BIG_PAGES = 1000
"""8 MB, in pages of 8 kB: PostgreSQL reads a smaller table whole in a few milliseconds, so it needs no index."""
_MANY_ROWS = 10_000
"""Rows: reading this many and discarding most of them is too much for a query that runs every few seconds."""
_A_CALL = re.compile(r"\w\(|\bSubPlan\b|\bInitPlan\b|\$\d|= ANY \(")
"""Calls, subplans, parameters and lists: cannot or should not be in an index predicate, as their value changes."""


@dataclass(frozen=True, slots=True)
class Scan:
    """How one table is read.

    indexes: the indexes used. condition: what is looked up in them. rest: the filter that is tested row by row.
    returned, dropped: rows that passed the filter and rows that did not; None if the query was only planned.
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
        """Whether it reads rows of a big table that it does not need.

        A whole-table scan always does. A measured index scan does if it drops more than half of 10,000 rows or more. An
        index scan that was only planned does if its filter has a part that an index predicate could hold.
        """
        if self.whole:
            return True
        if self.dropped is not None:
            return self.rows >= _MANY_ROWS and self.dropped * 2 > self.rows
        return any(not _A_CALL.search(part) for part in conjuncts(self.rest))

    def index(self) -> str | None:
        """The CREATE INDEX statement that would serve this scan; None if its conditions name no column.

        Parts with a constant value go into the index's WHERE, which keeps it small. The others become its columns.
        """
        parts = [*conjuncts(self.condition), *conjuncts(self.rest)]
        fixed = [part for part in parts if not _A_CALL.search(part)]
        moving = [part for part in parts if _A_CALL.search(part)]
        columns = self._columns(moving) or self._columns(fixed)
        if not columns:
            return None
        where = f" WHERE {' AND '.join(map(self._bare, fixed))}" if fixed else ""
        return f"CREATE INDEX CONCURRENTLY ON {self.name} ({', '.join(columns)}){where};"

    def _columns(self, parts: list[str]) -> list[str]:
        """The first column of each part, quoted as in SQL."""
        found = (re.search(rf'(?<![\w"]){re.escape(self._alias)}\.("(?:[^"]|"")+"|\w+)', part) for part in parts)
        return list(dict.fromkeys(match[1] for match in found if match))

    def _bare(self, part: str) -> str:
        return re.sub(rf'(?<![\w"]){re.escape(self._alias)}\.', "", part)

    @property
    def _alias(self) -> str:
        return self.alias if re.fullmatch(r"[a-z_][a-z0-9_]*", self.alias) else sql.Identifier(self.alias).as_string()


@dataclass(frozen=True, slots=True)
class Plan:
    """pages: pages of 8 kB touched. took_ms: milliseconds. Both are None if the query was only planned."""

    scans: tuple[Scan, ...]
    pages: int | None
    took_ms: float | None

    @property
    def counted(self) -> int:
        """Rows that the scans returned."""
        return sum(scan.returned or 0 for scan in self.scans)

    @property
    def indexes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(index for scan in self.scans for index in scan.indexes))

    def steps_over_dead_rows(self) -> bool:
        """Whether it touched over 10 pages for each row counted (plus 100), although no scan lacks an index.

        The usual cause is dead rows that vacuum has not removed.
        """
        wasteful = any(scan.is_wasteful() for scan in self.scans)
        return self.pages is not None and not wasteful and self.pages > 10 * (self.counted + 100)


def read_plan(explained: Mapping[str, Any]) -> Plan:
    """explained: the first element of the list that EXPLAIN (FORMAT JSON) returns."""
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
    """Splits at the top-level ANDs; an AND within quotes or parentheses does not split."""
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
    """The index at which the text's opening parenthesis is closed; -1 if it is not."""
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
