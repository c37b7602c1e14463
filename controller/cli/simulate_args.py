"""The commands that try a policy before it is deployed: their arguments, and where the workload comes from."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from controller.cli import simulate as command
from controller.policy.types import seconds_of

_CONTENDERS = """\
POLICY is a policy's file, or one of these, with options after a colon (in
seconds where they are times; each takes max=N, without it --max-workers):

  static:5                always 5 workers
  keda:target=5           KEDA: every 30 s (polling) 0 to 1 while there is
                          anything, back to 0 after cooldown=300 s without;
                          from 1 on its HPA. count=all (waiting and in work)
                          or count=waiting
  hpa:target=3,window=60  Kubernetes' HPA v2 on an AverageValue: every 15 s
                          ceil(metric / target), unchanged within 10 %, up by
                          at most max(4, x2) in 15 s, down to the highest of
                          the window (300 s); min=1
  latency:high=30,low=5   Judoscale's rule: every 10 s, step=1 up while the
                          oldest job has waited longer than high and
                          frequency=10 s have passed; one down after
                          delay=600 s below low; min=1
  tiers                   the policy that we ship: 10, 30, 60, 100 jobs;
                          up=30,down=120 are the cooldowns
  recut:wait=60           the same with tiers cut for a wait: k workers up to
                          k x wait / service jobs (service=20)
  target_wait:60          target_wait: 60s; idle_off=SECONDS, service=SECONDS,
                          measured where they are not given
  economy balanced fast   target_wait 60 s, 20 s, 5 s with idle_off 0 s, 10 s,
                          40 s
  oracle                  knows the future: no wait but what max forces,
                          start-ups paid, short gaps idled through

Ours ask the same decide() as `autoscaler run`, at the policy's interval and
woken by new jobs (wake_on; wake=0 of those here: not). The rate limit is not
simulated. First come, first served: priorities are not simulated either.
Jobs of one instant are seen together.
"""
_WORKLOAD = """\
Jobs come from one of

  --from-database   the last --since of the policy's table in DATABASE_URL
                    (created_at, started_at, completed_at)
  --trace FILE      CSV, gz or not: t,service (seconds), or t alone, or
                    minute,count
  --workload NAME   made up, by --seed: poisson:rate=6/m,service=20s,cv=1
                    diurnal:swing=0.8  bursts:every=1h,size=60
                    cron:every=30m,jobs=60

--since and --span count the jobs' own time: --load stretches the time axis
after that.
"""
_TOUCHES = """\
touches: nothing; with --from-database it reads PostgreSQL. Without --drain,
where RAILWAY_API_TOKEN or RAILWAY_TOKEN, RAILWAY_PROJECT_ID and
RAILWAY_ENVIRONMENT_ID are set, it reads the service once on Railway.
"""
_DIGITS_OF_DAYS = 4
_MOST_DIGITS = 18
_SHOWN = 40
_LARGEST = 1_000_000
"""Workers, dollars, gigabytes: more is a slip of the finger."""
_EXITS = "Exit 0 done, 2 wrong input.\n"
_EXAMPLES = """\
examples:
  autoscaler simulate policy.yaml              # on a week of made-up jobs
  autoscaler simulate policy.yaml balanced keda:target=3 \\
      --from-database --since 7d --html week.html
  autoscaler simulate tiers economy oracle --trace jobs.csv.gz --load 2

"""


def add_commands(commands: Any, make: Callable[..., Any], policy_path: Path) -> None:
    """simulate, plan, tune. `make` makes a command's parser as all others are made."""
    for parser in (
        _simulate(commands, make, policy_path),
        _plan(commands, make),
        _tune(commands, make, policy_path),
    ):
        _add_workload(parser)
        _add_platform(parser)


def _simulate(commands: Any, make: Callable[..., Any], policy_path: Path) -> Any:
    simulate = make(
        commands,
        "simulate",
        command.simulate,
        "replay a workload under policies: what they cost, how long jobs wait",
        f"{_CONTENDERS}\n{_WORKLOAD}\n{_EXAMPLES}{_TOUCHES}{_EXITS}",
    )
    simulate.add_argument("policies", nargs="*", metavar="POLICY", help=f"see below; default: {policy_path} and oracle")
    simulate.add_argument("--json", action="store_true", help="everything as one JSON object")
    simulate.add_argument("--plot", type=Path, metavar="FILE.svg", help="a picture: depth, replicas and waits")
    simulate.add_argument("--html", type=Path, metavar="FILE", help="one self-contained page with figures and pictures")
    return simulate


def _plan(commands: Any, make: Callable[..., Any]) -> Any:
    plan = make(
        commands,
        "plan",
        command.plan,
        "what an edit of the policy changes, in words and on the same jobs",
        f"{_WORKLOAD}\nexample:\n  git show main:policy.yaml > old.yaml\n"
        f"  autoscaler plan old.yaml policy.yaml --from-database --markdown\n\n{_TOUCHES}{_EXITS}",
    )
    plan.add_argument("old", metavar="OLD", type=Path, help="the policy as it is")
    plan.add_argument("new", metavar="NEW", type=Path, help="the policy as it shall be")
    plan.add_argument("--markdown", action="store_true", help="for a comment on a pull request")
    plan.add_argument("--json", action="store_true", help="as one JSON object")
    return plan


def _tune(commands: Any, make: Callable[..., Any], policy_path: Path) -> Any:
    tune = make(
        commands,
        "tune",
        command.tune,
        "search tiers and timings for a goal, and print the policy that meets it",
        "The goal is one of --wait (95 of 100 jobs wait no longer than that beyond what\n"
        "max_replicas forces, as cheaply as possible) and --budget (as little waiting as\n"
        "so many dollars a month buy). It searches on the first two thirds of the\n"
        "workload, and ranks what meets the goal there by the share of weeks in which it\n"
        "does, drawn anew from whole days of those two thirds (hours, where there are few\n"
        "days), by --seed. It says how the best does on the rest, which it has not seen.\n"
        "The policy goes to stdout and is one that `check` accepts. A target_wait comes\n"
        "with the service_time that was assumed wherever it is not known that the table\n"
        "can measure it. More scale actions than Railway's requests allow are a warning.\n\n"
        f"{_WORKLOAD}\nexample:\n"
        "  autoscaler tune --wait 60s --from-database --since 14d > tuned.yaml\n\n"
        f"{_TOUCHES}Exit 0 the goal is met, 1 nothing meets it, or not on the rest, 2 wrong input.\n",
    )
    tune.add_argument("file", nargs="?", type=Path, default=policy_path, metavar="FILE", help="default: %(default)s")
    goal = tune.add_mutually_exclusive_group(required=True)
    goal.add_argument("--wait", type=some_time, metavar="TIME", help="95 %% of the avoidable waits are at most this")
    goal.add_argument("--budget", type=_budget, metavar="MONEY", help="in dollars a month, such as 20$/month")
    tune.add_argument(
        "--form",
        choices=("tiers", "target_wait", "any"),
        default="any",
        help="what to search among, default %(default)s",
    )
    tune.add_argument("--weeks", type=_some, default=8, metavar="N", help="resampled weeks to rank by, default 8")
    return tune


def _add_workload(parser: Any) -> None:
    where = parser.add_argument_group("workload")
    source = where.add_mutually_exclusive_group()
    source.add_argument("--from-database", action="store_true", help="the jobs of the policy's own table")
    source.add_argument("--trace", type=Path, metavar="FILE", help="recorded jobs, as CSV")
    source.add_argument("--workload", metavar="NAME", help="made-up jobs; default: diurnal")
    where.add_argument(
        "--since", type=duration, default=7 * 86_400.0, metavar="TIME", help="of a database: the last TIME, default 7d"
    )
    where.add_argument(
        "--span",
        type=some_time,
        default=None,
        metavar="TIME",
        help="only the first TIME of the jobs, by their own time, before --load stretches it; default 7d of made-up "
        "ones, else all",
    )
    where.add_argument("--seed", type=_whole, default=0, metavar="N", help="of all dice, default 0")
    where.add_argument("--load", type=_positive, metavar="X", help="stretch the time axis to this load, in workers")
    where.add_argument("--thin", action="store_true", help="with --load: leave jobs out, instead of stretching")
    where.add_argument("--service-mean", type=duration, metavar="TIME", help="rescale the service times to this mean")
    where.add_argument("--winsorise", type=_share, metavar="Q", help="cut service times at this quantile, such as 0.99")


def _add_platform(parser: Any) -> None:
    what = parser.add_argument_group("workers")
    what.add_argument(
        "--start-up", type=duration, default=20.0, metavar="TIME", help="until a worker works, default 20s"
    )
    what.add_argument(
        "--drain",
        type=_drain,
        default=None,
        metavar="TIME",
        help="that a worker that is taken away has to end its jobs, or unlimited; default: the service's "
        "drainingSeconds, where Railway can be asked for it (see touches), else 0s, which is Railway's default",
    )
    what.add_argument(
        "--start-failure", type=_share, default=0.0, metavar="P", help="share of starts that fail and are tried again"
    )
    what.add_argument(
        "--concurrency", type=_some, metavar="N", help="jobs at once; default: the policy's jobs_per_worker, or 1"
    )
    what.add_argument(
        "--idle-first", action="store_true", help="idle workers are taken away first, as in the literature"
    )
    what.add_argument("--no-wake", action="store_true", help="new jobs wake nobody; ours only poll")
    what.add_argument(
        "--max-workers", type=_some, metavar="N", help="of built-in policies; default: the first file's, or 5"
    )
    what.add_argument("--worker", metavar="NAME", help="which worker of a policy that has several")
    what.add_argument(
        "--slo", type=duration, default=60.0, metavar="TIME", help="a job that waits longer is late; default 60s"
    )
    what.add_argument(
        "--worker-memory", type=_positive, default=0.5, metavar="GB", help="for the price, default %(default)s"
    )
    what.add_argument(
        "--worker-cpu", type=_positive, default=0.25, metavar="VCPU", help="for the price, default %(default)s"
    )


def duration(text: str) -> float:
    """Of a command line: as in a policy, or in days: `7d`."""
    days = text.removesuffix("d")
    try:
        if not (text.endswith("d") and days.isascii() and days.isdigit()):
            return seconds_of(text)
        if len(days) <= _DIGITS_OF_DAYS:
            return float(days) * 86_400.0
        raise argparse.ArgumentTypeError(f"{text!r} is longer than {10**_DIGITS_OF_DAYS - 1:,} days")
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write 500ms, 30s, 2m, 1h or 7d") from None


def some_time(text: str) -> float:
    """Of a command line: a duration above 0."""
    seconds = duration(text)
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is no time at all")
    return seconds


def _drain(text: str) -> float:
    """Of a command line: a duration, or as long as the jobs take."""
    return math.inf if text == "unlimited" else duration(text)


def _number(text: str) -> float:
    try:
        number = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text[:_SHOWN]!r} is not a number")
    return number


def _positive(text: str) -> float:
    number = _number(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    if number > _LARGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {_LARGEST:,}")
    return number


def _share(text: str) -> float:
    number = _number(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to below 1")
    return number


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        raise argparse.ArgumentTypeError(f"{text[:_SHOWN]!r} is not a whole number of at most {_MOST_DIGITS} digits")
    return int(text)


def _some(text: str) -> int:
    number = _whole(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 1 to 1000")
    return number


def _budget(text: str) -> float:
    return _positive(text.lower().removesuffix("/month").replace("$", ""))
