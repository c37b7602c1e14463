"""The misfortunes (tests/support/misfortunes.py) in the simulated world: each function starts one, and sets its end."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.support.misfortunes import LinkMode, Move, name_of
from tests.virtual import policies
from tests.virtual.kubernetes import Kubernetes
from tests.virtual.kubernetes_misfortunes import ON_KUBERNETES
from tests.virtual.network import Link
from tests.virtual.railway import REGION, REGIONS
from tests.virtual.world import Process, SimulatedWorld

Misfortune = Callable[[SimulatedWorld, Random], str]
_KINDS: dict[str, Misfortune] = {}


def kinds(platform: str) -> dict[str, Misfortune]:
    if platform == Kubernetes.name:
        return {name: one for name, one in _KINDS.items() if name != "move regions"} | ON_KUBERNETES
    return _KINDS


def strike(world: SimulatedWorld, name: str, dice: Random) -> None:
    what = kinds(world.platform.name)[name](world, dice)
    world.hits[name] = world.hits.get(name, 0) + 1
    world.trace.note("world", "misfortune", f"{name} {what}")


def _kind(misfortune: Misfortune) -> Misfortune:
    _KINDS[name_of(misfortune)] = misfortune
    return misfortune


def _after(world: SimulatedWorld, seconds: float, end: Callable[[], object]) -> str:
    world.kernel.after(seconds, end)
    return f"for {seconds:.1f} s"


def _victim(world: SimulatedWorld, dice: Random) -> Process | None:
    """A process to be hit, more often the leader than another."""
    alive = world.alive
    if not alive:
        return None
    leader = world.leader
    return leader if leader is not None and dice.random() < 0.6 else dice.choice(alive)


def _replace_soon(world: SimulatedWorld, dice: Random) -> None:
    world.kernel.after(dice.choice([0.5, 3.0, 20.0]), world.keep_running)


# Processes


@_kind
def _kill(world: SimulatedWorld, dice: Random) -> str:
    victim = _victim(world, dice)
    if victim is not None:
        world.kill(victim)
    _replace_soon(world, dice)
    return victim.name if victim else "none"


@_kind
def _kill_all(world: SimulatedWorld, dice: Random) -> str:
    for process in world.alive:
        world.kill(process)
    _replace_soon(world, dice)
    return ""


@_kind
def _terminate(world: SimulatedWorld, dice: Random) -> str:
    victim = _victim(world, dice)
    if victim is not None:
        world.terminate(victim)
        world.kernel.after(dice.choice([1.0, 25.0]), world.keep_running)
    return victim.name if victim else "none"


@_kind
def _deploy_the_controller(world: SimulatedWorld, dice: Random) -> str:
    old = world.alive
    for _ in range(world.replicas):
        world.start()
    for process in old:
        world.kernel.after(dice.uniform(0.0, 8.0), world.terminate, process)
    return ""


@_kind
def _pause(world: SimulatedWorld, dice: Random) -> str:
    victim = _victim(world, dice)
    seconds = dice.choice([0.5, 3.0, 8.0, 16.0, 25.0, 45.0]) * dice.uniform(0.7, 1.3)
    if victim is None:
        return "none"
    world.pause(victim, seconds)
    return f"{victim.name} for {seconds:.1f} s"


@_kind
def _set_a_wall_clock(world: SimulatedWorld, dice: Random) -> str:
    victim = _victim(world, dice)
    if victim is None:
        return "none"
    victim.clock.wall_s += dice.choice([-300.0, -40.0, -3.0, 3.0, 40.0, 300.0])
    return f"{victim.name}'s to {victim.clock.wall_s:+.1f} s"


@_kind
def _two_policies(world: SimulatedWorld, dice: Random) -> str:
    return policies.edit(world, dice)


# At the worst moment


@_kind
def _worst_moment(world: SimulatedWorld, dice: Random) -> str:
    blow, delay = dice.choice(_BLOWS), dice.choice([0.0, 0.0, 0.01, 0.2, 1.0])
    return f"{blow} {_at_the_next(world, dice, delay, lambda: _blow(world, blow, dice))}"


def _at_the_next(world: SimulatedWorld, dice: Random, delay: float, strike: Callable[[], object]) -> str:
    """Strikes once, this long after the next intent is written or the next change is made."""

    def struck(*_: object) -> None:
        triggers.remove(struck)  # type: ignore[attr-defined]
        world.kernel.after(delay, lambda: world.is_healed or strike())

    of_intent = dice.random() < 0.5
    triggers: object = world.when_granted if of_intent else world.platform.when_applied
    triggers.append(struck)  # type: ignore[attr-defined]
    return f"{delay:g} s after the next {'intent' if of_intent else 'change'}"


def _blow(world: SimulatedWorld, name: str, dice: Random) -> None:
    world.trace.note("world", "blow", f"{name} {_KINDS[name](world, dice)}")


# Redis


@_kind
def _restart_redis(world: SimulatedWorld, dice: Random) -> str:
    return _restart(world, dice, "kept")


@_kind
def _restart_redis_with_old_data(world: SimulatedWorld, dice: Random) -> str:
    return _restart(world, dice, "stale")


@_kind
def _restart_redis_empty(world: SimulatedWorld, dice: Random) -> str:
    return _restart(world, dice, "none")


def _restart(world: SimulatedWorld, dice: Random, with_data: str) -> str:
    world.redis.stop()

    def start() -> None:
        if not world.redis.is_reachable:
            world.redis.start(with_data, loading_s=dice.choice([0.0, 0.0, 2.0]))

    return _after(world, dice.choice([0.1, 1.0, 5.0, 20.0]), start)


@_kind
def _freeze_redis(world: SimulatedWorld, dice: Random) -> str:
    world.redis.stand_still()
    return _after(world, dice.choice([1.0, 3.0, 10.0, 20.0]), world.redis.go_on)


@_kind
def _flush_redis(world: SimulatedWorld, dice: Random) -> str:
    world.redis.flush()
    return ""


@_kind
def _lose_the_lease(world: SimulatedWorld, dice: Random) -> str:
    world.redis.lose(":lease")
    return ""


@_kind
def _lose_a_key(world: SimulatedWorld, dice: Random) -> str:
    ending = dice.choice([":epoch", ":leader", ":worker:worker"])
    world.redis.lose(ending)
    return ending


@_kind
def _make_the_lease_endless(world: SimulatedWorld, dice: Random) -> str:
    world.redis.persist(":lease")
    return ""


@_kind
def _refuse_writes_to_redis(world: SimulatedWorld, dice: Random) -> str:
    how = dice.choice(["out of memory", "read only"])
    world.redis.refuse_writes(how)
    return f"{how} {_after(world, dice.choice([3.0, 12.0, 30.0]), world.redis.accept_writes)}"


@_kind
def _set_the_clock_of_redis(world: SimulatedWorld, dice: Random) -> str:
    seconds = dice.choice([-300.0, -40.0, -8.0, -3.0, 3.0, 8.0, 40.0, 300.0])
    world.redis.step_clock(seconds)
    return f"by {seconds:+.0f} s"


# The network


def _spoil(world: SimulatedWorld, link: Link, way: LinkMode, seconds: float, held_s: float = 0.0) -> None:
    link.way, link.held_s = way, held_s
    for process in world.alive:
        if process.links["redis"] is link:
            process.life.deaf.append((world.kernel.now, world.kernel.now + seconds))

    def heal() -> None:
        if link.way is way:
            link.way = LinkMode.OPEN

    world.kernel.after(seconds, heal)


@_kind
def _spoil_a_link(world: SimulatedWorld, dice: Random) -> str:
    victim = _victim(world, dice)
    if victim is None:
        return "none"
    name = dice.choice(["redis", "redis", world.platform.name, "postgres"])
    way = dice.choice([LinkMode.DROP, LinkMode.HALF_DROP, LinkMode.REFUSE, LinkMode.SLOW, LinkMode.HOLD])
    seconds = dice.choice([0.5, 3.0, 8.0, 16.0, 30.0])
    _spoil(world, victim.links[name], way, seconds, held_s=dice.choice([1.0, 4.0, 20.0]))
    return f"{victim.name} to {name}: {way.value} for {seconds:g} s"


@_kind
def _isolate(world: SimulatedWorld, dice: Random) -> str:
    victim = _victim(world, dice)
    if victim is None:
        return "none"
    seconds = dice.choice([3.0, 10.0, 20.0, 40.0])
    for link in victim.links.values():
        _spoil(world, link, LinkMode.DROP, seconds)
    return f"{victim.name} for {seconds:g} s"


@_kind
def _cut(world: SimulatedWorld, dice: Random) -> str:
    victim = _victim(world, dice)
    if victim is None:
        return "none"
    name = dice.choice(sorted(victim.links))
    victim.links[name].cut_next = True
    return f"{victim.name} to {name}"


# The platform


@_kind
def _bad_reads(world: SimulatedWorld, dice: Random) -> str:
    fate, seconds = dice.choice(world.platform.bad_reads), dice.choice([2.0, 12.0, 25.0])
    world.platform.have_bad_reads(fate, seconds)
    return f"{fate} for {seconds:g} s"


@_kind
def _bad_mutations(world: SimulatedWorld, dice: Random) -> str:
    fate, seconds = dice.choice(world.platform.bad_mutations), dice.choice([12.0, 30.0, 60.0])
    world.platform.have_bad_mutations(fate, seconds)
    return f"{fate} for {seconds:g} s"


@_kind
def _change_by_hand(world: SimulatedWorld, dice: Random) -> str:
    count = dice.choice([0, 1, 2, 3, 4, 5, 7])
    world.platform.change_by_hand(count)
    return f"to {count}"


@_kind
def _deploy_the_workers(world: SimulatedWorld, dice: Random) -> str:
    reset = dice.random() < 0.5
    world.platform.deploy_by_hand(reset=reset)
    return "which resets the count" if reset else ""


@_kind
def _move_regions(world: SimulatedWorld, dice: Random) -> str:
    """To another region, or to two or three of them; and back, because there are only a few places."""
    regions = dice.choice([(REGION,), REGIONS[1:2], REGIONS[2:], REGIONS[:2], REGIONS[1:], REGIONS])
    move, waits_s = dice.choice([Move.AT_ONCE, Move.DEPLOYED, Move.WAITING]), dice.choice([5.0, 20.0, 60.0])

    def strike() -> None:
        world.railway.move(regions, move, waits_s=waits_s)

    what = f"to {', '.join(regions)} {move.value}"
    if dice.random() < 0.5:
        # A request is on its way for some hundred milliseconds, and may have been read for before that.
        return f"{what} {_at_the_next(world, dice, dice.choice([0.0, 0.1, 0.3, 1.0, 10.0]), strike)}"
    strike()
    return what


# PostgreSQL


@_kind
def _stop_postgres(world: SimulatedWorld, dice: Random) -> str:
    world.postgres.is_down = True
    return _after(world, dice.choice([2.0, 12.0, 40.0]), world.postgres.recover)


@_kind
def _lock_the_queue(world: SimulatedWorld, dice: Random) -> str:
    world.postgres.is_locked = True
    return _after(world, dice.choice([2.0, 12.0, 40.0]), world.postgres.recover)


@_kind
def _lag_postgres(world: SimulatedWorld, dice: Random) -> str:
    world.postgres.behind_s = dice.choice([5.0, 30.0])
    return _after(world, dice.choice([12.0, 40.0]), world.postgres.recover)


@_kind
def _fail_queries(world: SimulatedWorld, dice: Random) -> str:
    """Often all of them, and for long: so on_unavailable is reached."""
    part, seconds = dice.choice([0.5, 1.0, 1.0]), dice.choice([12.0, 50.0, 80.0])
    world.postgres.failing = part

    def end() -> None:
        world.postgres.failing = 0.0

    return f"{part:.0%} of them {_after(world, seconds, end)}"


@_kind
def _slow_postgres(world: SimulatedWorld, dice: Random) -> str:
    slowest_s, seconds = dice.choice([1.5, 3.0, 10.0]), dice.choice([12.0, 40.0])
    world.postgres.slowest_s = slowest_s

    def end() -> None:
        world.postgres.slowest_s = 0.0

    return f"up to {slowest_s:g} s {_after(world, seconds, end)}"


_BLOWS = (
    *("flush redis", "isolate", "kill", "kill all", "lose the lease", "pause"),
    *("restart redis with old data", "set the clock of redis"),
)
