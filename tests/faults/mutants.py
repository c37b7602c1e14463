"""`python -m tests.faults.mutants run`: a controller from which FAULTS_MUTANT took one guard, for the verdict to catch.

The many mutants are in tests/virtual/mutants.py. These few show that this harness can find a broken promise.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from controller.adapters.redis import scripts
from controller.adapters.redis.shadow import Shadow
from controller.cli.main import main
from controller.core.history import Loss
from controller.loop.leadership import Leadership


class Mutant(NamedTuple):
    """killer: the sequence that shows what it lacks; words: of a violation that it must be found by there."""

    apply: Callable[[], None]
    killer: str
    words: str


def _no_guard_of_the_lease() -> None:
    """A replica that has once led goes on, whatever its clock says, and the scripts no longer look at the lease."""
    _put(Leadership, "lease", property(lambda self: self._held))
    _put(Leadership, "may_act", lambda self, epoch: True)
    _put(Leadership, "_step_down", lambda self, why: None)
    for name in ("write", "publish"):
        _rewrite(name, "redis.call('GET', lease_key) ~= lease", "false")


def _the_epoch_does_not_rise() -> None:
    _rewrite("acquire", "math.max(epoch + 1, tonumber(seen_epoch) + 1, least)", "math.max(epoch, 1)")


def _no_memory_but_redis() -> None:
    """No replica gives back what Redis has lost."""
    _put(Shadow, "known", lambda self, now: None)
    _put(Shadow, "loss_of", lambda self, stored: Loss.SAME if stored.exists else Loss.EMPTIED)


MUTANTS = {
    "no guard of the lease": Mutant(
        _no_guard_of_the_lease, "leader stopped beyond its lease goes on", "was not sure to lead"
    ),
    "the epoch does not rise": Mutant(
        _the_epoch_does_not_rise, "leader terminated within a cooldown", "leads in epoch 1, as"
    ),
    "no memory but redis": Mutant(_no_memory_but_redis, "redis restarts empty", "1 → 5 by"),
}


def as_module(name: str) -> tuple[str, dict[str, str]]:
    """What to start it as, and what to tell it."""
    return "tests.faults.mutants", {"FAULTS_MUTANT": name}


def _rewrite(changed: str, guard: str, without: str) -> None:
    original = scripts.script
    assert guard in original(changed), f"{changed}.lua has changed; so must its mutant"

    def script(name: str) -> str:
        return original(name).replace(guard, without) if name == changed else original(name)

    scripts.script = script  # type: ignore[assignment]  # it need not be cached


def _put(target: type, name: str, value: Any) -> None:
    assert hasattr(target, name), f"{target.__name__}.{name} is gone; its mutant would prove nothing"
    setattr(target, name, value)


if __name__ == "__main__":
    MUTANTS[os.environ["FAULTS_MUTANT"]].apply()
    main()
