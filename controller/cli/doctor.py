"""`autoscaler doctor`: connects to everything as `run` would, only reads, and prints what it found.

The checks are doctor/'s; here is only their form: level, subject, sentence, then the fix, and SQL to copy. Exit code 1
with any error, so that a deployment can be stopped by it; a warning works, and does not.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from controller.cli import output
from controller.cli.arguments import ENVIRONMENT, add_policy, policy_of
from controller.core.text.escaping import visible
from controller.core.text.layout import columns_of, wrap_sql
from controller.loop import signals

if TYPE_CHECKING:
    from controller.cli.parser import Commands
    from controller.doctor.finding import Finding
    from controller.doctor.report import Report

_LEVEL = 7
"""Columns of the longest level."""
_WIDEST_ABOUT = 16


def add(commands: Commands) -> None:
    parser = commands.add(
        "doctor",
        run,
        "connect to everything; print what is wrong, and the fix",
        "Each check prints ok, warning or error, and how to fix it; SQL is printed and never run. "
        "Exit 0: no error. 1: an error. 2: wrong input.",
        touches="nothing; it reads PostgreSQL (the depth query once more, by EXPLAIN ANALYZE), Redis and the platform, "
        "and sends one notification on a channel of its own",
        last=ENVIRONMENT,
    )
    add_policy(parser)
    parser.add_argument("--json", action="store_true", help="all findings as one JSON object")


def run(parsed: argparse.Namespace) -> int:
    from controller.configuration import configure
    from controller.doctor.report import as_object, examine

    configuration = configure(policy_of(parsed), os.environ)
    report = signals.interruptible(examine(configuration)).masked(configuration.mask)
    if parsed.json:
        output.print_json(as_object(report), indent=2)
    else:
        show(report)
    return 0 if report.is_well else 1


def show(report: Report) -> None:
    """Prints first the findings that belong to no worker. The report is masked already."""
    from controller.doctor.finding import Level

    about = min(_WIDEST_ABOUT, max((columns_of(visible(one.about)) for _, one in report.rows()), default=0))
    heading: str | None = ""
    for worker, finding in report.rows():
        if worker != heading:
            if heading != "":
                print()
            output.show("everywhere" if worker is None else worker, style="heading")
            heading = worker
        _show_finding(finding, about)
    counts = {level: sum(finding.level is level for _, finding in report.rows()) for level in Level}
    print()
    print(
        ", ".join(
            f"{count} {level.value}{'s' if level is not Level.OK and count != 1 else ''}"
            for level, count in counts.items()
        )
    )


def _show_finding(finding: Finding, about: int) -> None:
    """Its level, its subject and its words; below them the fix, and the SQL for it."""
    indent = " " * (2 + _LEVEL + 2 + about + 2)
    first = f"  {finding.level.value:<{_LEVEL}}  {visible(finding.about):<{about}}  "
    output.show(
        _one_line(finding.says), first=first, rest=indent, style=finding.level.value, painted=finding.level.value
    )
    if finding.fix:
        output.show(_one_line(finding.fix), first=f"{indent}→ ")
    for statement in finding.sql:
        print("\n".join(wrap_sql(visible(statement), output.width(), first=f"{indent}  ", rest=f"{indent}    ")))


def _one_line(text: str) -> str:
    """Names of tables and columns may contain line breaks."""
    return " ".join(text.split())
