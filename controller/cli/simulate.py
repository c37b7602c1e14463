"""What the commands that try a policy do: read what was asked for, run it, print it."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from controller.cli.output import answered, print_json
from controller.core.text.escaping import visible, visible_lines
from controller.core.text.masking import Masker, secrets_of_a_crash
from controller.loop import signals
from controller.policy.document import ConfigurationError, Problem
from controller.policy.types import duration_text

if TYPE_CHECKING:  # each command imports what it needs
    from controller.policy.models import WorkerPolicy
    from controller.simulation.comparison import Comparison, Contender, Setting
    from controller.simulation.tune import JobTime
    from controller.simulation.workload.jobs import Workload

_MADE_UP = "diurnal"
_MADE_UP_SPAN_S = 7 * 86_400.0
_MOST_WORKERS = 5
_RAILWAY_WITHIN_S = 5.0


def simulate(parsed: argparse.Namespace) -> int:
    """Exit code 0; wrong input is raised as ConfigurationError."""
    from controller.simulation.comparison import compare  # noqa: PLC0415  # a command imports what it needs
    from controller.simulation.report import as_lines, as_object  # noqa: PLC0415  # as above

    contenders, worker = _contenders(parsed, parsed.policies or [_default_policy(), "oracle"])
    _check_outputs(parsed, contenders)
    workload = _workload(parsed, worker)
    setting = _setting(parsed, worker, _drain(parsed, worker), series=bool(parsed.plot or parsed.html))
    with _progress(workload, "simulating") as progress:
        comparison = compare(workload, contenders, setting, progress)
    _draw(parsed, comparison)
    if parsed.json:
        print_json(_mask(parsed).value(as_object(comparison)), indent=2)
    else:
        print(visible_lines(_mask(parsed).text("\n".join(as_lines(comparison)))))
    return 0


def plan(parsed: argparse.Namespace) -> int:
    """Exit code 0; wrong input is raised as ConfigurationError."""
    from controller.simulation.comparison import compare  # noqa: PLC0415  # a command imports what it needs
    from controller.simulation.contenders import Common, read_both, read_contender  # noqa: PLC0415  # as above
    from controller.simulation.plan import Plan, as_lines, as_markdown, as_object  # noqa: PLC0415  # as above

    before, after = read_both(parsed.old, parsed.new, parsed.worker, os.environ)
    old, new = before[1:], after[1:]
    contenders = [
        read_contender(str(path), Common(parsed.max_workers or _MOST_WORKERS, name, not parsed.no_wake), os.environ)
        for path, name in ((parsed.old, before[0]), (parsed.new, after[0]))
    ]
    workload = _workload(parsed, old[1])
    setting = _setting(parsed, new[1], _drain(parsed, new[1]))
    with _progress(workload, "simulating") as progress:
        comparison = compare(workload, contenders, setting, progress)
    edit = Plan(old, new, comparison)
    if parsed.json:
        print_json(_mask(parsed).value(as_object(edit)), indent=2)
    else:
        print(visible_lines(_mask(parsed).text("\n".join(as_markdown(edit) if parsed.markdown else as_lines(edit)))))
    return 0


def tune(parsed: argparse.Namespace) -> int:
    """Exit code 0 where the goal was met, 1 where nothing met it, or not what was held out; wrong input is raised."""
    from controller.simulation.contenders import Common, read_worker  # noqa: PLC0415  # a command imports what it needs
    from controller.simulation.policy_file import without_secret_defaults  # noqa: PLC0415  # as above
    from controller.simulation.requests import Requests  # noqa: PLC0415  # as above
    from controller.simulation.tune import Goal, as_yaml, search  # noqa: PLC0415  # as above

    policy, worker = read_worker(parsed.file, parsed.worker, os.environ)
    workload = _workload(parsed, worker)
    drain = _drain(parsed, worker)
    requests = Requests(policy.interval)
    if drain.requests_an_hour is not None:
        requests = Requests(policy.interval, drain.requests_an_hour, "of this token")
    with _counted("searching") as progress:
        found = search(
            (policy, worker),
            workload,
            Goal(wait_s=parsed.wait, dollars_a_month=parsed.budget),
            _setting(parsed, worker, drain),
            form=parsed.form,
            weeks=parsed.weeks,
            common=Common(worker.max_replicas, parsed.worker, not parsed.no_wake),
            progress=progress,
            job_time=_job_time(parsed, worker),
            requests=requests,
        )
    written, without = without_secret_defaults(as_yaml(found, parsed.file, parsed.worker))
    print(_mask(parsed).text(written), end="")
    if without:
        words = f"the default of {', '.join(without)} is left out, since it may be a secret: set it, or write it again"
        print(f"autoscaler: warning: {words}", file=sys.stderr)
    if found.warning is not None:
        print(f"autoscaler: warning: {visible(_mask(parsed).text(found.warning))}", file=sys.stderr)
    return 0 if found.holds else 1


def _job_time(parsed: argparse.Namespace, worker: WorkerPolicy) -> JobTime:
    """Whether a target_wait can have the time of a job measured; what cannot be known counts as no."""
    from controller.adapters.postgres.queue import known_of  # noqa: PLC0415  # a command imports what it needs
    from controller.core.ports import Unavailable  # noqa: PLC0415  # as above
    from controller.simulation.tune import JobTime  # noqa: PLC0415  # as above

    if worker.queue.table is None:
        of = f"preset {worker.queue.preset}" if worker.queue.preset is not None else "a query"
        return JobTime(f"the jobs of {of} cannot be measured")
    if not parsed.from_database:
        return JobTime(f"whether {worker.queue.table} can be measured is only known with --from-database")
    try:
        known = signals.interruptible(known_of(os.environ["DATABASE_URL"], {"worker": worker.queue}))["worker"]
    except Unavailable as unavailable:
        return JobTime(f"{worker.queue.table} cannot be measured ({unavailable})")
    if known.service is None:
        return JobTime(f"{worker.queue.table} cannot be measured: {known.why_not or 'no finished job was found there'}")
    return JobTime()


@dataclass(frozen=True, slots=True)
class _Drain:
    """How long a worker that is taken away has to finish its jobs, and whose word that is.

    requests_an_hour: what Railway allows, where it was asked.
    """

    seconds: float
    source: str
    requests_an_hour: int | None = None


def _drain(parsed: argparse.Namespace, worker: WorkerPolicy | None) -> _Drain:
    """As the command line says, else as the service is set on Railway if the environment has what asks it, else 0."""
    from controller.adapters.railway.service_limits import service_limits  # noqa: PLC0415  # it needs httpx
    from controller.config.settings import railway_access  # noqa: PLC0415  # as above
    from controller.core.ports import Unavailable  # noqa: PLC0415  # a command imports what it needs
    from controller.simulation.contenders import WITHOUT_RAILWAY  # noqa: PLC0415  # as above

    default = "Railway's default; --drain says otherwise"
    if parsed.drain is not None:
        return _Drain(parsed.drain, "--drain")
    access = railway_access(os.environ)
    if access is None or worker is None or worker.service in WITHOUT_RAILWAY.values():
        return _Drain(0.0, default)
    try:
        limits = signals.interruptible(service_limits(access, worker.service, within_s=_RAILWAY_WITHIN_S))
    except Unavailable as unavailable:
        return _Drain(0.0, f"{default}. The service's own could not be read: {unavailable}")
    return _Drain(limits.drain_s, "the service's drainingSeconds on Railway", limits.requests_an_hour)


def _check_outputs(parsed: argparse.Namespace, contenders: Sequence[Contender]) -> None:
    """Before anything is simulated; and a page never takes the place of what was named by mistake."""
    if parsed.plot is not None:
        from controller.simulation.plot import check_suffix  # noqa: PLC0415  # a command imports what it needs

        check_suffix(parsed.plot)
        if all(contender.make is None for contender in contenders):
            raise _wrong("--plot", "the oracle is not simulated, and cannot be drawn; name another policy beside it")
    if parsed.html is not None and parsed.html.suffix not in {".html", ".htm"}:
        raise _wrong("--html", f"{parsed.html} must end in .html")
    for option, path in (("--plot", parsed.plot), ("--html", parsed.html)):
        if path is not None:
            _check_writable(option, path)


def _check_writable(option: str, path: Path) -> None:
    try:
        if not path.parent.is_dir():
            raise _wrong(option, f"{path} cannot be written: there is no folder {path.parent}")
        if path.is_dir():
            raise _wrong(option, f"{path} cannot be written: it is a folder")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise _wrong(option, f"{path} cannot be written: no right to; name another place")
    except OSError as error:
        raise _wrong(option, f"{path} cannot be written: {error.strerror}") from None


def _default_policy() -> str:
    return os.environ.get("AUTOSCALER_POLICY") or "policy.yaml"


def _contenders(parsed: argparse.Namespace, names: Sequence[str]) -> tuple[list[Contender], WorkerPolicy | None]:
    """All that are named, or all that is wrong with them; and the worker of the first that is a file."""
    from controller.simulation.contenders import KINDS, Common, is_there, read_contender, read_worker  # noqa: PLC0415  # as above

    worker: WorkerPolicy | None = None
    problems: list[Problem] = []
    contenders: list[Contender] = []
    for name in names:
        if worker is None and name.partition(":")[0] not in KINDS and is_there(Path(name)):
            try:
                worker = read_worker(Path(name), parsed.worker, os.environ)[1]
            except ConfigurationError:
                continue  # it is said below
    maximum = parsed.max_workers or (worker.max_replicas if worker is not None else _MOST_WORKERS)
    common = Common(maximum, parsed.worker, not parsed.no_wake, _hands(parsed, worker))
    for name in names:
        try:
            contenders.append(read_contender(name, common, os.environ))
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    return contenders, worker


def _hands(parsed: argparse.Namespace, worker: WorkerPolicy | None) -> int:
    """Jobs that a worker runs at once, whoever scales it: as the command line says, or the first file."""
    return parsed.concurrency or (worker.jobs_per_worker if worker is not None else None) or 1


def _setting(
    parsed: argparse.Namespace, worker: WorkerPolicy | None, drain: _Drain, *, series: bool = False
) -> Setting:
    from controller.simulation.comparison import Setting  # noqa: PLC0415  # as above
    from controller.simulation.figures import Price  # noqa: PLC0415  # as above
    from controller.simulation.fleet import Platform  # noqa: PLC0415  # as above

    platform = Platform(
        start_up_s=parsed.start_up,
        drain_s=drain.seconds,
        start_failure=parsed.start_failure,
        concurrency=_hands(parsed, worker),
        idle_first=parsed.idle_first,
        seed=parsed.seed,
    )
    price = Price(parsed.worker_memory, parsed.worker_cpu)
    return Setting(platform, price, parsed.slo, series, drain.source)


def _workload(parsed: argparse.Namespace, worker: WorkerPolicy | None) -> Workload:
    """The jobs that were asked for, cut and scaled as was asked for.

    Raises:
        ConfigurationError: they cannot be had.
    """
    from controller.simulation.workload.generators import generate  # noqa: PLC0415  # as above
    from controller.simulation.workload.jobs import first, scaled  # noqa: PLC0415  # as above
    from controller.simulation.workload.traces import read_trace  # noqa: PLC0415  # as above

    _check_scaling(parsed)
    if parsed.from_database:
        workload = _recorded(parsed, worker)
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
    return f"--span {duration_text(parsed.span)}: of the jobs' own time{stretched}"


def _check_scaling(parsed: argparse.Namespace) -> None:
    if parsed.thin and parsed.load is None:
        raise _wrong("--thin", "says how to come to a load; write --load too")


def _recorded(parsed: argparse.Namespace, worker: WorkerPolicy | None) -> Workload:
    from controller.config.settings import load_database  # noqa: PLC0415  # as above
    from controller.simulation.workload.database import read_jobs  # noqa: PLC0415  # as above

    if worker is None:
        raise _wrong("--from-database", "reads the table that a policy names, and no policy's file is among POLICY")
    address = load_database(os.environ, why="--from-database reads the jobs there")
    with _counted("reading jobs") as progress:
        reading = read_jobs(
            address.url, worker.queue, since_s=parsed.since, progress=progress, search_path=address.search_path
        )
        try:
            return answered(reading, _mask(parsed))
        except ConfigurationError as error:  # the database may repeat what a variable of the policy holds
            mask = _mask(parsed)
            raise ConfigurationError([replace(one, text=mask.text(one.text)) for one in error.problems]) from None


def _mask(parsed: argparse.Namespace) -> Masker:
    """Knows the secrets of the environment, and those of the policies that the command was given."""
    named = [*(getattr(parsed, "policies", None) or [_default_policy()])] if "policies" in parsed else []
    named += [str(getattr(parsed, name)) for name in ("old", "new", "file") if name in parsed]
    return _mask_of(tuple(named))


@functools.cache
def _mask_of(names: tuple[str, ...]) -> Masker:
    from controller.config.load import read_policy  # noqa: PLC0415  # a command imports what it needs
    from controller.simulation.contenders import WITHOUT_RAILWAY, is_there  # noqa: PLC0415  # as above

    secrets: dict[str, str] = {}
    for path in map(Path, names):
        with suppress(ConfigurationError):  # it is said where the policy is read
            if is_there(path):
                secrets |= read_policy(path, {**WITHOUT_RAILWAY, **os.environ})[1].named_secrets
    return Masker(secrets_of_a_crash(os.environ), secrets)


def _draw(parsed: argparse.Namespace, comparison: Comparison) -> None:
    if parsed.plot is not None:
        from controller.simulation.plot import save_plot  # noqa: PLC0415  # a command imports what it needs

        save_plot(comparison, parsed.plot)
        _show(f"{parsed.plot} written\n")
    if parsed.html is not None:
        from controller.simulation.html import page  # noqa: PLC0415  # a command imports what it needs

        try:
            parsed.html.write_text(page(comparison), encoding="utf-8")
        except OSError as error:
            raise _wrong("--html", f"{parsed.html} cannot be written: {error.strerror}") from None
        _show(f"{parsed.html} written\n")


def _show(text: str) -> None:
    print(f"\r{text}\x1b[K" if sys.stderr.isatty() else text, end="", file=sys.stderr, flush=True)


@contextmanager
def _progress(workload: Workload, doing: str) -> Iterator[Callable[[float], None] | None]:
    """How far the workload has been gone through, on a terminal; of one whose end nobody knows, the days."""
    span = workload.span_s

    def show(seconds: float) -> None:
        how_far = f"{seconds / 86_400:.1f} d" if not span else _bar(seconds / span)
        _show(f"{doing} {how_far}")

    with _on_a_terminal() as shows:
        yield show if shows else None


@contextmanager
def _counted(doing: str) -> Iterator[Callable[[int, int | None], None]]:
    def show(done: int, of: int | None) -> None:
        how_far = f"{done:,}" if not of else f"{_bar(done / of)} {done:,} of {of:,}"
        _show(f"{doing} {how_far}")

    with _on_a_terminal() as shows:
        yield show if shows else lambda _, __: None


@contextmanager
def _on_a_terminal() -> Iterator[bool]:
    shows = sys.stderr.isatty()
    try:
        yield shows
    finally:
        if shows:
            _show("")


def _bar(share: float) -> str:
    filled = round(30 * min(1.0, share))
    return f"[{'#' * filled}{'.' * (30 - filled)}] {min(1.0, share):4.0%}"


def _wrong(place: str, words: str) -> ConfigurationError:
    return ConfigurationError([Problem(place, words)])
