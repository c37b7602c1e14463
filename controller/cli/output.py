"""What each command does: one function each, given its parsed arguments; they print, and return the exit code."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from controller.core.text.escaping import as_json, visible
from controller.loop import signals
from controller.policy.document import ConfigurationError, Problem

if TYPE_CHECKING:  # a command imports what it needs
    from controller.adapters.postgres.queue import Known
    from controller.core.text.masking import Masker
    from controller.policy.implied_waits import Expectation
    from controller.policy.models import Policy

T = TypeVar("T")


def run(parsed: argparse.Namespace) -> int:
    from controller.cli.run import run  # noqa: PLC0415  # a command imports what it needs
    from controller.config.load import configure  # noqa: PLC0415  # as above

    return asyncio.run(run(configure(parsed.policy, os.environ), dry_run=parsed.dry_run))


def once(parsed: argparse.Namespace) -> int:
    from controller.cli.once import once  # noqa: PLC0415  # a command imports what it needs
    from controller.config.load import configure  # noqa: PLC0415  # as above

    configuration = configure(parsed.policy, os.environ)
    return signals.interruptible(once(configuration, dry_run=parsed.dry_run, as_json=parsed.json))


def explain(parsed: argparse.Namespace) -> int:
    from controller.cli.explain import explain  # noqa: PLC0415  # a command imports what it needs
    from controller.cli.explain_text import as_lines, as_object  # noqa: PLC0415  # as above
    from controller.config.load import configure  # noqa: PLC0415  # as above
    from controller.loop.cycle import Outcome  # noqa: PLC0415  # as above

    configuration = configure(parsed.policy, os.environ)
    mask = configuration.mask
    explanations = signals.interruptible(explain(configuration))
    for explanation in explanations:
        if parsed.json:
            print_json(mask.value(as_object(explanation.cycle, explanation.rest)))
        else:
            lines = as_lines(explanation.cycle, explanation.steps, explanation.rest)
            print("\n".join(visible(mask.text(line)) for line in lines))
    return 1 if any(explanation.cycle.outcome is Outcome.FAILED for explanation in explanations) else 0


def doctor(parsed: argparse.Namespace) -> int:
    from controller.config.load import configure  # noqa: PLC0415  # as above
    from controller.doctor.report import as_lines, as_object, examine  # noqa: PLC0415  # a command imports what it needs

    configuration = configure(parsed.policy, os.environ)
    report = signals.interruptible(examine(configuration)).masked(configuration.mask)
    if parsed.json:
        print_json(as_object(report), indent=2)
    else:
        print("\n".join(map(visible, as_lines(report))))
    return 0 if report.is_well else 1


def check(parsed: argparse.Namespace) -> int:
    from controller.cli.queue_guide import claims_without_end  # noqa: PLC0415  # as above
    from controller.config.load import masker, read_policy  # noqa: PLC0415  # a command imports what it needs
    from controller.config.settings import setting_warnings  # noqa: PLC0415  # as above
    from controller.policy.document import dotted  # noqa: PLC0415  # as above
    from controller.policy.models import effective  # noqa: PLC0415  # as above
    from controller.policy.overlaps import overlaps  # noqa: PLC0415  # as above

    if parsed.schema:
        # As shipped: what it says of each key are docstrings, which `python -OO` does not have.
        print((Path(__file__).parents[1] / "policy" / "schema.json").read_text(), end="")
        return 0
    try:
        policy, document = read_policy(parsed.file, os.environ)
    except ConfigurationError as error:
        if parsed.json:
            problems = [{"place": problem.place, "problem": problem.text} for problem in error.problems]
            print_json(masker(os.environ).value({"valid": False, "problems": problems}))
            return 2
        raise
    mask = masker(os.environ, document)
    rows = [(dotted(path), value, origin) for path, value, origin in effective(policy, document)]
    known = _known(policy, mask) if parsed.from_database else {}
    expected = _expectations(parsed, policy, known)
    said = [f"workers.{name}.queue: {remark}" for name, one in known.items() for remark in one.remarks]
    unmeasured = [
        f"workers.{name}: {one.why_not}"
        for name, one in known.items()
        if one.why_not and policy.workers[name].target_wait is not None and policy.workers[name].service_time is None
    ]
    of_settings = map(str, setting_warnings(os.environ))
    warnings = [*of_settings, *overlaps(policy), *claims_without_end(policy), *said, *unmeasured]
    if parsed.json:
        values = [{"path": path, "value": value, "from": origin} for path, value, origin in rows]
        waits = {name: one.as_object() for name, one in expected.items()}
        says = {"valid": True, "values": values, "implied_waits": waits, "warnings": warnings}
        print_json(mask.value(says))
        return 0
    _print_table([("VALUE OF", "IS", "FROM"), *mask.value(rows)])
    print(f"\n{parsed.file} is valid: {len(policy.workers)} worker service{'s' * (len(policy.workers) != 1)}")
    for warning in warnings:
        print(f"\nwarning: {visible(mask.text(warning))}")
    for name, one in expected.items():
        print(f"\n{visible(name)}: {visible(one.heading)}")
        _print_table(list(one.table()))
    return 0


def _known(policy: Policy, mask: Masker) -> dict[str, Known]:
    """What the database says of each worker's queue."""
    from controller.adapters.postgres.queue import known_of  # noqa: PLC0415  # as above
    from controller.config.settings import load_database  # noqa: PLC0415  # as above

    address = load_database(os.environ, why="--from-database measures the jobs there")
    queues = {name: worker.queue for name, worker in policy.workers.items()}
    return answered(known_of(address.url, queues, search_path=address.search_path), mask)


def _expectations(parsed: argparse.Namespace, policy: Policy, known: Mapping[str, Known]) -> dict[str, Expectation]:
    """What each worker's policy implies of waits, by how long a job is said or measured to take."""
    from controller.policy.implied_waits import Expectation  # noqa: PLC0415  # as above

    return {
        name: Expectation.of(
            worker,
            given_s=parsed.service_time,
            measured=known[name].service if name in known else None,
            was_asked=parsed.from_database,
        )
        for name, worker in policy.workers.items()
    }


def queues(parsed: argparse.Namespace) -> int:
    from controller.cli import queue_guide  # noqa: PLC0415  # a command imports what it needs
    from controller.policy.models import PRESETS  # noqa: PLC0415  # as above

    if parsed.name is not None and parsed.name not in PRESETS:
        known = ", ".join(PRESETS)
        raise ConfigurationError([Problem("PRESET", f"{parsed.name!r} is not known; known are {known}")])
    names = PRESETS if parsed.name is None else (parsed.name,)
    if parsed.json:
        print_json([queue_guide.as_object(name) for name in names], indent=2)
    elif parsed.name is not None:
        print("\n".join(queue_guide.describe(parsed.name)))
    else:
        _print_table(list(queue_guide.table()))
        print("\n`autoscaler queues PRESET` tells more. Any other queue is read by `queue: {sql: SELECT …}`.")
    return 0


def queue_trigger(parsed: argparse.Namespace) -> int:
    from controller.cli.queue_guide import triggers  # noqa: PLC0415  # as above
    from controller.config.load import masker, read_policy  # noqa: PLC0415  # a command imports what it needs

    policy, document = read_policy(parsed.policy, os.environ)
    if parsed.worker is not None and parsed.worker not in policy.workers:
        known = ", ".join(policy.workers)
        problem = Problem("WORKER", f"{parsed.worker!r} is no worker of {parsed.policy}; there is {known}")
        raise ConfigurationError([problem])
    print(masker(os.environ, document).text("\n".join(triggers(policy, parsed.worker))))
    return 0


def demo(parsed: argparse.Namespace) -> int:
    try:
        from controller.demo.show import demo as show  # noqa: PLC0415  # it needs the extra
    except ModuleNotFoundError as error:
        return needs_extra("demo", error)
    code: int = show(seconds=parsed.seconds, keep=parsed.keep, record=parsed.record)
    return code


def fake_railway(parsed: argparse.Namespace) -> int:
    try:
        from controller.fake_railway.cli import serve  # noqa: PLC0415  # it needs the extra
    except ModuleNotFoundError as error:
        return needs_extra("fake", error)
    try:
        asyncio.run(serve(parsed.port, parsed.replicas, host=parsed.host, exec_command=parsed.exec))
    except OSError as error:
        print(
            f"autoscaler: port {parsed.port} cannot be listened on ({error.strerror}); choose another", file=sys.stderr
        )
        return 2
    return 0


def answered(asking: Coroutine[Any, Any, T], mask: Masker | None = None) -> T:
    """What was asked of PostgreSQL; where it does not answer, that is said, and the program ends with 1."""
    from controller.core.ports import Unavailable  # noqa: PLC0415  # a command imports what it needs
    from controller.core.text.masking import Masker, secrets_of_a_crash  # noqa: PLC0415  # as above

    try:
        return signals.interruptible(asking)
    except Unavailable as unavailable:
        mask = mask or Masker(secrets_of_a_crash(os.environ))
        print(f"autoscaler: {visible(mask.text(str(unavailable)))}", file=sys.stderr)
        raise SystemExit(1) from None


def needs_extra(extra: str, error: ModuleNotFoundError) -> int:
    """The exit code; a module that the command needs is not installed."""
    if error.name is not None and error.name.startswith("controller"):
        raise error
    print(
        f"autoscaler: this command needs {error.name}; install it with: pip install 'worker-autoscaler[{extra}]'",
        file=sys.stderr,
    )
    return 2


def print_json(value: Any, indent: int | None = None) -> None:
    """On stdout, valid whatever its encoding is."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    print(as_json(value, indent=indent, only_ascii=encoding != "utf8"))


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print(visible("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()))
