"""Who holds jobs, by name: which instance a text names, and what rule 4 makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from controller.core.holders import Held, held, instance_of
from controller.core.model import Instances, Observation, QueueDepth, QueuePart, UnderWay
from controller.core.plan import plan
from controller.core.queues import merged
from controller.core.reasons import Reason
from controller.core.rules import decide
from tests.core.test_decide import NOW, history, observed, policy
from tests.core.test_plan import KNOWN, seen
from tests.support.sources import POSTGRESQL

PODS = ("render-7d9f-abc12", "render-7d9f-abc1", "web-1", "my", "my.app-0")


@pytest.mark.parametrize(
    ("holder", "name"),
    [
        ("render-7d9f-abc12", "render-7d9f-abc12"),
        ("host:render-7d9f-abc12 pid:7", "render-7d9f-abc12"),
        ("render-7d9f-abc1_2026_11_30T07_13_04", "render-7d9f-abc1"),
        ("celery@render-7d9f-abc1", "render-7d9f-abc1"),
        ("render-7d9f-abc12-31", "render-7d9f-abc12"),
        ("render-7d9f-abc12.workers.svc.cluster.local", "render-7d9f-abc12"),
        ("pool.render-7d9f-abc12", "render-7d9f-abc12"),
        ("my.app-0.workers", "my.app-0"),
        ("render-7d9f-abc123", None),
        ("xrender-7d9f-abc12", None),
        ("web-10", None),
        ("old-web-1", None),
        ("worker-5f3a9c", None),
        ("", None),
        ("a." * 100 + "web-1", None),
    ],
    ids=lambda value: str(value)[:50] or "no name",
)
def test_a_holder_is_the_instance_whose_name_it_has_as_a_whole_word(holder: str, name: str | None) -> None:
    assert instance_of(holder, PODS) == name


STAYING = ("w-1", "w-2", "w-3", "w-4")
ALL = Instances(STAYING)


@dataclass(frozen=True)
class Case:
    """Four workers that can be kept, where one is wanted; at most five jobs per worker unless the policy says more."""

    title: str
    holders: tuple[str, ...] | None
    processing: int
    desired: int
    reasons: list[Reason]
    instances: Instances | None = ALL
    policy: Mapping[str, object] = field(default_factory=dict)


TIER, BUSY = Reason.TIER, Reason.BUSY
BY_PLACE = replace(ALL, in_order=True)
NO_EACH: Mapping[str, object] = {"jobs_per_worker": None}
TABLE = [
    Case("each instance that holds a job stays, and no other", ("w-1", "w-3"), 2, 2, [TIER, BUSY]),
    Case("several jobs of one instance keep one", ("w-2", "w-2 pid:7"), 9, 1, [TIER]),
    Case("where all hold jobs, none goes", STAYING, 4, 4, [TIER, BUSY]),
    Case("without jobs_per_worker it is exact, too", ("w-1", "w-3"), 2, 2, [TIER, BUSY], policy=NO_EACH),
    Case("a job of an instance that drains keeps no other", ("w-0",), 9, 1, [TIER], Instances(STAYING, (), ("w-0",))),
    Case("a holder that is gone leaves it to the count", ("w-1", "gone"), 9, 2, [TIER, BUSY]),
    Case("jobs of nobody leave it to the count", ("w-1", ""), 9, 2, [TIER, BUSY]),
    Case("beside one that is gone, those that are there stay", ("w-1", "w-2", "w-3", "gone"), 4, 3, [TIER, BUSY]),
    Case("the same without jobs_per_worker", ("w-1", "w-2", "gone"), 4, 2, [TIER, BUSY], policy=NO_EACH),
    Case("where no holder is an instance, all is as before", ("x", "y"), 9, 2, [TIER, BUSY]),
    Case("the same without jobs_per_worker, where none is kept", ("x", "y"), 9, 1, [TIER], policy=NO_EACH),
    Case("a queue that cannot tell changes nothing", None, 9, 2, [TIER, BUSY]),
    Case("instances that are unknown change nothing", ("w-1", "w-2", "w-3"), 9, 2, [TIER, BUSY], None),
    Case(
        "one that goes first whatever is asked leaves it to the count",
        ("w-1", "w-9"),
        9,
        2,
        [TIER, BUSY],
        Instances(STAYING, ("w-9",)),
    ),
    Case("in a fixed order, a busy one keeps all before it", ("w-3",), 1, 3, [TIER, BUSY], BY_PLACE),
    Case("and none after it", ("w-1",), 1, 1, [TIER], BY_PLACE),
    Case("also beside a holder that is gone", ("w-3", "gone"), 2, 3, [TIER, BUSY], BY_PLACE, NO_EACH),
    Case("where nobody holds a job, they go as they are wanted", (), 0, 0, [TIER], BY_PLACE),
]


def looked_at(case: Case) -> Observation:
    found = observed(case.processing, 4, processing=case.processing)
    return replace(
        found,
        queue=replace(found.queue, holders=case.holders),
        replicas=replace(found.replicas, instances=case.instances),
    )


@pytest.mark.parametrize("case", TABLE, ids=lambda case: f"by name: {case.title}")
def test_the_table_of_who_is_busy_by_name(case: Case) -> None:
    decision = decide(policy(**{"jobs_per_worker": 5, **case.policy}), looked_at(case), history(), NOW)
    assert (decision.desired, list(decision.reasons)) == (case.desired, case.reasons)


def test_in_a_fixed_order_it_is_said_whose_job_keeps_the_idle_ones() -> None:
    case = next(case for case in TABLE if case.title == "in a fixed order, a busy one keeps all before it")
    decision = decide(policy(jobs_per_worker=5), looked_at(case), history(), NOW)
    words = "w-3 holds a job, by name, and only workers after it can go, so at least 3 workers"
    assert words in decision.sentence


def test_during_a_rollout_names_are_not_used() -> None:
    found = looked_at(TABLE[0])
    assert held(found.queue, found.replicas) == Held(("w-1", "w-3"), is_exact=True)
    assert held(found.queue, replace(found.replicas, under_way=UnderWay("d", "rolling out"))) is None


def part(name: str, processing: int, holders: tuple[str, ...] | None) -> QueuePart:
    return QueuePart(name, QueueDepth(0, processing, holders=holders))


@pytest.mark.parametrize(
    ("parts", "holders"),
    [
        pytest.param([("a", 1, ("w-1",)), ("b", 2, ("w-1", "w-2"))], ("w-1", "w-2"), id="each once"),
        pytest.param(
            [("a", 1, ("w-1",)), ("b", 2, None)], ("w-1", ""), id="jobs of a queue that cannot tell are nobody's"
        ),
        pytest.param([("a", 1, ("w-1",)), ("b", 0, None)], ("w-1",), id="without a job it need not tell"),
        pytest.param([("a", 1, None), ("b", 2, None)], None, id="no queue can tell"),
    ],
)
def test_of_several_queues_all_holders_count(
    parts: list[tuple[str, int, tuple[str, ...] | None]], holders: tuple[str, ...] | None
) -> None:
    depth = merged([part(*one) for one in parts], POSTGRESQL)
    assert isinstance(depth, QueueDepth)
    assert depth.holders == holders


@pytest.mark.parametrize(
    ("queue", "wants"),
    [
        pytest.param(QueueDepth(0, 1, holders=("w-1",)), True, id="an instance is to go"),
        pytest.param(QueueDepth(0, 20, holders=("w-1",)), True, id="busy workers keep all of them"),
        pytest.param(QueueDepth(0, 0, holders=()), False, id="nobody holds a job"),
        pytest.param(QueueDepth(0, 1), False, id="the queue cannot tell"),
        pytest.param(QueueDepth(90, 1, holders=("w-1",)), False, id="none is to go"),
    ],
)
def test_names_are_asked_for_only_if_they_matter(queue: QueueDepth, *, wants: bool) -> None:
    known = replace(KNOWN, count=4)
    planned = plan(seen(queue, observed(0, 4).replicas, known, policy(jobs_per_worker=5)))
    assert planned.wants_instances is wants
