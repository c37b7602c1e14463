"""What was measured, as plain tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from tests.bench.depth import SHALLOW, Churned, Reading
from tests.bench.figures import ms, percentile, table, times
from tests.bench.reaction import Arrangement

_COSTS = ("depth()", "statement", "full count", "ours/full")


def by_backlog(rows: int, readings: Sequence[Reading]) -> Iterator[str]:
    yield f"A reading by the backlog, {rows:,} finished jobs in the table; ms, medians, vacuumed before each"
    header = ("indexes", "pending", *_COSTS, "shown")
    lines = [(one.indexes, f"{one.pending:,}", *_costs(one), one.shown) for one in readings]
    yield from table(header, lines)
    for indexes in dict.fromkeys(one.indexes for one in readings):
        yield from _ratios(indexes, [one for one in readings if one.indexes == indexes])


def _ratios(indexes: str, readings: Sequence[Reading]) -> Iterator[str]:
    shallow = next(one for one in readings if one.pending == SHALLOW)
    deep = readings[-1]
    if deep.pending > SHALLOW:
        statement, whole = times(deep.bare / shallow.bare), times(deep.whole / shallow.whole)
        yield f"  {indexes}: at {deep.pending:,} / at {SHALLOW} pending: statement {statement}, depth() {whole}"
    yield f"  {indexes}: full count / statement, at {deep.pending:,} pending: {times(deep.full / deep.bare)}"


def after_churn(rows: int, churned: Sequence[Churned]) -> Iterator[str]:
    yield (
        f"A reading after {rows // 10:,} jobs were worked off without a vacuum, down to {SHALLOW} pending; ms, medians"
    )
    header = ("indexes", "snapshot of before", "first", *_COSTS, "shown")
    lines = [
        (one.reading.indexes, one.when, ms(one.reading.first), *_costs(one.reading), one.reading.shown)
        for one in churned
    ]
    yield from table(header, lines, words=2)


def _costs(one: Reading) -> tuple[str, ...]:
    return ms(one.whole), ms(one.bare), ms(one.full), times(one.bare / one.full)


def reactions(measured: Mapping[Arrangement, Sequence[float]]) -> Iterator[str]:
    yield "From the COMMIT of the first job on an empty queue to the platform's receipt of the request; ms"
    header = ("noticed", "interval", "jobs", "median", "p90", "p99", "max")
    lines = [
        (
            way.name,
            f"{way.interval_s:g} s",
            str(len(took)),
            *map(ms, (median(took), percentile(took, 90), percentile(took, 99), max(took))),
        )
        for way, took in measured.items()
    ]
    yield from table(header, lines)
