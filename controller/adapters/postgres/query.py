"""The answer of the policy's own query (queue.sql): one row with pending, processing and, optionally, oldest_age_s."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from controller.adapters.postgres import SOURCE
from controller.core.model import QueueDepth, Remark
from controller.core.ports import Unavailable

_MOST = 1e15
_EXAMPLE = "SELECT count(*) FILTER (WHERE …) AS pending, count(*) FILTER (WHERE …) AS processing FROM …"


def reading_of(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> QueueDepth:
    """The depth in the query's answer.

    Raises:
        Unavailable: the answer is not one row with two usable counts. A missing or odd value is never read as 0,
            because 0 would remove workers.
    """
    for name in ("pending", "processing"):
        if columns.count(name) != 1:
            has = "no column" if name not in columns else "more than one column"
            there = ", ".join(columns[:10]) or "none"
            raise _wrong(f"returns {has} {name} (its columns are: {there}); write {_EXAMPLE}")
    if len(rows) != 1:
        raise _wrong(
            f"returns {'no row' if not rows else 'more than one row'}; it must return one row: count in the query"
        )
    row = dict(zip(columns, rows[0], strict=True))
    age, remarks = _age(row.get("oldest_age_s"), columns.count("oldest_age_s"))
    return QueueDepth(_count("pending", row["pending"]), _count("processing", row["processing"]), age, remarks=remarks)


def _age(value: object, times: int) -> tuple[float | None, tuple[Remark, ...]]:
    """Seconds, at least 0 (clocks differ). A bad value gives a remark and no error: only max_wait needs the age."""
    if times > 1:
        what = "more than one column oldest_age_s; keep one of them"
    elif value is None:
        return None, ()
    elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        what = f"{_kind(value)} as oldest_age_s, not a number of seconds; write extract(epoch FROM …) AS oldest_age_s"
    elif not math.isfinite(value) or value > _MOST:
        what = f"{value:.4g} as oldest_age_s, which is not a possible number of seconds"
    else:
        return max(0.0, float(value)), ()
    return None, (Remark("oldest_age_s", f"queue.sql returns {what}; until this is corrected no age is shown"),)


def _count(name: str, value: object) -> int:
    if value is None:
        raise _wrong(f"returns NULL as {name}; write coalesce(…, 0) if NULL means that there are none")
    number = _number(name, value)
    if number != int(number):
        raise _wrong(f"returns {value} as {name}, which is not a whole number; write {name}::bigint, or round it")
    return int(number)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise _wrong(f"returns {_kind(value)} as {name}, not a number; write count(*) AS {name}")
    if not math.isfinite(value) or value > _MOST:
        raise _wrong(f"returns {value:.4g} as {name}, which is impossible; return the real count")
    if value < 0:
        raise _wrong(f"returns {value:.20g} as {name}, which is impossible; write greatest(…, 0) AS {name}")
    return float(value)


def _kind(value: object) -> str:
    kinds = {str: "text", bool: "true or false"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def _wrong(words: str) -> Unavailable:
    return Unavailable(SOURCE, f"queue.sql {words}")
