"""A promise for a share of the jobs: which late jobs count, how the target wait moves, and what is said of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.core.model import Finished, History, QueueDepth, Replicas, ServiceState, ServiceTime
from controller.core.plan import Plan, Seen, plan
from controller.core.ports import Retention
from controller.core.slo import MOST_SPANS, Kept, Promise, Tally, with_target
from controller.core.wanted import count_limit, enough, jobs_for
from controller.policy import Slo, WorkerPolicy
from tests.support.sources import SOURCES

SLO = Slo.model_validate({"wait": "60s", "share": "99%"})
DATA: dict[str, Any] = {
    "service": "svc",
    "queue": {"table": "job"},
    "slo": {"wait": "60s", "share": "99%"},
    "max_replicas": 4,
}
POLICY = WorkerPolicy.model_validate(DATA)
NOW, GAP = 100_000.0, 31.0


def waits(late: int, in_time: int) -> list[tuple[float, float]]:
    return [(NOW - 200, NOW - 100)] * late + [(NOW - 120, NOW - 100)] * in_time


# --- which jobs count ---


@pytest.mark.parametrize(
    ("began", "at_max", "tally"),
    [
        pytest.param(60, [], Tally(0, 1, 0), id="as long as promised"),
        pytest.param(61, [], Tally(1, 1, 0), id="longer"),
        pytest.param(61, [(0, 61)], Tally(0, 0, 1), id="longer, all of it with max_replicas"),
        pytest.param(61, [(58, 80)], Tally(0, 0, 1), id="58 s with fewer: these alone kept the promise"),
        pytest.param(200, [(61, 200)], Tally(1, 1, 0), id="61 s with fewer, and then max_replicas"),
        pytest.param(200, [(60, 200)], Tally(0, 0, 1), id="60 s with fewer"),
        pytest.param(200, [(10, 60), (80, 130), (150, 190)], Tally(0, 0, 1), id="60 s with fewer, in four parts"),
        pytest.param(200, [(10, 60), (80, 130), (150, 189)], Tally(1, 1, 0), id="61 s with fewer, in four parts"),
        pytest.param(61, [(-90, 0), (61, 90)], Tally(1, 1, 0), id="max_replicas before and after"),
        pytest.param(30, [(0, 30)], Tally(0, 1, 0), id="in time with max_replicas: it counts"),
    ],
)
def test_a_late_job_counts_if_it_waited_too_long_while_fewer_than_max_ran(
    began: float, at_max: list[tuple[float, float]], tally: Tally
) -> None:
    assert Tally.of([(0.0, began)], at_max, 60.0) == tally


def test_times_at_max_are_joined_while_looks_follow_each_other() -> None:
    promise = Promise()
    looks = [(0, False), (10, True), (20, True), (30, False), (40, True), (90, True), (100, True)]
    for at, is_at_max in looks:
        promise = promise.looked(at, GAP, is_at_max=is_at_max)
    after = replace(promise, spans=((10, 20), (40, 40), (90, 100)), is_at_max=True)
    assert promise == after, "what happened between 40 and 90 is unknown"


def test_only_the_newest_times_at_max_are_kept() -> None:
    promise = Promise()
    for at in range(400):
        promise = promise.looked(at, GAP, is_at_max=at % 2 == 0)
    assert len(promise.spans) == MOST_SPANS
    assert promise.spans[-1] == (398, 398)


# --- how the target moves ---


@pytest.mark.parametrize(
    ("late", "in_time", "integral", "exponent"),
    [
        pytest.param(0, 500, 0.0, 0.1 + 0.005, id="none is late: longer"),
        pytest.param(5, 495, 0.0, 0.0, id="as many as allowed: as it is"),
        pytest.param(10, 490, 0.0, -0.1 - 0.005, id="twice as many: shorter"),
        pytest.param(500, 0, 0.0, -0.3 - 0.015, id="all are late: as for 4 %"),
        pytest.param(20, 480, 0.0, -0.3 - 0.015, id="4 %"),
        pytest.param(0, 500, 2.0, 2.0, id="no longer than 4 times"),
        pytest.param(500, 0, -4.0, -4.0, id="no shorter than 1/16"),
    ],
)
def test_the_target_follows_from_the_share_of_late_jobs(
    late: int, in_time: int, integral: float, exponent: float
) -> None:
    promise = Promise(integral=integral).learned(SLO, waits(late, in_time), NOW, NOW)
    steps = round(exponent * 8)
    assert promise.multiple(SLO) == pytest.approx(2 ** (steps / 8))
    assert promise.target(SLO) == pytest.approx(30 * 2 ** (steps / 8))


@pytest.mark.parametrize(
    ("minutes", "counted"), [(1, 1), (1.5, 1.5), (30, 30), (60, 60), (600, 60)], ids=lambda one: f"{one:g} min"
)
def test_the_integral_counts_the_time_since_the_last_move_but_at_most_an_hour(minutes: float, counted: float) -> None:
    promise = Promise(learned_at=NOW - minutes * 60, newest=NOW - minutes * 60)
    assert promise.learned(SLO, waits(0, 9), NOW, NOW).integral == pytest.approx(0.005 * counted)


def test_it_moves_once_a_minute_and_only_by_jobs_that_ended_since() -> None:
    jobs = [Finished(NOW - 5, 10.0, (NOW - 20, NOW - 15))]
    first = Promise().after(SLO, jobs, NOW)
    assert first.tally == Tally(0, 1, 0)
    newer = [*jobs, Finished(NOW + 1, 10.0, (NOW - 14, NOW - 9))]
    assert first.after(SLO, newer, NOW + 59) is first
    assert first.after(SLO, jobs, NOW + 600) is first
    assert first.after(SLO, newer, NOW + 60).tally == Tally(0, 2, 0)


@pytest.mark.parametrize("finished", [(), (Finished(NOW, 10.0),)], ids=["nothing finished", "no wait is known"])
def test_without_a_known_wait_the_target_stays(finished: tuple[Finished, ...]) -> None:
    promise = Promise(integral=-1.0)
    assert promise.after(SLO, finished, NOW) is promise


TALLIES = st.builds(lambda late, rest, at_max: Tally(late, late + rest, at_max), *[st.integers(0, 500)] * 3)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500), st.floats(0, 1e5)), max_size=30), st.floats(-4, 2))
def test_the_target_stays_within_its_range(rounds: list[tuple[int, int, float]], integral: float) -> None:
    promise, now = Promise(integral=integral), NOW
    for late, in_time, passed in rounds:
        now += passed
        promise = promise.learned(SLO, waits(late, in_time), now, now)
        assert 30 / 16 <= promise.target(SLO) <= 4 * 30
        assert promise.is_sound


@given(TALLIES, TALLIES, st.floats(-4, 2))
def test_more_late_jobs_never_make_the_target_longer(one: Tally, other: Tally, integral: float) -> None:
    def share(tally: Tally) -> float:
        return tally.late / (tally.counted + tally.at_max)

    if not one.counted or not other.counted:
        return
    fewer, more = sorted((one, other), key=share)
    targets = [Promise(integral=integral, tally=tally).target(SLO) for tally in (fewer, more)]
    assert targets[1] <= targets[0]


# --- in a pass ---


def finished(late: int, in_time: int, *, until: float = NOW) -> tuple[Finished, ...]:
    return tuple(Finished(until, 20.0, one) for one in waits(late, in_time))


def passed(
    history: History = History(),  # noqa: B008  # a frozen value
    service: ServiceTime | None = None,
    *,
    policy: WorkerPolicy = POLICY,
    now: float = NOW,
    configured: int = 1,
    is_woken: bool = False,
    unmeasured: str = "",
) -> Plan:
    return plan(
        Seen(
            policy=policy,
            queue=QueueDepth(6, 0, 1.0),
            replicas=Replicas(configured, configured, configured, ServiceState.RUNNING),
            history=history,
            now=now,
            sources=SOURCES,
            retention=Retention(900.0, GAP, 4),
            landing_bound=60.0,
            service=service,
            unmeasured=unmeasured,
            is_woken=is_woken,
        )
    )


def of(*jobs: Finished, no_waits: str = "") -> ServiceTime:
    return ServiceTime(20.0, 20.0, len(jobs), finished=jobs, no_waits=no_waits)


def test_a_pass_decides_by_the_target_that_it_has_just_moved_and_says_so() -> None:
    planned = passed(service=of(*finished(20, 480)))
    assert planned.policy.target_wait == pytest.approx(30 * 2 ** (-3 / 8))
    assert planned.decision is not None
    assert planned.decision.sentence.startswith(
        "6 jobs (6 pending, 0 processing) of 20 s each want 3 workers for a wait of 23 s (slo: 4.0 % of the last "
        "500 jobs waited longer than 1 min)"
    )
    assert planned.history.promise is not None
    assert planned.history.promise.tally == Tally(20, 500, 0)


def test_jobs_that_are_late_although_max_replicas_run_are_said_to_be_limited_by_it() -> None:
    at_max = History(promise=Promise(spans=((NOW - 300, NOW - 10),), is_at_max=True))
    planned = passed(at_max, of(*finished(20, 480)), configured=4)
    assert planned.policy.target_wait == pytest.approx(30 * 2 ** (1 / 8))
    assert planned.decision is not None
    words = "0.0 % of the last 480 jobs waited longer than 1 min; 20 more late jobs do not count, because max_replicas"
    assert f"{words} is the limit)" in planned.decision.sentence


def test_where_all_late_jobs_are_limited_by_max_replicas_the_target_stays() -> None:
    at_max = History(promise=Promise(integral=-1.0, spans=((NOW - 300, NOW - 10),), is_at_max=True))
    planned = passed(at_max, of(*finished(20, 0)), configured=4)
    assert planned.policy.target_wait == pytest.approx(15)
    assert planned.decision is not None
    assert "(slo: 20 more late jobs do not count, because max_replicas is the limit)" not in planned.decision.sentence
    assert "(slo: 20 late jobs do not count, because max_replicas is the limit)" in planned.decision.sentence


def test_a_quick_check_goes_by_the_target_of_the_last_pass_and_moves_nothing() -> None:
    history = History(promise=Promise(integral=-1.0))
    planned = passed(history, of(*finished(0, 500)), is_woken=True)
    assert planned.policy.target_wait == 15
    assert planned.history.promise == history.promise


@pytest.mark.parametrize(
    ("service", "unmeasured", "target"),
    [
        pytest.param(None, "", 30, id="nothing finished yet"),
        pytest.param(None, "job has no time column started_at", 60, id="nothing can be measured"),
        pytest.param(of(Finished(NOW, 20.0), no_waits="no created_at"), "", 60, id="waits cannot be measured"),
    ],
)
def test_the_target_while_no_wait_is_known(service: ServiceTime | None, unmeasured: str, target: float) -> None:
    assert passed(service=service, unmeasured=unmeasured).policy.target_wait == target


def test_the_same_inputs_have_the_same_plan() -> None:
    history, service = History(promise=Promise(integral=-0.7, newest=1.0)), of(*finished(7, 300))
    assert passed(history, service) == passed(history, service)


def test_a_policy_with_a_promise_decides_as_one_with_the_target_that_is_in_force() -> None:
    by_slo = passed(History(promise=Promise(integral=-1.0)), of())
    given_data = {key: value for key, value in DATA.items() if key != "slo"}
    by_wait = passed(service=of(), policy=WorkerPolicy.model_validate({**given_data, "target_wait": "15s"}))
    assert by_slo.decision is not None
    assert by_wait.decision is not None
    assert by_slo.decision.desired == by_wait.decision.desired
    assert by_slo.decision.recommended == by_wait.decision.recommended == 4


@given(st.floats(-4, 2), st.floats(0.01, 1000))
@example(2.0, 1.0)
def test_counting_reaches_far_enough_for_any_target(integral: float, mean_s: float) -> None:
    service = ServiceTime(mean_s, mean_s, 9)
    target = with_target(POLICY, Promise(integral=integral), service).target_wait
    assert target is not None
    assert enough(POLICY, service) >= jobs_for(POLICY.max_replicas, 1, target, mean_s)
    assert count_limit(POLICY, service) >= enough(POLICY, service)


def test_a_clock_that_was_set_back_leaves_no_time_in_the_future() -> None:
    ahead = Promise(learned_at=NOW + 9, spans=((NOW - 9, NOW + 5), (NOW + 7, NOW + 8)), is_at_max=True)
    assert ahead.not_after(NOW) == replace(ahead, learned_at=NOW, spans=((NOW - 9, NOW),))


# --- what explain shows ---


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (
            Kept(SLO, Promise(integral=-1.0, tally=Tally(5, 500, 0))),
            (
                "99% of the jobs are to begin within 1 min; the target is 0.50 times 30 s, 15 s, as 1.0 % of the last "
                "500 jobs waited longer than 1 min"
            ),
        ),
        (
            Kept(SLO, Promise(tally=Tally(0, 1, 1))),
            (
                "99% of the jobs are to begin within 1 min; the target is 1.09 times 30 s, 33 s, as 0.0 % of the last "
                "job waited longer than 1 min; 1 more late job does not count, because max_replicas is the limit"
            ),
        ),
        (
            Kept(SLO, Promise()),
            (
                "99% of the jobs are to begin within 1 min; the target is 1.00 times 30 s, 30 s, as no job has shown "
                "yet how long it waited"
            ),
        ),
        (
            Kept(SLO, Promise(), "job has no time column created_at"),
            (
                "99% of the jobs are to begin within 1 min; how long jobs waited cannot be measured, because job has "
                "no time column created_at; name them in queue.columns, or write target_wait instead of slo; the "
                "target is as long meanwhile"
            ),
        ),
    ],
    ids=["at the promise", "a job at max_replicas", "nothing yet", "cannot be measured"],
)
def test_explain_says_the_promise_the_target_and_the_late_jobs(kept: Kept, words: str) -> None:
    assert kept.sentence == words


def test_explain_as_json_has_the_same() -> None:
    kept = Kept(SLO, Promise(integral=-1.0, tally=Tally(5, 500, 7)))
    assert kept.as_object() == {
        "wait_s": 60.0,
        "share": 0.99,
        "multiple": 0.5,
        "target_wait_s": 15.0,
        "late": 5,
        "counted": 500,
        "late_at_max": 7,
    }
    assert math.isclose(kept.promise.target(SLO), 15)
