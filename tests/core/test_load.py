"""How much of all workers' capacity the jobs use over a day, and what a wrong stop costs near max_replicas."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.load import DAY_S, HIGH, Load
from controller.core.model import History, QueueDepth, Replicas, ServiceState
from controller.core.pauses import Cost, WayDown, kept_for
from controller.core.plan import Seen, plan
from controller.core.ports import Role, Source, Sources
from controller.core.wanted import retention
from controller.policy import WorkerPolicy

NOW = 1_000_000.0
GAP = 31.0


def aiming(**wishes: object) -> WorkerPolicy:
    fields = {"service": "svc", "queue": {"table": "job"}, "max_replicas": 4, "target_wait": "20s", **wishes}
    return WorkerPolicy.model_validate(fields)


def polled(policy: WorkerPolicy, processing: int, history: History, at: float, *, is_woken: bool = False) -> History:
    """The history after a look that sees so many jobs in progress."""
    seen = Seen(
        policy=policy,
        queue=QueueDepth(0, processing),
        replicas=Replicas(4, 4, 4, ServiceState.RUNNING),
        history=history,
        now=at,
        sources=Sources(*(Source(role, role.value) for role in Role)),
        retention=retention(policy, GAP),
        landing_bound=300.0,
        is_woken=is_woken,
    )
    return plan(seen).history


@given(st.lists(st.tuples(st.floats(1, 30), st.floats(0, 1)), max_size=50))
def test_within_a_day_it_is_the_mean_of_what_was_observed(steps: list[tuple[float, float]]) -> None:
    at, load = NOW, Load.after(None, 1.0, NOW, GAP)
    for passed, share in steps:
        at += passed
        load = Load.after(load, share, at, GAP)
    whole = sum(passed for passed, _ in steps)
    mean = sum(passed * share for passed, share in steps) / whole if whole else 0.0
    assert load.share == pytest.approx(mean)
    assert load.observed_s == pytest.approx(whole)


def test_after_a_day_what_is_old_fades() -> None:
    full = Load(1.0, DAY_S, NOW)
    assert Load.after(full, 0.0, NOW + DAY_S / 100, math.inf) == Load(0.99, DAY_S, NOW + DAY_S / 100)
    assert Load.after(full, 0.3, NOW + 9 * DAY_S, math.inf).share == pytest.approx(0.3)


@pytest.mark.parametrize(
    "passed",
    [
        pytest.param(GAP + 1, id="nothing was read for longer than a gap"),
        pytest.param(0.0, id="no time passed"),
        pytest.param(-5.0, id="the clock was set back"),
    ],
)
def test_what_was_not_observed_changes_nothing(passed: float) -> None:
    assert Load.after(Load(0.5, 100.0, NOW), 1.0, NOW + passed, GAP) == Load(0.5, 100.0, NOW + passed)


@pytest.mark.parametrize(
    ("load", "target_wait", "times"),
    [
        pytest.param(Load(0.9, DAY_S, NOW), 4.0, 10.0, id="a load of 0.9 leaves a tenth"),
        pytest.param(Load(0.9, DAY_S, NOW), 0.1, 10.0, id="a second of waiting is worth 1 worker-second at most"),
        pytest.param(Load(0.9, DAY_S, NOW), 20.0, 1 + 0.2 * 9, id="of longer waits that are accepted, a part"),
        pytest.param(Load(1.2, DAY_S, NOW), 4.0, 20.0, id="20 times at most, though leaving workers take jobs, too"),
        pytest.param(Load(HIGH, DAY_S, NOW), 4.0, 1.0, id="0.7 is not above 0.7"),
        pytest.param(Load(0.9, 3599.0, NOW), 4.0, 1.0, id="less than an hour says nothing"),
    ],
)
def test_near_max_replicas_the_waits_after_a_wrong_stop_count_for_more(
    load: Load, target_wait: float, times: float
) -> None:
    start_up_s = 20.0
    waits = Cost.of(target_wait, start_up_s, 0.1).total_s - start_up_s
    near = Cost.of(target_wait, start_up_s, 0.1, load)
    assert near.times == pytest.approx(times)
    assert near.total_s == pytest.approx(start_up_s + times * waits)


def test_a_worker_without_learned_pauses_stays_for_that() -> None:
    busy = History(start_ups=(20.0,), load=Load(0.9, DAY_S, NOW))
    assert kept_for(aiming(max_replicas=1), busy, None) == pytest.approx((20 + 2.8 * 4,))
    assert kept_for(aiming(max_replicas=1), replace(busy, load=None), None) == (24.0,)


def test_a_poll_observes_the_jobs_in_progress_as_a_share_of_what_max_replicas_runs() -> None:
    policy = aiming(jobs_per_worker=2)
    first = polled(policy, 8, History(), NOW)
    second = polled(policy, 6, first, NOW + 10)
    third = polled(policy, 2, second, NOW + 20)
    assert [one.load for one in (first, second, third)] == [
        Load(0.0, 0.0, NOW),
        Load(0.75, 10.0, NOW + 10),
        Load(0.5, 20.0, NOW + 20),
    ]


def test_a_quick_check_observes_nothing() -> None:
    """It comes when a job does, so busy moments would count more often than idle ones."""
    first = polled(aiming(), 4, History(), NOW)
    assert polled(aiming(), 4, first, NOW + 3, is_woken=True).load == first.load


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(aiming(scale_down={"idle_off": "30s"}), id="the policy says how long a worker stays"),
        pytest.param(aiming(target_wait=None, tiers=[{"replicas": 1}]), id="tiers"),
    ],
)
def test_nothing_is_observed_where_nothing_is_learned(policy: WorkerPolicy) -> None:
    assert polled(policy, 4, History(), NOW).load is None


def test_explain_says_it_in_words_and_as_numbers() -> None:
    history = History(start_ups=(20.0,), load=Load(0.9, DAY_S, NOW))
    way_down = WayDown.of(aiming(), history, None)
    near = "its waits count 2.8 times, because jobs used 90% of what max_replicas can do in the last day"
    assert near in way_down.sentences[0]
    assert way_down.as_object()["load"] == 0.9
    usual = WayDown.of(aiming(), replace(history, load=Load(0.4, DAY_S, NOW)), None)
    assert "max_replicas" not in usual.sentences[0]
