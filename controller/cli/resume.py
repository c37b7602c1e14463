"""`autoscaler resume`: ends the overrides of a worker, and the policy decides again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from controller.cli import overriding

if TYPE_CHECKING:
    from controller.cli.parser import Commands


def add(commands: Commands) -> None:
    parser = overriding.add_command(
        commands,
        "resume",
        run,
        "end the overrides of a worker",
        "It ends every pause, held count and lower limit of the worker. Nothing changes if there is none.",
    )
    overriding.add_workers(parser)
    overriding.add_author(parser)


def run(parsed: argparse.Namespace) -> int:
    configuration = overriding.configured(parsed)
    return overriding.amend(
        configuration,
        overriding.chosen(configuration.policy, parsed.workers, every=parsed.all),
        lambda _, overrides, now: overrides.resumed(parsed.by, now),
    )
