"""Ports that tell how long their calls took: under the names of the dependencies, also of calls that failed."""

from __future__ import annotations

from controller.core.ports import Unavailable
from controller.loop.cycle import Outcome
from controller.loop.timed import TimedJournal
from controller.web.metrics import prometheus_text
from tests.support.exposition import samples_of
from tests.support.scene import Scene
from tests.support.sources import REDIS
from tests.web.stand_ins import HandClock

DURATION = "autoscaler_dependency_duration_seconds_count"


async def test_each_dependency_s_calls_and_each_request_to_the_platform_are_counted(scene: Scene) -> None:
    async with scene.controller() as driven:
        for _ in range(2):
            await driven.tick()
        await scene.jobs(20)
        assert (await driven.tick()).outcome is Outcome.APPLIED
        found = samples_of(prometheus_text(driven.controller.shown))
    calls = {labels[0][1]: count for labels, count in found[DURATION].items()}
    assert calls["PostgreSQL"] == 3, "one reading in each cycle"
    assert calls["Railway"] == 5, "one reading in each cycle, the change, and the reading that confirms it"
    assert calls["Redis"] >= 6
    requests = {labels: count for labels, count in found["autoscaler_platform_requests_total"].items() if count}
    assert sum(requests.values()) == sum(driven.controller.platforms.sent().values())
    assert {dict(labels)["result"] for labels in requests} == {"ok"}
    assert {dict(labels)["operation"] for labels in requests} >= {"EnvironmentState", "ServiceInstanceUpdate"}


class _AwayJournal:
    source = REDIS

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock

    async def recall(self, worker: str) -> None:
        self._clock.now += 2.5
        raise Unavailable(REDIS, "is away")


async def test_a_call_that_fails_counts_with_the_time_that_it_took() -> None:
    clock, told = HandClock(), list[tuple[str, float]]()
    timed = TimedJournal(_AwayJournal(clock), clock, lambda name, seconds: told.append((name, seconds)))  # type: ignore[arg-type]  # only recall() is called
    try:
        await timed.recall("w")
    except Unavailable:
        assert told == [("Redis", 2.5)]
