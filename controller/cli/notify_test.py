"""`autoscaler notify-test`: sends a test message to each target of `notify:`, and prints what came back.

It needs the policy and its variables only: no Redis, no database, no platform.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from typing import TYPE_CHECKING

from controller.cli import output
from controller.cli.arguments import ENVIRONMENT, add_policy, policy_of
from controller.core.problems import ConfigurationError, Problem
from controller.loop import signals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.cli.parser import Commands
    from controller.core.text.masking import Masker
    from controller.policy import Target


def add(commands: Commands) -> None:
    parser = commands.add(
        "notify-test",
        run,
        "send a test message to each target of `notify`",
        "Each is tried once, for at most 10 s. Exit 0: all took it. 1: one did not. 2: wrong input.",
        touches="the targets of `notify` in the policy, which get a message",
        last=f"See docs/notifications.md. {ENVIRONMENT}",
    )
    add_policy(parser)
    parser.add_argument("--target", metavar="NAME", help="only this one: slack-1, webhook-2")


def run(parsed: argparse.Namespace) -> int:
    from controller.configuration import masker, read_policy
    from controller.policy import target_names

    policy, document = read_policy(policy_of(parsed), os.environ)
    mask = masker(os.environ, document)
    if not policy.notify:
        raise ConfigurationError([Problem("notify", "is not in the policy; see docs/notifications.md")])
    every = dict(zip(target_names(policy.notify), policy.notify, strict=True))
    if parsed.target is not None and parsed.target not in every:
        problem = f"{parsed.target!r} is no target of the policy; there is {', '.join(every)}"
        raise ConfigurationError([Problem("--target", problem)])
    chosen = every if parsed.target is None else {parsed.target: every[parsed.target]}
    return 0 if all(signals.interruptible(_all_sent(chosen, mask))) else 1


async def _all_sent(targets: Mapping[str, Target], mask: Masker) -> list[bool]:
    return await asyncio.gather(*(_sent(name, target, mask) for name, target in targets.items()))


async def _sent(name: str, target: Target, mask: Masker) -> bool:
    from controller.adapters.clock import SystemClock
    from controller.adapters.notify import opening
    from controller.core.notices import Notice
    from controller.core.ports import NotDeliveredError
    from controller.core.units import in_words

    clock = SystemClock()
    at, began = clock.wall(), clock.monotonic()
    words = f"a test of the worker autoscaler; this target ({name}) is told of {', '.join(target.on)}"
    port = opening(os.environ.get("AUTOSCALER_GROUP", ""))(target)
    try:
        answer = await port.send(Notice(f"test-{round(at * 1000)}", "test", words, at), at)
    except NotDeliveredError as error:
        output.show(mask.text(f"{name}: not sent: it {error.text}"), rest="  ", style="error", painted="not sent")
        return False
    finally:
        await port.close()
    took = in_words(clock.monotonic() - began)
    output.show(mask.text(f"{name}: sent: {answer}, after {took}"), rest="  ", style="ok", painted="sent")
    return True
