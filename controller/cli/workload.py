"""What simulate, plan and tune have in common: their arguments, the jobs, the workers, and what is masked."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
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
    from controller.core.price import Price
    from controller.policy import WorkerPolicy
    from controller.simulation.comparison import Contender, Setting
    from controller.simulation.workload.jobs import Workload

DAY_S = 86_400.0
MOST_WORKERS = 5
"""Where neither a policy nor the command line says how many there may be."""
_MADE_UP = "diurnal"
_MADE_UP_SPAN_S = 7 * DAY_S
_RAILWAY_WITHIN_S = 5.0
_DRAIN = {
    "service": (0.0, "Railway's default"),
    "kubernetes": (30.0, "Kubernetes' default"),
    "swarm": (10.0, "Docker Swarm's default"),
}
"""By the key of a target: how long a removed worker has where nothing else is written."""
WORKLOAD = """\
Jobs come from one of these:

  --from-database\tthe last --since of the policy's table in DATABASE_URL (created_at, started_at, completed_at)
  --trace FILE\ta CSV file, may be .gz, with the columns t,service (seconds), or t alone, or minute,count; with a \
policy of several queues also queue
  --workload NAME\tgenerated, by --seed: poisson:rate=6/m,service=20s,cv=1 or diurnal:swing=0.8 or \
bursts:every=1h,size=60 or cron:every=30m,jobs=60

--since and --span are in the jobs' own time; --load stretches the time axis after that.
"""
READS = (
    "with `--from-database` it reads PostgreSQL. Without `--drain`, if the variables of Railway are set "
    "(token, project and environment), it reads the service once on Railway"
)
TOUCHES = f"nothing; {READS}"
EXITS = "Exit 0: done. 2: wrong input."


def add_workload(parser: Parser) -> None:
    group = parser.add_argument_group("workload")
    source = group.add_mutually_exclusive_group()
    source.add_argument("--from-database", action="store_true", help="the jobs of the policy's own table")
    arguments.takes(source.add_argument("--trace", type=Path, metavar="FILE", help="recorded jobs, as CSV"), "file")
    made_up = source.add_argument("--workload", metavar="NAME", help=f"generated jobs; default: {_MADE_UP}")
    arguments.takes(made_up, _shapes)
    told = "with --from-database: how far back to read, default 7d"
    _add(group, "--since", arguments.duration, "TIME", told, default=7 * DAY_S)
    told = (
        "only the first TIME of the jobs, by their own time, before --load stretches it; default: 7d of "
        "generated ones, else all"
    )
    _add(group, "--span", arguments.some_time, "TIME", told)
    _add(group, "--seed", arguments.whole, "N", "start of all random numbers, default %(default)s", default=0)
    _add(group, "--load", arguments.positive, "X", "stretch the time axis to this load, in workers")
    group.add_argument("--thin", action="store_true", help="with --load: leave jobs out, instead of stretching")
    _add(group, "--service-mean", arguments.duration, "TIME", "rescale the service times to this mean")
    told = "replace longer service times by this quantile, such as 0.99"
    _add(group, "--winsorise", arguments.share, "Q", told)


def add_queue_shares(parser: Parser) -> None:
    told = "with queues: how many of the jobs are in which, such as urgent=3,bulk=1; default: as many in each"
    parser.add_argument("--queue-shares", metavar="NAME=N,…", help=told)


def add_platform(parser: Parser) -> None:
    group = parser.add_argument_group("workers")
    told = "from a scale-up until the worker takes jobs, default 20s"
    _add(group, "--start-up", arguments.duration, "TIME", told, default=20.0)
    told = (
        "time that a removed worker has to finish its jobs, or unlimited; default: the service's drainingSeconds "
        "if Railway can be asked for it (see touches), else its platform's default: 0s on Railway, 30s in Kubernetes"
    )
    _add(group, "--drain", arguments.drain, "TIME", told)
    told = "share of starts that fail and are tried again"
    _add(group, "--start-failure", arguments.share, "P", told, default=0.0)
    told = "jobs that one worker runs at once; default: the policy's jobs_per_worker, or 1"
    _add(group, "--concurrency", arguments.some, "N", told)
    group.add_argument("--idle-first", action="store_true", help="remove idle workers first; default: at random")
    group.add_argument("--no-wake", action="store_true", help="new jobs start no cycle: our policies only poll")
    _add(
        group,
        "--max-workers",
        arguments.some,
        "N",
        "for built-in policies; default: the first file's, or 5",
    )
    group.add_argument("--worker", metavar="NAME", help="the worker to use, if a policy has several")
    told = "a job that waits longer is late; default 60s"
    _add(group, "--slo", arguments.duration, "TIME", told, default=60.0)
    told = "of one worker, for the price; default: the policy's worker_size, or 0.5 GB and 0.25 vCPU"
    _add(group, "--worker-memory", arguments.positive, "GB", told)
    _add(group, "--worker-cpu", arguments.positive, "VCPU", "the same")


def _add(
    group: argparse._ArgumentGroup,
    name: str,
    read: Callable[[str], float],
    metavar: str,
    told: str,
    *,
    default: float | None = None,
) -> None:
    """An option with one value; read: its type, for argparse."""
    group.add_argument(name, type=read, metavar=metavar, help=told, default=default)


def _shapes() -> Iterable[str]:
    from controller.simulation.workload.generators import NAMES

    return NAMES


@dataclass(frozen=True, slots=True)
class Drain:
    """The time that a removed worker has to finish its jobs, and the source of that number.

    requests_an_hour: what Railway allows, where it was asked.
    """

    seconds: float
    source: str
    requests_an_hour: int | None = None


def drain(parsed: argparse.Namespace, worker: WorkerPolicy | None) -> Drain:
    """From the command line; else from the service on Railway, if the environment has what that needs.

    Else what its platform gives by default.
    """
    from controller.adapters.railway.service_limits import service_limits  # it needs httpx
    from controller.adapters.railway.settings import railway_if_set
    from controller.core.ports import Unavailable
    from controller.simulation.contenders import WITHOUT_RAILWAY

    usual_s, usual = _DRAIN.get(worker.target.platform if worker is not None else "service", (0.0, "assumed"))
    default = f"{usual}; --drain says otherwise"
    if parsed.drain is not None:
        return Drain(parsed.drain, "--drain")
    # A simulation must not fail because a service cannot be read, but the draining time changes its result the most:
    # where jobs are killed midway, work is lost. So it is asked for where that is possible, and the output says what
    # was used.
    access = railway_if_set(os.environ)
    if access is None or worker is None or worker.service is None or worker.service in WITHOUT_RAILWAY.values():
        return Drain(usual_s, default)
    try:
        limits = signals.interruptible(service_limits(access, worker.service, within_s=_RAILWAY_WITHIN_S))
    except Unavailable as unavailable:
        return Drain(0.0, f"{default}. The service's own could not be read: {unavailable}")
    return Drain(limits.drain_s, "the service's drainingSeconds on Railway", limits.requests_an_hour)


def concurrency(parsed: argparse.Namespace, worker: WorkerPolicy | None) -> int:
    """Jobs that a worker runs at once, under every policy: from the command line, else from the first file."""
    return parsed.concurrency or (worker.jobs_per_worker if worker is not None else None) or 1


def price_of(parsed: argparse.Namespace, worker: WorkerPolicy | None) -> Price:
    """Of one worker: from the command line, else the policy's worker_size, else the usual one."""
    from controller.core.price import Price

    if parsed.worker_memory is None and parsed.worker_cpu is None and worker is not None and worker.worker_size:
        return worker.worker_size.price
    usual = Price()
    memory = usual.memory_gb if parsed.worker_memory is None else parsed.worker_memory
    return Price(memory, usual.cpu if parsed.worker_cpu is None else parsed.worker_cpu)


def setting(parsed: argparse.Namespace, worker: WorkerPolicy | None, drain: Drain, *, series: bool = False) -> Setting:
    from controller.simulation.comparison import Setting
    from controller.simulation.fleet import Platform

    platform = Platform(
        start_up_s=parsed.start_up,
        drain_s=drain.seconds,
        start_failure=parsed.start_failure,
        concurrency=concurrency(parsed, worker),
        idle_first=parsed.idle_first,
        seed=parsed.seed,
    )
    price = price_of(parsed, worker)
    return Setting(platform, price, parsed.slo, series, drain.source)


def read_workload(
    parsed: argparse.Namespace, worker: WorkerPolicy | None, mask: Masker, queues: Sequence[str]
) -> Workload:
    """The jobs that were asked for, cut and scaled as was asked for.

    queues: names of the queues that a trace may name, see queues_of().

    Raises:
        ConfigurationError: they cannot be had.
    """
    from controller.simulation.workload.generators import generate
    from controller.simulation.workload.jobs import first, scaled
    from controller.simulation.workload.traces import read_trace

    # First cut, then scaled: --span is about the jobs' own time, whatever --load makes of it.
    _check_scaling(parsed)
    if parsed.from_database:
        workload = _recorded(parsed, worker, mask)
    elif parsed.trace is not None:
        service_mean = parsed.service_mean or 20.0
        workload = read_trace(parsed.trace, service_mean=service_mean, seed=parsed.seed, queues=queues)
    else:
        span = parsed.span or _MADE_UP_SPAN_S
        workload = generate(parsed.workload or _MADE_UP, seed=parsed.seed, span_s=span)
    if workload.queues and parsed.queue_shares:
        raise wrong("--queue-shares", "has no effect, because the jobs name their queues; leave it out")
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


def queues_of(contenders: Iterable[Contender]) -> tuple[str, ...]:
    """The names of the queues of the first policy that has several."""
    return next((tuple(one.queues) for one in contenders if one.queues), ())


def _span_note(parsed: argparse.Namespace) -> str:
    """--span counts the jobs' own time; --load stretches the time axis afterwards."""
    stretched = "" if parsed.load is None or parsed.thin else ", before --load stretches it"
    return f"--span {as_policy(parsed.span)}: of the jobs' own time{stretched}"


def _check_scaling(parsed: argparse.Namespace) -> None:
    if parsed.thin and parsed.load is None:
        raise wrong("--thin", "has no effect without --load; write --load too")


def _recorded(parsed: argparse.Namespace, worker: WorkerPolicy | None, mask: Masker) -> Workload:
    from controller.configuration import load_database
    from controller.simulation.workload.database import read_jobs
    from controller.simulation.workload.several import together

    if worker is None:
        raise wrong("--from-database", "reads the table that a policy names, and no policy's file is among POLICY")
    address = load_database(os.environ, why="--from-database reads the jobs there")
    found: dict[str, Workload] = {}
    for name, queue in worker.each_queue.items():
        with progress("reading jobs", " jobs") as shows:
            reading = read_jobs(
                address.url, queue, since_s=parsed.since, progress=shows, search_path=address.search_path
            )
            try:
                found[name] = answered(reading, mask)
            except ConfigurationError as error:  # the database may repeat what a variable of the policy holds
                of = f"queues.{name}, " if name else ""
                problems = [replace(one, place=f"{of}{one.place}", text=mask.text(one.text)) for one in error.problems]
                raise ConfigurationError(problems) from None
    return together(found)


def with_notes(workload: Workload, contenders: Sequence[Contender]) -> Workload:
    """What a simulation of these policies leaves out is shown beside what is to be known of the jobs."""
    from controller.simulation.contenders import queues_note

    said = [note for one in contenders for note in (queues_note(one, workload), one.note) if note]
    return replace(workload, notes=(*workload.notes, *dict.fromkeys(said)))


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
