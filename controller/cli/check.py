"""`autoscaler check`: validates a policy offline, and prints its values in force and the waits that they imply.

Offline, so that it can run in CI for each commit: exit code 2 stops a policy that the controller would refuse at its
start, when workers already depend on it. All problems are told at once. The waits show what tiers mean, before anything
is tried: a tier is written in jobs and workers, and chosen for a wait. --from-database replaces the assumed time per
job.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.cli import output
from controller.cli.arguments import ENVIRONMENT, add_policy, now, policy_of, some_time
from controller.core.problems import ConfigurationError, Problem

if TYPE_CHECKING:
    from controller.adapters.postgres.queue import Known
    from controller.cli.parser import Commands
    from controller.core.implied_waits import Expectation
    from controller.core.schedule_times import Times
    from controller.core.text.masking import Masker
    from controller.policy import Policy, WorkerPolicy
    from controller.simulation.flaps import Flaps


def add(commands: Commands) -> None:
    parser = commands.add(
        "check",
        run,
        "validate a policy offline; print its values and waits",
        "Each value is printed with the line or the variable that it comes from. A wait ends when a worker begins the "
        "job, as in target_wait: while the depth stays at d jobs that take S each, with k in work at once, a job waits "
        "d x S / k - S. That is what each tier implies. Of schedules, the next five times are printed. "
        "Where tiers would flap, the stabilization_window that helps is "
        "proposed. "
        "Exit 0: valid. 2: not.",
        touches="nothing; it reads the file and the environment, and with `--from-database` PostgreSQL",
        listed="validate a policy offline; see also init, import-keda",
        last=ENVIRONMENT,
    )
    add_policy(parser)
    parser.add_argument("--json", action="store_true", help="the same as one JSON object")
    time = parser.add_mutually_exclusive_group()
    time.add_argument("--service-time", type=some_time, metavar="TIME", help="how long a job takes; default 20s")
    time.add_argument("--from-database", action="store_true", help="measure how long a job takes, in DATABASE_URL")
    parser.add_argument("--schema", action="store_true", help="print the policy's JSON Schema, for editors, and end")


@dataclass(frozen=True, slots=True)
class _Checked:
    """What is known of a valid policy. values: path, value, and where it comes from."""

    path: Path
    workers: Sequence[str]
    values: Sequence[tuple[tuple[str | int, ...], str, str]]
    expected: Mapping[str, Expectation]
    flaps: Mapping[str, Flaps]
    warnings: Sequence[str]
    schedules: Mapping[str, Sequence[Times]]
    """By worker: when each of its schedules is on next."""
    ahead: Mapping[str, str]
    """By worker: how far ahead of their time scheduled jobs count, and by which column; only from a database."""


def run(parsed: argparse.Namespace) -> int:
    from controller.adapters.postgres.presets.reader import names
    from controller.config.load import schema_text
    from controller.configuration import masker, read_both, target_problems

    if parsed.schema:
        print(schema_text(names()))
        return 0
    path = policy_of(parsed)
    mask = masker(os.environ)
    try:
        policy, document, shadow = read_both(path, os.environ)
        mask = masker(os.environ, document)
        if missing := target_problems(policy, document, os.environ):
            raise ConfigurationError(missing)
        checked = _checked(parsed, path, policy, document, mask)
        if shadow is not None:
            checked = replace(checked, warnings=[*checked.warnings, *shadow.notes])
    except ConfigurationError as error:
        if parsed.json:
            problems = [{"place": problem.place, "problem": problem.text} for problem in error.problems]
            output.print_json(mask.value({"valid": False, "problems": problems}))
            return 2
        raise
    if parsed.json:
        output.print_json(mask.value(_as_object(checked)))
    else:
        _show(checked, mask)
    return 0


def _checked(parsed: argparse.Namespace, path: Path, policy: Policy, document: Any, mask: Masker) -> _Checked:
    from controller.config.settings import setting_warnings
    from controller.configuration import ADAPTERS, platforms_of
    from controller.core.ahead import ahead_words
    from controller.core.schedule_times import next_times
    from controller.policy import effective, little_effects, notify_warnings, overlaps

    known = _known(policy, mask) if parsed.from_database else {}
    only = _alone(policy)
    _refuse_unkept(path, policy, known)
    said = [f"{_place(name)}: {remark}" for name, one in known.items() for remark in one.remarks]
    ageless = [
        f"workers.{name[0]}.max_wait: has no effect{f' on queue {name[1]}' if name[1] else ''}, because {one.no_age}"
        for name, one in known.items()
        if one.no_age and only[name].max_wait is not None and only[name].only_queue.table is not None
    ]
    unmeasured = [
        f"{_place(name) if name[1] else f'workers.{name[0]}'}: {one.why_not}"
        for name, one in known.items()
        if one.why_not and only[name].target_wait is not None and only[name].service_time is None
    ]
    used = platforms_of(policy, os.environ, ADAPTERS.platforms)
    of_platforms = [warning for one in used for warning in one.warnings(os.environ)]
    expected = _expectations(parsed, only, known)
    of_settings = map(str, (*of_platforms, *setting_warnings(os.environ)))
    return _Checked(
        path,
        list(policy.workers),
        list(effective(policy, document)),
        expected,
        _flaps(policy, expected),
        [
            *of_settings,
            *overlaps(policy),
            *little_effects(policy),
            *(f"{place}: {text}" for place, text in notify_warnings(policy.notify, document)),
            *claims_without_end(policy),
            *presets_without_age(policy),
            *said,
            *ageless,
            *unmeasured,
        ],
        {name: next_times(worker, now()) for name, worker in policy.workers.items() if worker.schedules},
        {_label(name): ahead_words(only[name], one.due_column) for name, one in known.items()},
    )


def _refuse_unkept(path: Path, policy: Policy, known: Mapping[_Name, Known]) -> None:
    """Refuses a promise for jobs of which it cannot be measured how long they waited.

    Raises:
        ConfigurationError: with all of them.
    """
    from controller.core.slo import unmeasurable_words

    problems = []
    for (name, _), one in known.items():
        if policy.workers[name].slo is not None and one.no_waits:
            place = f"{path.name}: workers.{name}.slo"
            problems.append(Problem(place, f"cannot be kept: {unmeasurable_words(one.no_waits)}"))
    if problems:
        raise ConfigurationError(problems)


def _as_object(checked: _Checked) -> dict[str, Any]:
    from controller.policy import dotted

    values = [{"path": dotted(path), "value": value, "from": origin} for path, value, origin in checked.values]
    waits = {name: one.as_object() for name, one in checked.expected.items()}
    flaps = {name: one.as_object() for name, one in checked.flaps.items()}
    warnings = list(checked.warnings)
    found = {"valid": True, "values": values, "implied_waits": waits, "flaps": flaps, "warnings": warnings}
    schedules = {name: [one.as_object() for one in each] for name, each in checked.schedules.items()}
    return found | ({"schedules": schedules} if schedules else {})


def _show(checked: _Checked, mask: Masker) -> None:
    """First the values that belong to no worker, then each worker's below its name."""
    for worker, rows in _by_worker(checked):
        if worker is not None:
            print()
            output.show(mask.text(f"workers.{worker}"), style="heading")
        output.show_table(mask.value([("VALUE OF", "IS", "FROM"), *rows]))
    print()
    count = len(checked.workers)
    words = f"{checked.path} is valid: {count} worker service{'s' * (count != 1)}"
    output.show(mask.text(words), style="ok", painted="valid")
    for text in checked.warnings:
        print()
        output.show(mask.text(text), first="warning: ", rest="  ", style="warning", painted="warning")
    for name, schedules in checked.schedules.items():
        for times in schedules:
            print()
            output.show(mask.text(f"{name}: {times.heading}"), rest="  ")
            output.show_table(mask.value(list(times.table())))
    for name, words in checked.ahead.items():
        print()
        output.show(mask.text(f"{name}: {words}"), rest="  ")
    for name, one in checked.expected.items():
        print()
        output.show(mask.text(f"{name}: {one.heading}"), rest="  ")
        output.show_table(mask.value(list(one.table())))
        if name in checked.flaps:
            print()
            output.show(mask.text(f"{name}: {checked.flaps[name].words}"), rest="  ")


def _by_worker(checked: _Checked) -> Iterator[tuple[str | None, list[tuple[str, str, str]]]]:
    from controller.policy import dotted

    found: dict[str | None, list[tuple[str, str, str]]] = {None: []}
    for path, value, origin in checked.values:
        worker, own = (str(path[1]), path[2:]) if path[0] == "workers" and len(path) > 2 else (None, path)
        found.setdefault(worker, []).append((dotted(own), value, origin))
    return iter(found.items())


_Name = tuple[str, str]
"""A worker, and one of its queues; "" if it has only one."""


def _alone(policy: Policy) -> dict[_Name, WorkerPolicy]:
    """The policy of each worker for each of its queues alone."""
    from controller.core.queues import alone

    return {(name, queue): only for name, worker in policy.workers.items() for queue, only in alone(worker).items()}


def _place(name: _Name) -> str:
    worker, queue = name
    return f"workers.{worker}.queues.{queue}" if queue else f"workers.{worker}.queue"


def _label(name: _Name) -> str:
    return "/".join(filter(None, name))


def _known(policy: Policy, mask: Masker) -> dict[_Name, Known]:
    """What the database knows of each worker's queues."""
    from controller.adapters.postgres.queue import known_of
    from controller.configuration import load_database

    address = load_database(os.environ, why="--from-database measures the jobs there")
    only = _alone(policy)
    queues = {_label(name): worker.only_queue for name, worker in only.items()}
    known = output.answered(known_of(address.url, queues, search_path=address.search_path), mask)
    return {name: known[_label(name)] for name in only}


def _expectations(
    parsed: argparse.Namespace, only: Mapping[_Name, WorkerPolicy], known: Mapping[_Name, Known]
) -> dict[str, Expectation]:
    """The waits that a policy implies for each queue alone, by the given or measured time per job."""
    from controller.core.implied_waits import Expectation

    return {
        _label(name): Expectation.of(
            worker,
            given_s=parsed.service_time,
            measured=known[name].service if name in known else None,
            was_asked=parsed.from_database,
        )
        for name, worker in only.items()
    }


def _flaps(policy: Policy, expected: Mapping[str, Expectation]) -> dict[str, Flaps]:
    """Of each worker whose tiers would flap, and that a stabilization window would help."""
    from controller.simulation.flaps import Flaps

    # A worker with several queues has no depth of one queue at which a tier ends.
    single = {name: one for name, one in policy.workers.items() if one.queues is None}
    each = {name: Flaps.of(policy, one, expected[name].service_s) for name, one in single.items() if name in expected}
    return {name: flaps for name, flaps in each.items() if flaps is not None}


def claims_without_end(policy: Policy) -> Iterator[str]:
    """Warnings of queues in which a dead worker's job would count for ever."""
    from controller.adapters.postgres.presets.reader import load

    for name, worker in _alone(policy).items():
        queue = worker.only_queue
        if queue.sql is not None or queue.stale_after is not None:
            continue
        if queue.preset is not None and not all(form.keeps_claims_of_the_dead for form in load(queue.preset).forms):
            continue
        yield (
            f"{_place(name)}: nothing limits how long a claim counts: a killed worker's job keeps a "
            "worker running until its row is changed; write stale_after, longer than the longest job takes (it goes by "
            "columns.locked_at, which says when a job was claimed)"
        )


def presets_without_age(policy: Policy) -> Iterator[str]:
    """Warnings of presets that cannot tell the age that max_wait goes by; an own preset may leave it out."""
    from controller.adapters.postgres.presets.reader import load

    for (name, _), worker in _alone(policy).items():
        preset = worker.only_queue.preset
        if worker.max_wait is None or preset is None:
            continue
        if all(form.since is None and form.oldest is None for form in load(preset).forms):
            yield (
                f"workers.{name}.max_wait: has no effect, because preset {preset} does not say since when a job is "
                "ready; add since to its file"
            )
