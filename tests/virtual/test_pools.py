"""Two workers of one pool in the simulated world: together never above the total, each with its share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.examples import examples
from tests.support.misfortunes import LinkMode
from tests.virtual.pools import OTHER, PooledWorld, policy_of_two, pooled_world, run
from tests.virtual.world import WORKER

_SEEDS = examples(6, 600)
SERVICE, SECOND = "service-1", "service-2"


@contextmanager
def crowded(limit: int = 6, priorities: tuple[int, int] = (0, 0)) -> Iterator[PooledWorld]:
    """80 jobs of either worker want 4."""
    with pooled_world(1, policy_of_two(limit, priorities)) as world:
        world.postgres.swing(80)
        world.second.swing(80)
        world.keep_running()
        yield world


def until_asked(world: PooledWorld, service: str) -> None:
    end = world.kernel.now + 120
    while not world.fleet.asked[service]:
        assert world.kernel.now < end, "no worker was asked for"
        world.run_for(0.001)


@pytest.mark.costly
@pytest.mark.parametrize("first", range(0, _SEEDS, 3))
def test_the_total_is_kept_and_shared_out_whatever_strikes(first: int) -> None:
    for seed in range(first, first + 3):
        assert run(seed) == [], f"seed {seed}"


def test_workers_of_one_priority_share_the_total() -> None:
    with crowded() as world:
        assert world.conclude_pool() == []
        assert world.fleet.asked == {SERVICE: 3, SECOND: 3}


def test_a_higher_priority_gets_its_room_back_from_the_other() -> None:
    with crowded(priorities=(0, 1)) as world:
        world.second.swing(0)
        world.run_for(60)
        assert world.fleet.asked == {SERVICE: 4, SECOND: 0}
        world.second.swing(80)
        assert world.conclude_pool() == []
        assert world.fleet.asked == {SERVICE: 2, SECOND: 4}


@pytest.mark.parametrize("worker", [WORKER, OTHER])
def test_a_change_whose_answer_was_lost_keeps_its_room_for_the_next_leader(worker: str) -> None:
    """The leader is killed while it waits for the answer, and what was asked for is shown long after that."""
    service, other = (SERVICE, SECOND) if worker == WORKER else (SECOND, SERVICE)
    with crowded() as world:
        world.fleet.lag_s = 50.0
        (world.second if worker == WORKER else world.postgres).swing(0)
        until_asked(world, service)
        assert world.fleet.shown[service] == 0
        leader = world.leader
        assert leader is not None
        world.kill(leader)
        for server in (world.postgres, world.second):
            server.swing(600)
        world.run_for(24)
        assert world.leader is not None
        assert world.fleet.shown[service] == 0
        assert world.fleet.asked[other] <= world.limit - world.fleet.asked[service]
        world.keep_running()
        assert world.conclude_pool() == []


def test_a_request_that_lands_late_keeps_its_room() -> None:
    """It is held up on its way, so the platform shows for long that nothing has changed."""
    with crowded() as world:
        world.second.swing(0)
        world.run_for(8.0)
        for process in world.alive:
            process.links["railway"].way, process.links["railway"].held_s = LinkMode.HOLD, 20.0
        world.second.swing(600)
        world.run_for(60)
        for process in world.alive:
            process.links["railway"].way = LinkMode.OPEN
        assert world.conclude_pool() == []
