"""A run that `autoscaler demo --record` has left."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from controller.core.reasons import Reason
from controller.simulation.account import Account
from controller.simulation.contenders import read_worker
from controller.simulation.own import OwnPolicy
from controller.simulation.scaler import View

NOT_OF_DECIDE = {Reason.INTENT_OPEN, Reason.DEPLOYING, Reason.BACKING_OFF, Reason.NOT_HONOURED}
"""What the reconciler holds for, whatever was decided."""
_ROUNDED_S = 0.05


@dataclass
class Actions(Account):
    """An account that remembers each change: when, from, to."""

    taken: list[tuple[float, int, int]] = field(default_factory=list)

    def scaled(self, now: float, before: int, after: int) -> None:
        self.taken.append((now, before, after))
        Account.scaled(self, now, before, after)


def cycles(folder: Path) -> list[dict[str, Any]]:
    """The log lines, with `t`: the end of the cycle, in seconds from the first."""
    lines = [json.loads(line) for line in (folder / "cycles.jsonl").read_text().splitlines()]
    began = datetime.fromisoformat(lines[0]["at"])
    return [{**line, "t": (datetime.fromisoformat(line["at"]) - began).total_seconds()} for line in lines]


def scaled(lines: Sequence[dict[str, Any]]) -> list[tuple[float, int, int]]:
    return [(line["t"], line["configured"], line["desired"]) for line in lines if line["outcome"] == "applied"]


def decided_alike(folder: Path, *, at_any_pace: bool = False) -> int:
    """How many decisions were compared; fails at the first that differs.

    at_any_pace: a machine may be so busy that the log does not tell whether a cooldown was over, for it does not say
    when within its cycle a change was accepted. From there on, two histories would be compared.
    """
    policy, worker = read_worker(folder / "policy.yaml", None, {})
    cooldowns = (worker.scale_up.cooldown, worker.scale_down.cooldown)
    scaler, compared = OwnPolicy.of(policy, worker, wakes=True), 0
    changed: list[tuple[float, float]] = []
    for line in cycles(folder):
        if line["outcome"] not in {"applied", "held"} or NOT_OF_DECIDE & set(line["reasons"]):
            continue
        scaler.answer_s = line["took_ms"] / 2000  # accepted before it was read back
        seen = View(
            now=line["t"] - line["took_ms"] / 1000,
            # The demo schedules nothing: such a job came between the beginning of the reading and its snapshot.
            waiting=line["pending"] + line.get("soon", 0),
            busy=line["processing"],
            configured=line["configured"],
            running=line["running"],
            oldest_s=line["oldest_age_s"] or 0.0,
        )
        within = (seen.now, line["t"])
        alike = scaler.look(seen) == line["desired"]
        if not alike and at_any_pace and any(_is_unknown(changed[-2:], within, cooldown) for cooldown in cooldowns):
            return compared
        assert alike, line
        compared += 1
        if line["outcome"] == "applied":
            changed.append(within)
    return compared


def _is_unknown(changed: Sequence[tuple[float, float]], now: tuple[float, float], cooldown: float) -> bool:
    """Whether a cooldown since one of the changes may or may not be over; each is somewhere within its cycle."""
    return any(now[0] - ended - _ROUNDED_S <= cooldown <= now[1] - began + _ROUNDED_S for began, ended in changed)
