"""A comparison as text for people and as JSON for programs.

The terminal gets tables of at most 80 columns: how long jobs wait, what it costs, what the policies did, and what share
of the time. The page (html.py) has the same rows in full. Units stand in the heading of a column, or behind each value
where they differ. The keys of the JSON are a contract and carry their unit; the words of the columns are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from controller.core.text.layout import Rows
from controller.core.units import in_seconds, in_words, percent
from controller.simulation.comparison import Comparison, Setting
from controller.simulation.figures import PER_WORTH, WORTHS, Figures
from controller.simulation.scaler import NEVER

_HOUR_S, _DAY_S = 3600.0, 86_400.0
_ALL_WAITS = {
    "what": "paid worker-seconds plus all waits, forced and avoidable, weighted by the work of the waiting job",
    "formula": "(paid_s + v * work_weighted_wait_s * jobs) / work_s",
    **PER_WORTH,
}


def as_object(comparison: Comparison) -> dict[str, Any]:
    """For --json; the keys contain the units."""
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
            "drain_source": setting.drain_source,
            "start_failure": platform.start_failure,
            "concurrency": platform.concurrency,
            "idle_first": platform.idle_first,
            "memory_gb": setting.price.memory_gb,
            "cpu": setting.price.cpu,
            **({} if setting.price.an_hour is None else {"dollars_an_hour": setting.price.an_hour}),
        },
        "limits": {
            "work_s": round(limits.least_s, 6),
            "clairvoyant_without_waits_s": round(limits.no_wait_s, 6),
            "clairvoyant_without_waits_over_work": round(limits.no_wait_s / limits.least_s, 6)
            if limits.least_s
            else None,
            "clairvoyant_without_waits_workers": limits.no_wait_workers,
        },
        "policies": [_policy_object(figures, comparison) for figures in comparison.figures],
        "speed": {
            "took_s": round(comparison.took_s, 6),
            "policies_simulated": comparison.simulated,
            "jobs_a_second": round(comparison.jobs_a_second),
            "days_a_second": round(comparison.days_a_second, 3),
        },
    }


def _policy_object(figures: Figures, comparison: Comparison) -> dict[str, Any]:
    """The figures, with their distance from the lower bounds."""
    no_wait, all_waits = comparison.limits.no_wait_s, None
    if not figures.unfinished:
        all_waits = {f"{value:g}": round(total_worth(figures, value), 6) for value in WORTHS}
    over = round(figures.paid_s / no_wait, 6) if no_wait else None
    return {
        **figures.as_object(),
        "J_of_all_waits": all_waits,
        "J_of_all_waits_counts": _ALL_WAITS,
        "paid_over_clairvoyant_without_waits": over,
    }


def as_blocks(comparison: Comparison) -> Iterator[str | Rows]:
    """Paragraphs, and tables of how long jobs wait, of what it costs, of what the policies do; for 80 columns."""
    costs, totals = cost_and_waits(comparison), worths(comparison)
    waits = [[row[0], *row[4:]] for row in costs]
    waits[0][1:-1] = ["wait p50", "p95", "p99", "max", "avoidable", "its p95"]
    yield from heading(comparison)
    yield waits
    yield [[*cost[:4], *total[1:4]] for cost, total in zip(costs, totals, strict=True)]
    yield _changes_a_day(comparison)
    yield _shares_of_time(comparison)
    yield ""
    yield from legend(comparison)


def heading(comparison: Comparison) -> Iterator[str]:
    """The workload and the assumptions."""
    limits, setting = comparison.limits, comparison.setting
    span = comparison.span_s
    load = limits.least_s / span if span else 0.0
    mean = limits.least_s * setting.platform.concurrency / comparison.jobs
    yield (
        f"{comparison.workload.name}: {comparison.jobs:,} jobs in {in_words(span)}, {in_words(mean)} each, "
        f"a load of {load:.2f} workers"
    )
    yield from (f"  {note}" for note in comparison.workload.notes)
    yield f"  {assumptions(setting)}; {setting.price.words} each"


def assumptions(setting: Setting) -> str:
    platform = setting.platform
    has = "the time it needs" if platform.drain_s == NEVER else in_words(platform.drain_s)
    drain = f"has {has} to finish its jobs ({setting.drain_source})"
    taken = "an idle one if there is any" if platform.idle_first else "taken at random"
    fails = f", {percent(platform.start_failure)} of the starts fail" if platform.start_failure else ""
    each = f", {platform.concurrency} jobs at once" if platform.concurrency > 1 else ""
    return f"a worker starts in {in_words(platform.start_up_s)}{fails}{each}; a removed worker is {taken} and {drain}"


def cost_and_waits(comparison: Comparison) -> list[list[str]]:
    head = ["policy", "worker-h", "$/month", "cost/W", "wait p50", "p95", "p99", "max", "avoidable mean", "p95"]
    return [[*head, f"over {in_words(comparison.setting.slo_s)}"], *map(_cost_row, comparison.figures)]


def _cost_row(figures: Figures) -> list[str]:
    waits, avoidable = figures.waits, figures.avoidable
    return [
        figures.name,
        f"{figures.paid_s / _HOUR_S:,.1f}",
        f"{figures.dollars_a_month:,.2f}",
        f"{figures.cost_over_work:.2f}",
        *(in_seconds(value) for value in (waits.p50, waits.p95, waits.p99, waits.longest)),
        in_seconds(avoidable.mean),
        in_seconds(avoidable.p95),
        percent(figures.late_share, 1),
    ]


def worths(comparison: Comparison) -> list[list[str]]:
    """J(v), and its distance from the lower bound."""
    mortal = [figures for figures in comparison.figures if not figures.is_clairvoyant]
    best = {value: min((figures.worth(value) for figures in mortal), default=math.inf) for value in WORTHS}
    head = ["policy", *(f"J({value:g})" for value in WORTHS)]
    rows = [head]
    for figures in comparison.figures:
        row = [figures.name]
        for value in WORTHS:
            worth = figures.worth(value)
            known = f"{worth:.3f}{'*' if worth == best[value] else ' '}"
            row.append(known if math.isfinite(worth) else "- ")
        rows.append(row)
    return rows


def total_worth(figures: Figures, value: float) -> float:
    """As J(v), but with all waits, weighted by work: sum (S_i/S) w_i. The lower bound is a bound of this."""
    waiting = figures.weighted_wait_s * figures.jobs
    return (figures.paid_s + value * waiting) / figures.work_s if figures.work_s else 0.0


def doings(comparison: Comparison) -> list[list[str]]:
    head = ["policy", "up/day", "down/day", "starts/day", "flaps/day", "at zero", "at cap", "too few", "too many"]
    return [[*head, "requeued", "hours lost"], *map(_doings_row, comparison.figures)]


def _doings_row(figures: Figures) -> list[str]:
    elasticity = figures.elasticity
    known = not figures.is_clairvoyant
    return [
        figures.name,
        f"{figures.per_day(figures.ups):.1f}",
        f"{figures.per_day(figures.downs):.1f}",
        f"{figures.per_day(figures.starts):.1f}",
        f"{figures.per_day(figures.flaps):.1f}",
        percent(figures.at_zero) if known else "-",
        percent(figures.at_cap) if known else "-",
        _shares(elasticity.theta_under, elasticity.tau_under) if known else "-",
        _shares(elasticity.theta_over, elasticity.tau_over) if known else "-",
        str(figures.given_back),
        f"{figures.lost_s / _HOUR_S:.1f}",
    ]


def _shares(of_need: float, of_time: float) -> str:
    """Both in per cent: workers missing or idle, on average, by those needed; and the share of the time in which."""
    return f"{percent(of_need / 100)} / {percent(of_time / 100)}"


def _changes_a_day(comparison: Comparison) -> list[list[str]]:
    """Of doings(), what the policy did, a day. With the shares of the time it would be wider than 80 columns."""
    rows = [["policy", "actions", "starts", "flaps", "requeued", "hours lost"]]
    for figures, row in zip(comparison.figures, doings(comparison)[1:], strict=True):
        rows.append([row[0], f"{figures.per_day(figures.ups + figures.downs):.1f}", *row[3:5], *row[9:]])
    return rows


def _shares_of_time(comparison: Comparison) -> list[list[str]]:
    """Of doings(), the shares of the time; too few and too many workers in time alone."""
    rows = [["policy", "at 0", "at max", "too few", "too many"]]
    for figures, row in zip(comparison.figures, doings(comparison)[1:], strict=True):
        of_time = (figures.elasticity.tau_under, figures.elasticity.tau_over)
        needed = ["-" if figures.is_clairvoyant else percent(share / 100) for share in of_time]
        rows.append([row[0], *row[5:7], *needed])
    return rows


def legend(comparison: Comparison) -> Iterator[str]:
    """What the columns of the tables mean, and what is odd about these figures."""
    limits = comparison.limits
    if limits.least_s:
        hours, ratio = limits.no_wait_s / _HOUR_S, limits.no_wait_s / limits.least_s
        yield (
            f"W is the work of all jobs: {limits.least_s / _HOUR_S:,.1f} worker-hours; no policy pays less. If no job "
            f"may wait, even a policy that knows all jobs in advance pays {hours:,.1f} worker-hours ({ratio:.2f} W), "
            f"with up to {limits.no_wait_workers} workers."
        )
    yield (
        "Avoidable (mean and p95): how much longer a job waits than it would if max_replicas workers ran all the time."
    )
    yield (
        "J(v) = (paid + v x avoidable waits) / W: cost and waits as one number, if one second that a job waits is "
        "worth v worker-seconds. * marks the best."
    )
    yield (
        "Actions, starts and flaps are per day; a flap is a worker that is stopped and requested again within one "
        "start-up. Requeued: jobs that started again because their worker was removed. Hours lost: the work that this "
        "cost."
    )
    yield ("Too few, too many: the share of the time with fewer or more workers than the jobs need.")
    if len({figures.cap for figures in comparison.figures}) > 1:
        yield (
            "The policies have different maxima: the avoidable waits of each, and J, are measured against its own "
            "maximum."
        )
    unfinished = [figures for figures in comparison.figures if figures.unfinished]
    for figures in unfinished:
        yield f"{figures.name} never finished {figures.unfinished:,} jobs; their waits are counted to the end."
    policies = "policy" if comparison.simulated == 1 else "policies"
    yield (
        f"{comparison.simulated} {policies} in {in_words(comparison.took_s)} of CPU: "
        f"{comparison.jobs_a_second:,.0f} jobs/s, {comparison.days_a_second:,.1f} simulated days/s"
    )
