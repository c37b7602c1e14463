"""`autoscaler help`: the help of all commands or of one, the environment, or a table of the documentation.

`autoscaler` alone prints the help of all commands. The variables stand here once, and not below each command's options:
there are more of them than options, and they are the same for four commands.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from controller.cli import output
from controller.cli.arguments import takes
from controller.cli.parser import meant
from controller.core.problems import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.cli.parser import Commands


def add(commands: Commands) -> None:
    parser = commands.add("help", run, "print this help, that of a command, or the variables", touches="nothing")
    told = "a command's name, environment, or a table of `autoscaler docs`"
    topic = parser.add_argument("topic", nargs="?", metavar="TOPIC", help=told)
    takes(topic, _topics)


def _topics() -> Iterable[str]:
    from controller.cli.docs import TABLES
    from controller.cli.main import commands

    return dict.fromkeys([*commands()[1].parsers, "environment", *TABLES])


def run(parsed: argparse.Namespace) -> int:
    from controller.cli.docs import TABLES, for_people
    from controller.cli.main import commands

    parser, every = commands()
    if parsed.topic is None:
        parser.print_help()
    elif parsed.topic in every.parsers:
        every.parsers[parsed.topic].print_help()
    elif parsed.topic == "environment":
        _show_environment()
    elif parsed.topic in TABLES:
        output.show_table(for_people(parsed.topic))
        print()
        output.show(f"`autoscaler docs {parsed.topic}` prints this table as Markdown.")
    else:
        topics = _topics()
        near = meant(parsed.topic, topics) or f"; there are {', '.join(topics)}"
        raise ConfigurationError([Problem("TOPIC", f"{parsed.topic!r} is neither a command nor a topic{near}")])
    return 0


def _show_environment() -> None:
    from controller.configuration import ADAPTERS

    output.show("The environment variables that `run`, `once`, `explain` and `doctor` read; other commands read a few.")
    print()
    rows = [("VARIABLE", "DEFAULT", "MEANING")]
    words = {"yes": "required", "no": ""}
    rows += [
        (one.name, one.default or words.get(one.required, one.required), one.meaning) for one in ADAPTERS.variables
    ]
    output.show_table(rows)
