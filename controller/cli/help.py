"""`autoscaler help`: the help of all commands, of one, or of the environment; `autoscaler` alone is the first."""

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

_TOPICS = ("environment",)


def add(commands: Commands) -> None:
    parser = commands.add("help", run, "print this help, that of a command, or the variables", "touches: nothing.")
    topic = parser.add_argument("topic", nargs="?", metavar="TOPIC", help="a command's name, or environment")
    takes(topic, _topics)


def _topics() -> Iterable[str]:
    from controller.cli.main import commands

    return [*commands()[1].parsers, *_TOPICS]


def run(parsed: argparse.Namespace) -> int:
    from controller.cli.main import commands

    parser, every = commands()
    if parsed.topic is None:
        parser.print_help()
    elif parsed.topic in every.parsers:
        every.parsers[parsed.topic].print_help()
    elif parsed.topic == "environment":
        _show_environment()
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
