"""`autoscaler at-least`: a worker has a higher min_replicas until a given time."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from controller.cli import overriding
from controller.cli.arguments import replicas
from controller.core.override import Kind
from controller.core.problems import ConfigurationError, Problem

if TYPE_CHECKING:
    from controller.cli.parser import Commands


def add(commands: Commands) -> None:
    parser = overriding.add_command(
        commands,
        "at-least",
        run,
        "set a lower limit for a time",
        "Above it the policy decides as usual. For example: autoscaler at-least generation-worker 2 --for 3h.",
    )
    parser.add_argument("worker", metavar="WORKER", help="a worker of the policy")
    parser.add_argument("replicas", type=replicas, metavar="N", help="the least number of replicas")
    overriding.add_terms(parser)
    overriding.add_force(parser, "also above max_replicas")


def run(parsed: argparse.Namespace) -> int:
    configuration = overriding.configured(parsed)
    workers = overriding.chosen(configuration.policy, [parsed.worker])
    policy, count = configuration.policy.workers[parsed.worker], parsed.replicas
    if count <= policy.lowest_min:
        problem = f"{count} changes nothing, because min_replicas is {policy.lowest_min}; write more"
        raise ConfigurationError([Problem("N", problem)])
    if count > policy.highest_max and not parsed.force:
        problem = f"{count} is above max_replicas, which is {policy.highest_max}; write at most that, or add --force"
        raise ConfigurationError([Problem("N", problem)])
    return overriding.amend(
        configuration,
        workers,
        lambda _, overrides, now: overrides.with_new(overriding.new(parsed, Kind.AT_LEAST, now, replicas=count)),
    )
