"""Searches tiers and timings for a goal, on jobs that were recorded or made up, and says how far to believe it.

It searches on the first two thirds of the workload; on the last third, which it has not looked at, and on weeks that
are drawn anew from blocks of the whole, it only says how the policy does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml

from controller.policy import Policy, WorkerPolicy
from controller.policy_parts import duration_text
from controller.policy_text import ConfigurationError, Problem
from controller.simulation.comparison import Contender, Setting, compare
from controller.simulation.contenders import Common, own_worker, tiers_for, wakes
from controller.simulation.figures import Figures
from controller.simulation.own import OwnPolicy
from controller.simulation.report import assumptions, long_time, seconds
from controller.simulation.workload import Workload, first, halves, measure, resampled

_WAITS = (5.0, 15.0, 30.0, 60.0, 120.0, 240.0, 480.0)
_COOLDOWNS = ((0.0, 30.0), (30.0, 120.0), (0.0, 10.0))
_IDLE_OFFS = (0.0, 10.0, 30.0, 60.0)
_FINER = (0.7, 0.85, 1.2, 1.4)
_MOST_TIERS = 12
_MOST_JOBS = 60_000
"""More than that, and the search goes through the beginning of its part only."""

Searched = Callable[[int, int], None]
"""Is told how many candidates were tried, and of how many."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One of the two. wait_s: 95 % of the avoidable waits are at most this, as cheaply as can be."""

    wait_s: float | None = None
    dollars_a_month: float | None = None

    def is_met_by(self, figures: Figures) -> bool:
        if figures.unfinished:
            return False
        if self.wait_s is not None:
            return figures.avoidable.p95 <= self.wait_s
        return figures.dollars_a_month <= (self.dollars_a_month or 0.0)

    def rank(self, figures: Figures) -> tuple[float, ...]:
        """The least is the best: what meets the goal first, and then by the other side of the bargain."""
        by_wait = self.wait_s is not None
        if self.is_met_by(figures):
            return (0.0, figures.paid_s if by_wait else figures.avoidable.mean, figures.avoidable.mean, figures.paid_s)
        return (1.0, float(figures.unfinished), figures.avoidable.p95 if by_wait else figures.paid_s)

    @property
    def words(self) -> str:
        if self.wait_s is not None:
            return f"95 % of the jobs wait at most {duration_text(self.wait_s)} beyond what max_replicas forces"
        return f"at most {self.dollars_a_month:g} $/month"


Candidate = Mapping[str, Any]
"""What would stand in the file: tiers or target_wait, scale_up, scale_down."""


@dataclass(frozen=True, slots=True)
class Found:
    """The best that was found, and how it does. held_out: on jobs that the search has not seen, ours before the old."""

    goal: Goal
    candidate: Candidate
    old: WorkerPolicy
    tried: int
    is_met: bool
    searched_on: Figures
    held_out: tuple[Figures, Figures]
    weeks: Sequence[Figures]
    workload: Workload
    searched_s: float
    held_out_s: float
    setting: Setting


def search(
    old: tuple[Policy, WorkerPolicy],
    workload: Workload,
    goal: Goal,
    setting: Setting,
    *,
    form: str,
    weeks: int,
    common: Common,
    progress: Searched,
) -> Found:
    """`form`: tiers, target_wait, or any.

    Raises:
        ConfigurationError: there are too few jobs to learn from.
    """
    seen, unseen = halves(workload)
    measured = measure(seen)
    if measured.jobs < 100 or measure(unseen).jobs < 20:
        words = "has too few jobs in one of the parts, to search on and to hold out; take a window with more of them"
        raise ConfigurationError([Problem(workload.name, words)])
    if measured.jobs > _MOST_JOBS:
        seen = first(seen, measured.last * _MOST_JOBS / measured.jobs)
    trial = _Trial(old, goal, setting, common, measured.mean_s)
    coarse = list(_coarse(old[1], trial.service_s, form))
    trial.run(seen, coarse, progress, len(coarse) * 5 // 4)
    finer = list(_finer(trial.best_few(), old[1], trial.service_s))
    trial.run(seen, finer, progress, len(trial.results) + len(finer))
    best, on_seen = trial.best_few()[0]
    held_out = compare(unseen, [trial.contender("found", best), _as_it_is(old, common)], setting).figures
    again = [
        compare(resampled(workload, seed), [trial.contender("found", best)], setting).figures[0]
        for seed in range(1, weeks + 1)
    ]
    return Found(
        goal=goal,
        candidate=best,
        old=old[1],
        tried=len(trial.results),
        is_met=goal.is_met_by(on_seen),
        searched_on=on_seen,
        held_out=(held_out[0], held_out[1]),
        weeks=again,
        workload=workload,
        searched_s=on_seen.end_s,
        held_out_s=held_out[0].end_s,
        setting=setting,
    )


class _Trial:
    """The candidates that were tried, with their figures."""

    def __init__(
        self, old: tuple[Policy, WorkerPolicy], goal: Goal, setting: Setting, common: Common, service_s: float
    ) -> None:
        self.service_s = service_s
        self.results: list[tuple[Candidate, Figures]] = []
        self._policy, self._worker = old
        self._goal, self._setting, self._common = goal, setting, common

    def run(self, jobs: Workload, candidates: Sequence[Candidate], progress: Searched, of: int) -> None:
        """A few at a time share one pass over the jobs."""
        for start in range(0, len(candidates), 8):
            few = candidates[start : start + 8]
            compared = compare(jobs, [self.contender("", candidate) for candidate in few], self._setting)
            self.results += zip(few, compared.figures, strict=True)
            progress(len(self.results), max(of, len(self.results)))

    def best_few(self) -> list[tuple[Candidate, Figures]]:
        return sorted(self.results, key=lambda result: self._goal.rank(result[1]))[:4]

    def contender(self, name: str, candidate: Candidate) -> Contender:
        base = {
            "min_replicas": self._worker.min_replicas,
            "max_replicas": self._worker.max_replicas,
            "jobs_per_worker": self._worker.jobs_per_worker,
        }
        worker = own_worker({**base, **_as_written(candidate, self._worker)})
        is_woken = wakes(self._worker, self._common)
        return Contender(name, worker.max_replicas, lambda: OwnPolicy.of(self._policy, worker, wakes=is_woken))


def _as_it_is(old: tuple[Policy, WorkerPolicy], common: Common) -> Contender:
    policy, worker = old
    return Contender("as it is", worker.max_replicas, lambda: OwnPolicy.of(policy, worker, wakes=wakes(worker, common)))


def _coarse(worker: WorkerPolicy, service_s: float, form: str) -> Iterator[Candidate]:
    if form != "target_wait":
        yield from (_by_tiers(worker, service_s, wait, up, down) for wait in _WAITS for up, down in _COOLDOWNS)
    if form != "tiers":
        yield from (_by_target(worker, service_s, wait, idle) for wait in (0.0, *_WAITS[:-1]) for idle in _IDLE_OFFS)


def _finer(best: Sequence[tuple[Candidate, Figures]], worker: WorkerPolicy, service_s: float) -> Iterator[Candidate]:
    """Around the best: the wait that it is cut for, and what holds a worker."""
    for candidate, _ in best[:2]:
        wait, first_timing, second_timing = candidate["aim"]
        for factor in _FINER:
            if "tiers" in candidate:
                yield _by_tiers(worker, service_s, wait * factor, first_timing, second_timing)
            else:
                yield _by_target(worker, service_s, round(wait * factor, 1), first_timing)


def _by_tiers(worker: WorkerPolicy, service_s: float, wait: float, up: float, down: float) -> Candidate:
    """As many workers as the wait asks for: k up to k x wait / service jobs; with many workers, not a tier for each."""
    most = worker.max_replicas
    counts = sorted({max(1, round(most * step / _MOST_TIERS)) for step in range(1, _MOST_TIERS + 1)} | {1, most})
    each = wait * (worker.jobs_per_worker or 1) / max(service_s, 1e-3)
    tiers = tiers_for([(count, count * each) for count in counts if count < most], most)
    return {
        "tiers": tiers,
        "scale_up": {"cooldown": duration_text(up)},
        "scale_down": {"cooldown": duration_text(down)},
        "aim": (wait, up, down),
    }


def _by_target(worker: WorkerPolicy, service_s: float, wait: float, idle_off: float) -> Candidate:
    candidate: dict[str, Any] = {"target_wait": duration_text(wait)}
    if worker.service_time is not None:
        candidate["service_time"] = duration_text(worker.service_time)
    elif worker.queue.table is None:  # nobody could measure it there
        candidate["service_time"] = duration_text(round(max(service_s, 0.01), 3))
    return {**candidate, "scale_down": {"idle_off": duration_text(idle_off)}, "aim": (wait, idle_off, 0.0)}


def _as_written(candidate: Candidate, old: WorkerPolicy) -> dict[str, Any]:
    """As it would stand in the file; the step limits stay what they were."""
    fields = {key: value for key, value in candidate.items() if key != "aim"}
    for key, part in (("scale_up", old.scale_up), ("scale_down", old.scale_down)):
        if part.max_step is not None:
            fields[key] = {**fields.get(key, {}), "max_step": part.max_step}
    return fields


def as_yaml(found: Found, file: Path, worker: str | None) -> str:
    """The file with what was found in the place of what there was, and what is to be expected of it on top."""
    policy = yaml.safe_load(file.read_text(encoding="utf-8"))
    entries = policy["workers"]
    entry = dict(entries[worker or next(iter(entries))])
    for key in ("tiers", "target_wait", "service_time", "scale_up", "scale_down"):
        entry.pop(key, None)
    chosen = _as_written(found.candidate, found.old)
    if "tiers" in chosen:
        chosen["tiers"] = [*chosen["tiers"][:-1], {"replicas": entry["max_replicas"]}]
    entries[worker or next(iter(entries))] = {**entry, **chosen}
    head = "".join(f"# {line}\n" if line else "#\n" for line in _remarks(found))
    return f"{head}\n{yaml.safe_dump(policy, sort_keys=False, allow_unicode=True, width=100)}"


def _remarks(found: Found) -> Iterator[str]:
    ours, old = found.held_out
    met = "" if found.is_met else "  NOT MET: this comes nearest"
    yield f"Found by `autoscaler tune`: {found.goal.words}{met}."
    yield f"{found.tried} policies were tried on {found.workload.name}."
    yield from found.workload.notes
    yield f"Taken for granted: {assumptions(found.setting.platform)}."
    yield ""
    yield f"searched on, {long_time(found.searched_s)}: {_words(found.searched_on)}"
    yield f"held out, {long_time(found.held_out_s)} that the search has not seen: {_words(ours)}"
    yield f"  the policy as it was, on the same: {_words(old)}"
    if not found.goal.is_met_by(ours) and found.is_met:
        yield "  there the goal is missed: take a longer window, or leave some room"
    if found.weeks:
        yield f"expected, over {len(found.weeks)} weeks drawn anew from all of it: {_spread(found)}"


def _words(figures: Figures) -> str:
    return (
        f"{figures.dollars_a_month:,.2f} $/month ({figures.cost_over_work:.2f} W), avoidable wait "
        f"{seconds(figures.avoidable.mean)} on average, p95 {seconds(figures.avoidable.p95)}, "
        f"{figures.per_day(figures.ups + figures.downs):.0f} scale actions a day"
    )


def _spread(found: Found) -> str:
    def between(values: Sequence[float], unit: str) -> str:
        plus_minus = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
        return f"{mean(values):.2f}{plus_minus} {unit} ({min(values):.2f} to {max(values):.2f})"

    money = between([week.dollars_a_month for week in found.weeks], "$/month")
    waits = between([week.avoidable.p95 for week in found.weeks], "s")
    met = sum(found.goal.is_met_by(week) for week in found.weeks)
    return f"{money}; avoidable p95 {waits}; the goal is met in {met} of {len(found.weeks)}"
