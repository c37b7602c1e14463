"""Searches tiers and timings for a goal, on jobs that were recorded or made up, and says how far to believe it.

It searches on the first two thirds of the workload. What meets the goal there may do so by chance, so that candidates
are ranked by the share of weeks in which they meet it: weeks drawn anew from whole blocks of those two thirds (a block
bootstrap, which keeps the time of day and what belongs together), the same for all candidates, by the seed. On the
last third, which nothing was chosen by, it only says how the policy does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from controller.core.problems import ConfigurationError, Problem
from controller.core.text.layout import wrap
from controller.core.units import as_policy, in_words
from controller.policy import Policy, WorkerPolicy
from controller.simulation.comparison import Contender, Setting, compare
from controller.simulation.contenders import Common, own_worker, tiers_for, wakes
from controller.simulation.figures import Figures
from controller.simulation.own import OwnPolicy
from controller.simulation.policy_file import with_worker, worker_of
from controller.simulation.report import assumptions, seconds
from controller.simulation.requests import Requests
from controller.simulation.workload.jobs import (
    WEEK_S,
    Measured,
    Workload,
    first,
    from_its_first_job,
    halves,
    measure,
    resampled,
)

_SHORTEST_WAITS = (1.0, 2.0)
_WAITS = (5.0, 15.0, 30.0, 60.0, 120.0, 240.0, 480.0)
_COOLDOWNS = ((0.0, 30.0), (30.0, 120.0), (0.0, 10.0))
_IDLE_OFFS = (0.0, 10.0, 30.0, 60.0)
_FINER = (0.7, 0.85, 1.2, 1.4)
_MOST_TIERS = 12
_SHORTEST_JOB_S, _LONGEST_JOB_S = 0.01, 86_400.0
"""As measured ones are bounded."""
_MOST_JOBS = 60_000
"""More than that, and the search goes through the beginning of its part only."""
_MOST_A_WEEK = 120_000
"""More than that, and only the beginning of each week that is drawn is gone through."""
_MOST_OVER_WEEKS = 2_000_000
"""Jobs that are simulated to rank by weeks, all candidates together: some 20 s."""
_AT_ONCE, _LEAST_RANKED = 4, 8

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
            return f"95 % of the jobs wait at most {in_words(self.wait_s)} beyond what max_replicas forces"
        return f"at most {self.dollars_a_month:g} $/month"


Candidate = Mapping[str, Any]
"""What would stand in the file: tiers or target_wait, scale_up, scale_down."""


@dataclass(frozen=True, slots=True)
class JobTime:
    """How long a job takes, to a target_wait. unmeasured: why the queue cannot be asked for it; None: it can be.

    source: whose jobs `mean_s` is the mean of.
    """

    unmeasured: str | None = None
    mean_s: float = 0.0
    source: str = ""

    def of(self, measured: Measured, workload: Workload) -> JobTime:
        """The same, with the mean of the jobs that are searched on."""
        mean = min(max(measured.mean_s, _SHORTEST_JOB_S), _LONGEST_JOB_S)
        return replace(
            self, mean_s=float(f"{mean:.3g}"), source=f"the mean of {measured.jobs:,} jobs of {workload.name}"
        )


@dataclass(frozen=True, slots=True)
class Found:
    """The best that was found, and how it does. held_out: on jobs that the search has not seen, ours before the old.

    is_met: on what was searched on. weeks: its figures over each of the weeks that it was ranked by, of week_s each.
    """

    goal: Goal
    candidate: Candidate
    old: WorkerPolicy
    tried: int
    is_met: bool
    searched_on: Figures
    held_out: tuple[Figures, Figures]
    weeks: Sequence[Figures]
    ranked: int
    week_s: float
    workload: Workload
    searched_s: float
    held_out_s: float
    setting: Setting
    job_time: JobTime
    requests: Requests

    @property
    def holds(self) -> bool:
        """Whether the goal is met on what was searched on, and on what was held out."""
        return self.is_met and self.goal.is_met_by(self.held_out[0])

    @property
    def warning(self) -> str | None:
        """Of more scale actions than the platform's requests allow; by the busiest of all that was simulated."""
        everywhere = (self.held_out[0], self.searched_on, *self.weeks)
        busiest = max(everywhere, key=lambda one: (one.most_actions_an_hour, one.per_day(one.ups + one.downs)))
        return self.requests.warning(busiest)


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
    job_time: JobTime | None = None,
    requests: Requests | None = None,
) -> Found:
    """`form`: tiers, target_wait, or any. weeks: 0 ranks by what was searched on alone.

    Raises:
        ConfigurationError: there are too few jobs to learn from.
    """
    workload = from_its_first_job(workload)
    seen, unseen = halves(workload)
    measured = measure(seen)
    if measured.jobs < 100 or measure(unseen).jobs < 20:
        words = "has too few jobs in one of the parts, to search on and to hold out; take a window with more of them"
        raise ConfigurationError([Problem(workload.name, words)])
    if measured.jobs > _MOST_JOBS:
        seen = first(seen, measured.last * _MOST_JOBS / measured.jobs)
    known = (job_time or JobTime("nothing was asked")).of(measured, workload)
    trial = _Trial(old, goal, setting, common, known)
    coarse = list(_coarse(old[1], known, form))
    trial.run(seen, coarse, progress, len(coarse) * 5 // 4)
    finer = list(_finer(trial.ranked()[:2], old[1], known))
    trial.run(seen, finer, progress, len(trial.results) + len(finer))
    a_second = min(measured.jobs, _MOST_JOBS) / (seen.span_s or WEEK_S)
    week_s = min(WEEK_S, _MOST_A_WEEK / a_second)
    drawn = [first(resampled(seen, 1000 * setting.platform.seed + number), week_s) for number in range(1, weeks + 1)]
    drawn = [week for week in drawn if next(week.jobs(), None) is not None]
    best, on_seen, over_weeks, ranked = trial.ranked_over(drawn, week_s)
    held_out = compare(unseen, [trial.contender("found", best), _as_it_is(old, common)], setting).figures
    return Found(
        goal=goal,
        candidate=best,
        old=old[1],
        tried=len(trial.results),
        is_met=goal.is_met_by(on_seen),
        searched_on=on_seen,
        held_out=(held_out[0], held_out[1]),
        weeks=over_weeks,
        ranked=ranked,
        week_s=week_s,
        workload=workload,
        searched_s=on_seen.end_s,
        held_out_s=held_out[0].end_s,
        setting=setting,
        job_time=known,
        requests=requests or Requests(old[0].interval),
    )


class _Trial:
    """The candidates that were tried, with their figures."""

    def __init__(
        self, old: tuple[Policy, WorkerPolicy], goal: Goal, setting: Setting, common: Common, job_time: JobTime
    ) -> None:
        self.job_time = job_time
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

    def ranked(self) -> list[tuple[Candidate, Figures]]:
        """By what was searched on, the best first."""
        return sorted(self.results, key=lambda result: self._goal.rank(result[1]))

    def ranked_over(
        self, weeks: Sequence[Workload], week_s: float
    ) -> tuple[Candidate, Figures, Sequence[Figures], int]:
        """The best by the share of the weeks in which the goal is met, and then by what was searched on.

        With its figures on what was searched on and in each week, and how many candidates were ranked. They are tried
        from the best on: one that meets the goal in every week is not beaten by those after it.
        """
        ranked = self.ranked()
        if not weeks:
            return *ranked[0], (), 0
        a_week = ranked[0][1].jobs * week_s / ranked[0][1].span_s
        able = [result for result in ranked if self._goal.is_met_by(result[1])] or ranked[:_AT_ONCE]
        able = _spread_out(able, max(_LEAST_RANKED, int(_MOST_OVER_WEEKS / (a_week * len(weeks)))))
        tried: list[tuple[int, int, list[Figures]]] = []
        for start in range(0, len(able), _AT_ONCE):
            few = [self.contender("", candidate) for candidate, _ in able[start : start + _AT_ONCE]]
            by_week = [compare(week, few, self._setting).figures for week in weeks]
            for number in range(len(few)):
                figures = [one[number] for one in by_week]
                met = sum(self._goal.is_met_by(one) for one in figures)
                tried.append((-met, start + number, figures))
            if any(-met == len(weeks) for met, _, _ in tried):
                break
        _, place, over_weeks = min(tried, key=lambda one: one[:2])
        return *able[place], over_weeks, len(tried)

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


def _spread_out(ranked: list[tuple[Candidate, Figures]], most: int) -> list[tuple[Candidate, Figures]]:
    """So many of them at most, from the first to the last."""
    if len(ranked) <= most:
        return ranked
    return [ranked[number * (len(ranked) - 1) // (most - 1)] for number in range(most)]


def _coarse(worker: WorkerPolicy, job_time: JobTime, form: str) -> Iterator[Candidate]:
    if form != "target_wait":
        yield from (_by_tiers(worker, job_time, wait, up, down) for wait in _WAITS for up, down in _COOLDOWNS)
    if form != "tiers":
        waits = (*_SHORTEST_WAITS, *_WAITS[:-1])
        yield from (_by_target(worker, job_time, wait, idle) for wait in waits for idle in _IDLE_OFFS)


def _finer(best: Sequence[tuple[Candidate, Figures]], worker: WorkerPolicy, job_time: JobTime) -> Iterator[Candidate]:
    """Around the best: the wait that it is cut for, and what holds a worker."""
    for candidate, _ in best:
        wait, first_timing, second_timing = candidate["aim"]
        for factor in _FINER:
            if "tiers" in candidate:
                yield _by_tiers(worker, job_time, wait * factor, first_timing, second_timing)
            else:
                yield _by_target(worker, job_time, round(wait * factor, 1), first_timing)


def _by_tiers(worker: WorkerPolicy, job_time: JobTime, wait: float, up: float, down: float) -> Candidate:
    """As many workers as the wait asks for: k up to k x wait / service jobs; with many workers, not a tier for each."""
    most = worker.max_replicas
    counts = sorted({max(1, round(most * step / _MOST_TIERS)) for step in range(1, _MOST_TIERS + 1)} | {1, most})
    each = wait * (worker.jobs_per_worker or 1) / job_time.mean_s
    tiers = tiers_for([(count, count * each) for count in counts if count < most], most)
    return {
        "tiers": tiers,
        "scale_up": {"cooldown": as_policy(up)},
        "scale_down": {"cooldown": as_policy(down)},
        "aim": (wait, up, down),
    }


def _by_target(worker: WorkerPolicy, job_time: JobTime, wait: float, idle_off: float) -> Candidate:
    """A wait above 0. With the time of a job, where the policy says it, or where nothing can measure it."""
    candidate: dict[str, Any] = {"target_wait": as_policy(wait)}
    if worker.service_time is not None:
        candidate["service_time"] = as_policy(worker.service_time)
    elif job_time.unmeasured is not None:
        candidate["service_time"] = as_policy(job_time.mean_s)
    return {**candidate, "scale_down": {"idle_off": as_policy(idle_off)}, "aim": (wait, idle_off, 0.0)}


def _as_written(candidate: Candidate, old: WorkerPolicy) -> dict[str, Any]:
    """As it would stand in the file; the step limits stay what they were."""
    fields = {key: value for key, value in candidate.items() if key != "aim"}
    for key, part in (("scale_up", old.scale_up), ("scale_down", old.scale_down)):
        if part.max_step is not None:
            fields[key] = {**fields.get(key, {}), "max_step": part.max_step}
    return fields


def as_yaml(found: Found, file: Path, worker: str | None) -> str:
    """The file with what was found in the place of what there was, and what is to be expected of it on top."""
    text = file.read_text(encoding="utf-8")
    chosen, comments = _as_written(found.candidate, found.old), {}
    if "tiers" in chosen:
        most = worker_of(text, worker)["max_replicas"]  # as it is written, which may be a variable
        chosen["tiers"] = [*chosen["tiers"][:-1], {"replicas": most}]
    if "service_time" in chosen and found.old.service_time is None:
        comments["service_time"] = wrap(_assumed(found), 72)
    replaced = ("tiers", "target_wait", "service_time", "scale_up", "scale_down")
    head = "".join(f"# {line}".rstrip() + "\n" for line in _remarks(found))
    return f"{head}\n{with_worker(text, worker, chosen, without=replaced, comments=comments)}"


def _assumed(found: Found) -> str:
    known = found.job_time
    return (
        f"assumed: {known.source}, since {known.unmeasured}. Write how long yours take. It is not needed where the "
        "queue is a table whose started_at and completed_at say it."
    )


def _remarks(found: Found) -> Iterator[str]:
    """The lines of the head, no wider than a terminal."""
    for remark in _unwrapped_remarks(found):
        yield from wrap(remark, 78) if remark else ("",)


def _unwrapped_remarks(found: Found) -> Iterator[str]:
    ours, old = found.held_out
    if not found.is_met:
        yield "NOT MET: this comes nearest to the goal."
    yield f"Found by `autoscaler tune`: {found.goal.words}."
    yield f"{found.tried} policies were tried on {found.workload.name}."
    yield from found.workload.notes
    yield f"Taken for granted: {assumptions(found.setting)}."
    if "service_time" in found.candidate and found.old.service_time is None:
        yield f"service_time is {_assumed(found)}"
    yield ""
    yield f"searched on, {in_words(found.searched_s)}: {_words(found.searched_on)}"
    yield f"held out, {in_words(found.held_out_s)} that the search has not seen: {_words(ours)}"
    if not found.goal.is_met_by(ours) and found.is_met:
        yield "NOT MET on what was held out: there the goal is missed; take a longer window, or leave some room"
    yield f"the policy as it was, on the same: {_words(old)}"
    if found.weeks:
        met = sum(found.goal.is_met_by(week) for week in found.weeks)
        weeks = "weeks" if found.week_s == WEEK_S else f"stretches of {in_words(found.week_s)}"
        yield f"expected, over {len(found.weeks)} {weeks} drawn anew from what was searched on: {_spread(found)}"
        yield f"the goal is met in {met} of {len(found.weeks)} of these, the best share of {found.ranked} policies"
    yield ""
    yield f"requests: {found.requests.words}"
    if found.warning is not None:
        yield f"WARNING: {found.warning}"


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
    return f"{money}; avoidable p95 {waits}"
