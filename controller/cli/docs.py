"""`autoscaler docs`: the tables of the documentation, as Markdown, from what the code knows; `make docs` writes them.

Each row's text stands in the code, beside what it tells of: a reason in core/reasons.py, an event in loop/levels.py, a
metric in web/, a variable in config/variables.py
or a platform's adapter, a preset in its TOML file, a key of the policy in its model.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from controller.cli.arguments import takes
from controller.cli.output import complain
from controller.cli.parser import usage
from controller.core.problems import ConfigurationError, Problem
from controller.core.text import layout

if TYPE_CHECKING:
    from controller.cli.parser import Commands

Table = Iterator[Sequence[str]]
"""The heading, then the rows; in Markdown, but for the links to pages (see _linked)."""
_NAMED = re.compile(r"\[[^\]]+\]\(([a-z-]+)\.md(?:#[a-z0-9-]+)?\)|docs/([a-z-]+)\.md(?:#[a-z0-9-]+)?")
_PAGE = re.compile(r"(?:docs/)([a-z-]+)\.md(#[a-z0-9-]+)?")
_TITLES = {"postgres": "PostgreSQL", "http-and-metrics": "HTTP"}
"""What a page is called in a sentence, where that is not its file's name."""


def add(commands: Commands) -> None:
    parser = commands.add(
        "docs",
        run,
        "print a table of the documentation",
        "--write replaces each table that stands between `<!-- begin: TABLE -->` and `<!-- end: TABLE -->` in the "
        "files that it names.",
        touches="nothing; with `--write` the files that are named",
    )
    parser.add_argument("table", nargs="?", choices=tuple(TABLES), metavar="TABLE", help=", ".join(TABLES))
    told = "replace each marked table in these files"
    takes(parser.add_argument("--write", nargs="+", type=Path, metavar="FILE", help=told), "file")


def run(parsed: argparse.Namespace) -> int:
    if (parsed.table is None) == (parsed.write is None):
        raise ConfigurationError([Problem("docs", f"name one table ({', '.join(TABLES)}), or --write and files")])
    if parsed.write is None:
        print(markdown(parsed.table), end="")
        return 0
    try:
        for path in parsed.write:
            old = path.read_text(encoding="utf-8")
            new = rewritten(old)
            if new != old:
                path.write_text(new, encoding="utf-8")
    except (OSError, UnicodeError) as error:
        complain(f"{path} cannot be read and written: {error}")
        return 2
    return 0


def markdown(name: str) -> str:
    """One table, with links as a page in docs/ has them."""
    rows = [[_linked(cell) for cell in row] for row in TABLES[name]()]
    return "\n".join(layout.markdown(rows)) + "\n"


def for_people(name: str) -> layout.Rows:
    """One table for a terminal. A link is its page's file; with a heading it would be too long for a column."""

    def file(link: re.Match[str]) -> str:
        return f"docs/{link[1] or link[2]}.md"

    return [[_NAMED.sub(file, cell) for cell in row] for row in TABLES[name]()]


def rewritten(text: str) -> str:
    """A page with each of its marked tables as the code has it; marks of another name stay as they are."""

    def table(match: re.Match[str]) -> str:
        name = match[2]
        return f"{match[1]}\n{markdown(name)}{match[3]}" if name in TABLES else match[0]

    # Only what stands between a pair of marks is replaced, so that a page is otherwise written by hand.
    marks = r"^(<!-- begin: ([\w-]+) -->)\n.*?^(<!-- end: \2 -->)$"
    return re.sub(marks, table, text, flags=re.MULTILINE | re.DOTALL)


def _linked(text: str) -> str:
    """`docs/redis.md#keys` as a link with the page's name."""

    def link(match: re.Match[str]) -> str:
        title = _TITLES.get(match[1], match[1].replace("-", " ").capitalize())
        return f"[{title}]({match[1]}.md{match[2] or ''})"

    return _PAGE.sub(link, text)


def _in_a_cell(sentence: str) -> str:
    """Without a capital and a full stop; a name or a number at the beginning stays as it is."""
    return f"{sentence[0].lower()}{sentence[1:]}".removesuffix(".")


def _see(text: str, page: str) -> str:
    return f"{text}, see docs/{page}" if page else text


def _commands() -> Table:
    from controller.cli.main import commands

    every = commands()[1]
    yield "command", "what it does"
    for name, parser in every.parsers.items():
        yield f"`{usage(parser)}`", every.summaries[name]


def _touches() -> Table:
    from controller.cli.main import commands

    yield "command", "touches"
    yield from ((f"`{name}`", touches) for name, touches in commands()[1].touches.items())


def _environment() -> Table:
    from controller.configuration import ADAPTERS

    yield "variable", "required", "default", "meaning"
    for one in ADAPTERS.variables:
        yield f"`{one.name}`", one.required, one.default, _see(one.meaning, one.see)


def _events() -> Table:
    from controller.loop.levels import EVENTS, MEANINGS

    yield "event", "level", "what it says"
    for event, level in EVENTS.items():
        yield f"`{event}`", level, MEANINGS[event]


def _metrics() -> Table:
    from controller.web.metrics import METRICS

    yield "metric", "type", "labels", "meaning"
    for name, metric in METRICS.items():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"`{name}`", metric.kind, labels, _in_a_cell(metric.help)


def _deprecated_metrics() -> Table:
    from controller.web.metrics import DEPRECATED

    yield "deprecated", "use instead"
    for name, metric in DEPRECATED.items():
        yield f"`{name}`", f"`{metric.instead}`"


def _policy_keys() -> Table:
    from controller.policy import Policy, described_keys

    yield "key", "default", "meaning"
    for path, meaning, default in described_keys(Policy):
        if path[0] == "workers":
            key = f"…{'.'.join(path[2:])}" if len(path) > 2 else "workers.NAME"
        else:
            key = ("[]." if path[0] == "notify" else ".").join(path)
        yield f"`{key}`", default, meaning


def _presets() -> Table:
    from controller.adapters.postgres.presets.reader import load, names
    from controller.cli.queues import TESTED

    yield "preset", "library", "tested with"
    for name in names():
        preset = load(name)
        tested = f"{TESTED[preset.tested]}, {preset.versions}"
        yield f"`{name}`", f"{preset.library} ({preset.language})", tested


def _reasons() -> Table:
    from controller.core.reasons import REASONS

    yield "reason", "meaning", "what to do"
    for reason, (meaning, fix) in REASONS.items():
        yield f"`{reason}`", meaning, fix


TABLES: Mapping[str, Callable[[], Iterable[Sequence[str]]]] = {
    "commands": _commands,
    "deprecated-metrics": _deprecated_metrics,
    "environment": _environment,
    "events": _events,
    "metrics": _metrics,
    "policy-keys": _policy_keys,
    "presets": _presets,
    "reasons": _reasons,
    "touches": _touches,
}
"""By the name that stands in the pages' marks."""
