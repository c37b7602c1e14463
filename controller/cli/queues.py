"""`autoscaler queues`: the known queue libraries, or all about one.

It opens nothing but the presets' files. The table helps to choose one; `queues PRESET` shows the SQL before it is run
on a production database, and is how a person checks a preset of their own. What it prints, the docs' table of presets
has too.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from controller.cli import output
from controller.cli.arguments import takes
from controller.core.text.layout import wrap, wrap_sql
from controller.core.units import in_words

if TYPE_CHECKING:
    from controller.cli.parser import Commands
    from controller.policy import Preset

TESTED = {"library": "its own client and worker", "schema": "its published tables", None: "nothing here"}
_LABEL = 11


def add(commands: Commands) -> None:
    parser = commands.add(
        "queues",
        run,
        "list the known queue libraries, or print all about one",
        "A policy names one by `queue: {preset: NAME}`. "
        "Any other queue is read by `queue: {sql: …}`, a query that returns one row with the columns pending and "
        "processing (and optionally oldest_age_s).",
        touches="nothing",
    )
    preset = parser.add_argument("preset", nargs="?", metavar="PRESET", help="print all of this one, with its SQL")
    takes(preset, _names)
    parser.add_argument("--json", action="store_true", help="a JSON array with one object each")


def _names() -> tuple[str, ...]:
    from controller.adapters.postgres.presets.reader import names

    return names()


def run(parsed: argparse.Namespace) -> int:
    from controller.adapters.postgres.presets.reader import PresetFiles

    presets = PresetFiles()
    names = presets.names if parsed.preset is None else (presets.load(parsed.preset).name,)
    if parsed.json:
        output.print_json([as_object(name) for name in names], indent=2)
    elif parsed.preset is not None:
        print("\n".join(describe(parsed.preset, output.width())))
    else:
        output.show_table(list(table()))
        print()
        output.show(
            f"Tested on: library is {TESTED['library']}, schema is {TESTED['schema']}. A library that announces no "
            "jobs is polled; `autoscaler queue-trigger` prints a trigger. `autoscaler queues PRESET` prints more. Any "
            "other queue is read by `queue: {sql: SELECT …}`."
        )
    return 0


def table() -> Iterator[tuple[str, ...]]:
    from controller.adapters.postgres.presets.reader import load

    yield "PRESET", "LIBRARY", "LANGUAGE", "TESTED ON", "ANNOUNCES"
    for name in _names():
        preset = load(name)
        yield name, preset.library, preset.language, preset.tested or "", "yes" if preset.wakes else "no"


def describe(name: str, width: int) -> Iterator[str]:
    """Lines: all that is known of one library, with the SQL that reads it."""
    from controller.adapters.postgres.presets.reader import load
    from controller.policy import ARMS

    def told(label: str, text: str) -> Iterator[str]:
        yield from wrap(text, width, first=f"  {label:<8}  ")

    preset = load(name)
    yield from wrap(f"{name}: {preset.library} ({preset.language})", width, rest="  ")
    yield from wrap(f"tested with {TESTED[preset.tested]}, {preset.versions}", width, rest="  ")
    yield ""
    yield "  workers:"
    yield "    NAME:"
    yield f"      queue: {{preset: {name}, queues: [{preset.queue_is}{', …' if not preset.needs_queues else ''}]}}"
    yield ""
    yield from told("tables", ", ".join(shown_tables(preset)))
    yield from told("wakes by", ", ".join(preset.wakes) or "nothing: `autoscaler queue-trigger` prints a trigger")
    if preset.wakes_when:
        yield from told("", preset.wakes_when)
    if preset.stale_after is not None:
        limit = f"after {in_words(preset.stale_after)} without a sign of life; queue.stale_after overrides it"
        yield from told("retried" if _rescues(preset) else "stale", limit)
    for note in preset.notes:
        yield from told("note", note)
    for index in preset.indexes:
        yield from wrap_sql(" ".join(index.split()), width, first=f"  {'index':<8}  ")
    for form in preset.forms:
        yield ""
        yield from wrap(f"versions {form.versions}:" if form.versions else "read as:", width, first="  ")
        for key, parts in (
            *((arm, getattr(form, arm)) for arm in ARMS),
            ("soon if", (form.soon,)),
            ("alive if", (form.alive,)),
            ("claimed at", (form.claimed_at,)),
            ("held by", (form.held_by,)),
            ("begun at", (form.began,)),
            ("ready since", (form.since,)),
        ):
            for part in filter(None, parts):
                yield from wrap_sql(" ".join(part.split()), width, first=f"    {key:<{_LABEL}}  ")


def _rescues(preset: Preset) -> bool:
    """Whether a claim that is too old is ready again, rather than stale."""
    return any("{stale}" in part for form in preset.forms for part in form.ready)


def as_object(name: str) -> dict[str, Any]:
    from controller.adapters.postgres.presets.reader import load

    preset = load(name)
    return {
        "preset": name,
        "library": preset.library,
        "language": preset.language,
        "versions": preset.versions,
        "tested": preset.tested,
        "queues_are": preset.queue_is,
        "needs_queues": preset.needs_queues,
        "channels": list(preset.wakes),
        "notes": list(preset.notes),
    }


def shown_tables(preset: Preset) -> Iterator[str]:
    for template in preset.tables.values():
        name = template.replace("{prefix}", preset.prefix)
        yield f"{preset.schema_name}.{name}" if preset.schema_name else name
