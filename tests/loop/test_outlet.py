"""A blocked output stops nothing: lines are dropped, counted, and said once they flow again."""

from __future__ import annotations

import fcntl
import io
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from controller.adapters.clock import SystemClock
from controller.loop.log import Log
from controller.loop.outlet import MOST_WAITING_BYTES, Outlet
from tests.support.patience import PATIENCE_S, wait_until

LINE = "x" * 1000


@contextmanager
def pipe(*, blocking: bool = True) -> Iterator[tuple[int, TextIO]]:
    """Its reading end, as small as the kernel makes it, and its writing end."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, blocking)
    # Not closed at the end, where a thread may be waiting for it still: the reader's end goes first, which ends that.
    stream = os.fdopen(writing, "w", encoding="utf-8", closefd=False)
    try:
        yield reading, stream
    finally:
        os.close(reading)


def said(count: int) -> str:
    return f"{count} lost"


def everything(reading: int, until: str) -> list[str]:
    """The lines up to one that begins so."""
    text = ""
    while not any(line.startswith(until) for line in text.split("\n")[:-1]):
        text += os.read(reading, 65536).decode()
    return text.splitlines()


@pytest.mark.parametrize("blocking", [True, False], ids=["a pipe", "a non-blocking pipe"])
def test_a_pipe_that_is_not_read_never_waits_and_what_is_lost_is_said_where_it_is_missing(*, blocking: bool) -> None:
    with pipe(blocking=blocking) as (reading, stream):
        outlet = Outlet(stream, said)
        for number in range(2000):
            outlet.write(f"{number} {LINE}")
        outlet.write("2000 short")
        lost = outlet.lost
        assert 0 < lost < 2001
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(everything(reading, "2001")), daemon=True)
        reader.start()
        wait_until(lambda: not outlet._waiting, "the queue to be taken")
        outlet.write("2001 the end")
        reader.join(PATIENCE_S)
    expected = 0
    for line in lines:
        number, word = int(line.split()[0]), line.split()[1]
        if word == "lost":
            expected += number
        else:
            assert number == expected, "in order, and what is said to be missing is missing there"
            expected += 1
    assert expected == 2002
    assert sum(int(line.split()[0]) for line in lines if line.endswith("lost")) == lost


def test_no_more_waits_than_is_said() -> None:
    with pipe() as (_, stream):
        outlet = Outlet(stream, said)
        for _number in range(5000):
            outlet.write(LINE)
        assert outlet._size <= MOST_WAITING_BYTES


def test_where_room_is_made_the_lines_of_a_whole_cycle_wait_and_none_is_lost() -> None:
    with pipe() as (_, stream):
        outlet = Outlet(stream, said)
        outlet.make_room(1000)
        for _number in range(1000):
            outlet.write(LINE)
        assert outlet.lost == 0


def test_a_full_disk_loses_lines_and_ends_nothing() -> None:
    with Path("/dev/full").open("w") as full:
        outlet = Outlet(full, said)
        for _ in range(3):
            outlet.write(LINE)
        wait_until(lambda: outlet.lost == 3, "three lines to be lost", shown=lambda: outlet.lost)


def test_a_reader_that_went_away_loses_lines_and_ends_nothing() -> None:
    with pipe() as (_, stream):
        outlet = Outlet(stream, said)
    outlet.write(LINE)
    wait_until(lambda: outlet.lost == 1, "the line to be lost")
    outlet.write(LINE)
    wait_until(lambda: outlet.lost == 2, "the next one to be lost")


def test_a_disk_that_has_room_again_is_told_first_what_is_missing(tmp_path: Path) -> None:
    place = tmp_path / "log"
    with Path("/dev/full").open("w") as full, place.open("w") as there:
        outlet = Outlet(full, said)
        outlet.write("a")
        outlet.write("b")
        wait_until(lambda: outlet.lost == 2, "both to be lost")
        os.dup2(there.fileno(), full.fileno())
        outlet.write("c")
        outlet.close(PATIENCE_S)
    assert place.read_text() == "2 lost\nc\n"


def test_the_end_waits_no_longer_than_it_was_told_to() -> None:
    with pipe() as (_, stream):
        outlet = Outlet(stream, said)
        for _number in range(10):
            outlet.write(LINE)
        outlet.close(0.01)
        assert outlet._waiting or (outlet._thread is not None and outlet._thread.is_alive())


def test_the_end_waits_for_what_is_taken(tmp_path: Path) -> None:
    place = tmp_path / "log"
    with place.open("w") as there:
        outlet = Outlet(there, said)
        for number in range(100):
            outlet.write(f"{number}")
        outlet.close(None)
    assert place.read_text().split() == [str(number) for number in range(100)]


def test_the_log_says_in_its_own_form_how_many_lines_are_missing(tmp_path: Path) -> None:
    place = tmp_path / "log"
    with Path("/dev/full").open("w") as full, place.open("w") as there:
        log = Log(full, form="json", clock=SystemClock())
        log.event("woken", message="1")
        wait_until(lambda: log.lost == 1, "a line to be lost")
        os.dup2(there.fileno(), full.fileno())
        log.event("woken", message="2")
        log.close(PATIENCE_S)
    missing, line = map(json.loads, place.read_text().splitlines())
    assert (missing["event"], missing["level"], missing["lost"]) == ("lines_lost", "warning", 1)
    assert missing["message"].startswith("1 line lost")
    assert line["message"] == "2"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_json_is_valid_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    place = tmp_path / "log"
    with place.open("w", encoding=encoding) as there:
        log = Log(there, form="json", clock=SystemClock())
        log.event("woken", message="0 → 2 ä \U0001f600 \udc80")
        log.close(PATIENCE_S)
    assert json.loads(place.read_text(encoding))["message"] == "0 → 2 ä \U0001f600 �"


def test_a_text_in_memory_is_written_at_once() -> None:
    text = io.StringIO()
    Log(text, form="text", clock=SystemClock()).event("woken", message="here")
    assert "here" in text.getvalue()
