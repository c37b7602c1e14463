"""Colours, width and progress: for terminals, and as the environment asks for them."""

from __future__ import annotations

import io
import os
import pty
import sys

import pytest

from controller.cli import output
from controller.cli.output import coloured, complain, paint, progress, show_table
from tests.support.processes import CLEAN
from tests.support.scene import POLICY


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "terminal", "pipe"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": "0"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_colours_are_for_terminals_and_as_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, *, environment: dict[str, str], terminal: bool, pipe: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (coloured(Terminal()), coloured(io.StringIO())) == (terminal, pipe)
    assert paint("x", "error", Terminal()) == ("\x1b[31mx\x1b[0m" if terminal else "x")


def test_an_error_is_one_paragraph_whose_head_is_coloured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    complain("a sentence that does not fit\x1b[2J into one line of 40")
    assert capsys.readouterr().err == "autoscaler: a sentence that does not\n  fit\\x1b[2J into one line of 40\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    complain("slow", kind="warning")
    assert capsys.readouterr().err == "\x1b[33mautoscaler: warning:\x1b[0m slow\n"


def test_colours_change_no_width(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    show_table([("NAME", "IS"), ("a", "1\x1b")])
    assert capsys.readouterr().out == "\x1b[1mNAME  IS\x1b[0m\na     1\\x1b\n"


@pytest.mark.parametrize(("columns", "width"), [("120", 120), ("5", 40), ("", 80), ("many", 80)])
def test_the_width_is_that_of_columns_or_80(monkeypatch: pytest.MonkeyPatch, columns: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(sys, "__stdout__", io.StringIO())
    assert output.width() == width


def test_progress_is_shown_on_a_terminal_and_wiped_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress("reading", " jobs") as shows:
            shows(1200, None)
            shows(50, 100)
        shown = f"\rreading 1,200 jobs\x1b[K\rreading [{'#' * 15}{'.' * 15}]  50 %\x1b[K\r\x1b[K"
        assert stream.getvalue() == (shown if isinstance(stream, Terminal) else "")


@pytest.mark.costly
def test_on_a_terminal_a_heading_is_bold_and_what_is_valid_is_green() -> None:
    process, terminal = pty.fork()
    if not process:
        environment = {**CLEAN, "RAILWAY_WORKER_SERVICE_ID": "s", "TERM": "xterm", "PYTHONPATH": str(POLICY.parent)}
        os.chdir(POLICY.parent)
        os.execve(sys.executable, [sys.executable, "-m", "controller", "check"], environment)
    shown = b""
    while True:
        try:
            read = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not read:
            break
        shown += read
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert b"\x1b[1mworkers.generation-worker\x1b[0m" in shown
    assert b"policy.yaml is \x1b[32mvalid\x1b[0m" in shown
    assert b"\x1b[33mwarning\x1b[0m: workers.generation-worker.queue" in shown
