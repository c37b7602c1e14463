"""Text from outside is spelt out for people, and is valid JSON for programs, whatever it holds."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.adapters.clock import SystemClock
from controller.core.text.bounds import cut
from controller.core.text.escaping import as_json, visible, visible_lines
from controller.loop.log import Log
from controller.web.health import status_report
from controller.web.page import page
from tests.web.stand_ins import cycle
from tests.web.test_page import shown

WICKED = {
    "an escape sequence": ("\x1b[2J", r"\x1b[2J"),
    "a line break": ("up\n12:00:00 ERROR forged", r"up\n12:00:00 ERROR forged"),
    "a carriage return": ("a\rb", r"a\rb"),
    "a tab": ("a\tb", r"a\tb"),
    "C1's own escape": ("\x9b31m", r"\x9b31m"),
    "delete": ("a\x7f", r"a\x7f"),
    "text that runs backwards": ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
    "a paragraph of Unicode's": ("a\u2028b", r"a\u2028b"),
    "half a character": ("\udc80", r"\udc80"),
    "an invisible tag": ("\U000e0041", r"\U000e0041"),
    "nothing wicked": ("15 jobs: 0 → 2 •••", "15 jobs: 0 → 2 •••"),
}


@pytest.mark.parametrize(("text", "spelt"), WICKED.values(), ids=WICKED)
def test_what_a_terminal_would_obey_is_spelt_out(text: str, spelt: str) -> None:
    assert visible(text) == spelt


@given(st.text(st.characters()))
def test_nothing_that_is_visible_moves_a_cursor_or_breaks_a_line(text: str) -> None:
    assert visible(text).isprintable()
    assert all(line.isprintable() for line in visible_lines(text).split("\n"))
    visible(text).encode()


ANY_TEXT = st.text(st.characters(codec=None))
ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(ANY_VALUE, st.booleans(), st.sampled_from([None, 2]))
def test_json_is_valid_and_harmless_whatever_it_holds(value: Any, only_ascii: bool, indent: int | None) -> None:  # noqa: FBT001  # drawn
    text = as_json(value, indent=indent, only_ascii=only_ascii)
    json.loads(text, parse_constant=pytest.fail)
    assert all(line.isprintable() for line in text.split("\n"))
    assert indent is not None or "\n" not in text
    assert text.isascii() or not only_ascii
    text.encode()


@given(st.dictionaries(st.text(max_size=4), st.text(st.characters(exclude_categories=["Cs"])) | st.integers()))
def test_json_of_text_that_can_be_sent_is_read_back_as_it_was(value: dict[str, Any]) -> None:
    assert json.loads(as_json(value)) == json.loads(as_json(value, only_ascii=True)) == value


def test_what_is_no_number_is_null() -> None:
    assert json.loads(as_json([math.nan, math.inf, 1.5])) == [None, None, 1.5]


@pytest.mark.parametrize("text", [text for text, _ in WICKED.values()], ids=WICKED)
@pytest.mark.parametrize("form", ["json", "text"])
def test_each_line_of_the_log_is_one_line_and_says_what_was_said(form: Any, text: str) -> None:
    stream = io.StringIO()
    log = Log(stream, form=form, clock=SystemClock())
    log.event("library", message=f"Railway says {text}", worker=text)
    log.line({**cycle().line(), "message": text})
    lines = stream.getvalue().split("\n")[:-1]
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    said = visible(f"Railway says {cut(text, 100)}")
    assert visible(json.loads(lines[0])["message"]) == said if form == "json" else said in lines[0]


def test_the_lines_of_a_traceback_cannot_be_taken_for_the_log_s_own() -> None:
    stream = io.StringIO()
    Log(stream, form="text", clock=SystemClock()).event(
        "crashed", message="a bug", traceback="Traceback:\n  here\nValueError: x\n12:00:00 forged\x1b[0m\n"
    )
    first, *rest = stream.getvalue().splitlines()
    assert "a bug" in first
    assert rest == ["    Traceback:", "      here", "    ValueError: x", r"    12:00:00 forged\x1b[0m"]


def test_the_page_spells_it_out_too() -> None:
    name = "w\x1b[31m\u202e"
    html = page(replace(status_report(shown(None, cycle())), workers={name: None}))
    assert r"w\x1b[31m\u202e" in html
    assert "\x1b" not in html
