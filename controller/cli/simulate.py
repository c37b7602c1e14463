"""`autoscaler simulate`: replays jobs under policies, and prints what they cost and how long jobs wait.

All policies get the same jobs and the same platform. Everything that can be wrong is checked before the simulation
begins, which may take minutes: names, options, and whether the files of --plot and --html can be written.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from controller.cli.arguments import add_policy, default_policy, for_help, names_a_file, same_file, takes
from controller.cli.output import note, print_json, progress, show_blocks
from controller.cli.workload import (
    DAY_S,
    EXITS,
    MOST_WORKERS,
    READS,
    WORKLOAD,
    add_platform,
    add_queue_shares,
    add_workload,
    concurrency,
    drain,
    mask_of,
    queues_of,
    read_workload,
    setting,
    with_notes,
    wrong,
)
from controller.core.problems import ConfigurationError, Problem

if TYPE_CHECKING:
    from controller.cli.parser import Commands
    from controller.policy import WorkerPolicy
    from controller.simulation.comparison import Comparison, Contender

_CONTENDERS = """\
POLICY is a policy's file, or one of these names, with options after a colon. Times are in seconds. Each takes max=N;
the default is --max-workers.

  static:5\talways 5 workers
  keda:target=5\tKEDA: every 30 s (polling) from 0 to 1 worker if there is any job, and back to 0 after cooldown=300 s \
without one; from 1 on its HPA decides. count=all counts waiting jobs and those in progress, count=waiting only those \
that wait
  hpa:target=3,window=60\tKubernetes' HPA v2 with an AverageValue: every 15 s ceil(metric / target), no change within \
10 %, up by at most max(4, x2) in 15 s, down to the highest recommendation of the window (300 s); min=1
  latency:high=30,low=5\tJudoscale's rule: every 10 s, up by step=1 if the oldest job has waited longer than high and \
the last change is frequency=10 s ago; down by one after delay=600 s below low; min=1
  tiers\tthe tiers of the shipped policy: 10, 30, 60, 100 jobs; up=30,down=120 are the cooldowns
  recut:wait=60\ttiers made for a wait: k workers up to k x wait / service jobs; service=20
  target_wait:60\ttarget_wait: 60s; service=SECONDS is measured and idle_off=SECONDS learned if they are not given
  slo:60\tslo: {wait: 60s, share: 99%}; share=95% promises less
  economy\ttarget_wait 60 s
  balanced\ttarget_wait 20 s
  fast\ttarget_wait 5 s
  per_worker:5\tone worker per 5 jobs; activation=1 job for the first, tolerance=0%; up=30,down=120 are the cooldowns, \
window=0 the stabilization window
  oracle\tknows all jobs in advance: a job waits only if max makes it wait; pays start-ups, and keeps workers through \
short gaps

Our own policies use the same decide() as `autoscaler run`, at the policy's interval, and new jobs wake them (wake_on;
wake=0 turns that off); max_wait=SECONDS adds one worker at a time while the oldest job has waited longer. Not
simulated: the rate limit, and priorities (the first job in is the first job out). Jobs that arrive at the same moment
are seen together. If a worker has several queues, each job is in the one that the trace or the database names, or else
in one that is drawn at random, in equal shares or by --queue-shares; the policy decides by the depth of each, and
workers take the oldest job of all queues.
"""
_EXAMPLES = """\
examples:
  autoscaler simulate policy.yaml              # on a week of generated jobs
  autoscaler simulate policy.yaml balanced keda:target=3 \\
      --from-database --since 7d --html week.html
  autoscaler simulate tiers economy oracle --trace jobs.csv.gz --load 2

"""


def add(commands: Commands) -> None:
    parser = commands.add(
        "simulate",
        run,
        "replay jobs under policies: what they cost, how jobs wait",
        f"{_CONTENDERS}\n{WORKLOAD}\n{_EXAMPLES}{EXITS}",
        touches=f"nothing but the files that `--plot` and `--html` name; {READS}",
    )
    told = f"see below; default: {for_help(default_policy())} and oracle"
    takes(parser.add_argument("policies", nargs="*", metavar="POLICY", help=told), "file", _kinds)
    add_policy(parser, positional=False)
    add_queue_shares(parser)
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")
    told = "a picture: depth, replicas and waits"
    takes(parser.add_argument("--plot", type=Path, metavar="FILE.svg", help=told), "file")
    told = "one self-contained page with figures and pictures"
    takes(parser.add_argument("--html", type=Path, metavar="FILE", help=told), "file")
    add_workload(parser)
    add_platform(parser)


def _kinds() -> Iterable[str]:
    from controller.simulation.contenders import KINDS

    return KINDS


def run(parsed: argparse.Namespace) -> int:
    """Exit code 0; wrong input is raised as ConfigurationError."""
    from controller.simulation.comparison import compare
    from controller.simulation.report import as_blocks, as_object

    names = _names(parsed)
    mask = mask_of(map(Path, names))
    contenders, worker = _contenders(parsed, names)
    _check_outputs(parsed, contenders)
    workload = with_notes(read_workload(parsed, worker, mask, queues_of(contenders)), contenders)
    platform = setting(parsed, worker, drain(parsed, worker), series=bool(parsed.plot or parsed.html))
    with progress("simulating", " days") as shows:
        span = workload.span_s / DAY_S if workload.span_s else None
        comparison = compare(workload, contenders, platform, lambda seconds: shows(seconds / DAY_S, span))
    _draw(parsed, comparison)
    if parsed.json:
        print_json(mask.value(as_object(comparison)), indent=2)
    else:
        show_blocks(as_blocks(comparison), mask)
    return 0


def _names(parsed: argparse.Namespace) -> list[str]:
    """The policies that are compared: --policy first, which may be among them, but not beside another file."""
    if parsed.policy is None:
        return parsed.policies or [str(default_policy()), "oracle"]
    if not parsed.policies:
        return [str(parsed.policy), "oracle"]
    files = [name for name in parsed.policies if names_a_file(name)]
    if any(same_file(Path(name), parsed.policy) for name in files):
        return list(parsed.policies)
    if files:
        problem = f"name two files, {files[0]} and {parsed.policy}; name both as POLICY, or leave one of them out"
        raise ConfigurationError([Problem("POLICY and --policy", problem)])
    return [str(parsed.policy), *parsed.policies]


def _check_outputs(parsed: argparse.Namespace, contenders: Sequence[Contender]) -> None:
    """Before the simulation starts; and so that no page overwrites a file that was named by mistake."""
    if parsed.plot is not None:
        from controller.simulation.plot import check_suffix

        check_suffix(parsed.plot)
        if all(contender.make is None for contender in contenders):
            raise wrong("--plot", "the oracle is not simulated, and cannot be drawn; name another policy beside it")
    if parsed.html is not None and parsed.html.suffix not in {".html", ".htm"}:
        raise wrong("--html", f"{parsed.html} must end in .html")
    for option, path in (("--plot", parsed.plot), ("--html", parsed.html)):
        if path is not None:
            _check_writable(option, path)


def _check_writable(option: str, path: Path) -> None:
    try:
        if not path.parent.is_dir():
            raise wrong(option, f"{path} cannot be written: there is no folder {path.parent}")
        if path.is_dir():
            raise wrong(option, f"{path} cannot be written: it is a folder")
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise wrong(option, f"{path} cannot be written: no right to; name another place")
    except OSError as error:
        raise wrong(option, f"{path} cannot be written: {error.strerror}") from None


def _contenders(parsed: argparse.Namespace, names: Sequence[str]) -> tuple[list[Contender], WorkerPolicy | None]:
    """All named policies, or all their problems; and the worker of the first file."""
    from controller.simulation.contenders import KINDS, Common, is_there, read_contender, read_worker

    worker: WorkerPolicy | None = None
    problems: list[Problem] = []
    contenders: list[Contender] = []
    for name in names:
        if worker is None and name.partition(":")[0] not in KINDS and is_there(Path(name)):
            try:
                worker = read_worker(Path(name), parsed.worker, os.environ)[1]
            except ConfigurationError:
                continue  # it is said below
    maximum = parsed.max_workers or (worker.max_replicas if worker is not None else MOST_WORKERS)
    shares = parsed.queue_shares or ""
    common = Common(maximum, parsed.worker, not parsed.no_wake, concurrency(parsed, worker), shares)
    for name in names:
        try:
            contenders.append(read_contender(name, common, os.environ))
        except ConfigurationError as error:
            problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    return contenders, worker


def _draw(parsed: argparse.Namespace, comparison: Comparison) -> None:
    if parsed.plot is not None:
        from controller.simulation.plot import save_plot

        save_plot(comparison, parsed.plot)
        note(f"{parsed.plot} written\n")
    if parsed.html is not None:
        from controller.simulation.html import page

        try:
            parsed.html.write_text(page(comparison), encoding="utf-8")
        except OSError as error:
            raise wrong("--html", f"{parsed.html} cannot be written: {error.strerror}") from None
        note(f"{parsed.html} written\n")
