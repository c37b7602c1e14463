"""`autoscaler once`: one cycle, for cron.

It decides as `run` does, because what a decision depends on (history, cooldowns, conditions) is in the journal and not
in the process. So it takes the lease for its cycle, and where another replica leads, that is no failure: exit code 0,
so that two crons on two machines raise no alert.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import TYPE_CHECKING, Literal

from controller.cli import output
from controller.cli.arguments import ENVIRONMENT, add_policy, policy_of
from controller.cli.run import DRY_RUN, GOODBYE_S, LONGEST_GOODBYE_S
from controller.loop import signals

if TYPE_CHECKING:
    from controller.app import Controller
    from controller.cli.parser import Commands
    from controller.configuration import Configuration
    from controller.core.model import Lease
    from controller.loop.cycle import Cycle

_NOTIFICATIONS_S = 10.0
"""For the notifications of the cycle; cron can wait that long."""
_SLOWEST_CRON_S = 3600.0
"""`once` cannot know how often cron runs it; recommendations further apart than this are no memory of a window."""


JSON = "one JSON object per worker, with the log line's keys"
"""The help of --json."""


def add(commands: Commands) -> None:
    parser = commands.add(
        "once",
        run,
        "run one cycle, for cron",
        "Exit 0: each worker was applied or held, or another replica leads. 1: one failed. 2: wrong input.",
        touches="what `run` touches, once, and only while no other replica leads",
        last=ENVIRONMENT,
    )
    add_policy(parser)
    parser.add_argument("--dry-run", action="store_true", help=DRY_RUN)
    parser.add_argument("--json", action="store_true", help=JSON)


def run(parsed: argparse.Namespace) -> int:
    from controller.configuration import configure

    configuration = configure(policy_of(parsed), os.environ)
    return signals.interruptible(one_cycle(configuration, dry_run=parsed.dry_run, as_json=parsed.json))


async def one_cycle(configuration: Configuration, *, dry_run: bool, as_json: bool) -> int:
    """The exit code: 0 if it applied or held, or another replica leads; 1 if it failed, or its output lost lines."""
    from controller.app import RunOptions, opened
    from controller.loop.cycle import Outcome

    form: Literal["json", "text"] = "json" if as_json else "text"
    options = RunOptions(dry_run=dry_run, gap=_SLOWEST_CRON_S, waits_for_survivors=True, width=output.width)
    async with opened(configuration, options, stream=sys.stdout, events=sys.stderr, form=form) as controller:
        leadership = controller.leadership
        controller.notifier.takeovers = False  # each call is one
        lease = await leadership.seek()
        if lease is None:
            cycles = [_without_lease(controller, name) for name in controller.policy.workers]
            for cycle in cycles:
                controller.log.line(cycle.line())
        else:
            keeping = asyncio.create_task(leadership.keep())
            try:
                await controller.runner.recall_starts()
                await controller.shadow.keep()  # goes on from what the last call has left
                cycles = await _whole(controller, lease)
                if controller.runner.is_outdated:
                    # As the next cycle of `run` would; the next `once` would know as little as this one did.
                    cycles = await _whole(controller, lease)
            finally:
                await controller.recorder.last_words(GOODBYE_S)
                await controller.shadow.last_words(GOODBYE_S)
                await controller.notifier.last_words(_NOTIFICATIONS_S)
                leadership.stop()
                await keeping
    is_well = all(cycle.outcome in {Outcome.APPLIED, Outcome.HELD, Outcome.STANDBY} for cycle in cycles)
    return 0 if is_well and not controller.log.lost else 1


async def _whole(controller: Controller, lease: Lease) -> list[Cycle]:
    """One tick; a signal ends it, but not while a change is being asked for."""
    ticking = asyncio.create_task(controller.runner.tick(lease))
    try:
        return await asyncio.shield(ticking)
    except asyncio.CancelledError:
        if controller.runner.acts:
            signals.extend(LONGEST_GOODBYE_S)
            await asyncio.wait({ticking}, timeout=LONGEST_GOODBYE_S)
        ticking.cancel()
        await asyncio.wait({ticking}, timeout=GOODBYE_S)
        raise


def _without_lease(controller: Controller, worker: str) -> Cycle:
    from controller.core.allowed import of_the_hour
    from controller.core.reasons import Because, Reason
    from controller.loop.cycle import Cycle, Fault, Outcome, hold_because

    fault = controller.leadership.fault
    if fault is not None:
        outcome, because = Outcome.FAILED, hold_because(fault)
    else:
        outcome = Outcome.STANDBY
        because = Because(Reason.STANDBY, "hold: another replica of the controller leads, and acts")
    at, policy = controller.ports.clock.wall(), controller.policy.workers[worker]
    return Cycle(
        at=at,
        worker=worker,
        outcome=outcome,
        because=(because,),
        message=because.words,
        max_workers=of_the_hour(policy, at).max_replicas,
        fault=None if fault is None else Fault.of(fault),
    )
