"""Searches a policy that meets a goal, on recorded or generated jobs, and says how reliable the result is.

The candidates are tiers, per_worker, target_wait and slo, with several timings (candidates.py). It searches on the
first two thirds of the workload. A candidate may meet the goal there by chance, so candidates are ranked by the share
of resampled weeks in which they meet it. These weeks consist of whole blocks of the two thirds (a block bootstrap,
which keeps the time of day and bursts), and are the same for all candidates, by the seed. The last third is not used
for the choice; on it, the chosen policy is only measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from controller.core.problems import ConfigurationError, Problem
from controller.core.text.layout import wrap
from controller.core.units import as_policy, in_seconds, in_words, money
from controller.policy import NamedQueue, Policy, WorkerPolicy
from controller.simulation.candidates import (
    Candidate,
    JobTime,
    as_written,
    closer,
    coarse,
    own_of_queue,
    with_its_queues,
    with_more,
)
from controller.simulation.comparison import Contender, Setting, compare
from controller.simulation.contenders import Common, own_worker, wakes
from controller.simulation.figures import Figures
from controller.simulation.own import OwnPolicy
from controller.simulation.policy_file import with_worker, worker_of
from controller.simulation.report import assumptions
from controller.simulation.requests import Requests
from controller.simulation.workload.jobs import (
    WEEK_S,
    Workload,
    first,
    from_its_first_job,
    halves,
    measure,
    resampled,
)

_MOST_JOBS = 60_000
"""With more jobs than this, the search uses only the beginning of its part."""
_MOST_JOBS_OF_QUEUES = 20_000
"""The same with several queues, where a simulation takes three times as long."""
_MOST_A_WEEK = 120_000
"""With more jobs than this, only the beginning of each resampled week is used."""
_MOST_OVER_WEEKS = 2_000_000
"""Jobs simulated to rank by weeks, for all candidates together: about 20 s."""
_AT_ONCE, _LEAST_RANKED = 4, 8

Searched = Callable[[float, float], None]
"""Called with how much is done and with how much there is, in seconds simulated for one policy."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One of two goals. wait_s: the cheapest policy with 95 % of the avoidable waits at most this, in seconds."""

    wait_s: float | None = None
    dollars_a_month: float | None = None

    def is_met_by(self, figures: Figures) -> bool:
        if figures.unfinished:
            return False
        if self.wait_s is not None:
            return figures.avoidable.p95 <= self.wait_s
        return figures.dollars_a_month <= (self.dollars_a_month or 0.0)

    def rank(self, figures: Figures) -> tuple[float, ...]:
        """The sort key, lowest is best: first the policies that meet the goal, then by the other figure."""
        by_wait = self.wait_s is not None
        if self.is_met_by(figures):
            return (0.0, figures.paid_s if by_wait else figures.avoidable.mean, figures.avoidable.mean, figures.paid_s)
        return (1.0, float(figures.unfinished), figures.avoidable.p95 if by_wait else figures.paid_s)

    @property
    def words(self) -> str:
        if self.wait_s is not None:
            return f"95 % of the jobs wait at most {in_words(self.wait_s)} beyond what max_replicas forces"
        return f"at most {money(self.dollars_a_month or 0.0)}/month"


@dataclass(frozen=True, slots=True)
class Search:
    """What to look for, and where. form: tiers, per_worker, slo, target_wait, or any.

    weeks: resampled weeks that rank the candidates; with 0, only the jobs of the search do. requests: what Railway
    allows; None: by the policy's interval alone; other platforms have no such limit. queues: as of a Contender.
    """

    goal: Goal
    setting: Setting
    form: str = "any"
    weeks: int = 8
    common: Common = Common()  # noqa: RUF009  # it is frozen
    job_time: JobTime = JobTime("it was not asked")  # noqa: RUF009  # it is frozen
    requests: Requests | None = None
    queues: Mapping[str, float] = field(default_factory=dict)

    @property
    def most_jobs(self) -> int:
        return _MOST_JOBS_OF_QUEUES if self.queues else _MOST_JOBS


@dataclass(frozen=True, slots=True)
class Found:
    """The best policy and its figures. held_out: on the jobs not searched on; first ours, then the old policy's.

    is_met: on the jobs of the search. weeks: its figures in each week of the ranking, of week_s seconds each.
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
    requests: Requests | None

    @property
    def holds(self) -> bool:
        """Whether the goal is met on the jobs of the search and on the held-out ones."""
        return self.is_met and self.goal.is_met_by(self.held_out[0])

    @property
    def warning(self) -> str | None:
        """A warning if the requests of Railway are too few for the busiest hour simulated."""
        everywhere = (self.held_out[0], self.searched_on, *self.weeks)
        busiest = max(everywhere, key=lambda one: (one.most_actions_an_hour, one.per_day(one.ups + one.downs)))
        return self.requests.warning(busiest) if self.requests is not None else None


def search(old: tuple[Policy, WorkerPolicy], workload: Workload, asked: Search, progress: Searched) -> Found:
    """The best policy in the place of the old one.

    Raises:
        ConfigurationError: there are too few jobs to learn from.
    """
    workload = from_its_first_job(workload)
    seen, unseen = halves(workload)
    measured = measure(seen)
    if measured.jobs < 100 or measure(unseen).jobs < 20:
        words = "has too few jobs for a search part and a held-out part; take a window with more jobs"
        raise ConfigurationError([Problem(workload.name, words)])
    if measured.jobs > asked.most_jobs:
        seen = first(seen, measured.last * asked.most_jobs / measured.jobs)
    week_s = min(WEEK_S, _MOST_A_WEEK * (seen.span_s or WEEK_S) / min(measured.jobs, asked.most_jobs))
    meter = _Meter(progress, left=_AT_ONCE * asked.weeks * week_s + 2 * (unseen.span_s or 0.0))
    trial = _Trial(old, replace(asked, job_time=asked.job_time.of(measured, workload)), meter)
    trial.run_all(seen)
    weeks = _weeks(seen, week_s, asked)
    best, on_seen, over_weeks, ranked = trial.ranked_over(weeks, week_s)
    held_out = meter.compare(unseen, [trial.contender("found", best), _as_it_is(old, asked)], asked.setting)
    meter.finish()
    return Found(
        goal=asked.goal,
        candidate=best,
        old=old[1],
        tried=len(trial.results),
        is_met=asked.goal.is_met_by(on_seen),
        searched_on=on_seen,
        held_out=(held_out[0], held_out[1]),
        weeks=over_weeks,
        ranked=ranked,
        week_s=week_s,
        workload=workload,
        searched_s=on_seen.end_s,
        held_out_s=held_out[0].end_s,
        setting=asked.setting,
        job_time=trial.asked.job_time,
        requests=(asked.requests or Requests(old[0].interval)) if old[1].service is not None else None,
    )


def _weeks(seen: Workload, week_s: float, asked: Search) -> list[Workload]:
    """The resampled weeks that have a job."""
    seeds = range(1000 * asked.setting.platform.seed + 1, 1000 * asked.setting.platform.seed + asked.weeks + 1)
    drawn = (first(resampled(seen, seed), week_s) for seed in seeds)
    return [week for week in drawn if next(week.jobs(), None) is not None]


@dataclass(slots=True)
class _Meter:
    """Tells how much of the work is done, in seconds simulated for one policy. left: what is expected to follow."""

    tells: Searched
    done: float = 0.0
    left: float = 0.0

    def compare(self, jobs: Workload, few: Sequence[Contender], setting: Setting) -> Sequence[Figures]:
        """The figures of each on these jobs."""
        each = jobs.span_s or 0.0
        begun, expected = self.done, self.done + max(self.left, len(few) * each)
        told = compare(jobs, few, setting, lambda at: self.tells(begun + len(few) * min(at, each), expected))
        self.done = begun + len(few) * each
        self.left = expected - self.done
        return told.figures

    def finish(self) -> None:
        self.tells(self.done, self.done)


class _Trial:
    """The candidates tried, with their figures."""

    def __init__(self, old: tuple[Policy, WorkerPolicy], asked: Search, meter: _Meter) -> None:
        """asked.job_time has the mean of the jobs of the search."""
        self.asked, self.meter = asked, meter
        self.results: list[tuple[Candidate, Figures]] = []
        self._policy, self._worker = old

    def run_all(self, jobs: Workload) -> None:
        """First candidates that are far apart, then waits around the two best, and then more keys for the two best."""
        job_time = self.asked.job_time
        far_apart = list(coarse(self._worker, job_time, self.asked.form, self.asked.goal.wait_s))
        self.meter.left += len(far_apart) * 4 / 3 * (jobs.span_s or 0.0)
        self.run(jobs, far_apart)
        for around in (partial(closer, job_time=job_time), with_more):
            self.run(jobs, list(around(self.ranked()[:2], worker=self._worker)))

    def run(self, jobs: Workload, candidates: Sequence[Candidate]) -> None:
        """Several candidates share one pass over the jobs."""
        for start in range(0, len(candidates), 8):
            few = candidates[start : start + 8]
            figures = self.meter.compare(jobs, [self.contender("", one) for one in few], self.asked.setting)
            self.results += zip(few, figures, strict=True)

    def ranked(self) -> list[tuple[Candidate, Figures]]:
        """By the jobs of the search, the best first."""
        return sorted(self.results, key=lambda result: self.asked.goal.rank(result[1]))

    def ranked_over(
        self, weeks: Sequence[Workload], week_s: float
    ) -> tuple[Candidate, Figures, Sequence[Figures], int]:
        """The best by the share of weeks in which the goal is met, and then by the jobs of the search.

        Returns its figures on the jobs of the search and in each week, and the number of candidates ranked. They are
        tried from the best on, until one meets the goal in every week: no later one can be better.
        """
        ranked = self.ranked()
        if not weeks:
            return *ranked[0], (), 0
        a_week = ranked[0][1].jobs * week_s / ranked[0][1].span_s
        able = [result for result in ranked if self.asked.goal.is_met_by(result[1])] or ranked[:_AT_ONCE]
        able = _spread_out(able, max(_LEAST_RANKED, int(_MOST_OVER_WEEKS / (a_week * len(weeks)))))
        tried: list[tuple[int, int, list[Figures]]] = []
        for start in range(0, len(able), _AT_ONCE):
            few = [self.contender("", candidate) for candidate, _ in able[start : start + _AT_ONCE]]
            by_week = [self.meter.compare(week, few, self.asked.setting) for week in weeks]
            for number in range(len(few)):
                figures = [one[number] for one in by_week]
                met = sum(self.asked.goal.is_met_by(one) for one in figures)
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
            "max_wait": None if self._worker.max_wait is None else as_policy(self._worker.max_wait),
        }
        worker = own_worker({**base, **as_written(candidate, self._worker)})
        worker = with_its_queues(worker, candidate, self._worker)
        worker = worker.model_copy(update={"schedules": self._worker.schedules})
        return _contender(name, (self._policy, worker), self.asked, wakes=wakes(self._worker, self.asked.common))


def _as_it_is(old: tuple[Policy, WorkerPolicy], asked: Search) -> Contender:
    return _contender("as it is", old, asked, wakes=wakes(old[1], asked.common))


def _contender(name: str, tried: tuple[Policy, WorkerPolicy], asked: Search, *, wakes: bool) -> Contender:
    policy, worker = tried
    make = partial(OwnPolicy.of, policy, worker, wakes=wakes)
    return Contender(name, worker.highest_max, make, queues=asked.queues)


def _spread_out(ranked: list[tuple[Candidate, Figures]], most: int) -> list[tuple[Candidate, Figures]]:
    """At most `most` of them, evenly from the first to the last."""
    if len(ranked) <= most:
        return ranked
    return [ranked[number * (len(ranked) - 1) // (most - 1)] for number in range(most)]


def as_yaml(found: Found, file: Path, worker: str | None) -> str:
    """The file with the found keys in place of the old ones, and the expected figures as comments at the top."""
    text = file.read_text(encoding="utf-8")
    chosen, comments = as_written(found.candidate, found.old), {}
    if "tiers" in chosen:
        most = worker_of(text, worker)["max_replicas"]  # as written in the file; it may be a variable
        chosen["tiers"] = [*chosen["tiers"][:-1], {"replicas": most}]
    if "service_time" in chosen and found.old.service_time is None:
        comments["service_time"] = wrap(_assumed(found), 72)
    if found.old.queues is not None:
        chosen["queues"] = _queues_as_written(worker_of(text, worker)["queues"], found)
    ways = ("tiers", "per_worker", "activation", "tolerance", "slo", "target_wait", "service_time")
    replaced = (*ways, "scale_up", "scale_down")
    head = "".join(f"# {line}".rstrip() + "\n" for line in _remarks(found))
    return f"{head}\n{with_worker(text, worker, chosen, without=replaced, comments=comments)}"


def _queues_as_written(queues: Any, found: Found) -> Any:
    """The queues as they stand in the file, with what the found policy asks of each."""

    def one(written: Mapping[str, Any], queue: NamedQueue) -> dict[str, Any]:
        kept = dict(written)
        for key, value in own_of_queue(queue, found.candidate, found.old).items():
            if value is None:
                kept.pop(key, None)
            elif key == "target_wait":
                kept[key] = as_policy(value)
        return kept

    each = found.old.named_queues.values()
    if isinstance(queues, Mapping):
        return {name: one(written, queue) for (name, written), queue in zip(queues.items(), each, strict=True)}
    return [one(written, queue) for written, queue in zip(queues, each, strict=True)]


def _assumed(found: Found) -> str:
    known = found.job_time
    return (
        f"assumed: {known.source}, since {known.unmeasured}. Write how long your jobs take. It is not needed if "
        "the queue is a table with started_at and completed_at."
    )


def _remarks(found: Found) -> Iterator[str]:
    """The comment lines at the top, for a terminal of 80 columns."""
    for remark in _unwrapped_remarks(found):
        yield from wrap(remark, 78) if remark else ("",)


def _unwrapped_remarks(found: Found) -> Iterator[str]:
    ours, old = found.held_out
    if not found.is_met:
        yield "NOT MET: this policy is the nearest to the goal."
    yield f"Found by `autoscaler tune`: {found.goal.words}."
    yield f"{found.tried} policies were tried on {found.workload.name}."
    yield from found.workload.notes
    yield f"Assumed: {assumptions(found.setting)}."
    if "service_time" in found.candidate and found.old.service_time is None:
        yield f"service_time is {_assumed(found)}"
    yield ""
    yield f"searched on, {in_words(found.searched_s)}: {_words(found.searched_on)}"
    yield f"held out, {in_words(found.held_out_s)} that the search did not use: {_words(ours)}"
    if not found.goal.is_met_by(ours) and found.is_met:
        yield "NOT MET on the held-out jobs; take a longer window, or a goal with some margin"
    yield f"the old policy on the same jobs: {_words(old)}"
    if found.weeks:
        met = sum(found.goal.is_met_by(week) for week in found.weeks)
        one, several = ("week", "weeks")
        if found.week_s != WEEK_S:
            one, several = (f"{name} of {in_words(found.week_s)}" for name in ("stretch", "stretches"))
        weeks = f"{len(found.weeks)} {one if len(found.weeks) == 1 else several}"
        yield f"expected, over {weeks} resampled from the jobs of the search: {_spread(found)}"
        yield f"the goal is met in {met} of {len(found.weeks)} of these, the best share of {found.ranked} policies"
    yield ""
    if found.requests is not None:
        yield f"requests: {found.requests.words}"
    if found.warning is not None:
        yield f"WARNING: {found.warning}"


def _words(figures: Figures) -> str:
    return (
        f"{money(figures.dollars_a_month)}/month ({figures.cost_over_work:.2f} W), avoidable wait "
        f"{in_seconds(figures.avoidable.mean)} on average, p95 {in_seconds(figures.avoidable.p95)}, "
        f"{figures.per_day(figures.ups + figures.downs):.0f} scale actions a day"
    )


def _spread(found: Found) -> str:
    def between(values: Sequence[float], text: Callable[[float], str]) -> str:
        if len(values) == 1:
            return text(values[0])
        return f"{text(mean(values))} ± {text(stdev(values))} ({text(min(values))} to {text(max(values))})"

    costs = between([week.dollars_a_month for week in found.weeks], money)
    waits = between([week.avoidable.p95 for week in found.weeks], in_seconds)
    return f"{costs} a month; avoidable p95 {waits}"
