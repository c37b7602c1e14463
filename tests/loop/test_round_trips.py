"""How often a cycle asks Redis: each question is a round trip, and on a far Redis the cycle's time."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection

from controller.loop.cycle import Outcome
from tests.support.patience import until_equal
from tests.support.scene import Scene

MOST_WHEN_IDLE = 4
MOST_WITH_A_CHANGE = 8


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was sent to Redis; a pipeline counts once."""
    sent: list[str] = []
    send = AbstractConnection.send_packed_command

    async def counted(self: AbstractConnection, command: Any, **more: Any) -> None:
        sent.append(str(command)[:200])
        await send(self, command, **more)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)
    return sent


async def test_a_cycle_that_holds_asks_redis_at_most_four_times(scene: Scene, round_trips: list[str]) -> None:
    """Recall, the used requests and published shares, write, publish."""
    async with scene.controller() as driven:
        for _ in range(3):  # connections are opened, scripts loaded, and the shares published
            await driven.tick()
        round_trips.clear()
        assert (await driven.tick()).outcome is Outcome.HELD
        assert len(round_trips) <= MOST_WHEN_IDLE, round_trips


async def test_a_cycle_that_scales_asks_redis_at_most_eight_times(scene: Scene, round_trips: list[str]) -> None:
    """The same four, and: the new share, accepted, and settled or noted by the reading that confirms it."""
    async with scene.controller() as driven:
        for _ in range(3):
            await driven.tick()
        await scene.jobs(20)
        round_trips.clear()
        assert (await driven.tick()).outcome is Outcome.APPLIED
        assert len(round_trips) <= MOST_WITH_A_CHANGE, round_trips
        await until_equal(lambda: scene.fake.worker.running, 2)
