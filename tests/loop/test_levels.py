"""Every line of the log has a level, whatever it tells of, in the words that Railway's log view colours."""

from __future__ import annotations

import ast
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.adapters.clock import SystemClock
from controller.core.conditions import EVENTS, Condition
from controller.core.reasons import Reason
from controller.loop import levels
from controller.loop.cycle import Outcome
from controller.loop.log import Log, library_lines
from tests.docs.pages import rows
from tests.web.stand_ins import cycle

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for path in (ROOT / "controller").rglob("*.py") if not path.is_relative_to(ROOT / "controller" / "demo")
)
KNOWN = {"info", "warning", "error"}


def reports(path: Path) -> Iterator[ast.expr]:
    """What each call names that reports an event: log.event(…), report(…), or Event(…) of a plan."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in {"event", "report", "_report", "Event"}:
                yield node.args[0]


def test_every_event_that_is_reported_anywhere_has_a_level() -> None:
    named: set[str] = set()
    elsewhere: list[str] = []
    for path in SOURCES:
        for what in reports(path):
            if isinstance(what, ast.Constant) and isinstance(what.value, str):
                named.add(what.value)
            else:
                elsewhere.append(f"{path.name}: {ast.unparse(what)}")
    assert len(named) > 15
    assert named | set(EVENTS.values()) <= set(levels.EVENTS)
    # Calls whose event is no literal are listed here, and checked by hand.
    assert elsewhere == [
        "listener.py: event",  # listening and wake_unavailable
        "run.py: event",  # what the listener reports, passed on
        "plan.py: conditions.EVENTS[one.reason]",
        *("reconciler.py: event.name", "reconciler.py: event"),  # of a plan
    ]


def test_every_level_is_one_that_railway_knows_and_belongs_to_an_event_that_there_is() -> None:
    text = "".join(path.read_text() for path in SOURCES if path.name != "levels.py")
    assert set(levels.EVENTS.values()) == KNOWN
    assert [event for event in levels.EVENTS if f'"{event}"' not in text] == []


@pytest.mark.parametrize("event", levels.EVENTS)
def test_the_table_of_events_has_each_in_a_row_with_its_level(event: str) -> None:
    found = [level for events, level, _ in rows("events") if f"`{event}`" in events]
    assert [level.split(",")[0] for level in found] == [levels.EVENTS[event]]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_a_level(outcome: Outcome) -> None:
    assert levels.of_cycle(outcome.value, degraded=False) in KNOWN


FAULT = Condition(Reason.NO_PROGRESS, "no job was taken", "see the log", 600.0, degrades=True)


@pytest.mark.parametrize(
    ("outcome", "fault", "level"),
    [
        (Outcome.HELD, None, "info"),
        (Outcome.APPLIED, None, "info"),
        (Outcome.HELD, replace(FAULT, degrades=False), "info"),
        (Outcome.HELD, FAULT, "warning"),
        (Outcome.APPLIED, FAULT, "warning"),
        (Outcome.FAILED, FAULT, "error"),
        (Outcome.UNKNOWN, None, "warning"),
        (Outcome.CRASHED, None, "error"),
    ],
)
def test_a_cycle_is_as_loud_as_its_outcome_and_louder_with_a_fault(
    outcome: Outcome, fault: Condition | None, level: str
) -> None:
    line = replace(cycle(outcome), conditions=None if fault is None else (fault,)).line()
    assert line["level"] == level


def written(form: Any, *lines: tuple[str, dict[str, Any]]) -> list[str]:
    stream = io.StringIO()
    log = Log(stream, form=form, clock=SystemClock())
    for event, fields in lines:
        log.event(event, **fields)
    return stream.getvalue().splitlines()


def test_each_json_line_has_its_level_and_its_message() -> None:
    lines = written("json", ("started", {"message": "serving"}), ("external_change", {"message": "3 → 5"}))
    assert [(line["level"], line["message"]) for line in map(json.loads, lines)] == [
        ("info", "serving"),
        ("warning", "3 → 5"),
    ]


def test_a_line_of_text_names_the_level_only_where_it_is_worth_a_look() -> None:
    calm, loud = written("text", ("started", {"message": "serving"}), ("crashed", {"message": "a bug"}))
    assert calm.split()[1:] == ["started", "serving"]
    assert loud.split()[1:] == ["ERROR", "crashed", "a", "bug"]


def test_an_event_without_a_level_of_its_own_is_worth_a_look() -> None:
    assert levels.of_event("of_another_version") == "warning"


@pytest.mark.parametrize(("severity", "level"), [(logging.WARNING, "warning"), (logging.ERROR, "error")])
def test_what_a_library_says_keeps_its_severity(severity: int, level: str) -> None:
    stream = io.StringIO()
    with library_lines(Log(stream, form="json", clock=SystemClock())):
        logging.getLogger("a.library").log(severity, "hello")
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert (line["event"], line["level"]) == ("library", level)


def test_a_line_of_text_continues_indented_on_the_next_and_loses_no_word() -> None:
    stream = io.StringIO()
    log = Log(stream, form="text", clock=SystemClock(), width=lambda: 80)
    words = "PostgreSQL refuses connections at the address in DATABASE_URL; is it running? The count stays as it is"
    log.event("started", message=words)
    log.close(None)
    lines = stream.getvalue().splitlines()
    assert [len(line) <= 80 for line in lines] == [True, True]
    assert lines[1].startswith(" " * 9)
    assert words in " ".join(stream.getvalue().split())
