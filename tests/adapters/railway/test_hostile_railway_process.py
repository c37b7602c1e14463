"""`autoscaler run` beside a Railway that sends too much: its memory, its lease, and that it goes on afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.examples import some
from tests.support.hostile import (
    AT_THE_BOUNDS,
    NO_ANSWER,
    REFUSED,
    TOO_MUCH,
    Answer,
    HostileRailway,
    hostile_railway,
    page,
    service,
    whole,
)
from tests.support.patience import until
from tests.support.processes import QUICK, led_before, running_anew
from tests.support.scene import Scene

PLENTY = "RateLimit-Policy: q=1000000;w=60"
"""So that neither these cycles nor their tries run out of requests."""
PROCESSES = Path("/proc")

pytestmark = pytest.mark.skipif(not (PROCESSES / "self" / "status").exists(), reason="only Linux tells the peak")


def memory(pid: int, what: str) -> int:
    """In KiB. VmRSS: what is resident; VmHWM: the most that ever was."""
    lines = (PROCESSES / str(pid) / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


async def ask_again(server: HostileRailway, answer: Answer, times: int) -> None:
    """Waits until that many more requests got this answer."""
    server.answer = answer
    before = len(server.asked)
    await until(lambda: len(server.asked) > before + times, f"{times} more requests", shown=lambda: server.asked[-3:])


@pytest.mark.costly
async def test_no_answer_takes_more_than_half_as_much_memory_again_and_none_costs_the_lease(scene: Scene) -> None:
    await led_before(scene)
    ordinary = whole(json.dumps(page(service(scene.environment["RAILWAY_WORKER_SERVICE_ID"]))).encode(), PLENTY)
    endless = {name for name, (_, words) in NO_ANSWER.items() if "within" in words}
    odd = {**TOO_MUCH, **NO_ANSWER, **REFUSED}
    short = {name: answer for name, (answer, _) in odd.items() if name not in endless and "429" not in name}
    # Each of these is tried in test_hostile_railway.py too, where what is in memory is counted.
    answers = {**{name: short[name] for name in some(list(short), every=8)}, **AT_THE_BOUNDS}
    async with hostile_railway(ordinary) as server:
        there = {**QUICK, "MIN_WORKERS": "2", "RAILWAY_API_URL": server.url}
        async with running_anew(scene, **there) as controller:
            await controller.until(event="reconcile", outcome="held", configured=2)
            await ask_again(server, ordinary, 20)
            at_rest = memory(controller.process.pid, "VmRSS")
            for answer in answers.values():
                await ask_again(server, answer, 1)
            peak = memory(controller.process.pid, "VmHWM")
            await ask_again(server, ordinary, 2)
            await controller.until(event="recovered", source="Railway")
            assert await controller.told_to_end() == 0
    assert [line for line in controller.lines if line["event"] in {"lease_lost", "crashed"}] == []
    assert peak <= 1.5 * at_rest, f"{peak} KiB, and {at_rest} at rest"
    print(f"{at_rest} KiB at rest, {peak} KiB at most")  # noqa: T201  # for a person who measures
