"""Our own policies in the simulator: each answer is decide()'s, on all that the journal would have kept."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.load import Load
from controller.core.model import (
    History,
    Observation,
    QueueDepth,
    Recommendation,
    Replicas,
    ServiceState,
    ServiceTime,
)
from controller.core.pauses import LEARN_AGAIN_S, MOST_PAUSES, cost_of_a_wrong_stop, learned, rounded
from controller.core.rules import decide, recommend
from controller.core.wanted import given_service, kept_window
from controller.policy import WorkerPolicy
from controller.simulation.account import Done
from controller.simulation.contenders import own_worker
from controller.simulation.fleet import Platform
from controller.simulation.own import OwnPolicy, Part, parts_of
from controller.simulation.scaler import View
from controller.simulation.workload.jobs import Job
from tests.simulation.measured import plainly_measured
from tests.simulation.policies import policies
from tests.simulation.runs import Sleepless, platforms, random_jobs, run
from tests.support.examples import examples


@dataclass(slots=True)
class Sleeper(Sleepless):
    """Holds each answer of an own policy against decide(), with the whole history as the journal keeps it."""

    last_up: float | None = None
    last_down: float | None = None
    past: list[Recommendation] = field(default_factory=list)
    polls: list[float] = field(default_factory=list)
    services: list[float] = field(default_factory=list)
    service: ServiceTime | None = None
    start_ups: tuple[float, ...] = ()
    kept_s: tuple[float | None, ...] = ()
    learned_at: float | None = None
    load: Load | None = None
    asked_at: float | None = None
    answers: int = 0
    most_answers: float = math.inf

    @property
    def own(self) -> OwnPolicy:
        assert isinstance(self.inner, OwnPolicy)
        return self.inner

    def look(self, seen: View) -> int:
        if self.answers >= self.most_answers:
            return self.inner.look(seen)
        policy = self.own._written
        service, now = given_service(policy) or self.service, seen.now
        parts = parts_of(policy, [Part(*counts, None if service is None else service.mean_s) for counts in seen.parts])
        queue = QueueDepth(seen.waiting, seen.busy, seen.oldest_s if seen.waiting else None, parts=parts)
        if not seen.notified:
            self._time_the_start(seen)
        has_time = service is not None and seen.draining_s >= service.mean_s
        self.past.append(
            Recommendation(now, recommend(policy, queue, service, seen.configured, seen.leaving if has_time else 0))
        )
        self.polls += [] if seen.notified else [now]
        replicas = Replicas(
            configured=seen.configured,
            running=seen.running,
            alive=seen.configured + seen.leaving,
            state=ServiceState.RUNNING,
            draining_s=seen.draining_s,
            leaving=seen.leaving,
        )
        decision = decide(policy, Observation(queue, replicas, None, service), self._history(now), now)
        desired = decision.desired
        self.polls += [now] if desired != seen.configured and seen.notified else []
        if desired == 0 and seen.running == 0:
            desired = seen.configured  # a deployment in progress is not stopped
        assert self.inner.look(seen) == desired, decision.sentence
        self.answers += 1
        if desired != seen.configured:
            self._remember_change(now, seen.configured, desired)
        return desired

    def learn(self, finished: Iterable[Done], now: float) -> None:
        finished = list(finished)
        assert all(end <= now for end, _, _, _ in finished)
        self.services += [job[1] for _, _, job, _ in finished]
        able = now * self.own.policy.max_replicas * self.own.policy.concurrency
        self.load = Load(sum(self.services) / able if able else 0.0, now, now)
        self.service = plainly_measured(self.services)
        if self.learned_at is None or now - self.learned_at >= LEARN_AGAIN_S:
            history = self._history(now)
            cost = cost_of_a_wrong_stop(self.own.policy, None, history.start_up_s, history.load)
            each = [self._pauses(worker) for worker in range(1, self.own._written.highest_max + 1)]
            self.kept_s, self.learned_at = tuple(learned(sorted(one), cost) for one in each), now
        Sleepless.learn(self, finished, now)

    def _pauses(self, worker: int) -> list[float]:
        """The times between two needs of a worker with a poll in between that did not need it."""
        times = [at for at, replicas in self.past if replicas >= worker]
        return [
            rounded(after - before)
            for before, after in itertools.pairwise(times)
            if any(before < poll < after for poll in self.polls)
        ][-MOST_PAUSES:]

    def _history(self, now: float) -> History:
        return History(
            last_up=self.last_up,
            last_down=self.last_down,
            since=0.0,
            unbroken_since=0.0,
            remembered_at=now,
            window=kept_window(self.own.policy),
            recommendations=tuple(self.past),
            apart_s=self.polls[-1] - self.polls[-2] if len(self.polls) > 1 else None,
            start_ups=self.start_ups,
            kept_s=self.kept_s,
            learned_at=self.learned_at,
            load=self.load,
        )

    def _remember_change(self, now: float, before: int, after: int) -> None:
        accepted, self.asked_at = now + self.own.answer_s, None
        if after > before:
            self.last_up = self.asked_at = accepted
        else:
            self.last_down = accepted

    def _time_the_start(self, seen: View) -> None:
        if self.asked_at is not None and seen.running == seen.configured:
            self.start_ups = (*self.start_ups, round(seen.now - self.asked_at, 3))[-9:]
            self.asked_at = None


@pytest.fixture(autouse=True, scope="module")
def _patience_of_hours() -> Iterator[None]:
    """A job that its policy never starts is waited for a week, and here every look of it is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("controller.simulation.fleet._PATIENCE_S", 6 * 3600.0)
        yield


def wakes() -> st.SearchStrategy[float | None]:
    return st.sampled_from([None, 0.5, 1.0, 4.0])


@pytest.mark.costly
@settings(max_examples=examples(4, 80))
@given(policies(), random_jobs(most=20), platforms, st.sampled_from([5.0, 10.0, 15.0]), wakes())
def test_every_answer_is_the_one_of_a_fresh_decision(
    policy: WorkerPolicy, jobs: list[Job], platform: Platform, interval: float, wake: float | None
) -> None:
    # The fresh decisions go through all earlier looks.
    held = Sleeper(OwnPolicy(policy, interval, wake), most_answers=3000)
    run(held, jobs, platform, cap=policy.max_replicas, until=jobs[-1][0] + 400)
    assert held.answers >= 400 / interval


@pytest.mark.costly
@settings(max_examples=examples(10, 200))
@given(policies(), random_jobs(most=20), platforms, st.sampled_from([5.0, 10.0, 15.0]), st.data())
def test_what_is_left_out_changes_nothing(
    policy: WorkerPolicy, jobs: list[Job], platform: Platform, interval: float, data: st.DataObject
) -> None:
    wake, chunk = data.draw(wakes()), data.draw(st.sampled_from([1, 3, 1000]))
    cap, until = policy.max_replicas, jobs[-1][0] + 500
    whole = run(Sleepless(OwnPolicy(policy, interval, wake)), jobs, platform, cap=cap, until=until)
    short = run(OwnPolicy(policy, interval, wake), jobs, platform, cap=cap, until=until, chunk=chunk)
    assert short.outcome == whole.outcome


SOON = [
    {"cron": "7-59/20 * * * *", "for": "4m", "timezone": "UTC", "min_replicas": 3, "lead": "45s"},
    {"cron": "*/20 * * * *", "for": "9m", "timezone": "UTC", "min_replicas": 1, "max_replicas": 2},
]
WAYS: dict[str, dict[str, object]] = {
    "tiers": {"tiers": [{"up_to": 0, "replicas": 0}, {"up_to": 3, "replicas": 2}, {"replicas": 5}]},
    "jobs per worker": {"per_worker": 2, "scale_down": {"cooldown": "60s", "stabilization_window": "120s"}},
    "a target wait": {"target_wait": "20s", "scale_down": {"idle_off": "90s"}},
    "a target wait that learns": {"target_wait": "5s"},
}
JOBS = [(float(at), 10.0 + at % 30) for at in (5, 5, 6, 300, 301, 302, 303, 700, 1190, 1195, 1500, 1500, 1500, 1501)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wake", [None, 1.0])
def test_with_schedules_every_answer_is_the_one_of_a_fresh_decision(way: str, wake: float | None) -> None:
    held = Sleeper(OwnPolicy(own_worker({"max_replicas": 4, **WAYS[way], "schedules": SOON}), 10.0, wake))
    run(held, JOBS, cap=4, until=3000.0, began=0.0)
    assert held.answers >= 300


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wake", [None, 1.0])
def test_with_schedules_what_is_left_out_changes_nothing(way: str, wake: float | None) -> None:
    policy = own_worker({"max_replicas": 4, **WAYS[way], "schedules": SOON})
    whole = run(Sleepless(OwnPolicy(policy, 10.0, wake)), JOBS, cap=4, until=3000.0, began=0.0)
    short = run(OwnPolicy(policy, 10.0, wake), JOBS, cap=4, until=3000.0, chunk=3, began=0.0)
    assert short.outcome == whole.outcome
    assert len(whole.actions) > 6


OFFICE = {"cron": "0 8 * * mon-fri", "for": "10h", "timezone": "Europe/Berlin", "min_replicas": 2, "max_replicas": 4}
KEPT = {"max_replicas": 2, "tiers": [{"up_to": 0, "replicas": 0}, {"replicas": 4}], "schedules": [OFFICE]}


@pytest.mark.costly
@pytest.mark.parametrize(
    ("began", "first"),
    [
        pytest.param(None, 8 * 3600.0, id="without dates, on Monday at 00:00"),
        pytest.param(1_780_603_200.0, 10 * 3600.0, id="from 22:00 of a Thursday in Berlin on"),
    ],
)
def test_the_workers_of_an_hour_are_there_from_its_first_look_on(began: float | None, first: float) -> None:
    ledger = run(OwnPolicy(own_worker(KEPT), 10.0, None), [(0.0, 1.0)], cap=4, until=3 * 86_400.0, began=began)
    ups = [at for at, before, after in ledger.actions if (before, after) == (0, 2) and at > 600]
    assert ups[0] == pytest.approx(first, abs=10.0)


@pytest.mark.costly
def test_a_decision_is_asked_for_once_for_each_situation() -> None:
    policy = own_worker({"max_replicas": 3, "tiers": [{"up_to": 0, "replicas": 0}, {"replicas": 3}]})
    own = OwnPolicy(policy, 10.0, None)
    held = Sleeper(own)
    run(held, [(600.0 * number, 20.0) for number in range(60)])
    assert (held.answers > 3000, own.decisions < 100) == (True, True)


def test_only_finished_jobs_say_how_long_jobs_take() -> None:
    policy = own_worker({"max_replicas": 5, "target_wait": "20s", "scale_down": {"idle_off": "300s"}})
    held = Sleeper(OwnPolicy(policy, 10.0, None))
    jobs = [(0.0, 1.0)] * 3 + [(100.0, 1000.0)] + [(200.0 + 40 * number, 1.0) for number in range(20)]
    ledger = run(held, jobs, Platform(start_up_s=10.0), until=2000)
    ended = sorted((end, job[1]) for end, _, job, _ in ledger.finished)
    assert held.services == [service for _, service in ended]
    assert 1000.0 in held.services


@pytest.mark.parametrize(("drain", "wanted"), [(math.inf, 2), (20.0, 2), (19.0, 5), (0.0, 5)])
def test_a_worker_that_leaves_too_soon_to_end_its_job_needs_another_one(drain: float, wanted: int) -> None:
    policy = own_worker(
        {"max_replicas": 9, "target_wait": "60s", "service_time": "20s", "scale_down": {"idle_off": "0s"}}
    )
    own = OwnPolicy(policy, 10.0, None)
    assert own.look(View(100.0, 0, 5, 5, 5, leaving=3, draining_s=drain)) == wanted


@pytest.mark.parametrize(("wake", "first_look"), [(None, 110.0), (1.0, 104.0)])
def test_a_job_is_answered_at_the_next_look_or_at_once_where_it_wakes(wake: float | None, first_look: float) -> None:
    policy = own_worker({"max_replicas": 1, "tiers": [{"up_to": 0, "replicas": 0}, {"replicas": 1}]})
    ledger = run(OwnPolicy(policy, 10.0, wake), [(104.0, 5.0)])
    assert ledger.actions[0] == (first_look, 0, 1)
    assert ledger.begun == [(104.0, first_look + 20, first_look + 25)]


def test_a_start_is_timed_by_the_first_look_that_could_see_it() -> None:
    """Though what that look sees of the queue has been seen before, and needs no decision."""
    policy = own_worker({"max_replicas": 2, "target_wait": "20s", "service_time": "20s"})
    own = OwnPolicy(policy, 10.0, None)
    run(own, [(0.0, 500.0)] * 4 + [(5000.0, 500.0)] * 4, Platform(start_up_s=35.0), cap=2, until=9000.0)
    assert own._memory.start_up_s == pytest.approx(40.0 - own.answer_s)


def test_the_service_time_is_measured_each_minute_though_nothing_happens() -> None:
    class Learner(OwnPolicy):
        def learn(self, finished: Iterable[Done], now: float) -> None:
            times.append(now)
            OwnPolicy.learn(self, finished, now)

    times: list[float] = []
    policy = own_worker({"max_replicas": 3, "target_wait": "20s", "scale_down": {"idle_off": "60s"}})
    run(Learner(policy, 10.0, None), [(0.0, 900.0), (1.0, 5.0), (3000.0, 5.0)], cap=3)
    assert times[:50] == [60.0 * number for number in range(50)]


def test_what_busy_workers_hold_is_not_remembered_as_wanted() -> None:
    """Three are busy where one is wanted; when one of them is done, the window has been over for long."""
    tiers = [{"up_to": 0, "replicas": 0}, {"up_to": 5, "replicas": 1}, {"replicas": 3}]
    down = {"cooldown": "0s", "stabilization_window": "60s"}
    policy = own_worker({"max_replicas": 3, "tiers": tiers, "scale_down": down, "jobs_per_worker": 1})
    jobs = [(0.0, 10.0)] * 5 + [(0.0, 900.0), (0.0, 1000.0), (0.0, 1000.0)]
    ledger = run(OwnPolicy(policy, 10.0, None), jobs, Platform(idle_first=True), cap=3, until=2000.0)
    first_end = min(end for end, _, job, _ in ledger.finished if job[1] == 900.0)
    assert ledger.actions[:2] == [(10.0, 0, 3), (first_end, 3, 2)]


@pytest.mark.costly
def test_a_worker_stays_longer_near_max_replicas() -> None:
    """Jobs keep both busy for 18 of 20 minutes; once that is known, no worker goes in the 2 minutes between."""
    policy = own_worker({"max_replicas": 2, "target_wait": "4s", "service_time": "20s"})
    own = OwnPolicy(policy, 30.0, None)
    jobs = [(1200.0 * number, 1080.0) for number in range(10) for _ in range(2)]
    ledger = run(Sleeper(own), jobs, cap=2, until=12_000.0)
    assert own._memory.load is not None
    assert own._memory.load.is_high
    downs = [at for at, before, after in ledger.actions if after < before]
    assert [at < 6000 for at in downs] == [True, True]


def test_a_start_that_was_just_measured_counts_for_how_long_a_worker_stays() -> None:
    """A minute before the next learning: what a wrong stop costs follows from the start."""
    policy = own_worker({"max_replicas": 6, "target_wait": "20s", "service_time": "60s"})
    jobs = [(60.0, 19.0), (63.0, 3.0), (66.0, 204.0), (73.0, 10.0), (133.0, 1.0), (133.0, 2.0), (140.0, 8.0)]
    held = Sleeper(OwnPolicy(policy, 10.0, 0.5))
    run(held, jobs, Platform(drain_s=7.0, concurrency=3, idle_first=True), cap=6, until=600.0)
    assert held.answers > 50
