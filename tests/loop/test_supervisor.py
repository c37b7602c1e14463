"""A bug in what runs beside the loop is reported, and ends nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import controller
from controller.core.model import Lease
from controller.core.ports import Batch
from controller.loop.recorder import Recorder
from controller.loop.supervisor import Supervisor


@dataclass
class HandClock:
    at: float = 0.0

    def wall(self) -> float:
        return 1e9 + self.at

    def monotonic(self) -> float:
        return self.at


@dataclass
class Scene:
    clock: HandClock = field(default_factory=HandClock)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def report(self, event: str, /, **fields: object) -> None:
        self.events.append((event, fields))

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor("the history", self.clock, self.report)


def test_a_bug_is_reported_at_once_with_its_traceback_and_then_once_a_minute() -> None:
    scene = Scene()
    supervisor = scene.supervisor
    for second in range(90):
        scene.clock.at = second
        with supervisor.catching() as caught:
            raise ZeroDivisionError("a bug")
        assert isinstance(caught.bug, ZeroDivisionError)
    assert [name for name, _ in scene.events] == ["crashed", "crashed"]
    assert scene.events[0][1]["message"] == "the history: ZeroDivisionError('a bug')"
    assert "test_supervisor.py" in scene.events[0][1]["traceback"]


def test_a_bug_that_meets_its_own_report_is_reported_once() -> None:
    scene = Scene()
    supervisor = scene.supervisor

    def buggy(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    def report(event: str, /, **fields: object) -> None:
        scene.events.append((event, fields))
        supervisor.around(buggy)(event)

    supervisor.report = report
    supervisor.around(buggy)()
    assert [name for name, _ in scene.events] == ["crashed"]


@dataclass
class Store:
    """A timeline that has a bug as long as it is told."""

    broken: bool = True
    taken: list[str] = field(default_factory=list)

    async def append(self, batch: Batch, _: Lease) -> None:
        if self.broken:
            raise KeyError("a bug")
        self.taken += [one.event for one in batch.happenings]


async def test_a_bug_in_the_history_s_store_costs_the_entries_and_nothing_else() -> None:
    scene, store = Scene(), Store()
    lease = Lease("me", 1)
    recorder = Recorder(store, scene.clock, lambda: lease, 60.0, 10.0, scene.supervisor)  # type: ignore[arg-type]  # what it asks
    recorder.event("started", {})
    assert not await recorder.flush()
    assert recorder.lost == 1
    store.broken = False
    recorder.event("stopped", {})
    assert await recorder.flush()
    assert store.taken == ["stopped"]
    assert [name for name, _ in scene.events] == ["crashed"]


def test_the_loop_has_the_only_broad_except_beside_the_one_around_modules_of_others() -> None:
    broad = re.compile(r"^\s*except(?: \(?(?:Base)?Exception\b.*)?:", re.MULTILINE)
    here = Path(controller.__file__).parent
    found = {path.relative_to(here).as_posix() for path in here.rglob("*.py") if broad.search(path.read_text())}
    assert found == {"loop/runner.py", "adapters/own/platform.py"}
