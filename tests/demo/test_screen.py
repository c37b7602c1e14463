"""What the demo shows fits where it is shown, and loses no word of the newest decision."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from controller.demo.screen import LiveScreen, PlainScreen

HEADLINE = "page: http://127.0.0.1:23456/  (Ctrl-C ends the demo and the page)"
LONG = (
    "84 jobs (78 pending, 6 processing) want 4 workers: 3 → 4 (accepted, and not visible yet), and some more words "
    "that a line of this width has no room for"
)


def cycle(number: int, **changes: Any) -> dict[str, Any]:
    """Each asks for one worker more than the one before, so that none tells the same."""
    figures = {"depth": 84, "configured": number, "running": number, "desired": number + 1}
    return {**figures, "outcome": "applied", "reason": "ScaleUpCooldown", "message": LONG, **changes}


def live(width: int, height: int) -> LiveScreen:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height)
    return LiveScreen(console, HEADLINE)


@pytest.mark.costly
@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 20), (200, 50)])
def test_a_terminal_is_never_too_small_for_what_is_drawn(width: int, height: int) -> None:
    screen = live(width, height)
    with screen:
        for number in range(20):
            screen.cycle(float(number), cycle(number))
            screen.say(float(number), f"{number} jobs come in")
            lines = screen.lines()
            assert len(lines) < height
            assert max(line.cell_len for line in lines) <= width
    text = " ".join(" ".join(line.plain for line in lines).split())
    assert text.startswith(" ".join(HEADLINE.split()))
    assert "19.0 s 84 19 → 20 ScaleUpCooldown: " + LONG in text
    assert "19 jobs come in" in text


def test_cycles_that_hold_for_the_same_reason_take_one_row() -> None:
    screen = live(80, 24)
    for number in range(5):
        screen.cycle(float(number), cycle(3, desired=3, outcome="held", reason="Tier", message=f"hold {number}"))
    screen.cycle(5.0, cycle(3))
    decisions = [line.plain for line in screen.lines() if "Tier: hold" in line.plain]
    assert len(decisions) == 1
    assert "hold 4" in decisions[0]


def test_an_older_decision_that_changed_nothing_takes_one_line() -> None:
    screen = live(80, 24)
    for number in range(4):
        screen.cycle(float(number), cycle(number, outcome="held" if number != 1 else "applied"))
    rows = [line.plain for line in screen.lines()]
    places = [at for at, line in enumerate(rows) if "ScaleUpCooldown" in line]
    assert places[1] - places[0] == places[3] - places[2] == 1, "both of these hold"
    assert rows[places[0]].endswith(" …")
    assert places[2] - places[1] > 1, "this one changed the count"
    assert len(rows) - places[3] > 1, "the newest is whole"


def test_what_could_not_be_read_is_shown_as_unknown() -> None:
    screen = live(80, 24)
    unread = {"depth": None, "configured": None, "running": None, "desired": None}
    screen.cycle(1.0, cycle(0, **unread, outcome="failed", reason="QueueUnavailable", message="no answer"))
    assert screen.lines()[-1].plain.split(maxsplit=4) == [
        "1.0",
        "s",
        "?",
        "?",
        "QueueUnavailable: no answer",
    ]


def test_plain_lines_have_at_most_80_columns_and_begin_with_the_address(capsys: pytest.CaptureFixture[str]) -> None:
    with PlainScreen(HEADLINE) as screen:
        screen.cycle(123.4, cycle(3))
        screen.cycle(124.4, cycle(3))
        screen.say(125.0, "8 jobs come in")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == HEADLINE
    assert lines[1] == "  123 s  depth 84  configured 3  running 3  ScaleUpCooldown"
    assert max(map(len, lines)) <= 80
    assert " ".join(" ".join(lines[2:-1]).split()) == LONG, "and only once, since nothing changed"
    assert lines[-1] == "  125 s  8 jobs come in"
