"""`autoscaler once`: one cycle, for cron."""

from __future__ import annotations

import asyncio
import sys
from typing import Literal

from controller.app import Configuration, Controller, RunOptions, opened
from controller.cli.run import GOODBYE_S, LONGEST_GOODBYE_S
from controller.core.model import Because, Lease, Reason
from controller.loop import signals
from controller.loop.cycle import Cycle, Fault, Outcome, hold_because

_SLOWEST_CRON_S = 3600.0
"""`once` cannot know how often cron runs it; recommendations further apart than this are no memory of a window."""


async def once(configuration: Configuration, *, dry_run: bool, as_json: bool) -> int:
    """One cycle for cron: exit 0 where it applied or held (or another replica leads), 1 where it failed.

    And 1 where its output did not take what it has to say.
    """
    form: Literal["json", "text"] = "json" if as_json else "text"
    options = RunOptions(dry_run=dry_run, gap=_SLOWEST_CRON_S, waits_for_survivors=True)
    async with opened(configuration, options, stream=sys.stdout, events=sys.stderr, form=form) as controller:
        leadership = controller.leadership
        lease = await leadership.seek()
        if lease is None:
            cycles = [_without_lease(controller, name) for name in controller.policy.workers]
            for cycle in cycles:
                controller.log.line(cycle.line())
        else:
            keeping = asyncio.create_task(leadership.keep())
            try:
                cycles = await _whole(controller, lease)
                if controller.runner.is_outdated:
                    # As the next cycle of `run` would; the next `once` would know as little as this one did.
                    cycles = await _whole(controller, lease)
            finally:
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
    fault = controller.leadership.fault
    if fault is not None:
        outcome, because = Outcome.FAILED, hold_because(fault)
    else:
        outcome = Outcome.STANDBY
        because = Because(Reason.STANDBY, "hold: another replica of the controller leads, and acts")
    maximum = controller.policy.workers[worker].max_replicas
    at = controller.ports.clock.wall()
    return Cycle(
        at=at,
        worker=worker,
        outcome=outcome,
        because=(because,),
        message=because.words,
        max_workers=maximum,
        fault=None if fault is None else Fault.of(fault),
    )
