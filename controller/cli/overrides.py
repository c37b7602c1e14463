"""`autoscaler overrides`: what operators have asked for, of all workers of the policy."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING

from controller.cli import output, overriding
from controller.cli.arguments import ENVIRONMENT, add_policy
from controller.core.units import in_words, iso
from controller.loop.override_status import OverrideStatus

if TYPE_CHECKING:
    from controller.cli.parser import Commands
    from controller.configuration import JournalConfiguration
    from controller.core.override import Override

Found = list[tuple[str, "Override", float]]


def add(commands: Commands) -> None:
    parser = commands.add(
        "overrides",
        run,
        "list the overrides in force",
        "Exit 0: done. 1: Redis could not be read. 2: wrong input.",
        touches="nothing; it reads Redis",
        listed="",
        last=ENVIRONMENT,
    )
    add_policy(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object per override")


def run(parsed: argparse.Namespace) -> int:
    configuration = overriding.configured(parsed)
    found = output.answered(_found(configuration), configuration.mask)
    if parsed.json:
        for worker, override, now in found:
            shown = asdict(OverrideStatus.of(override, now))
            output.print_json(configuration.mask.value({"worker": worker, **shown}))
    elif not found:
        output.show("No override is in force.")
    else:
        rows = [["worker", "override", "by", "time left", "until", "why"]]
        for worker, one, now in found:
            forced = " (forced)" if one.is_forced else ""
            until = f"{iso(one.until)[:16].replace('T', ' ')}Z"
            rows.append([worker, one.what + forced, one.author, in_words(one.left_s(now)), until, one.why])
        output.show_table(configuration.mask.value(rows))
    return 0


async def _found(configuration: JournalConfiguration) -> Found:
    from controller.journal import opened_journal

    async with opened_journal(configuration) as journal:
        found: Found = []
        for worker in configuration.policy.workers:
            recalled = await journal.recall(worker)
            each = recalled.history.overrides.all_in_force(recalled.now)
            found += [(worker, one, recalled.now) for one in each]
        return found
