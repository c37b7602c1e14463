"""What is said of a service beside its count, as tables: from readings, what was known before and time to a fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.adapters.railway.reading import coming
from controller.core.conditions import CONTEST_WINDOW_S, EVENTS, HANGS_S, Condition, Look, conditions, updated_watch
from controller.core.model import Change, History, Observation, QueueDepth, Replicas, ServiceState
from controller.core.reasons import Reason
from controller.core.rules import decide, fall_back
from controller.core.wanted import given_service
from controller.core.watch import Watch
from controller.loop.faults import CONDITIONS
from controller.policy import WorkerPolicy

START, BOUND = 1_000_000.0, 60.0
RUNNING, STARTING, STOPPED, CRASHED = (ServiceState(name) for name in ("running", "starting", "stopped", "crashed"))


def policy(**changes: Any) -> WorkerPolicy:
    tiers = [{"up_to": 0, "replicas": 0}, {"up_to": 10, "replicas": 1}, {"replicas": 5}]
    way = {} if "target_wait" in changes else {"tiers": tiers}
    wishes = {"service": "s", "queue": {"table": "t"}, "max_replicas": 5, **way, **changes}
    return WorkerPolicy.model_validate(wishes)


def fleet(configured: int, running: int | None = None, **more: Any) -> Replicas:
    runs = configured if running is None else running
    fields = {"state": RUNNING, "deployment": "d1", **more}
    return Replicas(configured, runs, configured, **fields)


def jobs(pending: int, processing: int = 0, age: float | None = None, **more: Any) -> QueueDepth:
    return QueueDepth(pending, processing, age, **more)


@dataclass
class Service:
    """One worker's service from look to look, as the reconciler takes them; the memory is what the journal keeps."""

    policy: WorkerPolicy = field(default_factory=policy)
    history: History = field(default_factory=lambda: History(unbroken_since=START, count=None))
    now: float = START

    def look(self, replicas: Replicas, queue: QueueDepth | None = None, after: float = 0.0) -> tuple[Condition, ...]:
        self.now += after
        look = Look(self.policy, replicas, queue, self.history, self.now, BOUND)
        # Through the journal and back, as between two processes.
        known = Watch.from_text(updated_watch(look).as_text())
        self.history = replace(self.history, watch=known)
        return conditions(replace(look, history=self.history))

    def faults(self, replicas: Replicas, queue: QueueDepth | None = None, after: float = 0.0) -> list[Reason]:
        return [one.reason for one in self.look(replicas, queue, after) if one.degrades]


# --- crashed workers

ALL_CRASHED = fleet(3, 0, crashed=3)
RESTARTED = fleet(3, 0)
BUILT_ANEW = fleet(3, 0, state=STARTING, deployment="d2", under_way=coming("d2", "BUILDING"))


@pytest.mark.parametrize(
    ("looks", "crashes"),
    [
        pytest.param([ALL_CRASHED], True, id="all have crashed"),
        pytest.param([fleet(3, 0, state=CRASHED, crashed=1)], True, id="the deployment says so itself"),
        pytest.param([fleet(3, 0, crashed=1)], True, id="one has crashed and none runs yet"),
        pytest.param([fleet(3, 1, crashed=2)], False, id="one runs"),
        pytest.param([fleet(3, 0)], False, id="none runs yet and none has crashed"),
        pytest.param([fleet(0, 0, state=STOPPED, exited=3)], False, id="a stopped service"),
        pytest.param([ALL_CRASHED, RESTARTED], True, id="being restarted after a crash"),
        pytest.param([ALL_CRASHED, RESTARTED, ALL_CRASHED, RESTARTED], True, id="restarted again and again"),
        pytest.param([ALL_CRASHED, fleet(3, 1, crashed=2)], False, id="one runs after the crash"),
        pytest.param([ALL_CRASHED, BUILT_ANEW], True, id="a new deployment is being built, or its build hangs"),
        pytest.param([ALL_CRASHED, BUILT_ANEW, fleet(3, 0, deployment="d2")], True, id="a new deployment starts"),
        pytest.param([ALL_CRASHED, BUILT_ANEW, fleet(3, 1, deployment="d2")], False, id="one of a new deployment runs"),
        pytest.param(
            [ALL_CRASHED, BUILT_ANEW, fleet(3, 0, deployment="d2", crashed=3)], True, id="the new one crashes too"
        ),
        pytest.param(
            [fleet(3, 0, state=STARTING, deployment="d2", crashed=1, under_way=coming("d2", "DEPLOYING"))],
            True,
            id="a deployment on its way crashes",
        ),
        pytest.param([ALL_CRASHED, fleet(0, 0, state=STOPPED, exited=3)], False, id="it was stopped"),
        pytest.param(
            [ALL_CRASHED, fleet(0, 0, state=STOPPED, exited=3), fleet(1, 0)], False, id="stopped, then started again"
        ),
    ],
)
def test_a_fleet_crashes_while_none_runs_after_a_crash(looks: Sequence[Replicas], *, crashes: bool) -> None:
    service = Service()
    for replicas in looks:
        faults = service.faults(replicas, jobs(200), after=5)
    assert (Reason.WORKERS_CRASH in faults) is crashes


@pytest.mark.parametrize(
    ("current", "changes", "depth", "desired", "reason"),
    [
        pytest.param(1, {}, 200, 1, Reason.WORKERS_CRASH, id="crashing workers by tiers get none more"),
        pytest.param(
            1,
            {"target_wait": "60s", "service_time": "20s"},
            200,
            1,
            Reason.WORKERS_CRASH,
            id="crashing workers by target_wait get none more",
        ),
        pytest.param(
            3, {"scale_down": {"cooldown": "0s"}}, 5, 1, Reason.TIER, id="crashing workers go down as the queue wants"
        ),
        pytest.param(3, {"scale_down": {"cooldown": "0s"}}, 0, 0, Reason.TIER, id="crashing workers go down to zero"),
        pytest.param(
            1,
            {"min_replicas": 2},
            200,
            2,
            Reason.BELOW_MINIMUM,
            id="crashing workers go up to min_replicas and no further",
        ),
        pytest.param(7, {}, 200, 5, Reason.ABOVE_MAXIMUM, id="crashing workers go down to max_replicas"),
    ],
)
def test_none_is_added_to_workers_that_crash(
    current: int, changes: dict[str, Any], depth: int, desired: int, reason: Reason
) -> None:
    wishes = policy(**changes)
    service = Service(wishes, History(since=0.0, unbroken_since=0.0))
    crashed = fleet(current, 0, crashed=current)
    service.look(crashed, jobs(depth))
    observed = Observation(jobs(depth), crashed, service=given_service(wishes))
    decision = decide(wishes, observed, service.history, service.now)
    assert (decision.desired, decision.reason) == (desired, reason)


def test_none_is_added_to_workers_that_crash_while_the_queue_cannot_be_read() -> None:
    wishes = policy(on_unavailable={"after": "1m", "at_least": 3})
    service = Service(wishes, History(since=0.0))
    crashed = fleet(1, 0, crashed=1)
    service.look(crashed)
    decision = fall_back(wishes, crashed, service.history, service.now, unread_for_s=300, rate=None)
    assert decision is not None
    assert (decision.desired, decision.reason) == (1, Reason.WORKERS_CRASH)


# --- workers that exit, workers that do not come


@pytest.mark.parametrize(
    ("replicas", "seconds", "faults"),
    [
        pytest.param(fleet(3, 2), 59, [], id="one is missing, within the landing bound"),
        pytest.param(fleet(3, 2), 61, [Reason.WORKERS_MISSING], id="one is missing for longer"),
        pytest.param(fleet(3, 2, crashed=1), 61, [Reason.WORKERS_MISSING], id="one crashes while others run"),
        pytest.param(fleet(3, 2, exited=1), 59, [], id="one exited just now"),
        pytest.param(fleet(3, 2, exited=1), 61, [Reason.WORKERS_EXITED], id="one exited"),
        pytest.param(fleet(3, 3), 9999, [], id="all run"),
        pytest.param(fleet(3, 5), 9999, [], id="two more drain"),
        pytest.param(fleet(3, 0, state=STARTING), 61, [], id="a deployment is on its way"),
        pytest.param(fleet(0, 0, state=STOPPED, exited=3), 9999, [], id="stopped by us"),
    ],
)
def test_what_lacks_is_a_fault_after_the_landing_bound(
    replicas: Replicas, seconds: float, faults: list[Reason]
) -> None:
    service = Service()
    service.look(replicas, jobs(1, 9))
    assert service.faults(replicas, jobs(1, 9), after=seconds) == faults


def test_what_lacks_is_said_from_the_first_look() -> None:
    service = Service()
    (said,) = service.look(fleet(3, 1), jobs(9))
    assert (said.words, said.degrades) == ("1 of 3 workers run", False)
    (said,) = service.look(fleet(3, 1), jobs(9), after=70)
    assert said.words.startswith("1 of 3 workers run for 1 min 10 s: see the deployment's log")


def test_workers_that_run_again_after_an_exit_are_not_said_to_lack() -> None:
    service = Service()
    service.look(fleet(3, 0, exited=3), jobs(9))
    (said,) = service.look(fleet(3, 3), jobs(9), after=5)
    assert (said.reason, said.degrades) == (Reason.WORKERS_EXITED, False)
    assert said.words.startswith("3 of 3 workers run again, 5 s after workers ended by themselves")


def test_a_start_that_usually_takes_long_is_given_twice_that() -> None:
    service = Service(history=History(start_ups=(100.0,)))
    service.look(fleet(3, 1))
    assert service.faults(fleet(3, 1), after=199) == []
    assert service.faults(fleet(3, 1), after=2) == [Reason.WORKERS_MISSING]


def test_each_further_worker_and_each_change_of_the_count_is_given_its_own_time() -> None:
    service = Service()
    for replicas in (fleet(3, 0), fleet(3, 1), fleet(5, 1), fleet(5, 3)):
        assert service.faults(replicas, after=50) == []
    service = Service()
    for replicas in (fleet(3, 1), fleet(3, 1), fleet(5, 1), fleet(5, 1)):
        assert service.faults(replicas, after=50) == []
    assert service.faults(fleet(5, 3), after=50) == []
    assert service.faults(fleet(5, 2), after=50) == []
    assert service.faults(fleet(5, 3), after=11) == [Reason.WORKERS_MISSING]


ENDED = fleet(0, 0, state=STOPPED, exited=2)


@pytest.mark.parametrize(
    ("count", "queue", "changes", "exited"),
    [
        pytest.param(2, jobs(5), {}, True, id="all ended and no controller stopped them"),
        pytest.param(0, jobs(5), {}, False, id="stopped by us"),
        pytest.param(None, jobs(5), {}, False, id="found stopped on a first start"),
        pytest.param(2, jobs(0), {}, False, id="nothing to do"),
        pytest.param(2, jobs(0), {"min_replicas": 1}, True, id="nothing to do and one wanted all the same"),
        pytest.param(2, None, {}, True, id="the queue cannot be read"),
    ],
)
def test_workers_that_all_ended_by_themselves_are_told_from_a_stop_by_what_was_asked_for(
    count: int | None, queue: QueueDepth | None, changes: dict[str, Any], *, exited: bool
) -> None:
    service = Service(policy(**changes), History(count=count))
    service.look(ENDED, queue)
    assert (service.faults(ENDED, queue, after=61) == [Reason.WORKERS_EXITED]) is exited


@pytest.mark.parametrize(
    ("change", "exited"),
    [
        pytest.param(Change("i", 1, 0, 2, START - 9, accepted_at=START - 9), False, id="a start of just now"),
        pytest.param(Change("i", 1, 0, 2, START - 11, accepted_at=START - 11), True, id="a start that should show"),
        pytest.param(Change("i", 1, 0, 2, START - 11), False, id="a start that was perhaps never asked for"),
        pytest.param(Change("i", 1, 2, 0, START - 11, accepted_at=START - 11), False, id="a stop"),
    ],
)
def test_workers_that_end_before_they_are_seen_to_run_are_known_by_the_start_that_was_asked_for(
    change: Change, *, exited: bool
) -> None:
    service = Service(history=History(count=change.before, change=change))
    service.look(ENDED, jobs(5))
    assert (service.history.watch.exited_since is not None) is exited


def test_workers_that_are_started_again_and_end_again_are_one_fault() -> None:
    service = Service(history=History(count=1))
    turns = [(ENDED, 1), (ENDED, 0), (fleet(1, 1), 1), (ENDED, 1), (ENDED, 0)]
    found = []
    for replicas, count in turns:
        service.history = replace(service.history, count=count)
        found.append(service.faults(replicas, jobs(5), after=20))
    assert found == [[], [], [], [Reason.WORKERS_EXITED], [Reason.WORKERS_EXITED]]
    service.history = replace(service.history, count=1)
    assert service.faults(fleet(1, 1), jobs(5), after=20) == [Reason.WORKERS_EXITED]
    assert service.faults(fleet(1, 1), jobs(5), after=61) == []


# --- a deployment that hangs


LONG = ["QUEUED", "WAITING", "BUILDING"]
BRIEF = ["DEPLOYING", "NEEDS_APPROVAL", "INITIALIZING"]


@pytest.mark.parametrize("told", [True, False], ids=["Railway says since when", "it does not say"])
@pytest.mark.parametrize(
    ("status", "running", "waiting", "bound"),
    [
        *((status, 2, 9, HANGS_S) for status in LONG),
        *((status, 0, 0, HANGS_S) for status in LONG),
        *((status, 0, 9, BOUND) for status in LONG),
        *((status, running, waiting, BOUND) for status in BRIEF for running in (0, 2) for waiting in (0, 9)),
    ],
)
def test_a_deployment_hangs_after_the_landing_bound_and_a_build_that_no_job_waits_for_after_15_minutes(
    status: str, running: int, waiting: int, bound: float, *, told: bool
) -> None:
    service = Service()
    still = fleet(running, running, under_way=coming("d2", status, START if told else None))
    (said,) = service.look(still, jobs(waiting))
    none_runs = "no worker runs, and " if waiting and not running else ""
    assert (said.words, said.degrades) == (f"{none_runs}the newest deployment is {status}", False)
    assert service.faults(still, jobs(waiting), after=bound - 1) == []
    assert service.faults(still, jobs(waiting), after=2) == [Reason.DEPLOYMENT_HANGS]


def test_a_service_that_starts_slowly_has_twice_its_usual_start_to_deploy() -> None:
    service = Service(history=History(start_ups=(200.0,)))
    still = fleet(2, 2, under_way=coming("d2", "DEPLOYING"))
    assert service.faults(still) == []
    assert service.faults(still, after=399) == []
    assert service.faults(still, after=2) == [Reason.DEPLOYMENT_HANGS]


def test_a_deployment_that_moves_on_does_not_hang() -> None:
    service = Service()
    for status, for_s in (("QUEUED", HANGS_S), ("BUILDING", HANGS_S), ("DEPLOYING", BOUND)):
        assert service.faults(fleet(2, 2, under_way=coming("d2", status)), after=for_s - 1) == []
    assert service.look(fleet(2, 2, deployment="d2"), after=HANGS_S) == ()


def test_a_time_of_railway_in_the_future_is_ignored() -> None:
    service = Service()
    (said,) = service.look(fleet(2, 2, under_way=coming("d2", "BUILDING", START + 3600)))
    assert said.lasted_s == 0.0


# --- no progress: alarms and what must be none

ONE = fleet(1, 1)
TWO = fleet(2, 2)


def minutes_of(
    readings: Sequence[tuple[Replicas, QueueDepth]], changes: dict[str, Any] | None = None, every: float = 60.0
) -> list[bool]:
    """Whether each of the readings, a minute apart, is an alarm."""
    service = Service(policy(**(changes or {})))
    return [
        Reason.NO_PROGRESS in service.faults(replicas, queue, after=every if index else 0.0)
        for index, (replicas, queue) in enumerate(readings)
    ]


def waits(minute: int, since: int = 0) -> float:
    """How long a job has waited in that minute that was ready in that one."""
    return 60.0 * (minute - since)


ALARMS = {
    "nothing is in work": [(ONE, jobs(5, 0, waits(m))) for m in range(12)],
    "more jobs keep coming and no worker takes them": [(ONE, jobs(5 + m, 0, waits(m))) for m in range(12)],
    "one of two hangs and the other is idle": [(TWO, jobs(5, 1, waits(m))) for m in range(12)],
    "workers are added and none of them takes a job": [
        (fleet(1 + m // 4, 1 + m // 4), jobs(5 + m, 0, waits(m))) for m in range(12)
    ],
    "the queue says no age": [(ONE, jobs(5, 0)) for _ in range(12)],
    "it stood still before its count reached the limit": [
        (ONE, jobs(min(100, 80 + 5 * m), 0, waits(m), limit=100)) for m in range(12)
    ],
    "jobs of one instant": [(ONE, jobs(500, 0, 3000 + waits(m))) for m in range(12)],
    "a single job": [(ONE, jobs(1, 0, waits(m))) for m in range(12)],
    "an older deployment goes on draining": [(fleet(1, 2), jobs(5, 0, waits(m))) for m in range(12)],
}
FALSE_ALARMS = {
    "long jobs on busy workers": [(TWO, jobs(50, 2, waits(m))) for m in range(40)],
    "more in work than workers are known to take": [(TWO, jobs(50, 9, waits(m))) for m in range(40)],
    "no worker runs": [(fleet(2, 0), jobs(5, 0, waits(m))) for m in range(40)],
    "nothing is ready": [(TWO, jobs(0, 0)) for _ in range(40)],
    "a job is taken every nine minutes": [(ONE, jobs(50 - m // 9, 0, waits(m))) for m in range(40)],
    "as many come as are taken, and the oldest is another each time": [(ONE, jobs(5, 0, 30.0)) for _ in range(40)],
    "more come than are taken, and the oldest is another now and then": [
        (ONE, jobs(5 + m, 0, waits(m, since=5 * (m // 5)))) for m in range(40)
    ],
    "jobs are begun and done between two looks": [(TWO, jobs(50 + m, m % 2, waits(m))) for m in range(40)],
    "fewer are ready than a moment ago, and more than at first": [
        (ONE, jobs(9 - m % 2 if m else 5, 0, waits(m))) for m in range(40)
    ],
    "one in work is done, and the others go on": [(fleet(9, 9), jobs(5, 8 - m // 9, waits(m))) for m in range(40)],
    "the queue is empty now and then": [(ONE, jobs(0 if m % 9 == 8 else 3, 0, waits(m % 9))) for m in range(40)],
    "workers have just begun to run": [(fleet(1, int(m > 30)), jobs(5, 0, waits(m))) for m in range(40)],
    "each deployment is replaced soon": [
        (fleet(1, 1, deployment=f"d{m // 9}"), jobs(5, 0, waits(m))) for m in range(40)
    ],
    "the count stops at its limit, and the bulk is of one instant": [
        (TWO, jobs(100, 0, waits(m), limit=100)) for m in range(40)
    ],
    "how many are in progress beyond the limit is unknown": [
        (fleet(150, 150), jobs(50, 100, waits(m), limit=100)) for m in range(40)
    ],
    "no age, and as many more come as hide what is taken": [(ONE, jobs(5 + m, 0)) for m in range(40)],
    "no age, and few looks": [(ONE, jobs(5, 0)) for _ in range(9)],
    "no time has passed": [(ONE, jobs(5, 0, 0.0))],
    "stopped": [(fleet(0, 0, state=STOPPED), jobs(5, 0, waits(m))) for m in range(40)],
}


@pytest.mark.parametrize("readings", ALARMS.values(), ids=ALARMS.keys())
def test_jobs_that_no_worker_takes_are_an_alarm_after_ten_minutes(readings: list[tuple[Replicas, QueueDepth]]) -> None:
    assert minutes_of(readings) == [minute >= 10 for minute in range(12)]


@pytest.mark.parametrize("readings", FALSE_ALARMS.values(), ids=FALSE_ALARMS.keys())
def test_what_may_be_work_is_no_alarm(readings: list[tuple[Replicas, QueueDepth]]) -> None:
    assert not any(minutes_of(readings))


def test_idle_is_a_worker_that_could_take_more_at_once() -> None:
    busy = [(TWO, jobs(50, 7, waits(minute))) for minute in range(12)]
    assert not any(minutes_of(busy))
    assert not any(minutes_of(busy, {"jobs_per_worker": 3}))
    assert minutes_of(busy, {"jobs_per_worker": 4})[-1]


@pytest.mark.parametrize(("after", "minute"), [("3m", 3), ("20m", 20)])
def test_the_policy_says_after_how_long(after: str, minute: int) -> None:
    still = [(ONE, jobs(5, 0, waits(m))) for m in range(25)]
    assert minutes_of(still, {"no_progress_after": after}) == [m >= minute for m in range(25)]


def test_two_looks_that_happen_to_be_alike_are_no_alarm() -> None:
    """As `once` has it, that cron runs every quarter of an hour."""
    still = [(ONE, jobs(5, 0, 900.0 * m)) for m in range(4)]
    assert minutes_of(still, every=900) == [False, False, True, True]


def test_a_silence_of_the_controller_begins_it_anew() -> None:
    service = Service()
    for minute in range(12):
        service.faults(ONE, jobs(5, 0, waits(minute)), after=60)
    service.history = replace(service.history, unbroken_since=service.now + 3600)
    assert service.faults(ONE, jobs(5, 0, waits(71)), after=3600) == []


def test_a_reading_of_the_queue_that_is_lost_changes_nothing() -> None:
    service = Service()
    for minute in range(12):
        queue = None if minute % 3 == 2 else jobs(5, 0, waits(minute))
        found = service.faults(ONE, queue, after=60)
    assert found == [Reason.NO_PROGRESS]


def test_workers_that_start_slowly_are_given_the_time_that_a_start_takes() -> None:
    service = Service(history=History(unbroken_since=START, start_ups=(1200.0,)))
    found = [service.faults(ONE, jobs(5, 0, waits(m)), after=60) for m in range(25)]
    assert [bool(faults) for faults in found] == [minute > 20 for minute in range(25)]


def test_it_says_how_many_wait_and_what_to_look_at() -> None:
    service = Service()
    for minute in range(12):
        found = service.look(TWO, jobs(5, 1, waits(minute)), after=60)
    (said,) = found
    assert said.says == "no job was taken for 11 min, while 5 jobs are ready, 1 in progress, and 2 workers run"
    assert said.words == f"{said.says}: read the workers' log, and check that they take jobs of this queue"


# --- something else sets the count


def contests(*turns: tuple[int | None, Replicas], every: float = 60.0) -> int:
    """How many changes from outside count, of (what was agreed, what is shown), a minute apart."""
    service = Service()
    for count, replicas in turns:
        service.history = replace(service.history, count=count)
        service.look(replicas, jobs(9), after=every)
    return len(service.history.watch.contests)


@pytest.mark.parametrize(
    ("turns", "counted"),
    [
        pytest.param([(5, fleet(2)), (5, fleet(2)), (5, fleet(2))], 3, id="ours is undone three times"),
        pytest.param([(5, fleet(2)), (2, fleet(3)), (3, fleet(1))], 1, id="a person changes it three times in a row"),
        pytest.param([(5, fleet(2)), (2, fleet(2)), (5, fleet(3)), (3, fleet(3))], 2, id="looks between"),
        pytest.param([(None, fleet(2)), (None, fleet(5))], 0, id="nothing was agreed yet"),
        pytest.param(
            [(0, fleet(1, deployment="d2")), (0, fleet(1, deployment="d3")), (0, fleet(1, deployment="d4"))],
            0,
            id="deploys start what was stopped",
        ),
        pytest.param(
            [(5, fleet(1, deployment="d2")), (5, fleet(1, deployment="d3")), (5, fleet(1, deployment="d4"))],
            3,
            id="deploys reset the count",
        ),
        pytest.param([(0, fleet(1)), (0, fleet(1)), (0, fleet(1))], 3, id="a stopped service is started from outside"),
    ],
)
def test_only_a_change_from_outside_that_follows_one_of_ours_counts(
    turns: list[tuple[int | None, Replicas]], counted: int
) -> None:
    assert contests((0, fleet(0, 0, state=STOPPED)), *turns) == counted


def test_what_was_an_hour_ago_is_forgotten() -> None:
    assert contests(*[(5, fleet(2))] * 5, every=CONTEST_WINDOW_S / 2) == 2


# --- the memory


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "no json", '{"short": 1}', '{"stall": {"since": "x"}}', "1" * 9]
)
def test_a_memory_that_is_not_understood_is_none(text: str) -> None:
    assert Watch.from_text(text) == Watch()


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"x"', "true", "[]"])
def test_a_stamp_that_is_none_is_not_believed(value: str) -> None:
    assert Watch.from_text(f'{{"running_since": {value}}}') in {Watch(), Watch(running_since=None)}


@given(
    st.lists(
        st.tuples(
            st.integers(0, 4), st.integers(0, 4), st.integers(0, 2), st.integers(0, 2), st.integers(0, 9), st.booleans()
        )
    )
)
def test_whatever_was_seen_survives_the_journal(looks: list[tuple[int, int, int, int, int, bool]]) -> None:
    service = Service(history=History(count=2, unbroken_since=START))
    for configured, running, crashed, exited, pending, built in looks:
        under_way = coming("d2", "BUILDING") if built else None
        replicas = fleet(configured, running, crashed=crashed, exited=exited, under_way=under_way)
        look = Look(service.policy, replicas, jobs(pending, 0, 7.25), service.history, service.now, BOUND)
        assert Watch.from_text(updated_watch(look).as_text()) == updated_watch(look)
        service.look(replicas, jobs(pending, 0, 7.25), after=12.345)


def test_a_clock_that_is_set_back_makes_nothing_older_than_it_is() -> None:
    service = Service()
    service.look(fleet(3, 1), jobs(5))
    assert service.look(fleet(3, 1), jobs(5), after=-500)[0].lasted_s == 0.0
    assert service.faults(fleet(3, 1), jobs(5), after=61) == [Reason.WORKERS_MISSING]


def test_every_condition_has_an_event_and_each_fault_has_words_for_its_end() -> None:
    assert {reason.value for reason in EVENTS} == {*CONDITIONS, Reason.CONTENDED.value}


def test_what_else_sets_the_count_is_a_warning_with_its_fix_and_no_fault() -> None:
    seen = replace(fleet(3, 3), contenders=("HorizontalPodAutoscaler web", "ScaledObject web"))
    (condition,) = conditions(Look(policy(), seen, jobs(5), History(), START, BOUND))
    assert (condition.reason, condition.degrades, condition.is_told) == (Reason.CONTENDED, False, True)
    assert condition.words.startswith("HorizontalPodAutoscaler web and ScaledObject web set the count")
    assert "take the worker out of this policy" in condition.words
