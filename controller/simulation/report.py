"""A comparison as people and programs read it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from controller.policy_parts import duration_text
from controller.simulation.comparison import Comparison
from controller.simulation.figures import WORTHS, Figures
from controller.simulation.fleet import Platform
from controller.simulation.scaler import NEVER

_HOUR_S, _DAY_S = 3600.0, 86_400.0
Bound = dict[float, float]
"""By v, the least J(v) that any policy can reach on this workload, in units of the work."""


def as_object(comparison: Comparison, bound: Bound | None = None) -> dict[str, Any]:
    """For --json; the keys say their units."""
    workload, setting, limits = comparison.workload, comparison.setting, comparison.limits
    platform = setting.platform
    return {
        "workload": {
            "name": workload.name,
            "jobs": comparison.jobs,
            "span_s": round(comparison.span_s, 6),
            "load_workers": round(limits.least_s / comparison.span_s, 6) if comparison.span_s else None,
            "mean_service_s": round(limits.least_s * platform.concurrency / comparison.jobs, 6),
            "notes": list(workload.notes),
        },
        "platform": {
            "start_up_s": platform.start_up_s,
            "drain_s": None if platform.drain_s == NEVER else platform.drain_s,
            "start_failure": platform.start_failure,
            "concurrency": platform.concurrency,
            "idle_first": platform.idle_first,
            "memory_gb": setting.price.memory_gb,
            "cpu": setting.price.cpu,
        },
        "limits": {
            "work_s": round(limits.least_s, 6),
            "clairvoyant_without_waits_s": round(limits.no_wait_s, 6),
            "clairvoyant_without_waits_over_work": round(limits.no_wait_s / limits.least_s, 6)
            if limits.least_s
            else None,
            "clairvoyant_without_waits_workers": limits.no_wait_workers,
            "least_J": None if bound is None else {f"{value:g}": round(least, 6) for value, least in bound.items()},
        },
        "policies": [_policy_object(figures, comparison, bound) for figures in comparison.figures],
        "speed": {
            "took_s": round(comparison.took_s, 6),
            "policies_simulated": comparison.simulated,
            "jobs_a_second": round(comparison.jobs_a_second),
            "days_a_second": round(comparison.days_a_second, 3),
        },
    }


def _policy_object(figures: Figures, comparison: Comparison, bound: Bound | None) -> dict[str, Any]:
    """With how far it is from what nobody can beat."""
    no_wait, distance = comparison.limits.no_wait_s, None
    if bound is not None and not figures.unfinished:
        distance = {f"{value:g}": round(total_worth(figures, value) / bound[value], 6) for value in WORTHS}
    over = round(figures.paid_s / no_wait, 6) if no_wait else None
    return {**figures.as_object(), "paid_over_clairvoyant_without_waits": over, "over_least_J": distance}


def as_lines(comparison: Comparison, bound: Bound | None = None) -> Iterator[str]:
    """Two tables: what it costs and how long jobs wait; what the policies do."""
    yield from heading(comparison)
    yield ""
    yield from columns(cost_and_waits(comparison))
    yield ""
    yield from columns(worths(comparison, bound))
    yield ""
    yield from columns(doings(comparison))
    yield ""
    yield from legend(comparison, bound)


def heading(comparison: Comparison) -> Iterator[str]:
    """The workload, and what is taken for granted."""
    limits, setting = comparison.limits, comparison.setting
    span = comparison.span_s
    load = limits.least_s / span if span else 0.0
    mean = limits.least_s * setting.platform.concurrency / comparison.jobs
    yield (
        f"{comparison.workload.name}: {comparison.jobs:,} jobs in {long_time(span)}, {mean:.3g} s each, "
        f"a load of {load:.2f} workers"
    )
    yield from (f"  {note}" for note in comparison.workload.notes)
    yield f"  {assumptions(setting.platform)}; {setting.price.memory_gb:g} GB and {setting.price.cpu:g} vCPU each"


def assumptions(platform: Platform) -> str:
    drain = "finishes its jobs" if platform.drain_s == NEVER else f"has {duration_text(platform.drain_s)} to finish"
    taken = "an idle one if there is any" if platform.idle_first else "taken at random"
    fails = f", {platform.start_failure:.0%} of the starts fail" if platform.start_failure else ""
    each = f", {platform.concurrency} jobs at once" if platform.concurrency > 1 else ""
    return f"a worker starts in {duration_text(platform.start_up_s)}{fails}{each}; one that goes is {taken} and {drain}"


def long_time(seconds: float) -> str:
    """`7 d`, `26.5 h`, `90 s`: to be read, not to be parsed."""
    for unit, size in (("d", _DAY_S), ("h", _HOUR_S), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first column to the left, the others to the right."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells]).rstrip()


def cost_and_waits(comparison: Comparison) -> list[list[str]]:
    head = ["policy", "worker-h", "$/month", "cost/W", "wait p50", "p95", "p99", "max", "avoidable mean", "p95"]
    return [[*head, f"over {duration_text(comparison.setting.slo_s)}"], *map(_cost_row, comparison.figures)]


def _cost_row(figures: Figures) -> list[str]:
    waits, avoidable = figures.waits, figures.avoidable
    return [
        figures.name,
        f"{figures.paid_s / _HOUR_S:,.1f}",
        f"{figures.dollars_a_month:,.2f}",
        f"{figures.cost_over_work:.2f}",
        *(seconds(value) for value in (waits.p50, waits.p95, waits.p99, waits.longest)),
        seconds(avoidable.mean),
        seconds(avoidable.p95),
        f"{figures.late_share:.1%}",
    ]


def worths(comparison: Comparison, bound: Bound | None) -> list[list[str]]:
    """J(v), and how far that is from what nobody can beat."""
    mortal = [figures for figures in comparison.figures if not figures.is_clairvoyant]
    best = {value: min((figures.worth(value) for figures in mortal), default=math.inf) for value in WORTHS}
    head = ["policy", *(f"J({value:g})" for value in WORTHS)]
    if bound is not None:
        head += [f"J/least({value:g})" for value in WORTHS]
    rows = [head]
    for figures in comparison.figures:
        row = [figures.name]
        for value in WORTHS:
            worth = figures.worth(value)
            known = f"{worth:.3f}{'*' if worth == best[value] else ' '}"
            row.append(known if math.isfinite(worth) else "- ")
        if bound is not None:
            row += [_over_least(figures, value, bound) for value in WORTHS]
        rows.append(row)
    return rows


def _over_least(figures: Figures, value: float, bound: Bound) -> str:
    """Whoever leaves jobs undone is under no bound."""
    return "-" if figures.unfinished else f"{total_worth(figures, value) / bound[value]:.2f}"


def total_worth(figures: Figures, value: float) -> float:
    """As J(v), with all of the waiting and by work, sum (S_i/S) w_i: what the lower bound is a bound of."""
    waiting = figures.weighted_wait_s * figures.jobs
    return (figures.paid_s + value * waiting) / figures.work_s if figures.work_s else 0.0


def doings(comparison: Comparison) -> list[list[str]]:
    head = ["policy", "up/day", "down/day", "starts/day", "flaps/day", "at zero", "at cap", "too few", "too many"]
    return [[*head, "given back", "lost h"], *map(_doings_row, comparison.figures)]


def _doings_row(figures: Figures) -> list[str]:
    elasticity = figures.elasticity
    known = not figures.is_clairvoyant
    return [
        figures.name,
        f"{figures.per_day(figures.ups):.1f}",
        f"{figures.per_day(figures.downs):.1f}",
        f"{figures.per_day(figures.starts):.1f}",
        f"{figures.per_day(figures.flaps):.1f}",
        f"{figures.at_zero:.0%}" if known else "-",
        f"{figures.at_cap:.0%}" if known else "-",
        f"{elasticity.theta_under:.0f}% / {elasticity.tau_under:.0f}%" if known else "-",
        f"{elasticity.theta_over:.0f}% / {elasticity.tau_over:.0f}%" if known else "-",
        str(figures.given_back),
        f"{figures.lost_s / _HOUR_S:.1f}",
    ]


def seconds(value: float) -> str:
    return f"{value:,.0f} s" if value >= 100 else f"{value:.1f} s"


def legend(comparison: Comparison, bound: Bound | None) -> Iterator[str]:
    limits = comparison.limits
    if limits.least_s:
        hours, ratio = limits.no_wait_s / _HOUR_S, limits.no_wait_s / limits.least_s
        yield (
            f"W, the work itself: {limits.least_s / _HOUR_S:,.1f} worker-h, and nobody pays less. Without any wait a "
            f"clairvoyant pays {hours:,.1f} ({ratio:.2f} W), with up to {limits.no_wait_workers} workers."
        )
    yield "Avoidable: what a job waits beyond what max_replicas alone would make it wait, without any start-up."
    yield "J(v) = (paid + v x the jobs' avoidable waits) / W: v worker-seconds for a job's second of waiting; * best."
    yield "Too few, too many: by how much of the need on average, and in how much of the time (SPEC's theta and tau)."
    if bound is not None:
        yield "J/least: paid and all waiting, by the least that any policy can reach, clairvoyant or not (fluid bound)."
    if len({figures.cap for figures in comparison.figures}) > 1:
        yield "The maxima differ: avoidable waits, and J with them, are beyond what each policy's own forces."
    unfinished = [figures for figures in comparison.figures if figures.unfinished]
    for figures in unfinished:
        yield f"{figures.name} left {figures.unfinished:,} jobs waiting for ever; their waits are counted to the end."
    policies = "policy" if comparison.simulated == 1 else "policies"
    yield (
        f"{comparison.simulated} {policies} in {comparison.took_s:.2f} s of CPU: "
        f"{comparison.jobs_a_second:,.0f} jobs/s, {comparison.days_a_second:,.1f} simulated days/s"
    )
