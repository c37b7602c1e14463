"""Misfortunes that only a cluster has; those that any platform has are in misfortunes.py."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.support.misfortunes import name_of
from tests.virtual.kubernetes import Kubernetes
from tests.virtual.world import SimulatedWorld

Misfortune = Callable[[SimulatedWorld, Random], str]
ON_KUBERNETES: dict[str, Misfortune] = {}
_SCALES_EVERY_S = 3.0


def _on_kubernetes(strike: Callable[[SimulatedWorld, Kubernetes, Random], str]) -> None:
    def struck(world: SimulatedWorld, dice: Random) -> str:
        assert isinstance(world.platform, Kubernetes)
        return strike(world, world.platform, dice)

    ON_KUBERNETES[name_of(strike)] = struck


@_on_kubernetes
def _overtake(world: SimulatedWorld, cluster: Kubernetes, dice: Random) -> str:
    """Between the intent and its request is a request to Redis at most."""
    count, delay = dice.choice([None, 0, 1, 2, 3, 4]), dice.choice([0.0, 0.0, 0.005, 0.03])

    def strike(_: object) -> None:
        world.when_granted.remove(strike)
        world.kernel.after(delay, write)

    def write() -> None:
        if world.is_healed:
            return
        if count is None:
            cluster.annotate()
        else:
            cluster.change_by_hand(count)

    world.when_granted.append(strike)
    return f"{delay:g} s after the next intent, {'with an annotation' if count is None else f'to {count}'}"


@_on_kubernetes
def _another_scaler(world: SimulatedWorld, cluster: Kubernetes, dice: Random) -> str:
    count, until = dice.choice([0, 1, 3, 6]), world.kernel.now + dice.choice([5.0, 20.0])

    def scale() -> None:
        if world.is_healed or world.kernel.now >= until:
            return
        cluster.change_by_hand(count)
        world.kernel.after(_SCALES_EVERY_S, scale)

    scale()
    return f"to {count} until {until:.0f}"


@_on_kubernetes
def _pause_a_rollout(world: SimulatedWorld, cluster: Kubernetes, dice: Random) -> str:
    seconds = dice.choice([12.0, 40.0, 80.0])

    def pause() -> None:
        cluster.workload.paused = not world.is_healed

    def resume() -> None:
        cluster.workload.paused = False

    cluster.deploy_by_hand(reset=False)
    world.kernel.after(dice.uniform(0.0, 8.0), pause)
    world.kernel.after(seconds, resume)
    return f"for {seconds:g} s"


@_on_kubernetes
def _hold_up_pods(world: SimulatedWorld, cluster: Kubernetes, dice: Random) -> str:
    workload, seconds = cluster.workload, dice.choice([5.0, 20.0, 60.0])
    trouble, quota = dice.choice(["crash", "exit", "image", "unschedulable", "quota"]), dice.choice([0, 1, 2])
    workload.trouble, workload.quota = ("", quota) if trouble == "quota" else (trouble, None)

    def end() -> None:
        workload.trouble, workload.quota = "", None

    world.kernel.after(seconds, end)
    return f"by {trouble} for {seconds:g} s"


@_on_kubernetes
def _rotate_the_token(world: SimulatedWorld, cluster: Kubernetes, dice: Random) -> str:
    late_s = dice.choice([0.0, 0.0, 4.0, 25.0])
    cluster.rotate_the_token(late_s)
    return f"and its file after {late_s:g} s"
