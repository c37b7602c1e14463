"""`autoscaler init`: writes a first policy, from what the database and Railway show.

It writes one new file and nothing else: an existing file is refused before anything is asked. The text is validated as
`check` would before it is written, and doctor's findings on the queue are printed, so that what needs a person's eye is
seen at once. What it is not sure of stands in the file as a comment with the reason.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from controller.cli import output
from controller.cli.arguments import ENVIRONMENT, add_policy, policy_of
from controller.core.problems import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.adapters.postgres.queue import PostgresQueue
    from controller.cli.init_proposal import Found
    from controller.cli.parser import Commands
    from controller.core.text.masking import Masker
    from controller.doctor.report import Report
    from controller.policy import Policy

_STDOUT = Path("-")


@dataclass(frozen=True, slots=True)
class _Made:
    """A policy that was validated, and what is told beside it."""

    text: str
    report: Report
    said: list[str] = field(default_factory=list)
    names_variable: bool = False


def add(commands: Commands) -> None:
    parser = commands.add(
        "init",
        run,
        "write a first policy from what the database shows",
        "It recognises the tables of a known queue library, or a table of your own that holds jobs, and writes a "
        "commented policy. With a token of Railway's it also looks for the worker's service. It never overwrites a "
        "file; - as FILE prints the policy. "
        "Exit 0: written. 1: no queue was found, or PostgreSQL could not be read. 2: wrong input.",
        touches="FILE, which must not exist; it reads PostgreSQL, and Railway where a token is set",
        last=ENVIRONMENT,
        listed="",
    )
    add_policy(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--preset", metavar="NAME", help="the queue library, where several are there")
    which.add_argument("--table", metavar="NAME", help="your table, as in a policy: jobs or schema.jobs")
    parser.add_argument("--service", metavar="ID", help="the id of the worker's service on Railway")


def run(parsed: argparse.Namespace) -> int:
    from controller.configuration import load_database, masker

    path = policy_of(parsed)
    if path != _STDOUT:
        _refuse_existing(path)
    _look_at_names(parsed)
    address = load_database(os.environ, why="init looks for the jobs there")
    mask = masker(os.environ)
    made = output.answered(_make(parsed, address.url, address.search_path, path, mask), mask)
    if made is None:
        return 1
    if path != _STDOUT:
        _write(path, made.text)
    with contextlib.redirect_stdout(sys.stderr) if path == _STDOUT else contextlib.nullcontext():
        _tell(made, path, mask)
    if path == _STDOUT:
        print(made.text, end="")
    return 0


def _refuse_existing(path: Path) -> None:
    from controller.config.plain_files import shown

    try:
        is_there = os.path.lexists(path)
    except ValueError:
        raise ConfigurationError([Problem("FILE", "holds a NUL character; name another file")]) from None
    if is_there:
        problem = "is there already, and init overwrites nothing; name a new file, or - to print the policy"
        raise ConfigurationError([Problem(shown(path), problem)])
    if not path.parent.is_dir():
        raise ConfigurationError([Problem(shown(path), "is in a folder that does not exist; make the folder first")])


def _look_at_names(parsed: argparse.Namespace) -> None:
    """Refuses a preset or a table that no policy could name, before anything is asked."""
    from pydantic import ValidationError

    from controller.adapters.postgres.presets.reader import names
    from controller.policy import Queue, is_own, unknown_preset

    if parsed.preset is not None and (parsed.preset not in names() or is_own(parsed.preset)):
        problem = f"{parsed.preset[:80]!r} {unknown_preset(parsed.preset, names())}"
        raise ConfigurationError([Problem("--preset", problem)])
    if parsed.table is not None:
        try:
            Queue(table=parsed.table)
        except ValidationError as error:
            raise ConfigurationError([Problem("--table", error.errors()[0]["msg"])]) from None


async def _make(parsed: argparse.Namespace, url: str, search_path: str, path: Path, mask: Masker) -> _Made | None:
    """None: no queue was found, which has been said."""
    import psycopg

    from controller.adapters.postgres import SOURCE
    from controller.adapters.postgres.errors import in_words
    from controller.adapters.postgres.queue import PostgresQueue
    from controller.adapters.postgres.recognise import TIMEOUT_S
    from controller.cli.init_proposal import proposed
    from controller.core.ports import Unavailable

    queue = PostgresQueue(url, timeout_s=TIMEOUT_S, search_path=search_path)
    try:
        found = await proposed(queue, preset=parsed.preset, table=parsed.table)
        if isinstance(found, str):
            output.complain(mask.text(found))
            return None
        return await _validated(found, queue, parsed.service, path)
    except psycopg.Error as failure:
        raise Unavailable(SOURCE, in_words(failure, None, TIMEOUT_S)) from None
    finally:
        await queue.close()


async def _validated(found: Found, queue: PostgresQueue, service: str | None, path: Path) -> _Made:
    from dataclasses import replace

    from controller.adapters.postgres.recognise import TIMEOUT_S
    from controller.cli.init_service import service_of
    from controller.cli.init_text import text_of
    from controller.doctor.postgres_queue import QueueChecks
    from controller.doctor.report import Report

    chosen = await service_of(os.environ, service)
    draft = replace(found.draft, service=chosen.ident, service_remark=chosen.remark, services=chosen.comments)
    text = text_of(draft)
    policy = _loaded(text, path)
    checks = QueueChecks(await queue.reader(), queue, TIMEOUT_S)
    findings = {name: await checks.look(worker, _never_seen) for name, worker in policy.workers.items()}
    return _Made(text, Report(workers=findings), [*found.said, *chosen.said], names_variable=chosen.ident is None)


async def _never_seen() -> bool:
    return False


def _loaded(text: str, path: Path) -> Policy:
    """The policy as `check` will read it; the service's variable may still be unset.

    Raises:
        ConfigurationError: `check` would refuse it, which is a bug of init.
    """
    from controller.adapters.postgres.presets.reader import PresetFiles
    from controller.cli.init_text import SERVICE_VARIABLE
    from controller.config.plain_files import shown
    from controller.policy import load_policy

    environment: Mapping[str, str] = {SERVICE_VARIABLE: "not-set-yet", **{k: v for k, v in os.environ.items() if v}}
    policy, document = load_policy(text, environment, name=shown(path), presets=PresetFiles(path.parent))
    if document.problems:
        raise ConfigurationError(document.problems)
    return policy


def _write(path: Path, text: str) -> None:
    """Creates the file; one that came meanwhile is kept.

    Raises:
        ConfigurationError: it cannot be created or written.
    """
    from controller.config.plain_files import shown

    try:
        # x: fails where there is a file or a link of that name, so that nothing is overwritten.
        with path.open("x", encoding="utf-8") as file:
            try:
                file.write(text)
                file.flush()
            except OSError:
                path.unlink()
                raise
    except FileExistsError:
        _refuse_existing(path)
        raise
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}; name another file, or - to print the policy"
        raise ConfigurationError([Problem(shown(path), problem)]) from None


def _tell(made: _Made, path: Path, mask: Masker) -> None:
    from controller.cli.doctor import show
    from controller.cli.init_text import SERVICE_VARIABLE
    from controller.config.plain_files import shown

    for sentence in made.said:
        output.show(mask.text(sentence), rest="  ")
    print()
    show(made.report.masked(mask))
    print()
    name = shown(path)
    if path != _STDOUT:
        output.show(f"{name} is written; nothing else was changed.", style="ok", painted="written")
    if made.names_variable and not os.environ.get(SERVICE_VARIABLE):
        output.show(f"Set {SERVICE_VARIABLE} to the id of the worker's service on Railway, or write the id into it.")
    print("Next:")
    argument = "" if path in {Path("policy.yaml"), _STDOUT} else f" {name}"
    for command in ("check", "doctor", "explain", "run --dry-run"):
        print(f"  autoscaler {command}{argument}")
