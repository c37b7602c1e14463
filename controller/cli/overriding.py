"""What `pause`, `hold`, `at-least`, `resume` and `overrides` have in common: arguments, the write, what is printed.

They need Redis, and no HTTP: who may write to the journal may override, and HTTP stays read-only.
"""

from __future__ import annotations

import argparse
import getpass
import os
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from controller.cli import output
from controller.cli.arguments import ENVIRONMENT, add_policy, for_help, policy_of, replicas, some_time
from controller.cli.parser import meant
from controller.core.override import LONGEST_AUTHOR, LONGEST_S, LONGEST_WHY, Kind, Override, Overrides
from controller.core.problems import ConfigurationError, Problem
from controller.core.units import in_words

if TYPE_CHECKING:
    from controller.cli.parser import Commands
    from controller.configuration import JournalConfiguration
    from controller.core.ports import LeaderState
    from controller.policy import Policy, WorkerPolicy

_MOST_REPLICAS = 10_000
"""Of a mistyped number, max_replicas tells; with --force nothing else would."""
Made = Callable[[str, "WorkerPolicy", float], Override]
"""The override for a worker of the policy, at the journal's time."""
Amended = Callable[[str, Overrides, float], Overrides]


# --- arguments ---


def add_command(
    commands: Commands,
    name: str,
    run: Callable[[argparse.Namespace], int],
    summary: str,
    told: str,
    *,
    listed: str = "",
) -> argparse.ArgumentParser:
    parser = commands.add(
        name,
        run,
        summary,
        f"{told} Exit 0: written. 1: Redis could not be reached. 2: wrong input, and nothing was written.",
        touches="the worker's record in Redis",
        listed=listed,
        last=f"`autoscaler overrides` lists what is in force; see docs/overrides.md. {ENVIRONMENT}",
    )
    add_policy(parser, positional=False)
    return parser


def add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workers", nargs="*", metavar="WORKER", help="a worker of the policy, or several")
    parser.add_argument("--all", action="store_true", help="all workers of the policy")


def add_terms(parser: argparse.ArgumentParser) -> None:
    """--for, --why and --by."""
    longest = in_words(LONGEST_S)
    told = f"how long: 30m, 2h, 3d; at most {longest}"
    parser.add_argument("--for", dest="for_s", type=_for, required=True, metavar="TIME", help=told)
    parser.add_argument(
        "--why", type=_why, default="", metavar="TEXT", help="the reason; it stands in the log and in /status"
    )
    add_author(parser)


def add_author(parser: argparse.ArgumentParser) -> None:
    told = f"who asks for it, default {for_help(_author())}"
    parser.add_argument("--by", type=_name, default=_author(), metavar="NAME", help=told)


def add_count(parser: argparse.ArgumentParser, told: str) -> None:
    """One worker and a count, as `hold` and `at-least` take them."""
    parser.add_argument("worker", metavar="WORKER", help="a worker of the policy")
    parser.add_argument("replicas", type=_count, metavar="N", help=told)


def add_force(parser: argparse.ArgumentParser, told: str) -> None:
    parser.add_argument("--force", action="store_true", help=told)


def _count(text: str) -> int:
    return replicas(text, most=_MOST_REPLICAS)


def _author() -> str:
    try:
        return _name(getpass.getuser())
    except (OSError, KeyError, ImportError, argparse.ArgumentTypeError):
        return "unknown"


def _for(text: str) -> float:
    seconds = some_time(text)
    if seconds > LONGEST_S:
        raise argparse.ArgumentTypeError(
            f"{text!r} is longer than {in_words(LONGEST_S)}; what is to stay, write into the policy"
        )
    return seconds


def _why(text: str) -> str:
    return _line(text, LONGEST_WHY)


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; write your name")
    return _line(text, LONGEST_AUTHOR)


def _line(text: str, longest: int) -> str:
    text = text.strip()
    if len(text) > longest:
        raise argparse.ArgumentTypeError(f"has {len(text)} characters; write at most {longest}")
    if not text.isprintable():
        raise argparse.ArgumentTypeError("has line breaks or characters that cannot be printed; write one line")
    return text


# --- what is asked for ---


def new(parsed: argparse.Namespace, kind: Kind, now: float, **more: object) -> Override:
    """An override with the terms of the command line."""
    return Override(
        ident=uuid.uuid4().hex,
        kind=kind,
        author=parsed.by,
        at=now,
        until=now + parsed.for_s,
        why=parsed.why,
        is_forced=getattr(parsed, "force", False),
        **more,  # type: ignore[arg-type]  # the fields of an Override
    )


def chosen(policy: Policy, names: Sequence[str], *, every: bool = False) -> list[str]:
    """The workers that were named, each once, in the policy's order.

    Raises:
        ConfigurationError: none was named, or one that the policy does not have.
    """
    known = ", ".join(policy.workers)
    if not names and not every:
        raise ConfigurationError([Problem("WORKER", f"is missing; write one of {known}, or --all")])
    if names and every:
        raise ConfigurationError([Problem("WORKER and --all", "are both given; leave one of them out")])
    unknown = [name for name in names if name not in policy.workers]
    if unknown:
        raise ConfigurationError(
            [
                Problem(
                    "WORKER",
                    f"{name!r} is no worker of the policy{meant(name, policy.workers) or f'; there is {known}'}",
                )
                for name in unknown
            ]
        )
    return [name for name in policy.workers if every or name in names]


def refuse_if(is_wrong: bool, place: str, problem: str) -> None:  # noqa: FBT001  # a condition, as assert has it
    if is_wrong:
        raise ConfigurationError([Problem(place, problem)])


def configured(parsed: argparse.Namespace) -> JournalConfiguration:
    from controller.configuration import configure_journal

    return configure_journal(policy_of(parsed), os.environ)


def amend(configuration: JournalConfiguration, workers: Sequence[str], amended: Amended) -> int:
    """Writes the records of these workers and prints what is in force then. The exit code."""
    output.answered(_amend(configuration, workers, amended), configuration.mask)
    return 0


async def _amend(configuration: JournalConfiguration, workers: Sequence[str], amended: Amended) -> None:
    from controller.journal import opened_journal

    async with opened_journal(configuration) as journal:
        for worker in workers:

            def change(overrides: Overrides, now: float, worker: str = worker) -> Overrides:
                return amended(worker, overrides, now)

            overrides, now = await journal.amend(worker, change)
            for line in lines(worker, overrides, now):
                output.show(configuration.mask.text(line), rest="  ")
        output.show(configuration.mask.text(who_honours_it(await journal.watch(workers))))


def amend_count(parsed: argparse.Namespace, kind: Kind, problem_of: Callable[[WorkerPolicy, int], str | None]) -> int:
    """The exit code. problem_of: why the worker's policy does not allow this count; None: it does.

    Raises:
        ConfigurationError: it does not, or there is no such worker.
    """
    configuration, count = configured(parsed), parsed.replicas
    workers = chosen(configuration.policy, [parsed.worker])
    problem = problem_of(configuration.policy.workers[parsed.worker], count)
    if problem is not None:
        raise ConfigurationError([Problem("N", problem)])
    return amend(
        configuration, workers, lambda _, overrides, now: overrides.with_new(new(parsed, kind, now, replicas=count))
    )


def lines(worker: str, overrides: Overrides, now: float) -> list[str]:
    """What is in force for a worker, one line each."""
    return [f"{worker}: {one.words(now)}" for one in overrides.all_in_force(now)] or [
        f"{worker}: no override in force; the policy decides"
    ]


def who_honours_it(state: LeaderState) -> str:
    if state.leader is None or state.trusted_for <= 0:
        return "No controller leads right now; the next one that does acts by it."
    return f"The leader ({state.leader.holder}) acts by it from its next cycle on."
