"""A query of the user's own: one row with the columns pending and processing, and oldest_age_s if it likes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from controller.model import QueueDepth
from controller.ports import Source, Unavailable

_MOST = 1e15
_EXAMPLE = "SELECT count(*) FILTER (WHERE …) AS pending, count(*) FILTER (WHERE …) AS processing FROM …"


def depth_of(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> QueueDepth:
    """The reading that the query's answer is.

    Raises:
        Unavailable: it is none. What is missing or makes no sense is never taken for 0.
    """
    for name in ("pending", "processing"):
        if columns.count(name) != 1:
            has = "no column" if name not in columns else "more than one column"
            there = ", ".join(columns[:10]) or "none"
            raise _wrong(f"returns {has} {name} (its columns are: {there}); write {_EXAMPLE}")
    if len(rows) != 1:
        raise _wrong(f"returns {'no row' if not rows else 'more than one row'}, and one is needed; count in it")
    if columns.count("oldest_age_s") > 1:
        raise _wrong("returns more than one column oldest_age_s; name one of them")
    row = dict(zip(columns, rows[0], strict=True))
    age = _number("oldest_age_s", row["oldest_age_s"]) if row.get("oldest_age_s") is not None else None
    return QueueDepth(_count("pending", row["pending"]), _count("processing", row["processing"]), age)


def _count(name: str, value: object) -> int:
    if value is None:
        raise _wrong(f"returns NULL as {name}; write coalesce(…, 0) where NULL means that there are none")
    number = _number(name, value)
    if number != int(number):
        raise _wrong(f"returns {value} as {name}, which is no whole number; write {name}::bigint, or round it")
    return int(number)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        mend = "extract(epoch FROM …)" if name == "oldest_age_s" else "count(*)"
        raise _wrong(f"returns {_kind(value)} as {name}, and a number is needed; write {mend} AS {name}")
    if not math.isfinite(value) or value > _MOST:
        raise _wrong(f"returns {value:.4g} as {name}, which no queue can have; write a number that there is")
    if value < 0:
        raise _wrong(f"returns {value:.20g} as {name}, which no queue can have; write greatest(…, 0) AS {name}")
    return float(value)


def _kind(value: object) -> str:
    kinds = {str: "text", bool: "true or false"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def _wrong(words: str) -> Unavailable:
    return Unavailable(Source.QUEUE, f"queue.sql {words}")
