"""Processes in the fake Swarm's tasks, as the demo shows them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from controller.fake_railway.processes import SimulatedProcess
from controller.fake_swarm import FakeEngine
from controller.fake_swarm.agent import Agent
from tests.support.patience import until, until_equal

pytestmark = pytest.mark.virtual_time


class Node:
    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.engine.create("worker", 0)
        self.started: list[SimulatedProcess] = []
        self.stubborn = False

    async def start(self, _: str) -> SimulatedProcess:
        self.started.append(SimulatedProcess(stubborn=self.stubborn))
        return self.started[-1]

    def scale(self, count: int) -> None:
        service = self.engine.of("worker")
        self.engine.update(service["ID"], {**service["Spec"], "Mode": {"Replicated": {"Replicas": count}}})

    def states(self) -> list[str]:
        return [task.state for task in self.engine.tasks_of("worker") if task.desired != "shutdown"]


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node()
    agent = Agent(node.engine, node.start)
    running = asyncio.create_task(agent.run())
    yield node
    running.cancel()
    await asyncio.wait({running})
    agent.close()


async def test_each_task_gets_a_process_that_ends_with_it(node: Node) -> None:
    node.scale(2)
    await until_equal(node.states, ["running", "running"])
    node.scale(1)
    await until_equal(node.states, ["running"])
    assert [process.signals for process in node.started] == [[], ["SIGTERM"]]


async def test_a_process_that_does_not_end_is_killed_after_the_service_s_grace_period(node: Node) -> None:
    node.stubborn = True
    node.scale(1)
    await until_equal(node.states, ["running"])
    node.scale(0)
    began = asyncio.get_running_loop().time()
    await until_equal(node.states, [])
    assert node.started[0].signals == ["SIGTERM", "SIGKILL"]
    assert asyncio.get_running_loop().time() - began == pytest.approx(3, abs=0.5)


async def test_a_process_that_ends_by_itself_is_replaced(node: Node) -> None:
    node.scale(1)
    await until_equal(node.states, ["running"])
    node.started[0].exit(3)
    await until(lambda: len(node.started) == 2, "another process")
    states = [task.state for task in node.engine.tasks_of("worker")]
    assert states == ["failed", "running"]
