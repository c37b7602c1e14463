"""The effect of an edit of the policy: the changed keys, and the figures on the same jobs before and after.

The verdict is one line, for the top of a pull request. Cheaper and sooner is better, dearer and later is worse. The
rest is a trade, and only the reader knows what a second of waiting is worth: so the verdict says from which worth on it
pays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from controller.core.model import workers
from controller.core.text.layout import Rows, markdown
from controller.core.units import as_policy, in_seconds, in_words, money, percent
from controller.core.wanted import tier_replicas
from controller.policy import Policy, Share, WorkerPolicy
from controller.simulation import hours
from controller.simulation.comparison import Comparison
from controller.simulation.figures import Figures
from controller.simulation.report import heading

_AS_GOOD_AS = 0.02
"""A change of less than 2 % is no reason to decide: another week may give the opposite."""
_AT_LEAST_S = 1.0
_IS_OF = {"tiers", "queue", "queues", "service", "schedules"}
"""Keys that have their own sentences, or that a simulation does not see."""


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
    said = [*fleet_changes(plan.old[0], plan.new[0]), *_tier_changes(old, new), *hours.changed(old, new)]
    before, after = ({**_rhythm(policy), **dict(_values(worker))} for policy, worker in (plan.old, plan.new))
    said += [
        f"{key}: {before.get(key, 'not set')} → {after.get(key, 'not set')}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    ]
    if old.each_queue != new.each_queue or old.service != new.service:
        said.append("the queue or the service changes; a simulation cannot show that: both get the same jobs")
    return said


def fleet_changes(old: Policy, new: Policy) -> Iterator[str]:
    """Workers that are added, dropped, renamed or moved to another service, and the effect on what runs there."""
    before = {worker.service: name for name, worker in old.workers.items()}
    after = {worker.service: name for name, worker in new.workers.items()}
    for service, name in before.items():
        now = after.get(service)
        if now is None and name in new.workers:
            yield (
                f"{name} moves from service {service} to {new.workers[name].service}, where its history starts again; "
                f"{service} is no longer scaled: its workers stay as they are"
            )
        elif now is None:
            yield f"{name} is dropped: service {service} is no longer scaled, its workers stay as they are"
        elif now != name:
            yield f"{name} is renamed to {now}: service {service} keeps its workers, cooldowns and history"
    for service, name in after.items():
        if service not in before and name not in old.workers:
            yield f"{name} is new: service {service} is scaled from now on"


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


def _tier_changes(old: WorkerPolicy, new: WorkerPolicy) -> Iterator[str]:
    if not old.tiers or not new.tiers:
        ways = _way(old), _way(new)
        if ways[0] != ways[1]:
            yield f"{ways[0]} {'are' if old.tiers else 'is'} replaced by {ways[1]}"
        return
    edges = sorted({0, *(tier.up_to + 1 for policy in (old, new) for tier in policy.tiers if tier.up_to is not None)})
    for index, depth in enumerate(edges):
        before, after = tier_replicas(old, depth), tier_replicas(new, depth)
        if before == after:
            continue
        last = edges[index + 1] - 1 if index + 1 < len(edges) else None
        yield f"{_depths(depth, last)}: {workers(after)} instead of {before}"


def _way(worker: WorkerPolicy) -> str:
    """The key that sets the number of workers."""
    if worker.tiers:
        return "tiers"
    return "target_wait" if worker.per_worker is None else "per_worker"


def _depths(first: int, last: int | None) -> str:
    if last is None:
        return f"{first} jobs and more"
    return f"{first} job{'s' * (first != 1)}" if first == last else f"{first} to {last} jobs"


def _rhythm(policy: Policy) -> dict[str, str]:
    keys = ("interval", "wake_min_interval")
    return {key: as_policy(getattr(policy, key)) for key in keys}


def _values(worker: WorkerPolicy) -> Iterator[tuple[str, str]]:
    """The values in force except tiers and queue, by their keys in the file."""
    silent = {("rate_limit", "keys")}
    if worker.target_wait is not None:  # idle_off replaces them
        silent |= {("scale_down", "cooldown"), ("scale_down", "stabilization_window")}
        if worker.scale_down.idle_off is None:
            yield "scale_down.idle_off", "learned"

    def walk(value: object, path: Sequence[str]) -> Iterator[tuple[str, str]]:
        if isinstance(value, BaseModel):
            for name in type(value).model_fields:
                if (path or name not in _IS_OF) and (*path, name) not in silent:
                    yield from walk(getattr(value, name), (*path, name))
        elif value is not None:
            yield ".".join(path), _text(value)

    yield from walk(worker, ())
    yield from _of_queues(worker)


def _of_queues(worker: WorkerPolicy) -> Iterator[tuple[str, str]]:
    """What each of several queues asks of the workers; where its jobs are is no value of a simulation."""
    for name, queue in worker.named_queues.items():
        for key in ("target_wait", "service_time", "weight"):
            if key in queue.model_fields_set:
                yield f"queues.{name}.{key}", _text(getattr(queue, key))


def _text(value: object) -> str:
    return as_policy(value) if isinstance(value, float) and not isinstance(value, Share) else str(value)
