"""`autoscaler tune`: searches a policy for a wait or a budget, and prints it.

The policy alone goes to stdout, with its figures as comments, and progress and warnings go to stderr: `tune … >
tuned.yaml` leaves a file that `check` accepts. It keeps the user's file but for the keys that were searched. How the
search works, and why it holds a third of the jobs back, is in simulation/tune.py.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from controller.cli import arguments
from controller.cli.arguments import add_policy, policy_of
from controller.cli.output import complain, progress
from controller.cli.workload import (
    TOUCHES,
    WORKLOAD,
    add_platform,
    add_queue_shares,
    add_workload,
    drain,
    mask_of,
    queues_of,
    read_workload,
    setting,
    with_notes,
    wrong,
)
from controller.loop import signals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.cli.parser import Commands
    from controller.policy import Queue, WorkerPolicy
    from controller.simulation.candidates import JobTime

_GOAL = """\
The goal is --wait or --budget. --wait TIME: 95 % of the jobs wait at most TIME longer than max_replicas makes them
wait, at the lowest cost. --budget MONEY: the shortest waits for at most this many dollars a month.

Searched are tiers and per_worker with the cooldowns, target_wait with idle_off (also left out, so that the controller
learns it), and slo with the wait of the goal (with --form slo, or where --from-database shows that the table can be
measured). For the two best, a max_wait is tried; with tiers and per_worker a stabilization_window; with per_worker a
tolerance and an activation. min_replicas, max_replicas, the steps and the schedules stay as they are. If the worker has
several queues, their own target_wait stays in proportion to the worker's, and with tiers and per_worker their weight
stays.

The search uses the first two thirds of the jobs. The policies that meet the goal there are tried again in simulated
weeks, which are put together at random (--seed) from whole days of these jobs (from hours if there are few days). The
best policy is the one that meets the goal in the most weeks. It is then measured on the last third of the jobs, which
the search did not use.

The policy goes to stdout, and `autoscaler check` accepts it. A target_wait comes with the service_time that was
assumed, unless it is known that the table can measure it. More scale actions than Railway's requests allow are a
warning.

"""
_EXAMPLE = """\
example:
  autoscaler tune --wait 60s --from-database --since 14d > tuned.yaml

"""


def add(commands: Commands) -> None:
    parser = commands.add(
        "tune",
        run,
        "search the policy that meets a wait or a budget",
        f"{_GOAL}{WORKLOAD}\n{_EXAMPLE}"
        "Exit 0: the goal is met. 1: no policy meets it, or the best one misses it on the last third. 2: wrong input.",
        touches=TOUCHES,
    )
    add_policy(parser)
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument(
        "--wait",
        type=arguments.some_time,
        metavar="TIME",
        help="95 %% of the jobs wait at most this much longer than max_replicas makes them wait",
    )
    goal.add_argument("--budget", type=arguments.budget, metavar="MONEY", help="in dollars a month, such as 20$/month")
    parser.add_argument(
        "--form",
        choices=("tiers", "per_worker", "slo", "target_wait", "any"),
        default="any",
        help="the form of the policies to try, default %(default)s",
    )
    parser.add_argument(
        "--weeks",
        type=arguments.some,
        default=8,
        metavar="N",
        help="simulated weeks to rank the policies by, default 8",
    )
    add_queue_shares(parser)
    add_workload(parser)
    add_platform(parser)


def run(parsed: argparse.Namespace) -> int:
    """Exit code 0 if the goal is met, 1 if no policy meets it or the best misses it on the held-out jobs."""
    from controller.simulation.candidates import promise_problem
    from controller.simulation.contenders import Common, read_contender, read_worker
    from controller.simulation.policy_file import without_secret_defaults
    from controller.simulation.requests import Requests
    from controller.simulation.tune import Goal, Search, as_yaml, search

    file = policy_of(parsed)
    mask = mask_of([file])
    policy, worker = read_worker(file, parsed.worker, os.environ)
    if parsed.form == "slo" and (problem := promise_problem(worker, parsed.wait)) is not None:
        raise wrong("--form", f"slo {problem}; take another form, or leave it out")
    wakes, shares = not parsed.no_wake, parsed.queue_shares or ""
    common = Common(worker.max_replicas, parsed.worker, wakes=wakes, queue_shares=shares)
    old = read_contender(str(file), common, os.environ)
    workload = with_notes(read_workload(parsed, worker, mask, queues_of([old])), [old])
    draining = drain(parsed, worker)
    requests = Requests(policy.interval)
    if draining.requests_an_hour is not None:
        requests = Requests(policy.interval, draining.requests_an_hour, "of this token")
    with progress("searching") as shows:
        asked = Search(
            Goal(wait_s=parsed.wait, dollars_a_month=parsed.budget),
            setting(parsed, worker, draining),
            form=parsed.form,
            weeks=parsed.weeks,
            common=common,
            job_time=_job_time(parsed, worker),
            requests=requests,
            queues=old.queues,
        )
        found = search((policy, worker), workload, asked, shows)
    written, without = without_secret_defaults(as_yaml(found, file, parsed.worker))
    print(mask.text(written), end="")
    if without:
        words = f"the default of {', '.join(without)} is left out, since it may be a secret: set it, or write it again"
        complain(words, kind="warning")
    if found.warning is not None:
        complain(mask.text(found.warning), kind="warning")
    return 0 if found.holds else 1


def _job_time(parsed: argparse.Namespace, worker: WorkerPolicy) -> JobTime:
    """Whether a target_wait can have the time of a job measured; what cannot be known counts as no."""
    from controller.simulation.candidates import JobTime

    named = worker.named_queues
    asked = {name: one for name, one in worker.each_queue.items() if name not in named or not named[name].service_time}
    without = next((one for one in asked.values() if one.table is None), None)
    if without is not None:
        of = f"preset {without.preset}" if without.preset is not None else "a query"
        return JobTime(f"the jobs of {of} cannot be measured")
    tables = " and ".join(str(one.table) for one in asked.values())
    if not asked:
        return JobTime()
    if not parsed.from_database:
        return JobTime(f"whether {tables} can be measured is only known with --from-database")
    return _measured(tables, asked)


def _measured(tables: str, asked: Mapping[str, Queue]) -> JobTime:
    """What the tables of these queues show."""
    from controller.adapters.postgres.queue import known_of
    from controller.core.ports import Unavailable
    from controller.simulation.candidates import JobTime

    try:
        known = signals.interruptible(known_of(os.environ["DATABASE_URL"], asked))
    except Unavailable as unavailable:
        return JobTime(f"{tables} cannot be measured ({unavailable})")
    for name, one in known.items():
        if one.service is None:
            why = one.why_not or "no finished job was found there"
            return JobTime(f"{asked[name].table} cannot be measured: {why}")
    return JobTime(has_waits=not any(one.no_waits for one in known.values()))
