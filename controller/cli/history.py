"""`autoscaler history`: what the controllers did and met with, from Redis."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Collection
from typing import TYPE_CHECKING

from controller.cli import output, overriding
from controller.cli.arguments import ENVIRONMENT, add_policy, moment, now, some
from controller.cli.parser import meant
from controller.core.reasons import Reason
from controller.core.timeline import Happening, matching
from controller.loop.levels import IN_HISTORY

if TYPE_CHECKING:
    from controller.cli.parser import Commands
    from controller.configuration import JournalConfiguration
    from controller.core.ports import Timeline

_AT_ONCE = 500
_LOOK_EACH_S = 1.0
_DAY_S = 24 * 3600.0


def add(commands: Commands) -> None:
    parser = commands.add(
        "history",
        run,
        "print what the controller did: changes, faults, takeovers",
        "The newest last. TIME is 6h (ago), 03:12, or 2026-11-29 03:12, in this machine's time zone unless it names "
        "another. For the reason of one moment: autoscaler explain --at TIME. "
        "Exit 0: done. 1: Redis could not be read. 2: wrong input.",
        touches="nothing; it reads Redis",
        last=ENVIRONMENT,
        listed="print what the controller did and met with; see also cost",
    )
    add_policy(parser)
    parser.add_argument("--worker", metavar="WORKER", help="only of this worker")
    parser.add_argument("--since", type=moment, metavar="TIME", help="from then on, default 24h")
    parser.add_argument("--until", type=moment, metavar="TIME", help="up to then, default now")
    parser.add_argument("--reason", metavar="REASON", help="only changes with this reason, such as Tier")
    parser.add_argument("--event", metavar="EVENT", help="only this event, such as scaled or failing")
    parser.add_argument("--limit", type=some, default=200, metavar="N", help="at most N of the newest, default 200")
    parser.add_argument("--follow", action="store_true", help="go on printing what happens, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="one JSON object per entry")


def run(parsed: argparse.Namespace) -> int:
    configuration = overriding.configured(parsed)
    if parsed.worker is not None:
        overriding.chosen(configuration.policy, [parsed.worker])
    _refuse_unknown("--reason", parsed.reason, set(Reason), "reason")
    _refuse_unknown("--event", parsed.event, IN_HISTORY, "event of the history")
    at = now()
    since = at - _DAY_S if parsed.since is None else parsed.since
    until = at if parsed.until is None else parsed.until
    overriding.refuse_if(since > until, "--since", "is later than --until; swap them")
    overriding.refuse_if(parsed.follow and parsed.until is not None, "--follow and --until", "do not go together")
    printed = output.answered(_print(configuration, parsed, since, until), configuration.mask)
    if not printed and not parsed.json:
        output.note("nothing is recorded for that time\n")
    return 0


def _refuse_unknown(place: str, name: str | None, known: Collection[str], what: str) -> None:
    """A mistyped name would look like a quiet week."""
    if name is not None and name not in known:
        overriding.refuse_if(True, place, f"{name[:80]!r} is no {what}{meant(name, known)}")


async def _print(configuration: JournalConfiguration, parsed: argparse.Namespace, since: float, until: float) -> int:
    from controller.journal import opened_timeline

    async with opened_timeline(configuration) as timeline:
        found = [one async for one in _newest(timeline, parsed, since, until)]
        for one in reversed(found):
            show(one, configuration, as_json=parsed.json)
        newest = max((one.at for one in found), default=until)
        while parsed.follow:
            await asyncio.sleep(_LOOK_EACH_S)
            new = [one async for one in _newest(timeline, parsed, newest + 0.001, float("inf"))]
            for one in reversed(new):
                show(one, configuration, as_json=parsed.json)
            newest = max((one.at for one in new), default=newest)
    return len(found)


async def _newest(
    timeline: Timeline, parsed: argparse.Namespace, since: float, until: float
) -> AsyncIterator[Happening]:
    """The newest first, at most as many as were asked for."""
    left, after = parsed.limit, ""
    while left:
        page = await timeline.happenings(since, until, most=_AT_ONCE, after=after)
        wanted = matching(
            page.happenings, worker=parsed.worker or "", reason=parsed.reason or "", event=parsed.event or ""
        )
        for one in wanted[:left]:
            yield one
        left -= len(wanted[:left])
        if not page.more:
            return
        after = page.more


def show(one: Happening, configuration: JournalConfiguration, *, as_json: bool) -> None:
    shown = configuration.mask.value(one.as_object())
    if as_json:
        output.print_json(shown)
        return
    who = f" {shown['worker']}:" if shown["worker"] else ""
    at = shown["at"][:19].replace("T", " ")
    output.show(f"{at}Z {shown['event']}{who} {shown['message']}", rest="  ")
