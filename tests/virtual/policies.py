"""Two policies at once: while an edit is rolled out, or after the deploy of one replica failed.

What must hold then: nothing is scaled back and forth more often than the cooldowns of both allow, and it is told.
"""

from __future__ import annotations

import json
from random import Random

from controller.policy import Policy
from tests.virtual.world import Process, SimulatedWorld, policy_of

_EAGER = [{"up_to": 0, "replicas": 1}, {"up_to": 10, "replicas": 3}, {"up_to": 30, "replicas": 4}, {"replicas": 5}]
_PAIRS: tuple[tuple[dict[str, object], dict[str, object]], ...] = (
    ({}, {"tiers": _EAGER}),
    ({}, {"tiers": _EAGER, "interval": "5s"}),
    ({}, {"min_replicas": 3}),
    ({}, {"max_replicas": 2}),
    ({"max_replicas": 2}, {"min_replicas": 3}),
    ({"max_replicas": 1}, {"min_replicas": 4}),
    ({}, {"tiers": _EAGER, "scale_up": {"cooldown": "40s"}, "scale_down": {"cooldown": "90s"}}),
    ({}, {"tiers": _EAGER, "scale_up": {"cooldown": "5s"}, "scale_down": {"cooldown": "10s"}}),
)
"""The old and the new one, over what else an episode's policy says. No count suits both of the fifth and the sixth."""
_TOLD_WITHIN_S = 130.0
"""A takeover after the last fault, a cycle that publishes the leader's policy, a minute, and a look."""


def pair(dice: Random, worker: dict[str, object]) -> tuple[Policy, Policy]:
    """The old and the new policy."""
    old, new = dice.choice(_PAIRS)
    return policy_of(**{**worker, **old}), policy_of(**{**worker, **new})


def edit(world: SimulatedWorld, dice: Random) -> str:
    """One replica gets another policy, or all get the same again: the one of before, or the other."""
    if world.other is None:
        return _part(world, dice, next(one for one in world.editions if one is not world.policy))
    world.agree(dice.choice([world.policy, world.other]))
    return f"all have {world.policy.digest}"


def _part(world: SimulatedWorld, dice: Random, new: Policy) -> str:
    """One replica reads its file again, or is deployed anew."""
    victim = dice.choice(world.alive) if world.alive else None
    world.other = new
    if victim is None:
        return "the next to start"
    if dice.random() < 0.5:
        world.reload(victim, new)
        return f"{victim.name} reads it"
    world.start(policy=new)
    world.kernel.after(dice.uniform(0.0, 8.0), world.terminate, victim)
    return f"in place of {victim.name}"


def settle(world: SimulatedWorld, dice: Random) -> None:
    """After the last fault: two policies are told, and then all replicas get one of them."""
    if world.other is not None:
        stay_apart(world)
        world.agree(dice.choice([world.policy, world.other]))


def stay_apart(world: SimulatedWorld) -> None:
    """After the last fault: each standby with another policy than the leader's must tell it."""
    world.trace.note("world", "apart", "until it is told")
    until = world.kernel.now + _TOLD_WITHIN_S
    while len({one.policy.digest for one in world.alive}) > 1 and ((silent := _silent(world)) is None or silent):
        if world.kernel.now >= until:
            who = ", ".join(process.name for process in silent or ()) or "no replica"
            world.record.bugs.append(f"{who} told nobody of two policies within {_TOLD_WITHIN_S:g} s")
            return
        world.run_for(2.0)


def _silent(world: SimulatedWorld) -> list[Process] | None:
    """Standbys with another policy that have not told it; None: no replica leads, or no standby has another."""
    leader = world.leader
    if leader is None:
        return None
    apart = [one for one in world.alive if one is not leader and one.policy.digest != leader.policy.digest]
    return [one for one in apart if not _has_told(world, one)] if apart else None


def _has_told(world: SimulatedWorld, process: Process) -> bool:
    return any(
        entry.who == process.name and entry.what == "log" and json.loads(entry.detail)["event"] == "policies_differ"
        for entry in world.trace.entries
        if "policies_differ" in entry.detail
    )
