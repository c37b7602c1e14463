"""What a policy comes to: its windows, and how far a count goes so that counting further would decide nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.model import History, QueueDepth, ServiceTime
from controller.core.rules import recommend
from controller.core.wanted import all_busy, count_limit, enough, given_service, kept_window, tier_replicas, windows
from controller.policy import WorkerPolicy, load_policy

SHIPPED = (Path(__file__).parents[2] / "policy.yaml").read_text()


def policy(**wishes: Any) -> WorkerPolicy:
    """A target_wait of a minute and five workers at most, unless told otherwise."""
    fields = {"service": "svc", "queue": {"table": "job"}, "max_replicas": 5, **wishes}
    if "tiers" not in fields:
        fields = {"target_wait": "60s", **fields}
    return WorkerPolicy.model_validate(fields)


LEARNED = History(start_ups=(20.0,), kept_s=(7.0, None, 90.0))


@pytest.mark.parametrize(
    ("wishes", "lengths", "kept"),
    [
        # A wrong stop costs 20 + 4/60 · 20 = 21.3 s if nothing is known of arrivals.
        pytest.param({}, (7, 21 + 1 / 3, 90, 21 + 1 / 3), 900, id="what was learned, or what a wrong stop costs"),
        pytest.param({"scale_down": {"idle_off": "10s"}}, (10, 10, 10, 10), 10, id="idle_off holds for each worker"),
        pytest.param({"scale_down": {"idle_off": "0s"}}, (0, 0, 0, 0), 0, id="an idle_off of 0 s is no window"),
        pytest.param(
            {"tiers": [{"replicas": 1}], "scale_down": {"stabilization_window": "5m"}},
            *((300, 300, 300, 300), 300),
            id="with tiers it is the stabilization window",
        ),
    ],
)
def test_a_worker_stays_for_idle_off_or_for_what_was_learned_of_it(
    wishes: dict[str, Any], lengths: tuple[float, ...], kept: float
) -> None:
    window = windows(policy(**wishes), LEARNED, None)
    assert [window(worker) for worker in (1, 2, 3, 4)] == pytest.approx(list(lengths))
    assert kept_window(policy(**wishes)) == kept


def test_of_the_shipped_policy_101_jobs_decide_and_10_000_are_counted() -> None:
    worker = load_policy(SHIPPED, {"RAILWAY_WORKER_SERVICE_ID": "svc"})[0].workers["generation-worker"]
    assert (enough(worker, None), enough(worker, ServiceTime(1, 1, 9)), count_limit(worker, None)) == (101, 101, 10_000)
    assert tier_replicas(worker, 100) < tier_replicas(worker, 101) == worker.max_replicas


@pytest.mark.parametrize(
    ("wishes", "jobs"),
    [
        pytest.param({"tiers": [{"replicas": 1}]}, 0, id="tiers alone do not ask how many are in flight"),
        pytest.param({"tiers": [{"replicas": 1}], "jobs_per_worker": 3}, 15, id="tiers with jobs_per_worker do"),
        pytest.param({}, 5, id="a target_wait always does, one job each"),
        pytest.param({"jobs_per_worker": 3}, 15, id="a target_wait with three jobs each"),
    ],
)
def test_jobs_in_flight_are_counted_until_every_worker_is_busy(wishes: dict[str, Any], jobs: int) -> None:
    assert all_busy(policy(**wishes)) == jobs


@given(
    st.integers(0, 200),
    st.integers(1, 50),
    st.floats(0, 10_000),
    st.floats(0.01, 86_400),
    st.integers(1, 2_000_000),
)
def test_enough_is_the_first_count_that_wants_every_worker(
    most: int, each: int, wait: float, mean_s: float, limit: int
) -> None:
    worker = policy(
        queue={"table": "job", "count_limit": limit},
        jobs_per_worker=each,
        max_replicas=most,
        target_wait=f"{wait:.3f}s",
    )
    service = ServiceTime(mean_s, mean_s, 500)
    depth = enough(worker, service)
    assert 1 <= depth <= 1_000_000
    assert count_limit(worker, service) >= max(depth, limit)
    if depth < 1_000_000:
        assert recommend(worker, QueueDepth(depth, 0), service) >= most
    if most and depth > 1:
        assert recommend(worker, QueueDepth(depth - 1, 0), service) < most
    assert enough(worker, None) == 1


@pytest.mark.parametrize(
    ("limit", "top", "jobs", "depth", "counted"),
    [
        pytest.param(10_000, 100, None, 101, 10_000, id="counting goes to count_limit"),
        pytest.param(50, 100, None, 101, 101, id="a count_limit below the top tier is raised to it"),
        pytest.param(10_000, 20_000, None, 20_001, 20_001, id="so is the default under a high top tier"),
        pytest.param(50, 10, 200, 11, 50, id="jobs in flight do not raise it"),
    ],
)
def test_counting_goes_to_the_limit_and_always_as_far_as_any_decision_needs(
    limit: int, top: int, jobs: int | None, depth: int, counted: int
) -> None:
    worker = policy(
        max_replicas=3,
        queue={"table": "a", "count_limit": limit},
        tiers=[{"up_to": top, "replicas": 1}, {"replicas": 2}],
        jobs_per_worker=jobs,
    )
    assert (enough(worker, None), count_limit(worker, None)) == (depth, counted)


def test_how_long_a_job_takes_is_known_without_measuring_where_the_policy_says_it() -> None:
    assert given_service(policy()) is None
    assert given_service(policy(service_time="20s")) == ServiceTime(20, 20, 0)
