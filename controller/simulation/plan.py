"""The effect of an edit of the policy: the changed keys, and the figures on the same jobs before and after.

The verdict is one line, for the top of a pull request. Cheaper and sooner is better, dearer and later is worse. The
rest is a trade, and only the reader knows what a second of waiting is worth: so the verdict says from which worth on it
pays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from controller.core.edits import fleet_changes, rhythm_changes, worker_changes
from controller.core.text.layout import Rows, markdown
from controller.core.units import in_seconds, in_words, money, percent
from controller.policy import Policy, WorkerPolicy
from controller.simulation import hours
from controller.simulation.comparison import Comparison
from controller.simulation.figures import Figures
from controller.simulation.report import heading

_AS_GOOD_AS = 0.02
"""A change of less than 2 % is no reason to decide: another week may give the opposite."""
_AT_LEAST_S = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Two policies, and the comparison of both in this order."""

    old: tuple[Policy, WorkerPolicy]
    new: tuple[Policy, WorkerPolicy]
    comparison: Comparison

    @property
    def before(self) -> Figures:
        return self.comparison.figures[0]

    @property
    def after(self) -> Figures:
        return self.comparison.figures[1]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure before and after; change: in per cent of the old figure; None if that has no meaning."""

    name: str
    before: str
    after: str
    change: float | None


def changes(plan: Plan) -> list[str]:
    """The edit in words, one sentence for each key whose value in force differs."""
    old, new = plan.old[1], plan.new[1]
    said = [*fleet_changes(plan.old[0], plan.new[0]), *rhythm_changes(plan.old[0], plan.new[0])]
    said += worker_changes(old, new)
    if old.each_queue != new.each_queue or old.target != new.target:
        said.append("the queue or the service changes; a simulation cannot show that: both get the same jobs")
    return said


def verdict(plan: Plan) -> str:
    """One line: what the edit gains, and what it costs."""
    before, after = plan.before, plan.after
    cost = _relative(before.dollars_a_month, after.dollars_a_month)
    # If the maxima differ, different parts of the waits are forced by them, so all waits count.
    old, new = (one.avoidable if before.cap == after.cap else one.waits for one in (before, after))
    beyond = "beyond what max_replicas forces, " if before.cap == after.cap else ""
    wait = _relative(old.mean, new.mean, floor=_AT_LEAST_S)
    dollars = money(after.dollars_a_month - before.dollars_a_month, signed=True)
    costs = f"{dollars}/month ({percent(cost, signed=True)})"
    waits = f"jobs wait {in_seconds(new.mean)} instead of {in_seconds(old.mean)} {beyond}on average"
    if after.unfinished > before.unfinished:
        return f"worse: {after.unfinished:,} jobs would never be done"
    cheaper, dearer, sooner, later = cost < -_AS_GOOD_AS, cost > _AS_GOOD_AS, wait < -_AS_GOOD_AS, wait > _AS_GOOD_AS
    if not (cheaper or dearer or sooner or later):
        return f"no difference on these jobs: {costs}, {waits}"
    if (cheaper and not later) or (sooner and not dearer):
        return f"better: {costs}, {waits}"
    if (dearer and not sooner) or (later and not cheaper):
        return f"worse: {costs}, {waits}"
    spent = (after.paid_s - before.paid_s) / (old.total - new.total)
    worth = (
        f"worth it if a job's second of waiting is worth {'more' if dearer else 'less'} than {spent:.3g} worker-seconds"
    )
    return f"a trade: {costs}, {waits}; {worth}"


def as_blocks(plan: Plan) -> Iterator[str | Rows]:
    """For a terminal: paragraphs, and the table."""
    yield "what changes:"
    yield from (f"  {change}" for change in changes(plan) or ["nothing: every value in force stays the same"])
    yield from _hours(plan, "  ")
    yield ""
    yield from heading(plan.comparison)
    yield _table(plan)
    yield ""
    yield f"verdict: {verdict(plan)}"


def _hours(plan: Plan, indent: str) -> Iterator[str]:
    """Of the new policy's schedules; nothing without."""
    said = list(hours.sentences(plan.new[1], plan.comparison.setting.price))
    if said:
        yield ""
        yield "hours of the schedules, after the edit:"
        yield from (f"{indent}{one}" for one in said)


def _table(plan: Plan) -> Rows:
    return [
        ["", "old", "new", "change"],
        *([row.name, row.before, row.after, _percent(row.change)] for row in rows(plan)),
    ]


def as_markdown(plan: Plan) -> Iterator[str]:
    """For a comment on a pull request."""
    yield f"**Policy: {verdict(plan)}**"
    yield ""
    yield from (f"- {change}" for change in changes(plan) or ["nothing changes: every value in force stays the same"])
    yield from _hours(plan, "- ")
    yield ""
    yield from markdown(_table(plan), right=range(1, 4))
    yield ""
    yield "<sub>" + "; ".join(line.strip() for line in heading(plan.comparison)) + "</sub>"


def as_object(plan: Plan) -> dict[str, Any]:
    """For --json."""
    schedules = hours.weekly(plan.new[1], plan.comparison.setting.price)
    return {
        "changes": changes(plan),
        "old": plan.before.as_object(),
        "new": plan.after.as_object(),
        "verdict": verdict(plan),
        **({"schedules": schedules} if schedules else {}),
    }


def rows(plan: Plan) -> list[Row]:
    """Cost, waits, actions, side by side."""
    before, after = plan.before, plan.after

    def row(name: str, old: float, new: float, text: Callable[[float], str]) -> Row:
        return Row(name, text(old), text(new), _change(old, new))

    def times(name: str, old: float, new: float) -> Row:
        return row(name, old, new, in_seconds)

    slo = in_words(plan.comparison.setting.slo_s)
    return [
        row("worker-hours", before.paid_s / 3600, after.paid_s / 3600, "{:,.1f}".format),
        row("cost a month", before.dollars_a_month, after.dollars_a_month, money),
        row("cost over work", before.cost_over_work, after.cost_over_work, "{:.2f}".format),
        times("wait, median", before.waits.p50, after.waits.p50),
        times("wait, p95", before.waits.p95, after.waits.p95),
        times("wait, p99", before.waits.p99, after.waits.p99),
        times("wait, longest", before.waits.longest, after.waits.longest),
        times("avoidable wait, mean", before.avoidable.mean, after.avoidable.mean),
        times("avoidable wait, p95", before.avoidable.p95, after.avoidable.p95),
        row(f"jobs that wait over {slo}", before.late_share, after.late_share, lambda share: percent(share, 1)),
        row(
            "scale actions a day",
            before.per_day(before.ups + before.downs),
            after.per_day(after.ups + after.downs),
            "{:.1f}".format,
        ),
        row("starts a day", before.per_day(before.starts), after.per_day(after.starts), "{:.1f}".format),
        row("flaps a day", before.per_day(before.flaps), after.per_day(after.flaps), "{:.1f}".format),
        row("time without workers", before.at_zero, after.at_zero, percent),
        row("time at max_replicas", before.at_cap, after.at_cap, percent),
    ]


def _change(old: float, new: float) -> float | None:
    return (new - old) / old if old else None


def _percent(change: float | None) -> str:
    return "" if change is None else percent(change, signed=True)


def _relative(before: float, after: float, floor: float = 0.0) -> float:
    """Two values below the floor count as equal."""
    if max(before, after) <= floor or before == after:
        return 0.0
    return (after - before) / max(before, floor or before) if before or floor else 1.0
