"""The command line's parser: help that fits the terminal, errors with a suggestion, input never repeated raw.

An escape sequence, or a token, may have come into the command line: all that is repeated of it is masked and spelt out.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NoReturn

from controller.cli.output import complain, paint, width
from controller.core.text.escaping import visible_lines
from controller.core.text.guesses import nearest
from controller.core.text.layout import columns_of, wrap
from controller.core.text.masking import Masker, secrets_of_a_crash

Run = Callable[[argparse.Namespace], int]
_WIDEST_OPTION = 26
"""Columns before the help of an option."""
_INDENT = 2
_HEADING = re.compile(r"^[a-z][\w -]*:$", re.MULTILINE)


class _Help(argparse.HelpFormatter):
    """Fills paragraphs to the terminal's width, and lays out lines with a tab, `  NAME<tab>meaning`, in two columns.

    A line that begins with a blank and has no tab is an example, and stays as it is.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=_WIDEST_OPTION, width=width())

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for kind, found in itertools.groupby(text.splitlines(), _kind_of):
            if kind == "paragraph":
                lines += wrap(" ".join(found), width, first=indent)
            elif kind == "entry":
                lines += _in_two_columns([line.split("\t", 1) for line in found], width)
            else:
                lines += [f"{indent}{line}".rstrip() for line in found]
        return "\n".join(lines)

    def _format_action(self, action: argparse.Action) -> str:
        """The commands in one column as wide as the longest name."""
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # there is no other name for it
            return super()._format_action(action)
        listed = [(f"  {one.metavar or one.dest}", one.help or "") for one in action._choices_actions]  # noqa: SLF001  # as above
        return "\n".join(_in_two_columns(listed, self._width)) + "\n"

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrap(text, width)


def _kind_of(line: str) -> Literal["paragraph", "entry", "example"]:
    if "\t" in line:
        return "entry"
    return "paragraph" if line and not line[0].isspace() else "example"


def _in_two_columns(entries: Sequence[Sequence[str]], width: int) -> list[str]:
    """Names, as wide as the longest, and their meanings; below each other where the names leave too little room."""
    room = max(columns_of(name) for name, _ in entries) + 2
    if room > width // 2:
        indent = " " * (2 * _INDENT)
        return [
            line
            for name, told in entries
            for line in (*wrap(name.lstrip(), width, first=" " * _INDENT), *wrap(told, width, first=indent))
        ]
    return [line for name, told in entries for line in wrap(told, width, first=f"{name:<{room}}")]


class Parser(argparse.ArgumentParser):
    """One command's parser, or that of all commands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Help, **options)
        # By itself argparse takes -1 for a value and -1s for an option, and then says that the value is missing. No
        # option of ours begins with a digit.
        self._negative_number_matcher = re.compile(r"-\.?\d")
        self.color = False  # Python 3.14 colours by itself, and not where we do
        self._is_within = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuses an unknown option before a missing argument, because a typing error is more likely.

        Arguments may stand before, between and after options; by itself argparse takes only the first group of them.
        """
        if self._is_within:
            return super().parse_known_args(args, namespace)
        for argument in sys.argv[1:] if args is None else args:
            if argument == "--" or (self._subparsers is not None and not argument.startswith("-")):
                break
            name = argument.partition("=")[0]
            known = self._option_string_actions
            if name.startswith("--") and " " not in argument and not any(one.startswith(name) for one in known):
                self.error(f"unrecognized arguments: {argument}{meant(name, [one for one in known if one[1] == '-'])}")
        found, unknown = super().parse_known_args(args, namespace)
        if unknown and self._subparsers is None and not any(word.startswith("-") for word in unknown):
            self._is_within = True  # argparse parses twice, and calls this method for each
            try:
                found, unknown = self.parse_known_intermixed_args(args)
            finally:
                self._is_within = False
        if unknown and self._subparsers is None:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def format_help(self) -> str:
        if self.usage is None and self._subparsers is None:
            self.usage = f"{usage(self)} [options]".replace("%", "%%")
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        mask = Masker(secrets_of_a_crash(os.environ))
        where = self.prog.removeprefix("autoscaler").strip()
        text = f"{f'{where}: ' if where else ''}{message}"
        complain(f"{mask.text(text)}{'' if text.endswith('?') else '.'} See `{self.prog} --help`")
        raise SystemExit(2)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        every = [str(choice) for choice in action.choices]
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # there is no other name for it
            words = f"{value!r} is not a command{meant(value, every)}"
            raise argparse.ArgumentError(None, words)
        known = meant(value, every) or f"; choose from {', '.join(every)}"
        raise argparse.ArgumentError(action, f"invalid choice: {value!r}{known}")

    def _print_message(self, message: str, file: Any = None) -> None:
        text = visible_lines(Masker(secrets_of_a_crash(os.environ)).text(message))
        stream = file or sys.stdout
        super()._print_message(_HEADING.sub(lambda found: paint(found[0], "heading", stream), text), file)


def meant(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or nothing where no word that is known resembles it."""
    near = nearest(word, known)
    return f"; did you mean {near}?" if near else ""


class Commands:
    """Where each module of a command adds its own."""

    def __init__(self, parser: Parser) -> None:
        self._parsers = parser.add_subparsers(title="commands", metavar="COMMAND", dest="name")
        self.parsers: dict[str, Parser] = {}
        """By name, in the order of the help."""
        self.summaries: dict[str, str] = {}
        self.touches: dict[str, str] = {}

    def add(  # each is a part of the command's help
        self,
        name: str,
        run: Run,
        summary: str,
        more: str = "",
        *,
        touches: str,
        last: str = "",
        listed: str | None = None,
    ) -> Parser:
        """A command's parser. more, last: below its options, before and after what it touches (reads, writes, starts).

        summary and touches are sentences without a capital and a full stop; a table of the documentation has them too.
        listed: in the place of the summary in the list of all commands; "": another command's line there names it.
        """
        as_listed: dict[str, Any] = {} if listed == "" else {"help": listed or summary}
        paragraphs = (more.rstrip("\n"), f"touches: {touches}.", last)
        parser: Parser = self._parsers.add_parser(
            name,
            **as_listed,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog="\n\n".join(filter(None, paragraphs)),
        )
        parser.set_defaults(command=run)
        self.parsers[name], self.summaries[name], self.touches[name] = parser, summary, touches
        return parser


def usage(parser: argparse.ArgumentParser) -> str:
    """A command with what it must be given, and its positional arguments: `autoscaler plan OLD [NEW]`."""
    words = [parser.prog]
    for action in options(parser):
        metavar = str(action.metavar or action.dest.upper())
        if action.option_strings:
            words += [f"{action.option_strings[-1]} {metavar}"] if action.required else []
        else:
            words.append({"?": f"[{metavar}]", "*": f"[{metavar} …]"}.get(str(action.nargs), metavar))
    return " ".join(words)


def options(parser: argparse.ArgumentParser) -> Sequence[argparse.Action]:
    """All options of a command, and its positional arguments."""
    return parser._actions  # noqa: SLF001  # argparse has no other list of them
