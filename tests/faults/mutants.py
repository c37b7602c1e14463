"""`python -m tests.faults.mutants run`: a controller from which FAULTS_MUTANT took one guard, for the verdict to catch.

Guards overlap on purpose, so that a mutant may have to take out two: what it lacks is then said as one thing.
FAULTS_PAUSE=1 makes it stop itself before its first request as well (see paused.py), mutant or not.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from typing import Any

from controller.adapters.postgres.queue import PostgresQueue
from controller.adapters.railway.client import RailwayClient
from controller.adapters.railway.platform import RailwayPlatform
from controller.adapters.redis import scripts
from controller.adapters.redis.journal import RedisJournal
from controller.cli.main import main
from controller.core.model import Change, QueueDepth
from controller.core.ports import NotSent, Unavailable
from controller.loop.leadership import Leadership
from tests.faults.paused import pause_before_the_first_change
from tests.support.sources import RAILWAY


@dataclass(frozen=True)
class Mutant:
    """killer: the directed sequence that shows what it lacks; promises: of which it breaks one there."""

    apply: Callable[[], None]
    killer: str
    promises: tuple[str, ...]


ALL: dict[str, Mutant] = {}


def as_module(name: str) -> tuple[str, dict[str, str]]:
    """What to start it as, and what to tell it."""
    return __name__ if __name__ != "__main__" else "tests.faults.mutants", {"FAULTS_MUTANT": name}


def _mutant(name: str, killer: str, *promises: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def register(apply: Callable[[], None]) -> Callable[[], None]:
        ALL[name] = Mutant(apply, killer, promises)
        return apply

    return register


@_mutant("no-lease-check", "leader-pauses-before-its-request", "stale leader")
def _no_lease_check() -> None:
    """The last look at the lease, right before the request, is missing."""
    _send_unasked()


@_mutant("expired-lease", "stopped-leader-continues", "stale leader")
def _expired_lease() -> None:
    """A replica that has once led goes on, whatever its clock and Redis say."""
    _put(Leadership, "lease", property(lambda self: self._held))
    _send_unasked()
    _put(Leadership, "_step_down", lambda self, why: None)
    for name, text in vars(scripts).copy().items():
        if name.isupper() and not name.startswith("_"):
            setattr(scripts, name, text.replace(scripts._GUARD, ""))


@_mutant("late-intent", "answer-never-comes", "over an unknown outcome")
def _late_intent() -> None:
    """The intent is written down after the mutation, and not at all where the answer is lost."""
    record, accept = RedisJournal.record_intent, RedisJournal.accept
    kept: list[tuple[Any, ...]] = []

    async def record_later(self: RedisJournal, *arguments: Any) -> Change:
        worker, ident, decision, _, lease = arguments
        kept.append(arguments)
        now = (await self.recall(worker)).now
        return Change(ident, lease.epoch, decision.current, decision.desired, now)

    async def accept_then(self: RedisJournal, *arguments: Any) -> None:
        await record(self, *kept.pop())
        await accept(self, *arguments)

    _put(RedisJournal, "record_intent", record_later)
    _put(RedisJournal, "accept", accept_then)


@_mutant("own-memory", "hand-over-within-a-cooldown", "scale-up too soon")
def _own_memory() -> None:
    """Cooldowns count from what this process did itself; Redis' stamps are not read."""
    run = RedisJournal._run
    mine: dict[str, float] = {}

    async def run_and_forget(self: RedisJournal, name: str, worker: str, args: Any) -> Any:
        recalled = await run(self, name, worker, args)
        if name == "RECORD_INTENT":
            mine[f"last_{args[5]}"] = recalled.now
        history = replace(recalled.history, last_up=mine.get("last_up"), last_down=mine.get("last_down"))
        return recalled._replace(history=history)

    _put(RedisJournal, "_run", run_and_forget)


@_mutant("unknown-is-failed", "answer-never-comes", "over an unknown outcome")
def _unknown_is_failed() -> None:
    """A change whose answer never came counts as not made, and is asked for again."""
    scale = RailwayPlatform.scale

    async def certain(self: RailwayPlatform, *arguments: Any) -> Any:
        try:
            return await scale(self, *arguments)
        except Unavailable as unknown:
            raise NotSent(RAILWAY, f"surely nothing happened ({unknown})") from unknown

    _put(RailwayPlatform, "scale", certain)


@_mutant("missing-is-zero", "queue-is-locked-for-long", "unjustified")
def _missing_is_zero() -> None:
    """A queue that cannot be read counts as empty."""
    depths = PostgresQueue.depths

    async def guess(self: PostgresQueue, *arguments: Any) -> AsyncGenerator[tuple[str, QueueDepth], None]:
        async for name, answer in depths(self, *arguments):
            yield name, QueueDepth(0, 0, None) if isinstance(answer, Unavailable) else answer

    _put(PostgresQueue, "depths", guess)


@_mutant("same-epoch", "hand-over-within-a-cooldown", "shared epoch")
def _same_epoch() -> None:
    """A take-over does not raise the epoch."""
    raised = "math.max(epoch + 1, tonumber(ARGV[3]) + 1, least)"
    assert raised in scripts.ACQUIRE, "the script has changed; so must its mutant"
    scripts.ACQUIRE = scripts.ACQUIRE.replace(raised, "math.max(epoch, 1)")


def _send_unasked() -> None:
    begin = RailwayClient.__init__

    def begin_unasked(self: RailwayClient, *arguments: Any, **more: Any) -> None:
        begin(self, *arguments, **{**more, "may_mutate": lambda *_: True})

    _put(RailwayClient, "__init__", begin_unasked)


def _put(target: type, name: str, value: Any) -> None:
    assert hasattr(target, name), f"{target.__name__}.{name} is gone; its mutant would prove nothing"
    setattr(target, name, value)


if __name__ == "__main__":
    if mutant := os.environ.get("FAULTS_MUTANT"):
        ALL[mutant].apply()
    if os.environ.get("FAULTS_PAUSE"):
        pause_before_the_first_change()
    main()
