"""`autoscaler hold`: a worker keeps one count until a given time."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from controller.cli import overriding
from controller.core.override import Kind

if TYPE_CHECKING:
    from controller.cli.parser import Commands
    from controller.policy import WorkerPolicy


def add(commands: Commands) -> None:
    parser = overriding.add_command(
        commands,
        "hold",
        run,
        "keep a worker at one count for a time",
        "The count is asked for at once: no cooldown and no window delays it, and busy workers do not stop it. "
        "For example: autoscaler hold generation-worker 3 --for 30m.",
    )
    overriding.add_count(parser, "the number of replicas")
    overriding.add_terms(parser)
    overriding.add_force(parser, "also outside min_replicas..max_replicas")


def run(parsed: argparse.Namespace) -> int:
    def problem_of(policy: WorkerPolicy, count: int) -> str | None:
        if parsed.force or policy.lowest_min <= count <= policy.highest_max:
            return None
        limits = f"{policy.lowest_min}..{policy.highest_max}"
        return f"{count} is outside min_replicas..max_replicas ({limits}); write a count within, or add --force"

    return overriding.amend_count(parsed, Kind.HOLD, problem_of)
