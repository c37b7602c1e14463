"""`autoscaler hold`: a worker keeps one count until a given time."""

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
        "hold",
        run,
        "keep a worker at one count for a time",
        "The count is asked for at once: no cooldown and no window delays it, and busy workers do not stop it. "
        "For example: autoscaler hold generation-worker 3 --for 30m.",
    )
    parser.add_argument("worker", metavar="WORKER", help="a worker of the policy")
    parser.add_argument("replicas", type=replicas, metavar="N", help="the number of replicas")
    overriding.add_terms(parser)
    overriding.add_force(parser, "also outside min_replicas..max_replicas")


def run(parsed: argparse.Namespace) -> int:
    configuration = overriding.configured(parsed)
    workers = overriding.chosen(configuration.policy, [parsed.worker])
    policy, count = configuration.policy.workers[parsed.worker], parsed.replicas
    if not parsed.force and not policy.lowest_min <= count <= policy.highest_max:
        limits = f"{policy.lowest_min}..{policy.highest_max}"
        problem = f"{count} is outside min_replicas..max_replicas ({limits}); write a count within, or add --force"
        raise ConfigurationError([Problem("N", problem)])
    return overriding.amend(
        configuration,
        workers,
        lambda _, overrides, now: overrides.with_new(overriding.new(parsed, Kind.HOLD, now, replicas=count)),
    )
