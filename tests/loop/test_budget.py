"""A budget through the real loop: it survives a restart and a takeover, is told once, and is shown."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from controller.core.budget import Spent, Tally
from controller.core.reasons import Reason
from controller.loop.cycle import Cycle
from tests.support.patience import until_equal
from tests.support.scene import WORKER, Driven, Scene

BUDGET = {"amount": "100$", "per": "week", "at_budget": 0}
SIZE = {"price_per_hour": "3.6$"}  # a worker-second is a tenth of a cent: what a test takes does not count
TIERS = [{"up_to": 0, "replicas": 0}, {"replicas": 6}]


def write_policy(scene: Scene, path: Path, *, own: bool = True, others: Mapping[str, str] | None = None) -> None:
    """others: by worker, its service; with these, the budget is that of all."""
    services = {WORKER: scene.environment["RAILWAY_WORKER_SERVICE_ID"], **(others or {})}
    workers = {
        name: {
            "service": service,
            "queue": {"table": "generation_job"},
            "tiers": TIERS,
            "max_replicas": 6,
            "worker_size": SIZE,
            **({"budget": BUDGET} if own else {}),
        }
        for name, service in services.items()
    }
    path.write_text(yaml.safe_dump({"workers": workers, **({} if own else {"budget": BUDGET})}))
    scene.policy = path


async def let_be_spent(scene: Scene, dollars: float, worker: str = WORKER) -> None:
    """As if the worker had cost that much in this week; what the controllers remember themselves is forgotten."""
    for journal in scene.journals:
        getattr(journal, "_journal", journal)._shadows.clear()
    key = await scene.journal_key(worker)
    spent = Spent.from_text(str(await scene.redis.hget(key, "spent") or ""))
    assert spent is not None
    (begins,) = (tally.begins for tally in spent.tallies.values())
    tally = Tally(begins, begins, dollars * 1000)
    await scene.redis.hset(key, "spent", Spent(time.time(), 0, {"week UTC": tally}, spent.told).as_text())


async def ticked(driven: Driven) -> dict[str, Cycle]:
    return {cycle.worker: cycle for cycle in await driven.controller.runner.tick(driven.lease)}


async def test_what_is_spent_survives_a_restart_and_a_takeover_and_each_step_is_told_once(
    scene: Scene, tmp_path: Path
) -> None:
    write_policy(scene, tmp_path / "policy.yaml")
    async with scene.controller() as first:
        await first.tick()
        await let_be_spent(scene, 85)
        await first.tick()
    await scene.jobs(200)
    async with scene.controller() as second:
        cycle = await second.tick()
        assert (cycle.decision and cycle.decision.desired, cycle.reason) == (4, Reason.NEAR_BUDGET)
        await until_equal(lambda: scene.fake.worker.running, 4)
        await second.tick()
    (told,) = scene.events("budget")
    assert (told["worker"], told["scope"], told["max_replicas"], told["level"]) == (WORKER, "worker", 4, "warning")
    assert "$85.00 of $100.00 are spent in this week (85 %)" in told["message"]


async def test_the_running_workers_are_charged_and_shown_where_people_look(scene: Scene, tmp_path: Path) -> None:
    write_policy(scene, tmp_path / "policy.yaml")
    async with scene.controller() as driven:
        await driven.tick()
        await let_be_spent(scene, 92)
        cycle = await driven.tick()
        assert cycle.budgets is not None
        assert (cycle.budgets[0].spent, cycle.budgets[0].max_replicas, cycle.max_workers) == (92, 2, 2)
        shown = driven.controller.status.workers[WORKER].to_json()
        assert (shown["budgets"][0]["amount"], shown["max_workers"]) == (100, 2)
        explained, rules = await driven.explain()
        assert explained.budgets is not None
        assert "max is 2" in explained.budgets[0].message
        assert "budget or pool" in [rule.rule for rule in rules]
        assert await driven.quick_check() is not None


async def test_the_budget_of_all_counts_the_other_workers_also_right_after_a_takeover(
    scene: Scene, tmp_path: Path
) -> None:
    other = scene.fake.add_service("other").id
    write_policy(scene, tmp_path / "policy.yaml", own=False, others={"other": other})
    async with scene.controller() as first:
        await ticked(first)
        await let_be_spent(scene, 50)
        await let_be_spent(scene, 45, "other")
    await scene.jobs(200)
    async with scene.controller() as second:
        cycles = await ticked(second)
    for cycle in cycles.values():
        assert (cycle.decision and cycle.decision.desired, cycle.reason) == (2, Reason.NEAR_BUDGET)
        assert cycle.budgets is not None
        assert cycle.budgets[0].spent == pytest.approx(95, abs=0.01)


@pytest.mark.parametrize("limits", [{"cpu": 8, "memoryBytes": 8_000_000_000}, {}], ids=["limits", "no limits"])
async def test_without_a_size_the_limits_that_the_platform_reports_are_the_price(
    scene: Scene, tmp_path: Path, limits: dict[str, int]
) -> None:
    deploy = {"limitOverride": {"containers": limits}}
    service = scene.fake.add_service("limited", deploy=deploy).id
    tier = {"replicas": 6}
    worker = {"service": service, "queue": {"table": "generation_job"}, "tiers": [tier], "max_replicas": 6}
    scene.policy = tmp_path / "policy.yaml"
    scene.policy.write_text(yaml.safe_dump({"workers": {WORKER: {**worker, "budget": BUDGET}}}))
    async with scene.controller() as driven:
        await driven.tick()
        await let_be_spent(scene, 1_000)
        cycle = await driven.tick()
        assert cycle.budgets is not None
        (budget,) = cycle.budgets
        shown = driven.controller.status.workers[WORKER].to_json()["budgets"][0]
    assert budget.is_upper_bound is bool(limits)
    assert budget.spent == (pytest.approx(1e6 * 240 / (43_200 * 60), abs=0.1) if limits else None)
    assert budget.max_replicas == (2 if limits else 6)
    assert shown["spent"] == budget.spent


async def test_a_lost_record_is_given_back_what_was_spent(scene: Scene, tmp_path: Path) -> None:
    write_policy(scene, tmp_path / "policy.yaml")
    async with scene.controller() as driven:
        await driven.tick()
        await let_be_spent(scene, 100)
        await driven.tick()
        await scene.redis.delete(await scene.journal_key())
        await scene.jobs(200)
        cycle = await driven.tick()
        assert cycle.budgets is not None
        assert (cycle.budgets[0].spent, cycle.reason) == (100, Reason.OVER_BUDGET)
    assert scene.sent == []
