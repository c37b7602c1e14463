"""Steps of a history on a real journal, one write each, as a controller takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from controller.core.history import accepted, noted, recorded, settled, with_external_change
from controller.core.model import Change, History, Lease
from controller.core.ports import CycleNote, Journal, Recalled, Retention, Settled

Step = Callable[[History, float], History]
KEEP = Retention(window=60, gap=30)
UP = Change("up", 1, 1, 3, at=0.0)


async def take(journal: Journal, lease: Lease, *steps: Step, worker: str = "w") -> Recalled:
    """Each step in a write of its own; returns what the last one wrote, or what is there if there is no step."""
    recalled = await journal.recall(worker)
    for step in steps:
        now = recalled.now
        recalled = await journal.write(worker, recalled, step(recalled.history, now), lease, now=now)
    return recalled


def note(recommended: int | None = 3, count: int | None = 1, *, read: bool = True, working: bool = False) -> Step:
    return lambda history, now: noted(history, CycleNote(recommended, count, working=working, read=read), KEEP, now)


def record(change: Change = UP) -> Step:
    return lambda history, now: recorded(history, change, now)


def accept(change: Change = UP) -> Step:
    return lambda history, now: accepted(history, change, now)


def settle(outcome: Settled = Settled.APPLIED, count: int = 3, change: Change = UP) -> Step:
    return lambda history, now: settled(history, change, outcome, count, now)


def change_from_outside(count: int) -> Step:
    return lambda history, now: with_external_change(history, count, now)


async def scale_up(journal: Journal, lease: Lease, count: int = 3, *, worker: str = "w") -> float:
    """Up, and settled at this count; returns when that was."""
    change = replace(UP, id=f"up of {worker}")
    steps = (note(), record(change), accept(change), settle(Settled.APPLIED, count, change))
    last_up = (await take(journal, lease, *steps, worker=worker)).history.last_up
    assert last_up is not None
    return last_up
