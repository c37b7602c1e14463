"""`autoscaler cost`: worker-hours and dollars per worker and day, from the history."""

from __future__ import annotations

import argparse
import csv
import sys
from typing import TYPE_CHECKING, Any

from controller.cli import output, overriding
from controller.cli.arguments import ENVIRONMENT, add_policy, moment, now, positive
from controller.core.spending import Day, days, together
from controller.core.units import in_words, iso, money

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.cli.parser import Commands
    from controller.configuration import JournalConfiguration
    from controller.core.price import Price

_USUAL_S = 30 * 24 * 3600.0
_HOUR_S = 3600.0
_HEADINGS = ["worker", "day", "hours", "cost", "always on", "fixed count", "fixed cost", "seen"]


def add(commands: Commands) -> None:
    parser = commands.add(
        "cost",
        run,
        "print what the workers cost per day, beside always-on",
        "From the samples of the history, so at most as far back as history_retention. Always on: max_replicas all the "
        "time. Fixed: the smallest constant count that was enough for what was desired in 95 % of the time. "
        "Exit 0: done. 1: nothing is recorded, or Redis could not be read. 2: wrong input.",
        touches="nothing; it reads Redis",
        last=ENVIRONMENT,
        listed="",
    )
    add_policy(parser)
    parser.add_argument("--since", type=moment, metavar="TIME", help="from then on, default 30d")
    parser.add_argument("--worker", metavar="WORKER", help="only of this worker")
    told = "of one worker, for the price; default: the policy's worker_size, or 0.5 GB and 0.25 vCPU"
    parser.add_argument("--worker-memory", type=positive, metavar="GB", help=told)
    parser.add_argument("--worker-cpu", type=positive, metavar="VCPU", help="the same")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object per worker and day")
    form.add_argument("--csv", action="store_true", help="comma-separated values, with a heading")


def run(parsed: argparse.Namespace) -> int:
    from controller.cli.workload import price_of

    configuration = overriding.configured(parsed)
    names = [parsed.worker] if parsed.worker is not None else []
    workers = overriding.chosen(configuration.policy, names, every=not names)
    until = now()
    since = until - _USUAL_S if parsed.since is None else parsed.since
    overriding.refuse_if(since > until, "--since", "is in the future; write a time that is over")
    every = output.answered(_days(configuration, workers, since, until), configuration.mask)
    prices = {name: price_of(parsed, configuration.policy.workers[name]) for name in workers}
    objects = [as_object(day, prices[day.worker].per_second) for day in every]
    if parsed.json:
        for one in objects:
            output.print_json(configuration.mask.value(one))
    elif parsed.csv:
        table = csv.DictWriter(sys.stdout, list(as_object(together("", "", ()), 0.0)), lineterminator="\n")
        table.writeheader()
        table.writerows(configuration.mask.value(objects))
    elif every:
        _show(configuration, every, prices)
    if not every:
        output.note(f"nothing is recorded since {iso(since)[:19]}Z; see history_retention\n")
    return 0 if every else 1


async def _days(configuration: JournalConfiguration, workers: list[str], since: float, until: float) -> list[Day]:
    from controller.journal import opened_timeline

    async with opened_timeline(configuration) as timeline:
        found: list[Day] = []
        for worker in workers:
            most = configuration.policy.workers[worker].max_replicas
            found += days(worker, await timeline.samples(worker, since, until), most)
        return found


def as_object(day: Day, each: float) -> dict[str, Any]:
    """Hours are worker-hours, but seen_hours, which are hours of the clock. Dollars at `each` a worker-second."""
    return {
        "worker": day.worker,
        "day": day.day,
        "worker_hours": round(day.worker_s / _HOUR_S, 3),
        "dollars": round(day.worker_s * each, 4),
        "always_on_hours": round(day.always_s / _HOUR_S, 3),
        "always_on_dollars": round(day.always_s * each, 4),
        "fixed_replicas": day.fixed,
        "fixed_dollars": None if day.fixed_s is None else round(day.fixed_s * each, 4),
        "seen_hours": round(day.seen_s / _HOUR_S, 3),
    }


def _show(configuration: JournalConfiguration, every: list[Day], prices: Mapping[str, Price]) -> None:
    rows = [_HEADINGS, *(_row(day, [(day, prices[day.worker])]) for day in every)]
    if len(every) > 1:
        rows.append(_row(together("all", "", every), [(day, prices[day.worker]) for day in every]))
    output.show_table(configuration.mask.value(rows), right=range(2, len(_HEADINGS)))


def _row(day: Day, parts: Sequence[tuple[Day, Price]]) -> list[str]:
    """parts: those that it is the sum of, each at its price."""
    fixed = [None if one.fixed_s is None else one.fixed_s * price.per_second for one, price in parts]
    known = [one for one in fixed if one is not None]
    return [
        day.worker,
        day.day,
        f"{day.worker_s / _HOUR_S:.1f}",
        money(sum(one.worker_s * price.per_second for one, price in parts)),
        money(sum(one.always_s * price.per_second for one, price in parts)),
        "" if day.fixed is None else str(day.fixed),
        money(sum(known)) if len(known) == len(fixed) else "",
        in_words(day.seen_s),
    ]
