"""One policy's run on a few jobs, as comparison.py makes it, with all that happened written down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from controller.simulation.account import Account, Done
from controller.simulation.demand import Clairvoyant, Demand, Levels
from controller.simulation.fleet import Fleet, Platform
from controller.simulation.scaler import Calm, Scaler, Span, View
from controller.simulation.split import Split
from controller.simulation.waits import Waits
from controller.simulation.workload.jobs import Job


@dataclass(slots=True)
class Ledger(Account):
    """Keeps each job that ended, each change of the count, and each worker that was ready or paid for."""

    finished: list[Done] = field(default_factory=list)
    actions: list[tuple[float, int, int]] = field(default_factory=list)
    readied: list[tuple[float, int]] = field(default_factory=list)
    left: list[float] = field(default_factory=list)

    def settle(self, levels: Levels, until: float) -> None:
        self.finished += self.done
        Account.settle(self, levels, until)

    def close(self, now: float, unfinished: Iterable[float]) -> None:
        self.finished += self.done
        self.left = list(unfinished)
        Account.close(self, now, self.left)

    def scaled(self, now: float, before: int, after: int) -> None:
        self.actions.append((now, before, after))
        Account.scaled(self, now, before, after)

    def ready(self, now: float, change: int) -> None:
        self.readied.append((now, change))
        Account.ready(self, now, change)

    @property
    def begun(self) -> list[tuple[float, float, float]]:
        """Of each job its arrival, when it began, and when it ended; by the order in which they began."""
        return sorted(
            ((job[0], job[0] + wait, end) for end, _, job, wait in self.finished), key=lambda one: (one[1], one[0])
        )

    @property
    def outcome(self) -> tuple[object, ...]:
        """All that a policy could have changed."""
        jobs = [(end, job, wait) for end, _, job, wait in self.finished]
        return self.actions, jobs, self.left, self.paid_s, self.lost_s, self.end_s, self.together


def run(
    scaler: Scaler,
    jobs: Sequence[Job],
    platform: Platform | None = None,
    *,
    cap: int = 5,
    until: float = 0.0,
    chunk: int = 1_000_000,
    began: float | None = None,
    split: Split | None = None,
) -> Ledger:
    """`until`: it runs at least that long. began: epoch seconds of the time 0."""
    platform = platform or Platform()
    demand = Demand(cap, platform.concurrency, Clairvoyant(platform.start_up_s))
    ledger = Ledger(cap, platform.start_up_s, by_queue=tuple(Waits() for _ in split.names) if split else ())
    fleet = Fleet(scaler, platform, ledger, began, split)
    for start in range(0, len(jobs), chunk):
        tasks, levels = demand.take(jobs[start : start + chunk])
        fleet.feed(tasks, tasks[-1][0])
        ledger.settle(levels, tasks[-1][0])
    rest = demand.rest()
    end = fleet.finish(until)
    within = sum(1 for time in rest.times if time <= end)
    ledger.settle(Levels(rest.times[:within], rest.heights[:within]), end)
    return ledger


@dataclass(slots=True)
class Scripted:
    """A fixed number of workers from each moment on; it records what it sees, and never reports that it is settled."""

    script: Sequence[tuple[float, int]]
    interval: float = 1.0
    wake_interval: float | None = None
    settled: bool = False
    calm: Calm = field(default_factory=dict)
    learn_at: float = float("inf")
    up_at: float = 0.0
    down_at: float = 0.0
    times_starts: bool = True
    looks: list[tuple[float, int, int, int, bool]] = field(default_factory=list)

    def look(self, seen: View) -> int:
        self.looks.append((seen.now, seen.waiting, seen.busy, seen.running, seen.notified))
        return next((count for at, count in reversed(self.script) if at <= seen.now), 0)

    def passed(self, wanted: int, polls: Span, wakes: Span) -> None:
        raise AssertionError("it is never settled")

    def learn(self, finished: Iterable[Done], now: float, configured: int) -> None:
        """Nothing."""

    def time_start(self, now: float, configured: int, running: int) -> None:
        """Nothing."""


@dataclass(slots=True)
class Sleepless:
    """Another scaler, which is asked at each look, whatever it says of itself."""

    inner: Scaler
    interval: float = field(init=False)
    wake_interval: float | None = field(init=False)
    learn_at: float = field(init=False)
    settled: bool = False
    calm: Calm = field(default_factory=dict)
    up_at: float = 0.0
    down_at: float = 0.0
    times_starts: bool = True

    def __post_init__(self) -> None:
        self.interval, self.wake_interval = self.inner.interval, self.inner.wake_interval
        self.learn_at = self.inner.learn_at

    def look(self, seen: View) -> int:
        return self.inner.look(seen)

    def passed(self, wanted: int, polls: Span, wakes: Span) -> None:
        raise AssertionError("nothing was left out")

    def learn(self, finished: Iterable[Done], now: float, configured: int) -> None:
        self.inner.learn(finished, now, configured)
        self.learn_at = self.inner.learn_at

    def time_start(self, now: float, configured: int, running: int) -> None:
        self.inner.time_start(now, configured, running)


@st.composite
def random_jobs(draw: st.DrawFn, *, most: int = 40, longest: int = 400) -> list[Job]:
    """In whole seconds, so that sums of them are exact; in bursts, in single jobs, and with long silences."""
    jobs: list[Job] = []
    at = 0
    for _ in range(draw(st.integers(1, most))):
        at += draw(st.sampled_from([0, 0, 1, 3, 7, 20, 60, 250, 1000]))
        jobs.append((float(at), float(draw(st.integers(1, draw(st.sampled_from([5, 30, longest])))))))
    return jobs


platforms = st.builds(
    Platform,
    start_up_s=st.sampled_from([0.0, 1.0, 5.0, 20.0, 90.0]),
    drain_s=st.sampled_from([0.0, 7.0, 30.0, float("inf")]),
    start_failure=st.sampled_from([0.0, 0.0, 0.3]),
    concurrency=st.integers(1, 3),
    idle_first=st.booleans(),
    seed=st.integers(0, 5),
)
