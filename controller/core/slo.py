"""The target wait of a policy with `slo`, moved so that the promised share of jobs begins in time. Pure.

    target_wait = m · wait / 2          m from 1/16 to 4, at first 1
    m = 2^(0.1 · e + I)                 I += 0.005 · e a minute
    e = (allowed - late) / allowed      at least -3; allowed = 1 - share

`late` is the share of the newest 500 finished jobs that waited longer than `wait`. While fewer are late than allowed,
e is positive and the target grows: fewer workers. It was measured with a wait of 60 s and a share of 99 % on 15
workloads with 20 workers: where a fixed target kept the promise, late jobs ended within a point of 1 % in nearly all of
them, at 0.5 % more than the best fixed target, which is known only afterwards.

No target helps a job that waits although max_replicas run. If such jobs counted, the target would fall to its lowest
and only cost money. So a late job counts only if it waited longer than `wait` while fewer were configured. Leaving out
less (jobs that waited at all while fewer were) costs as much in bursts, which always begin with few workers.

Times when max_replicas ran are by the journal's clock, times of jobs by the queue's: both are taken as the same. The
state is in the history, and with the same state and the same finished jobs the target is the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from controller.core.units import as_share, in_words, percent
from controller.policy import BASE_OF_SLO, MULTIPLES_OF_SLO, Slo, WorkerPolicy

if TYPE_CHECKING:
    from controller.core.model import Finished, History, ServiceTime

AGAIN_S = 60.0
MOST_SPANS = 100
"""Newest times at max_replicas that are kept: of most workloads the newest 500 jobs lie within them."""
_PROPORTIONAL = 0.1
_INTEGRAL_A_MINUTE = 0.005
_WORST = -3.0
_MOST_MINUTES = 60.0
"""While no job ends nothing is learned; afterwards at most this much of the time counts."""
_STEPS = 8
"""The multiple changes in steps of 2^(1/8), 9 %, so that noise changes no decision."""
_LOWEST, _HIGHEST = (math.log2(one) for one in MULTIPLES_OF_SLO)


class Tally(NamedTuple):
    """Of the newest finished jobs: how many were late, how many counted, and how many late ones did not.

    at_max: late jobs that do not count, because max_replicas alone made them late.
    """

    late: int = 0
    counted: int = 0
    at_max: int = 0

    @classmethod
    def of(cls, waits: Sequence[tuple[float, float]], spans: Sequence[tuple[float, float]], wait: float) -> Tally:
        """waits: of each job since when it could be taken, and when a worker began it. spans: times at max_replicas."""
        late = [one for one in waits if one[1] - one[0] > wait]
        counts = sum(until - since - _within(spans, since, until) > wait for since, until in late)
        at_max = len(late) - counts
        return cls(counts, len(waits) - at_max, at_max)

    def error(self, allowed: float) -> float:
        """e: 1 if none is late, 0 at the promise or if no job counts, at least -3.

        A late job that does not count is none: were it left out of the jobs as well, one late job among the few that
        max_replicas let start in time would shorten the target as 100 of 500 do.
        """
        jobs = self.counted + self.at_max
        return max(_WORST, (allowed - self.late / jobs) / allowed) if self.counted else 0.0


def _within(spans: Sequence[tuple[float, float]], since: float, until: float) -> float:
    return sum([min(until, end) - max(since, begin) for begin, end in spans if begin < until and end > since])


@dataclass(frozen=True, slots=True)
class Promise:
    """What is remembered of a promise.

    integral: I. learned_at: when it was last moved, by the journal's clock; newest: when the newest job ended that it
    knows, by the queue's clock; None: never, none. spans: the newest times, from and to, at which max_replicas were
    configured; is_at_max: whether the last of them still goes on.
    """

    integral: float = 0.0
    learned_at: float | None = None
    newest: float | None = None
    tally: Tally = field(default=Tally())
    spans: tuple[tuple[float, float], ...] = ()
    is_at_max: bool = False

    def looked(self, now: float, gap: float, *, is_at_max: bool) -> Promise:
        """After a look at the configured count; what happened during a gap of more than `gap` seconds is unknown."""
        if not is_at_max:
            return replace(self, is_at_max=False) if self.is_at_max else self
        if self.is_at_max and self.spans and 0 <= now - self.spans[-1][1] <= gap:
            spans = (*self.spans[:-1], (self.spans[-1][0], now))
        else:
            spans = (*self.spans[1 - MOST_SPANS :], (now, now))
        return replace(self, spans=spans, is_at_max=True)

    def is_due(self, newest: float, now: float) -> bool:
        """Whether to learn from jobs of which the newest ended at `newest`."""
        if self.newest is not None and newest <= self.newest:
            return False
        return self.learned_at is None or now - self.learned_at >= AGAIN_S

    def learned(self, slo: Slo, waits: Sequence[tuple[float, float]], newest: float, now: float) -> Promise:
        """With the waits of the newest finished jobs, see Tally.of()."""
        tally = Tally.of(waits, self.spans, slo.wait)
        passed = AGAIN_S if self.learned_at is None else now - self.learned_at
        minutes = min(max(0.0, passed / 60), _MOST_MINUTES)
        integral = self.integral + _INTEGRAL_A_MINUTE * minutes * tally.error(slo.allowed)
        integral = min(max(integral, _LOWEST), _HIGHEST)
        return replace(self, integral=integral, learned_at=now, newest=newest, tally=tally)

    def after(self, slo: Slo, finished: Sequence[Finished], now: float) -> Promise:
        """With what the newest finished jobs tell, in the order of their end; the same value if nothing is new."""
        if not finished or not self.is_due(finished[-1].at, now):
            return self
        waits = [one.waited for one in finished if one.waited is not None]
        return self.learned(slo, waits, finished[-1].at, now) if waits else self

    def multiple(self, slo: Slo) -> float:
        """m, in steps."""
        exponent = _PROPORTIONAL * self.tally.error(slo.allowed) + self.integral
        return float(2 ** (round(min(max(exponent, _LOWEST), _HIGHEST) * _STEPS) / _STEPS))

    def target(self, slo: Slo) -> float:
        """The target wait, in seconds."""
        return slo.wait * BASE_OF_SLO * self.multiple(slo)

    def not_after(self, now: float) -> Promise:
        """After a clock was set back."""
        learned_at = None if self.learned_at is None else min(self.learned_at, now)
        spans = tuple((begin, min(end, now)) for begin, end in self.spans if begin <= now)
        return replace(self, learned_at=learned_at, spans=spans, is_at_max=self.is_at_max and bool(spans))

    @property
    def is_sound(self) -> bool:
        """Whether it can have been learned; a stored text may hold anything."""
        late, counted, at_max = self.tally
        return (
            _LOWEST <= self.integral <= _HIGHEST
            and (self.newest is None or math.isfinite(self.newest))
            and 0 <= late <= counted
            and at_max >= 0
            and len(self.spans) <= MOST_SPANS
            and all(begin <= end for begin, end in self.spans)
        )


def why_not(service: ServiceTime | None, unmeasured: str) -> str:
    """Why it cannot be measured how long jobs waited, or "". unmeasured: why not even how long they take."""
    return unmeasured if service is None else service.no_waits


def unmeasurable_words(why: str) -> str:
    """`how long jobs waited cannot be measured, because …`, with what to write."""
    fix = "name them in queue.columns, or write target_wait instead of slo"
    return f"how long jobs waited cannot be measured, because {why}; {fix}"


def with_target(
    policy: WorkerPolicy, promise: Promise | None, service: ServiceTime | None, unmeasured: str = ""
) -> WorkerPolicy:
    """The policy with the target wait that is in force; itself without `slo`.

    While it cannot be measured how long jobs waited, that is the promised wait.
    """
    slo = policy.slo
    if slo is None or why_not(service, unmeasured):
        return policy
    return policy.model_copy(update={"target_wait": (promise or Promise()).target(slo)})


def aim_words(policy: WorkerPolicy, history: History, service: ServiceTime | None) -> str:
    """` (slo: 0.8 % of the last 500 jobs waited longer than 60 s)`, at the end of a reason; "" without `slo`."""
    if policy.slo is None:
        return ""
    if service is not None and service.no_waits:
        return " (slo: how long jobs waited cannot be measured)"
    return f" (slo: {_late_words(policy.slo, history.promise or Promise())})"


def _late_words(slo: Slo, promise: Promise) -> str:
    late, counted, at_max = promise.tally
    more = " more" if counted else ""
    jobs = f"1{more} late job does" if at_max == 1 else f"{at_max}{more} late jobs do"
    limit = f"{jobs} not count, because max_replicas is the limit"
    if not counted:
        return limit if at_max else "no job has shown yet how long it waited"
    jobs = "job" if counted == 1 else f"{counted} jobs"
    words = f"{percent(late / counted, 1)} of the last {jobs} waited longer than {in_words(slo.wait)}"
    return f"{words}; {limit}" if at_max else words


class Kept(NamedTuple):
    """What `explain` shows of a promise. no_waits: why the waits cannot be measured, or ""."""

    slo: Slo
    promise: Promise
    no_waits: str = ""

    def as_object(self) -> dict[str, object]:
        late, counted, at_max = self.promise.tally
        return {
            "wait_s": self.slo.wait,
            "share": round(float(self.slo.share), 6),
            "multiple": round(self.promise.multiple(self.slo), 4),
            "target_wait_s": round(self.slo.wait if self.no_waits else self.promise.target(self.slo), 3),
            "late": late,
            "counted": counted,
            "late_at_max": at_max,
        }

    @property
    def sentence(self) -> str:
        """`99% of the jobs begin within 1 min: …`."""
        slo, promise = self.slo, self.promise
        promised = f"{as_share(slo.share)} of the jobs are to begin within {in_words(slo.wait)}"
        if self.no_waits:
            return f"{promised}; {unmeasurable_words(self.no_waits)}; the target is as long meanwhile"
        half = in_words(slo.wait * BASE_OF_SLO)
        target = f"the target is {promise.multiple(slo):.2f} times {half}, {in_words(promise.target(slo))}"
        return f"{promised}; {target}, as {_late_words(slo, promise)}"
