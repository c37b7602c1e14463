"""`autoscaler explain`: observes and decides right now, and changes nothing.

It makes the pass that the loop would make, by the same code, with the journal's history. It takes no lease, so it may
run beside the leader at any time; the leader's next cycle reads anew, and may decide otherwise. Figures of one service
that cannot be read do not hide those of the others.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.cli import output, overriding
from controller.cli.arguments import ENVIRONMENT, add_policy, moment, now, policy_of
from controller.cli.once import JSON
from controller.loop import signals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.app import Controller
    from controller.cli.parser import Commands
    from controller.configuration import Configuration
    from controller.core.model import Rest
    from controller.loop.reconciler import Explained
    from controller.loop.shadow_status import ShadowStatus
    from controller.policy import WorkerPolicy


def add(commands: Commands) -> None:
    parser = commands.add(
        "explain",
        run,
        "print what each rule would decide now",
        "It observes and decides as `run` would right now, and changes nothing. "
        "Exit 0: done. 1: something could not be read. 2: wrong input.",
        touches="nothing; it reads PostgreSQL, Redis and the platform",
        last=ENVIRONMENT,
    )
    add_policy(parser)
    parser.add_argument("--json", action="store_true", help=JSON)
    told = "what was decided then, from the history: 6h (ago), 03:12, or 2026-11-29 03:12"
    parser.add_argument("--at", type=moment, metavar="TIME", help=told)
    parser.add_argument("--worker", metavar="WORKER", help="with --at: only of this worker")


def run(parsed: argparse.Namespace) -> int:
    if parsed.at is not None:
        return _of_the_past(parsed)
    overriding.refuse_if(parsed.worker is not None, "--worker", "goes only with --at; leave it out")
    from controller.cli.explain_text import as_object, show
    from controller.cli.output import print_json
    from controller.configuration import configure
    from controller.loop.cycle import Outcome

    configuration = configure(policy_of(parsed), os.environ)
    explanations = signals.interruptible(explain(configuration))
    for one in explanations:
        if parsed.json:
            print_json(configuration.mask.value(as_object(one)))
        else:
            show(one, configuration.mask)
    return 1 if any(one.explained.cycle.outcome is Outcome.FAILED for one in explanations) else 0


def _of_the_past(parsed: argparse.Namespace) -> int:
    from controller.cli import explain_at

    configuration = overriding.configured(parsed)
    overriding.refuse_if(parsed.at > now(), "--at", "is in the future; write a time that is over")
    names = [parsed.worker] if parsed.worker is not None else []
    workers = overriding.chosen(configuration.policy, names, every=not names)
    return explain_at.run(configuration, workers, parsed.at, as_json=parsed.json)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would be done right now.

    rests: scheduled and failed jobs by queue, under "" with one queue; None if they could not be read in time.
    platform: its name. worker: its policy. shadow: what
    the shadow policy would decide; None: there is none.
    """

    explained: Explained
    rests: Mapping[str, Rest | None]
    platform: str
    worker: WorkerPolicy | None = None
    shadow: ShadowStatus | None = None


async def explain(configuration: Configuration) -> list[Explanation]:
    """Observes and decides, as a cycle would, and changes nothing anywhere."""
    from controller.app import RunOptions, opened

    async with opened(
        configuration, RunOptions(width=output.width), stream=sys.stderr, events=sys.stderr, form="text"
    ) as controller:
        readings, queues = await controller.runner.read()
        explanations: list[Explanation] = []
        for name, worker in controller.policy.workers.items():
            reconciler = controller.runner.reconciler(name)
            explained = await reconciler.explain(readings[worker.target.key], queues[name])
            platform = reconciler.platform.source.name
            shadow = await controller.shadow.preview(explained.cycle)
            explanations.append(Explanation(explained, await _rests(controller, worker), platform, worker, shadow))
        return explanations


async def _rests(controller: Controller, worker: WorkerPolicy) -> Mapping[str, Rest | None]:
    from controller.core.queues import alone

    return {name: await _rest(controller, only) for name, only in alone(worker).items()}


async def _rest(controller: Controller, worker: WorkerPolicy) -> Rest | None:
    from controller.core.ports import Unavailable
    from controller.core.wanted import count_limit, given_service

    try:
        return await controller.queue.rest(worker.only_queue, count_limit(worker, given_service(worker)))
    except Unavailable:
        return None
