"""Jobs that fall due soon: they start workers in time, keep them until they are due, and do nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.ahead import ahead_s, ahead_words
from controller.core.history import accepted, recorded, settled
from controller.core.model import History, Observation, QueueDepth, Recommendation, Replicas, ServiceState, ServiceTime
from controller.core.plan import Seen, plan
from controller.core.ports import Retention, Settled
from controller.core.reasons import Reason
from controller.core.rules import decide, recommend, recommend_ahead, remembered
from controller.core.steps import Note, Send
from controller.core.wanted import kept_window
from controller.policy import WorkerPolicy
from tests.core.test_decide import NOW, SHIPPED, history, policy
from tests.core.test_target_wait import aiming, of
from tests.support.examples import examples
from tests.support.sources import SOURCES

TIERS = policy(scale_down={"cooldown": "0s"})
AIMING = aiming(scale_down={"idle_off": "10s"})


def soon(jobs: int | None, *, pending: int = 0, processing: int = 0, within: float = 20.0) -> QueueDepth:
    return QueueDepth(pending, processing, soon=jobs, ahead_s=within)


@dataclass(frozen=True)
class Case:
    title: str
    queue: QueueDepth
    configured: int
    desired: int
    noted: int
    policy: WorkerPolicy = TIERS


CASES = [
    Case("one job due soon starts a worker from 0", soon(1), configured=0, desired=1, noted=1),
    Case("it is added to the jobs that are due", soon(5, pending=6), configured=1, desired=2, noted=2),
    Case("and to those in progress", soon(25, processing=10), configured=1, desired=3, noted=3),
    Case("the worker it was started for is not removed before it is due", soon(1), configured=1, desired=1, noted=0),
    Case("it keeps no more than it wants", soon(1), configured=3, desired=1, noted=0),
    Case("beside other jobs it keeps what both want", soon(5, pending=6), configured=4, desired=2, noted=1),
    Case("a queue that cannot tell goes by what is due", soon(None), configured=1, desired=0, noted=0),
    Case("no job due soon changes nothing", soon(0, pending=1), configured=1, desired=1, noted=1),
    Case("at the highest tier", soon(500), configured=5, desired=5, noted=0),
    Case("what max does not allow is not noted", soon(500), configured=5, desired=5, noted=0, policy=AIMING),
    Case("a wait that is aimed at", soon(12), configured=0, desired=3, noted=3, policy=AIMING),
    Case("and what it keeps", soon(12), configured=3, desired=3, noted=0, policy=AIMING),
    Case("busy workers and jobs due soon", soon(8, processing=2), configured=2, desired=3, noted=3, policy=AIMING),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_jobs_that_fall_due_soon_add_workers_and_keep_those_they_want(case: Case) -> None:
    replicas = Replicas(case.configured, case.configured, case.configured, ServiceState.RUNNING)
    service = of(20)
    # A window that is covered, and in which nothing was wanted.
    past = replace(history(unbroken=0.0), recommendations=(Recommendation(NOW - 5, 0),))
    past = replace(past, unbroken_since=NOW - 1000)
    decision = decide(case.policy, Observation(case.queue, replicas, None, service), past, NOW)
    assert decision.desired == case.desired, decision.sentence
    assert remembered(case.policy, case.queue, service, case.configured) == case.noted


def test_the_reason_says_how_many_fall_due_and_within_what_time() -> None:
    started = decide(
        AIMING,
        Observation(soon(3), Replicas(0, 0, 0, ServiceState.STOPPED), None, of(20)),
        history(),
        NOW,
    )
    words = "0 jobs (3 due within 20 s) of 20 s each want 1 worker for a wait of 1 min"
    assert [(one.reason, one.words) for one in started.because] == [(Reason.TARGET_WAIT, words)]


@pytest.mark.parametrize(
    ("queue", "sentence"),
    [
        pytest.param(
            soon(3, pending=10, processing=5), "15 jobs (10 pending, 5 processing, 3 due within 20 s)", id="all"
        ),
        pytest.param(soon(0, pending=1), "1 job (1 pending, 0 processing)", id="none due soon"),
        pytest.param(soon(None), "0 jobs", id="unknown"),
        pytest.param(replace(soon(100), limit=100), "0 jobs (100+ due within 20 s)", id="at the limit of counting"),
    ],
)
def test_the_depth_says_what_falls_due(queue: QueueDepth, sentence: str) -> None:
    assert queue.sentence == sentence


def test_below_min_the_count_goes_at_once_to_what_the_jobs_due_soon_want() -> None:
    at_least_1 = policy(min_replicas=1)
    stopped = Replicas(0, 0, 0, ServiceState.STOPPED)
    assert decide(at_least_1, Observation(soon(31), stopped), history(), NOW).desired == 3


@given(
    st.integers(0, 200),
    st.integers(0, 8),
    st.one_of(st.none(), st.integers(0, 200)),
    st.integers(0, 5),
    st.sampled_from([TIERS, AIMING]),
    st.sampled_from([None, of(2.0), of(90.0)]),
)
@settings(max_examples=examples(100, 3000))
def test_jobs_due_soon_never_lower_a_count_and_more_of_them_never_want_fewer(  # noqa: PLR0917  # drawn
    pending: int, processing: int, due: int | None, current: int, by: WorkerPolicy, service: ServiceTime | None
) -> None:
    queue = soon(due, pending=pending, processing=processing)
    without, with_them = (recommend_ahead(by, one, service, current) for one in (replace(queue, soon=None), queue))
    assert without == recommend(by, queue, service, current)
    assert with_them >= without
    assert recommend_ahead(by, replace(queue, soon=(due or 0) + 7), service, current) >= with_them
    noted = remembered(by, queue, service, current)
    assert noted in {without, with_them}
    assert noted == without or with_them > current, "what raises nothing is not remembered"


# --- days of scheduled jobs alone, through plan() and the history ---

INTERVAL, START_UP, TAKES = 10.0, 20.0, 12.0


@dataclass
class Day:
    """A queue of jobs that are all known before they are due, looked at every 10 s; a start takes 20 s."""

    policy: WorkerPolicy
    due: Sequence[float]
    history: History = field(default_factory=History)
    now: float = 0.0
    configured: int = 0
    up_at: list[float] = field(default_factory=list)
    begun: dict[int, float] = field(default_factory=dict)
    changes: list[tuple[float, int, int]] = field(default_factory=list)
    noted: list[int | None] = field(default_factory=list)

    def run(self, until: float) -> None:
        while self.now < until:
            self._work()
            self._look()
            self.now += INTERVAL

    def wanted_at(self, now: float) -> set[int]:
        """Jobs that are not done by then and are due, or within a start-up time of it."""
        left = (n for n in range(len(self.due)) if self.begun.get(n, now) + TAKES > now)
        return {n for n in left if self.due[n] <= now + START_UP}

    def _work(self) -> None:
        busy = sum(at + TAKES > self.now for at in self.begun.values())
        free = sum(at <= self.now for at in self.up_at) - busy
        waiting = [n for n, at in enumerate(self.due) if at <= self.now and n not in self.begun]
        self.begun.update(dict.fromkeys(waiting[: max(0, free)], self.now))

    def _look(self) -> None:
        waiting = [at for n, at in enumerate(self.due) if n not in self.begun]
        pending = sum(at <= self.now for at in waiting)
        near = sum(self.now < at <= self.now + START_UP for at in waiting)
        busy = sum(at + TAKES > self.now for at in self.begun.values())
        running = sum(at <= self.now for at in self.up_at)
        planned = plan(
            Seen(
                policy=self.policy,
                queue=QueueDepth(pending, busy, soon=near, ahead_s=START_UP),
                replicas=Replicas(self.configured, running, self.configured, ServiceState.RUNNING),
                history=self.history,
                now=self.now,
                sources=SOURCES,
                retention=Retention(kept_window(self.policy), 3 * INTERVAL + 1),
                landing_bound=60.0,
                service=of(TAKES),
                ident=str(self.now),
            )
        )
        self.noted += [step.recommended for step in planned.steps if isinstance(step, Note)]
        self.history = planned.history
        if isinstance(planned.last, Send):
            change = planned.last.change
            after = accepted(recorded(self.history, change, self.now), change, self.now)
            self.history = settled(after, change, Settled.APPLIED, change.after, self.now)
            self.changes.append((self.now, change.before, change.after))
            kept = sorted(self.up_at)[: change.after]
            self.up_at = kept + [self.now + START_UP] * (change.after - len(kept))
            self.configured = change.after


@pytest.mark.parametrize("due", [43.0, 50.0, 59.9, 137.5])
@pytest.mark.parametrize("by", [TIERS, AIMING], ids=["tiers", "target_wait"])
def test_the_only_job_of_a_stopped_service_finds_a_worker_that_was_started_one_start_up_before(
    by: WorkerPolicy, due: float
) -> None:
    day = Day(by, [due])
    day.run(due + 120)
    (up, down) = day.changes
    assert (up[1:], down[1:]) == ((0, 1), (1, 0)), "once up and once down"
    assert due - START_UP <= up[0] < due - START_UP + INTERVAL, "at the first look within a start-up time of the job"
    assert day.begun[0] - due < 2 * INTERVAL, "without soon it would be a start-up time later"
    assert down[0] >= day.begun[0] + TAKES


def test_a_job_that_is_withdrawn_before_it_is_due_lets_its_worker_go() -> None:
    day = Day(AIMING, [45.0])
    day.run(40.0)
    assert day.configured == 1
    day.due = []
    day.run(100.0)
    assert day.changes == [(30.0, 0, 1), (50.0, 1, 0)], "idle_off after it was last wanted to start"


@pytest.mark.costly
@given(
    st.lists(st.floats(0, 400), min_size=1, max_size=25),
    st.sampled_from([TIERS, AIMING, policy(scale_down={"cooldown": "30s", "stabilization_window": "20s"})]),
)
@settings(max_examples=examples(20, 500))
def test_no_worker_is_removed_and_started_again_for_jobs_that_were_near_at_its_removal(
    due: list[float], by: WorkerPolicy
) -> None:
    day = Day(by, due)
    kept: dict[float, set[int]] = {}
    while day.now < 900:
        kept[day.now] = day.wanted_at(day.now)
        day.run(day.now + INTERVAL)
    assert len(day.begun) == len(due), "every job is worked on"
    for (removed_at, *down), (started_at, *up) in pairwise(day.changes):
        if down[1] < down[0] and up[1] > up[0]:
            assert kept[started_at] - kept[removed_at], "only a job that was not near yet starts it again"


# --- how far ahead ---


def queue_of(**keys: object) -> WorkerPolicy:
    return WorkerPolicy.model_validate({**SHIPPED, "queue": {"table": "job", **keys}})


@pytest.mark.parametrize(
    ("keys", "start_up_s", "expected"),
    [
        pytest.param({}, None, 20.0, id="not measured yet"),
        pytest.param({}, 31.2, 35.0, id="measured, in steps of 5 s"),
        pytest.param({}, 35.0, 35.0, id="a step exactly"),
        pytest.param({}, 0.7, 5.0, id="at least 5 s"),
        pytest.param({}, 580.0, 300.0, id="at most 5 min"),
        pytest.param({"ahead": "42s"}, 31.2, 42.0, id="as the policy says"),
        pytest.param({"ahead": "off"}, 31.2, 0.0, id="off"),
        pytest.param({"ahead": False}, 31.2, 0.0, id="off, as YAML 1.1 reads it"),
        pytest.param({"table": None, "sql": "SELECT 1"}, 31.2, 0.0, id="a query says itself what it counts"),
    ],
)
def test_jobs_count_one_start_up_time_ahead_unless_the_policy_says_otherwise(
    keys: dict[str, object], start_up_s: float | None, expected: float
) -> None:
    assert ahead_s(queue_of(**keys), start_up_s) == expected


@pytest.mark.parametrize(
    ("keys", "column", "words"),
    [
        ({}, "due_at", "scheduled jobs count one start-up time before due_at (20 s until it is measured)"),
        ({"ahead": "90s"}, "due_at", "scheduled jobs count 1 min 30 s before due_at"),
        ({"ahead": "off"}, "due_at", "scheduled jobs count once they are due, and not before (ahead: off)"),
        ({}, "", "nothing here says when a job falls due, so no worker is started ahead of a scheduled job"),
    ],
)
def test_what_is_gone_by_is_said(keys: dict[str, object], column: str, words: str) -> None:
    assert ahead_words(queue_of(**keys), column) == words
