"""One episode: a seed, a world, faults for some minutes, then none, then the verdict."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from random import Random

from controller.fake_kubernetes.kinds import CUSTOM, DEPLOYMENT, STATEFUL_SET
from controller.policy import Policy
from tests.support.record import Granted, Record, Sent
from tests.support.verdict import violations
from tests.virtual import budgets, kubernetes, operators, policies
from tests.virtual.kubernetes import Kubernetes
from tests.virtual.misfortunes import kinds, strike
from tests.virtual.railway import Railway
from tests.virtual.world import Process, SimulatedWorld, policy_of, simulated_world

_DEPTHS = (0, 0, 0, 3, 8, 15, 25, 45, 80, 120, 600)
_MEAN_BETWEEN_MISFORTUNES_S = 7.0
_MEAN_BETWEEN_SWINGS_S = 20.0
_MEAN_BETWEEN_DISTURBANCES_S = 25.0
_DISTURBANCES = ("fail queries", "move regions", "move regions", "slow postgres")
"""What strikes beside the others, more often than one of them would, with dice of its own: so the rest of a seed is the
same without them, as it was when some seeds found a bug."""
_EDITS = "two policies"
_MEAN_BETWEEN_EDITS_S = 25.0
_PART_WITH_EDITS = 0.2
"""Of the seeds: in the others the policy stays as it is."""
_PART_WITH_A_BUDGET = 0.2
"""Of the seeds in which the policy stays as it is."""
_DISTURBANCES_ON_KUBERNETES = ("fail queries", "overtake", "overtake", "rotate the token", "slow postgres")
_ON_KUBERNETES = 0.25
"""The share of the seeds that run there."""
PLATFORMS = (Kubernetes.name, Railway.name)
_RESOURCES = (DEPLOYMENT, DEPLOYMENT, STATEFUL_SET, CUSTOM, CUSTOM)
_FALLBACKS: tuple[dict[str, object], ...] = (
    {},
    {"interval": "5s", "on_unavailable": {"after": "5s", "at_least": 3}},
    {"interval": "5s", "on_unavailable": {"after": "25s", "at_least": 5}},
)
"""The first rule waits for three failed readings, and the second for its time."""


_SCHEDULES: tuple[dict[str, object], ...] = (
    {},
    {},
    {"for": "2m", "min_replicas": 3},
    {"for": "2m", "max_replicas": 2},
    {"for": "1m", "min_replicas": 2, "max_replicas": 8},
)
"""Each begins every 5 minutes, and the cooldowns end while it is off; with the shipped ones they would not."""
_EVERY_S = 300.0


@dataclass
class Result:
    """The result of an episode; it outlives the simulated world.

    moves: of the regions, by others. spread: updates of several regions. fallbacks: changes without a reading of the
    queue to more than min_replicas. overridden: intents that a held count or a floor asked for. scheduled: those
    that were decided on while a schedule was on. steps: of budgets, as they were told. fenced: changes that the
    platform refused because somebody else had written. queries: readings of the queue that a fault had an effect on.
    """

    seed: int
    platform: str
    violations: list[str]
    hits: dict[str, int]
    mutations: int
    intents: int
    terms: int
    moves: int
    spread: int
    fallbacks: int
    overridden: int
    scheduled: int
    fenced: int
    rollouts: int
    queries: Counter[str]
    simulated_s: float
    trace: list[str] = field(default_factory=list)
    steps: int = 0

    @property
    def faults(self) -> int:
        return sum(self.hits.values())


_POLICIES: tuple[dict[str, object], ...] = (
    {},
    {"scale_up": {"cooldown": "20s"}, "scale_down": {"cooldown": "45s"}},
    {"scale_up": {"cooldown": "20s"}, "scale_down": {"cooldown": "30s"}, "min_replicas": 1},
    {"scale_up": {"cooldown": "15s"}, "scale_down": {"cooldown": "40s", "stabilization_window": "30s"}},
    {"scale_up": {"cooldown": "15s", "max_step": 2}, "scale_down": {"cooldown": "40s", "max_step": 2}},
)


@cache
def policy(choice: int, fallback: int = 0, schedule: int = 0, resource: str = "") -> Policy:
    """The shipped timings or others; with shorter ones, more happens in a simulated hour.

    resource: of the worker's target on Kubernetes; without one, it is on Railway.
    """
    return policy_of(**_values(choice, fallback, schedule, resource))


def _values(choice: int, fallback: int, schedule: int, resource: str) -> dict[str, object]:
    one = _SCHEDULES[schedule]
    schedules = {"schedules": [{"cron": "*/5 * * * *", "timezone": "UTC", **one}]} if one else {}
    there = kubernetes.target(resource) if resource else {}
    return {**_POLICIES[choice], **_FALLBACKS[fallback], **schedules, **there}


def platform_of(seed: int) -> str:
    return Kubernetes.name if Random(f"{seed}/platform").random() < _ON_KUBERNETES else Railway.name


@contextmanager
def episode(seed: int, *, undisturbed: bool = False, platform: str | None = None) -> Iterator[SimulatedWorld]:
    """The world of this seed after its faults; the recovery has not begun.

    platform: that of the seed, if none is given.
    undisturbed: without on_unavailable, without schedules, and without what strikes beside the other misfortunes.
    """
    dice, more = Random(f"{seed}/episode"), Random(f"{seed}/disturbances")
    choice = dice.choice([0, 1, 1, 2, 3, 4])
    fallback = 0 if undisturbed else more.randrange(len(_FALLBACKS))
    hours, edits = Random(f"{seed}/schedules"), Random(f"{seed}/policies")
    schedule = 0 if undisturbed or not choice else hours.randrange(len(_SCHEDULES))
    is_there = (platform or platform_of(seed)) == Kubernetes.name
    resource = Random(f"{seed}/resource").choice(_RESOURCES).name if is_there else ""
    is_edited = not undisturbed and edits.random() < _PART_WITH_EDITS
    if is_edited:
        fallback = schedule = 0  # they do not fit to each of the other policies
    values = _values(choice, fallback, schedule, resource)
    editions: tuple[Policy, ...] = (policy(choice, fallback, schedule, resource),)
    if is_edited:
        editions = policies.pair(edits, values)
    ahead_s = 0.0
    if not undisturbed and not is_edited:
        editions, ahead_s = _with_a_budget(seed, values) or (editions, 0.0)
    with simulated_world(seed, editions[0], replicas=dice.choice([2, 2, 3])) as world:
        world.platform.let_drain(Random(f"{seed}/draining").choice([0, 0, 0, 20, 90]))
        world.redis.clock_s = dice.choice([0.0, 0.0, 0.4, -2.0, 30.0])
        world.redis.clock_s += ahead_s
        if _SCHEDULES[schedule]:
            world.redis.clock_s += hours.uniform(0.0, _EVERY_S)
        keeps_omitted_regions = more.random() < 0.5
        if isinstance(world.platform, Railway):
            world.platform.keeps_omitted_regions = keeps_omitted_regions
            world.platform.an_update_moves = Random(f"{seed}/an update moves").random() < 0.5
        where = f"{world.platform.name} {resource}".strip()
        said = f"{seed}, policy {choice}/{fallback}/{schedule}, {world.replicas} replicas, on {where}"
        world.trace.note("world", "seed", said)
        world.editions = editions
        world.keep_running()
        end = dice.choice([40.0, 60.0, 90.0, 120.0])
        _arrange(world, dice, end)
        if not undisturbed:
            disturbances = _DISTURBANCES_ON_KUBERNETES if is_there else _DISTURBANCES
            _strike_at_times(world, more, end, disturbances, _MEAN_BETWEEN_DISTURBANCES_S)
            operators.at_times(world, Random(f"{seed}/operators"), end)
        if is_edited:
            _strike_at_times(world, edits, end, (_EDITS,), _MEAN_BETWEEN_EDITS_S)
        if fallback:
            world.kernel.at(more.uniform(5, 30), strike, world, "fail queries", Random(more.getrandbits(64)))
        world.run_for(end)
        world.postgres.swing(dice.choice(_DEPTHS))
        world.heal()
        operators.resume(world)
        policies.settle(world, edits)
        yield world


def _with_a_budget(seed: int, values: dict[str, object]) -> tuple[tuple[Policy, ...], float] | None:
    """In a part of the seeds: the policy, and by how much the clock of Redis is set forward at the beginning."""
    dice = Random(f"{seed}/budget")
    if dice.random() >= _PART_WITH_A_BUDGET:
        return None
    return (policy_of(**budgets.worker(dice), **values),), budgets.clock_s(dice)


def _arrange(world: SimulatedWorld, dice: Random, end: float) -> None:
    at = dice.uniform(0.0, 10.0)
    while at < end:
        world.kernel.at(at, _swing, world, dice.choice(_DEPTHS))
        at += dice.expovariate(1 / _MEAN_BETWEEN_SWINGS_S)
    names = sorted(kinds(world.platform.name).keys() - {*_DISTURBANCES, _EDITS})
    _strike_at_times(world, dice, end, names, _MEAN_BETWEEN_MISFORTUNES_S)


def _strike_at_times(world: SimulatedWorld, dice: Random, end: float, names: Sequence[str], mean_s: float) -> None:
    at = dice.expovariate(1 / mean_s)
    while at < end:
        world.kernel.at(at, strike, world, dice.choice(names), Random(dice.getrandbits(64)))
        at += dice.expovariate(1 / mean_s)


def _swing(world: SimulatedWorld, depth: int) -> None:
    woken = world.postgres.depth < depth  # jobs came in, and their trigger announced them
    world.postgres.swing(depth)
    world.trace.note("queue", "holds", f"{depth} jobs")
    if woken:
        for process in world.alive:
            process.loop.call_soon(_wake, process)


def _wake(process: Process) -> None:
    process.runner.wake()


def run(seed: int, *, with_trace: bool = False, undisturbed: bool = False, platform: str | None = None) -> Result:
    state = random.getstate()
    try:
        with episode(seed, undisturbed=undisturbed, platform=platform) as world:
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
        world.platform.name,
        found,
        world.hits,
        len(record.sent),
        len(record.granted),
        len(record.acquired),
        sum(one.by in {"by hand", "deploy"} for one in record.moved),
        sum(one.placing is not None and len(one.placing.stored) > 1 for one in record.sent),
        len({one.intent for one in record.sent if one.read_depth is None and _is_fallback(record, one)}),
        sum(one.overridden for one in record.granted),
        sum(_is_by_a_schedule(record, one) for one in record.granted),
        world.platform.fenced,
        world.platform.rollouts,
        world.postgres.hits,
        record.ended_at,
        list(world.trace.lines()) if with_trace else [],
        steps=len(record.told),
    )


def _is_fallback(record: Record, sent: Sent) -> bool:
    if sent.intent is None:
        return False
    least = max([record.policy.min_replicas, *(limits.least for limits in sent.intent.limits)])
    return sent.intent.after > max(least, sent.smallest)


def _is_by_a_schedule(record: Record, granted: Granted) -> bool:
    own = record.policy.min_replicas, record.policy.max_replicas
    return bool(record.policy.schedules) and any(limits[:2] != own for limits in granted.limits)
