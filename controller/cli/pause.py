"""`autoscaler pause`: a worker is not scaled until a given time, in one direction or both."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from controller.cli import overriding
from controller.core.override import Blocks, Kind

if TYPE_CHECKING:
    from controller.cli.parser import Commands


def add(commands: Commands) -> None:
    parser = overriding.add_command(
        commands,
        "pause",
        run,
        "stop scaling a worker for a time",
        "The count stays as it is; only a count outside min_replicas..max_replicas is corrected. "
        "For example: autoscaler pause generation-worker --for 2h --why 'database migration'.",
        listed="stop scaling; see also hold, at-least, resume, overrides",
    )
    overriding.add_workers(parser)
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--up", action="store_true", help="only add no workers")
    way.add_argument("--down", action="store_true", help="only remove no workers")
    overriding.add_terms(parser)
    overriding.add_force(parser, "correct not even a count outside min_replicas..max_replicas")


def run(parsed: argparse.Namespace) -> int:
    configuration = overriding.configured(parsed)
    blocks = Blocks.UP if parsed.up else Blocks.DOWN if parsed.down else Blocks.BOTH
    return overriding.amend(
        configuration,
        overriding.chosen(configuration.policy, parsed.workers, every=parsed.all),
        lambda _, overrides, now: overrides.with_new(overriding.new(parsed, Kind.PAUSE, now, blocks=blocks)),
    )
