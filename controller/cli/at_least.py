"""`autoscaler at-least`: a worker has a higher min_replicas until a given time."""

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
        "at-least",
        run,
        "set a lower limit for a time",
        "Above it the policy decides as usual. For example: autoscaler at-least generation-worker 2 --for 3h.",
    )
    overriding.add_count(parser, "the least number of replicas")
    overriding.add_terms(parser)
    overriding.add_force(parser, "also above max_replicas")


def run(parsed: argparse.Namespace) -> int:
    def problem_of(policy: WorkerPolicy, count: int) -> str | None:
        if count <= policy.lowest_min:
            return f"{count} changes nothing, because min_replicas is {policy.lowest_min}; write more"
        if count > policy.highest_max and not parsed.force:
            return f"{count} is above max_replicas, which is {policy.highest_max}; write at most that, or add --force"
        return None

    return overriding.amend_count(parsed, Kind.AT_LEAST, problem_of)
