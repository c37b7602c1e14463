"""`autoscaler completion`: a script that completes commands, options, choices and files, made from the parser.

One list of what each command takes, and one printer a shell; a shell needs no Python when it completes.

Starting Python and making the parser would cost some tenths of a second at each Tab. The price is that the script must
be printed anew after an update; until then, a new option is only missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.cli.arguments import taken_by
from controller.cli.parser import options

if TYPE_CHECKING:
    from controller.cli.parser import Commands, Parser

_MORE = """\
bash:  add this line to ~/.bashrc

  source <(autoscaler completion bash)

zsh:   add this line to ~/.zshrc, after compinit

  source <(autoscaler completion zsh)

fish:  run this once

  autoscaler completion fish > ~/.config/fish/completions/autoscaler.fish
"""


@dataclass(frozen=True, slots=True)
class _Takes:
    """One option, or the positional arguments of a command (without names).

    words: what a value may be. is_file, is_folder: or a path. has_value: whether an option takes one at all.
    """

    names: tuple[str, ...]
    words: tuple[str, ...]
    is_file: bool
    is_folder: bool
    has_value: bool
    told: str


def add(commands: Commands) -> None:
    parser = commands.add("completion", run, "print the completion for a shell", _MORE, touches="nothing")
    parser.add_argument("shell", choices=tuple(_SHELLS), metavar="SHELL", help=", ".join(_SHELLS))


def run(parsed: argparse.Namespace) -> int:
    from controller.cli.main import commands

    parser, every = commands()
    taken = {name: list(_taken(one)) for name, one in every.parsers.items()}
    print("\n".join(_SHELLS[parsed.shell](list(_taken(parser, without=every.parsers)), taken, every.summaries)))
    return 0


def _taken(parser: Parser, without: object = None) -> Iterator[_Takes]:
    """without: the commands themselves, which every printer has already."""
    for action in options(parser):
        takes = taken_by(action)
        if action.choices is not None and without is not None:
            continue
        listed = [word for value in takes if callable(value) for word in value()]
        yield _Takes(
            tuple(action.option_strings),
            tuple(map(str, listed if action.choices is None else action.choices)),
            "file" in takes,
            "folder" in takes,
            action.nargs != 0,
            (action.help or "").replace("%%", "%").replace("%(default)s", str(action.default)),
        )


Taken = dict[str, list[_Takes]]


def _bash(top: Sequence[_Takes], taken: Taken, _: dict[str, str]) -> Iterator[str]:
    yield "_autoscaler() {"
    yield '  local current="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" words="" kind=""'
    yield "  COMPREPLY=()"
    yield '  if [ "$COMP_CWORD" -eq 1 ]; then'
    yield f'    words="{" ".join([*taken, *_names(top)])}"'
    yield "  else"
    yield '    case "${COMP_WORDS[1]}:$before" in'
    for name, every in taken.items():
        for one in every:
            if one.names and one.has_value:
                patterns = "|".join(f"{name}:{option}" for option in one.names)
                yield f"      {patterns}) {_bash_values(one)} ;;"
        positional = [one for one in every if not one.names]
        yield f'      {name}:*) words="{" ".join(_names(every))}"'
        yield '        case "$current" in'
        yield "          -*) ;;"
        yield f"          *) {'; '.join(_bash_values(one) for one in positional) or ':'} ;;"
        yield "        esac ;;"
    yield "    esac"
    yield "  fi"
    yield '  [ "$kind" = d ] || COMPREPLY=($(compgen -W "$words" -- "$current"))'
    yield '  if [ -n "$kind" ]; then'
    yield "    compopt -o filenames 2>/dev/null"
    yield '    local IFS=$\'\\n\'; COMPREPLY+=($(compgen -"$kind" -- "$current"))'
    yield "  fi"
    yield "}"
    yield "complete -F _autoscaler autoscaler"


def _bash_values(one: _Takes) -> str:
    kind = f"; kind={'f' if one.is_file else 'd'}" if one.is_file or one.is_folder else ""
    return f"words='{' '.join(one.words)}'{kind}"


def _zsh(top: Sequence[_Takes], taken: Taken, summaries: dict[str, str]) -> Iterator[str]:
    yield "#compdef autoscaler"
    yield "_autoscaler() {"
    yield "  local -a every"
    yield "  every=("
    yield from (f"    {_quoted(f'{name}:{told}')}" for name, told in summaries.items())
    yield "  )"
    yield "  if (( CURRENT == 2 )); then"
    yield f"    _describe command every; compadd -- {' '.join(_names(top))}; return"
    yield "  fi"
    yield "  local command=$words[2]"
    yield "  shift words; (( CURRENT-- ))"
    yield "  case $command in"
    for name, every in taken.items():
        yield f"    {name})"
        yield "      _arguments " + " ".join(_quoted(spec) for one in every for spec in _zsh_specs(one)) + " ;;"
    yield "  esac"
    yield "}"
    yield "compdef _autoscaler autoscaler"


def _zsh_specs(one: _Takes) -> Iterator[str]:
    values = "_files" if one.is_file else "_files -/" if one.is_folder else f"({' '.join(one.words)})"
    if one.is_file and one.words:
        values = f"{{compadd -- {' '.join(one.words)}; _files}}"
    told = one.told.replace("[", r"\[").replace("]", r"\]").replace(":", r"\:")
    for name in one.names:
        yield f"{name}[{told}]:value:{values}" if one.has_value else f"{name}[{told}]"
    if not one.names:
        yield f"*:value:{values}"


def _fish(top: Sequence[_Takes], taken: Taken, summaries: dict[str, str]) -> Iterator[str]:
    yield "complete -c autoscaler -f"
    yield from (f"complete -c autoscaler -n __fish_use_subcommand {line}" for one in top for line in _fish_lines(one))
    for name, told in summaries.items():
        yield f"complete -c autoscaler -n __fish_use_subcommand -a {name} -d {_quoted(told)}"
    for name, every in taken.items():
        here = f"complete -c autoscaler -n '__fish_seen_subcommand_from {name}'"
        yield from (f"{here} {line}" for one in every for line in _fish_lines(one))


def _fish_lines(one: _Takes) -> Iterator[str]:
    words = f" -a {_quoted(' '.join(one.words))}" if one.words else ""
    files = "-F" if one.is_file or one.is_folder else "-f"
    if one.names:
        names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in one.names)
        yield f"{names}{' -r ' + files + words if one.has_value else ''} -d {_quoted(one.told)}"
    elif one.is_file or words:
        yield f"{files}{words}"


def _names(every: Sequence[_Takes]) -> list[str]:
    return [name for one in every for name in one.names]


def _quoted(text: str) -> str:
    """Quoted for all three shells."""
    return "'" + text.replace("'", "'\\''") + "'"


_SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
