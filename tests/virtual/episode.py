"""One episode: a seed, a world, faults for some minutes, then none, then the verdict."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from random import Random

from controller.policy import Policy
from tests.support.record import Record
from tests.support.verdict import violations
from tests.virtual.misfortunes import kinds, strike
from tests.virtual.world import Process, SimulatedWorld, policy_of, simulated_world

_DEPTHS = (0, 0, 0, 3, 8, 15, 25, 45, 80, 120, 600)
_MEAN_BETWEEN_MISFORTUNES_S = 7.0
_MEAN_BETWEEN_SWINGS_S = 20.0


@dataclass
class Result:
    """The result of an episode; it outlives the simulated world."""

    seed: int
    violations: list[str]
    hits: dict[str, int]
    mutations: int
    intents: int
    terms: int
    simulated_s: float
    trace: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        return sum(self.hits.values())


@cache
def policies() -> tuple[Policy, ...]:
    """The shipped timings and some others; with shorter ones, more happens in a simulated hour."""
    return (
        policy_of(),
        policy_of(scale_up={"cooldown": "20s"}, scale_down={"cooldown": "45s"}),
        policy_of(scale_up={"cooldown": "20s"}, scale_down={"cooldown": "30s"}, min_replicas=1),
        policy_of(scale_up={"cooldown": "15s"}, scale_down={"cooldown": "40s", "stabilization_window": "30s"}),
        policy_of(scale_up={"cooldown": "15s", "max_step": 2}, scale_down={"cooldown": "40s", "max_step": 2}),
    )


@contextmanager
def episode(seed: int) -> Iterator[SimulatedWorld]:
    """The world of this seed after its faults; the recovery has not begun."""
    dice = Random(f"{seed}/episode")
    choice = dice.choice([0, 1, 1, 2, 3, 4])
    with simulated_world(seed, policies()[choice], replicas=dice.choice([2, 2, 3])) as world:
        world.railway.let_drain(Random(f"{seed}/draining").choice([0, 0, 0, 20, 90]))
        world.redis.clock_s = dice.choice([0.0, 0.0, 0.4, -2.0, 30.0])
        world.trace.note("world", "seed", f"{seed}, policy {choice}, {world.replicas} replicas")
        world.keep_running()
        end = dice.choice([40.0, 60.0, 90.0, 120.0])
        _arrange(world, dice, end)
        world.run_for(end)
        world.postgres.swing(dice.choice(_DEPTHS))
        world.heal()
        yield world


def _arrange(world: SimulatedWorld, dice: Random, end: float) -> None:
    at = dice.uniform(0.0, 10.0)
    while at < end:
        world.kernel.at(at, _swing, world, dice.choice(_DEPTHS))
        at += dice.expovariate(1 / _MEAN_BETWEEN_SWINGS_S)
    names = sorted(kinds())
    at = dice.expovariate(1 / _MEAN_BETWEEN_MISFORTUNES_S)
    while at < end:
        world.kernel.at(at, strike, world, dice.choice(names), Random(dice.getrandbits(64)))
        at += dice.expovariate(1 / _MEAN_BETWEEN_MISFORTUNES_S)


def _swing(world: SimulatedWorld, depth: int) -> None:
    woken = world.postgres.depth < depth  # jobs came in, and their trigger announced them
    world.postgres.swing(depth)
    world.trace.note("queue", "holds", f"{depth} jobs")
    if woken:
        for process in world.alive:
            process.loop.call_soon(_wake, process)


def _wake(process: Process) -> None:
    process.runner.wake()


def run(seed: int, *, with_trace: bool = False) -> Result:
    state = random.getstate()
    try:
        with episode(seed) as world:
            record = world.conclude(stay_s=20.0)
            return result(seed, world, record, with_trace=with_trace)
    finally:
        random.setstate(state)


def result(seed: int, world: SimulatedWorld, record: Record, *, with_trace: bool = False) -> Result:
    found = violations(record)
    for violation in found:
        world.trace.note("verdict", "violation", violation)
    return Result(
        seed,
        found,
        world.hits,
        len(record.sent),
        len(record.granted),
        len(record.acquired),
        record.ended_at,
        list(world.trace.lines()) if with_trace else [],
    )
