"""What a program or an address is told of a change, and of the target that it is to read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.adapters.command.answer import Seen
from controller.core.model import Change, Replicas

PREFIX = "AUTOSCALER_"


def of_reading(worker: str, target: str) -> dict[str, Any]:
    return {"worker": worker, "target": target}


def of_change(worker: str, target: str, change: Change, observed: Replicas) -> dict[str, Any]:
    """`version` is what the reading said; it lets the other end refuse a change that was decided on an older one."""
    seen = observed.coordinates
    return {
        **of_reading(worker, target),
        "desired": change.after,
        "current": change.before,
        "reason": change.reason,
        "message": change.message,
        "epoch": change.epoch,
        "change": change.id,
        "version": seen.version if isinstance(seen, Seen) else None,
    }


def as_variables(told: Mapping[str, Any]) -> dict[str, str]:
    """`AUTOSCALER_DESIRED=3` and so on; what is None is left out."""
    return {f"{PREFIX}{name.upper()}": str(value) for name, value in told.items() if value is not None}
