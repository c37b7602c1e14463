"""What simulate, plan and tune have in common: their arguments, the jobs, the workers, and what is masked."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from controller.cli import arguments
from controller.cli.output import answered, progress
from controller.core.problems import ConfigurationError, Problem
from controller.core.text.masking import Masker, secrets_of_a_crash
from controller.core.units import as_policy
from controller.loop import signals

if TYPE_CHECKING:
    from controller.cli.parser import Parser
    from controller.policy import WorkerPolicy
    from controller.simulation.comparison import Setting
    from controller.simulation.workload.jobs import Workload

DAY_S = 86_400.0
MOST_WORKERS = 5
"""Where neither a policy nor the command line says how many there may be."""
_MADE_UP = "diurnal"
_MADE_UP_SPAN_S = 7 * DAY_S
_RAILWAY_WITHIN_S = 5.0
WORKLOAD = """\
Jobs come from one of

  --from-database   the last --since of the policy's table in DATABASE_URL
                    (created_at, started_at, completed_at)
  --trace FILE      CSV, may be .gz: t,service (seconds), or t alone, or
                    minute,count
  --workload NAME   made up, by --seed: poisson:rate=6/m,service=20s,cv=1
                    diurnal:swing=0.8  bursts:every=1h,size=60
                    cron:every=30m,jobs=60

--since and --span count the jobs' own time: --load stretches the time axis
after that.
"""
TOUCHES = """\
touches: nothing; with --from-database it reads PostgreSQL. Without --drain,
where RAILWAY_API_TOKEN or RAILWAY_TOKEN, RAILWAY_PROJECT_ID and
RAILWAY_ENVIRONMENT_ID are set, it reads the service once on Railway.
"""
EXITS = "Exit 0: done. 2: wrong input."


def add_workload(parser: Parser) -> None:
    where = parser.add_argument_group("workload")
    source = where.add_mutually_exclusive_group()
    source.add_argument("--from-database", action="store_true", help="the jobs of the policy's own table")
    arguments.takes(source.add_argument("--trace", type=Path, metavar="FILE", help="recorded jobs, as CSV"), "file")
    source.add_argument("--workload", metavar="NAME", help="made-up jobs; default: diurnal")
    where.add_argument(
        "--since",
        type=arguments.duration,
        default=7 * DAY_S,
        metavar="TIME",
        help="with --from-database: how far back to read, default 7d",
    )
    where.add_argument(
        "--span",
        type=arguments.some_time,
        default=None,
        metavar="TIME",
        help="only the first TIME of the jobs, by their own time, before --load stretches it; default 7d of made-up "
        "ones, else all",
    )
    where.add_argument("--seed", type=arguments.whole, default=0, metavar="N", help="of all random numbers, default 0")
    where.add_argument(
        "--load", type=arguments.positive, metavar="X", help="stretch the time axis to this load, in workers"
    )
    where.add_argument("--thin", action="store_true", help="with --load: leave jobs out, instead of stretching")
    where.add_argument(
        "--service-mean", type=arguments.duration, metavar="TIME", help="rescale the service times to this mean"
    )
    where.add_argument(
        "--winsorise",
        type=arguments.share,
        metavar="Q",
        help="replace longer service times by this quantile, such as 0.99",
    )


def add_platform(parser: Parser) -> None:
    what = parser.add_argument_group("workers")
    what.add_argument(
        "--start-up",
        type=arguments.duration,
        default=20.0,
        metavar="TIME",
        help="from a scale-up until the worker takes jobs, default 20s",
    )
    what.add_argument(
        "--drain",
        type=arguments.drain,
        default=None,
        metavar="TIME",
        help="time that a removed worker has to finish its jobs, or unlimited; default: the service's drainingSeconds "
        "where Railway can be asked for it (see touches), else 0s, which is Railway's default",
    )
    what.add_argument(
        "--start-failure",
        type=arguments.share,
        default=0.0,
        metavar="P",
        help="share of starts that fail and are tried again",
    )
    what.add_argument(
        "--concurrency",
        type=arguments.some,
        metavar="N",
        help="jobs at once; default: the policy's jobs_per_worker, or 1",
    )
    what.add_argument("--idle-first", action="store_true", help="remove idle workers first; default: at random")
    what.add_argument("--no-wake", action="store_true", help="new jobs start no cycle: our policies only poll")
    what.add_argument(
        "--max-workers", type=arguments.some, metavar="N", help="of built-in policies; default: the first file's, or 5"
    )
    what.add_argument("--worker", metavar="NAME", help="which worker of a policy that has several")
    what.add_argument(
        "--slo",
        type=arguments.duration,
        default=60.0,
        metavar="TIME",
        help="a job that waits longer is late; default 60s",
    )
    what.add_argument(
        "--worker-memory", type=arguments.positive, default=0.5, metavar="GB", help="for the price, default %(default)s"
    )
    what.add_argument(
        "--worker-cpu", type=arguments.positive, default=0.25, metavar="VCPU", help="for the price, default %(default)s"
    )


@dataclass(frozen=True, slots=True)
class Drain:
    """How long a worker that is taken away has to finish its jobs, and whose word that is.

    requests_an_hour: what Railway allows, where it was asked.
    """

    seconds: float
    source: str
    requests_an_hour: int | None = None


def drain(parsed: argparse.Namespace, worker: WorkerPolicy | None) -> Drain:
    """As the command line says, else as the service is set on Railway if the environment has what asks it, else 0."""
    from controller.adapters.railway.service_limits import service_limits  # it needs httpx
    from controller.adapters.railway.settings import railway_if_set
    from controller.core.ports import Unavailable
    from controller.simulation.contenders import WITHOUT_RAILWAY

    default = "Railway's default; --drain says otherwise"
    if parsed.drain is not None:
        return Drain(parsed.drain, "--drain")
    access = railway_if_set(os.environ)
    if access is None or worker is None or worker.service in WITHOUT_RAILWAY.values():
        return Drain(0.0, default)
    try:
        limits = signals.interruptible(service_limits(access, worker.service, within_s=_RAILWAY_WITHIN_S))
    except Unavailable as unavailable:
        return Drain(0.0, f"{default}. The service's own could not be read: {unavailable}")
    return Drain(limits.drain_s, "the service's drainingSeconds on Railway", limits.requests_an_hour)


def concurrency(parsed: argparse.Namespace, worker: WorkerPolicy | None) -> int:
    """Jobs that a worker runs at once, under every policy: as the command line says, or the first file."""
    return parsed.concurrency or (worker.jobs_per_worker if worker is not None else None) or 1


def setting(parsed: argparse.Namespace, worker: WorkerPolicy | None, drain: Drain, *, series: bool = False) -> Setting:
    from controller.simulation.comparison import Setting
    from controller.simulation.figures import Price
    from controller.simulation.fleet import Platform

    platform = Platform(
        start_up_s=parsed.start_up,
        drain_s=drain.seconds,
        start_failure=parsed.start_failure,
        concurrency=concurrency(parsed, worker),
        idle_first=parsed.idle_first,
        seed=parsed.seed,
    )
    price = Price(parsed.worker_memory, parsed.worker_cpu)
    return Setting(platform, price, parsed.slo, series, drain.source)


def read_workload(parsed: argparse.Namespace, worker: WorkerPolicy | None, mask: Masker) -> Workload:
    """The jobs that were asked for, cut and scaled as was asked for.

    Raises:
        ConfigurationError: they cannot be had.
    """
    from controller.simulation.workload.generators import generate
    from controller.simulation.workload.jobs import first, scaled
    from controller.simulation.workload.traces import read_trace

    _check_scaling(parsed)
    if parsed.from_database:
        workload = _recorded(parsed, worker, mask)
    elif parsed.trace is not None:
        workload = read_trace(parsed.trace, service_mean=parsed.service_mean or 20.0, seed=parsed.seed)
    else:
        span = parsed.span or _MADE_UP_SPAN_S
        workload = generate(parsed.workload or _MADE_UP, seed=parsed.seed, span_s=span)
    if parsed.span is not None and (parsed.from_database or parsed.trace is not None):
        workload = first(workload, parsed.span)
    if parsed.span is not None:
        workload = replace(workload, notes=(*workload.notes, _span_note(parsed)))
    if parsed.load is None and parsed.service_mean is None and parsed.winsorise is None:
        return workload
    return scaled(
        workload,
        load=parsed.load,
        service_mean=parsed.service_mean,
        winsorise=parsed.winsorise,
        by="thin" if parsed.thin else "stretch",
        seed=parsed.seed,
    )


def _span_note(parsed: argparse.Namespace) -> str:
    """Whose seconds --span counts: a time axis that is stretched to a load is so afterwards."""
    stretched = "" if parsed.load is None or parsed.thin else ", before --load stretches it"
    return f"--span {as_policy(parsed.span)}: of the jobs' own time{stretched}"


def _check_scaling(parsed: argparse.Namespace) -> None:
    if parsed.thin and parsed.load is None:
        raise wrong("--thin", "says how to come to a load; write --load too")


def _recorded(parsed: argparse.Namespace, worker: WorkerPolicy | None, mask: Masker) -> Workload:
    from controller.configuration import load_database
    from controller.simulation.workload.database import read_jobs

    if worker is None:
        raise wrong("--from-database", "reads the table that a policy names, and no policy's file is among POLICY")
    address = load_database(os.environ, why="--from-database reads the jobs there")
    with progress("reading jobs", " jobs") as shows:
        reading = read_jobs(
            address.url, worker.queue, since_s=parsed.since, progress=shows, search_path=address.search_path
        )
        try:
            return answered(reading, mask)
        except ConfigurationError as error:  # the database may repeat what a variable of the policy holds
            raise ConfigurationError([replace(one, text=mask.text(one.text)) for one in error.problems]) from None


def mask_of(files: Iterable[Path]) -> Masker:
    """Knows the secrets of the environment, and those of the policies that the command was given."""
    from controller.configuration import read_policy
    from controller.simulation.contenders import WITHOUT_RAILWAY, is_there

    secrets: dict[str, str] = {}
    for path in files:
        with suppress(ConfigurationError):  # it is said where the policy is read
            if is_there(path):
                secrets |= read_policy(path, {**WITHOUT_RAILWAY, **os.environ})[1].named_secrets
    return Masker(secrets_of_a_crash(os.environ), secrets)


def wrong(place: str, words: str) -> ConfigurationError:
    return ConfigurationError([Problem(place, words)])
