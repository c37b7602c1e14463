"""Before a scale-down the platform is told who is to stay: in which order, and what if it cannot be told."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field

import pytest

from controller.core.model import Change, Instances, QueueDepth
from controller.core.ports import DepthRequest, LeaseLost, Receipt, Unavailable
from controller.loop.cycle import Cycle, Outcome
from controller.policy import Policy
from tests.loop.test_runner import LEASE, Jobs, Services, Stage
from tests.support.sources import RAILWAY

pytestmark = pytest.mark.virtual_time
WORKER = {
    "service": "svc",
    "queue": {"table": "mail"},
    "tiers": [{"replicas": 1}],
    "max_replicas": 5,
    "scale_down": {"cooldown": "0s", "stabilization_window": "0s"},
}


@dataclass
class HeldJobs(Jobs):
    """Jobs that are in progress. asked: for each reading, whether it was asked who holds them."""

    holders: tuple[str, ...] = ("a", "c")
    asked: list[bool] = field(default_factory=list)

    async def depths(self, requests: Mapping[str, DepthRequest]) -> AsyncIterator[tuple[str, QueueDepth | Unavailable]]:
        for name, request in requests.items():
            self.asked.append(request.holders)
            yield name, QueueDepth(0, len(self.holders), holders=self.holders if request.holders else None)


@dataclass
class Named(Services):
    """Five instances with names, which can be told who stays. done: what it was asked for, in its order."""

    refuses: Exception | None = None
    names: tuple[str, ...] = ("a", "b", "c", "d", "e")
    done: list[str] = field(default_factory=list)

    def chooser(self, service: str) -> Named:  # type: ignore[override]  # this one can
        return self

    async def instances(self) -> Instances:
        self.done.append("names")
        return Instances(self.names)

    async def keep(self, names: Collection[str], change: Change) -> None:
        self.done.append(f"keep {' '.join(names)}")
        if self.refuses is not None:
            raise self.refuses

    async def scale(self, service: str, change: Change, observed: object) -> Receipt:
        self.done.append(f"scale to {change.after}")
        return Receipt.ACCEPTED


async def passed(jobs: HeldJobs, platform: Services, **more: object) -> tuple[Cycle, Stage]:
    policy = Policy.model_validate({"workers": {"mail": {**WORKER, **more}}})
    stage = Stage(jobs, platform, policy=policy)
    (cycle,) = await stage.runner.tick(LEASE)
    return cycle, stage


async def test_who_stays_is_told_before_the_count_is_sent() -> None:
    platform = Named(replicas=5)
    cycle, _ = await passed(HeldJobs(), platform)
    assert platform.done == ["names", "keep a c", "scale to 2"]
    assert "2 workers hold the jobs in progress, by name" in cycle.message


async def test_if_it_cannot_be_told_the_first_plan_holds_and_an_event_says_so() -> None:
    platform = Named(replicas=5, refuses=Unavailable(RAILWAY, "is closed"))
    cycle, stage = await passed(HeldJobs(), platform)
    assert (cycle.outcome, platform.done) == (Outcome.APPLIED, ["names", "keep a c", "scale to 1"])
    (event,) = [line for line in stage.lines if line["event"] == "busy_unknown"]
    assert event["message"].endswith("only how many jobs run: Railway: is closed")


async def test_who_lost_the_lease_by_then_sends_nothing() -> None:
    platform = Named(replicas=5, refuses=LeaseLost("another leads"))
    cycle, _ = await passed(HeldJobs(), platform)
    assert (cycle.outcome, platform.done) == (Outcome.FENCED, ["names", "keep a c"])


async def test_without_a_job_in_progress_no_name_is_asked_for() -> None:
    platform = Named(replicas=5)
    await passed(HeldJobs(holders=()), platform)
    assert platform.done == ["scale to 1"]


async def test_where_all_hold_jobs_their_names_are_read_anew_only_once_they_may_have_changed() -> None:
    platform, jobs = Named(replicas=3, names=("a", "b", "c")), HeldJobs(holders=("a", "b", "c"))
    _, stage = await passed(jobs, platform, jobs_per_worker=1)
    for _ in range(3):
        await stage.runner.tick(LEASE)
    assert platform.done == ["names"]
    platform.names, jobs.holders = ("a", "b", "x"), ("x", "x pid:2", "x pid:3")
    await stage.runner.tick(LEASE)
    assert platform.done == ["names", "names", "keep x", "scale to 1"]


async def test_where_the_platform_chooses_by_itself_nothing_of_this_is_loaded_or_asked_of_the_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "controller.loop.idle_first", raising=False)
    platform, jobs = Services(replicas=5, willing=True), HeldJobs()
    await passed(jobs, platform)
    assert platform.asked_for == [("svc", 1)]
    assert "controller.loop.idle_first" not in sys.modules
    assert jobs.asked == [False]
