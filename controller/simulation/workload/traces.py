"""Reads a workload from a CSV file, plain or gzipped: arrivals with or without service times, or counts per minute.

A column `queue` names the queue of each job. It is read where the policy has several queues, and else ignored.

Each pass over the jobs reads the file again, line by line; an error names the first wrong line.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import IO, NoReturn

from controller.config.plain_files import LONGEST_MARK, CannotReadError, in_words, opened, refuse_packed, shown
from controller.core import units
from controller.core.problems import ConfigurationError, Problem
from controller.core.text import bounds
from controller.simulation.workload.jobs import Job, Workload

MOST_JOBS = 100_000_000
_MINUTE_S = 60.0
_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Which spreadsheets write."""
_LONGEST_LINE = 65_536
_MOST_EMPTY = 100_000
_A_DATE_S = 100_000_000
"""Three years: a first time later than this is a date in seconds since 1970."""
_MOST_MINUTES = 3_000_000
"""Of a file of counts: 5.7 years."""
_KINDS = (("t",), ("minute", "count"))
_FORMS = "`t` or `t,service` (seconds), also with `queue`, or `minute,count`, and comes before the rows"
_SIGMA = 1.0
"""Sigma of the logarithm of assumed service times: a coefficient of variation of 1.31."""


def read_trace(path: Path, *, service_mean: float = 20.0, seed: int = 0, queues: Sequence[str] = ()) -> Workload:
    """The jobs of a file. Reads the header and the first row at once, and all of a file of counts, for its span.

    service_mean: seconds, if the file has no service times; they are lognormal then. queues: the names of the
    policy's queues, if it has several.

    Raises:
        ConfigurationError: it cannot be read, or is no trace. For later lines, a pass over the jobs raises it.
    """
    trace = _Trace(path, service_mean, seed, _Queues(tuple(queues)))
    if not 0 < service_mean < math.inf:
        raise trace.refusal(
            f"cannot be given service times with a mean of {units.in_words(service_mean)}; give one above 0"
        )
    with trace.rows() as rows:
        if not rows.are_counts:
            next(_arrivals(rows, trace.services(), trace.queues))
            notes = () if rows.has("service") else (trace.note,)
            return Workload(path.name, trace.jobs, None, notes=notes, queues=trace.queues.named_in(rows))
        minutes, total = 0, 0
        for minute, count in _counts(rows):
            minutes, total = minute + 1, total + count
        if not total:
            rows.refuse("counts no job in any minute; is it the right file?", line=1)
    return Workload(path.name, trace.jobs, minutes * _MINUTE_S, notes=(trace.note,))


@dataclass(frozen=True, slots=True)
class _Queues:
    """The queues of the policy that a job may be in; none if it has one."""

    names: tuple[str, ...]

    def named_in(self, rows: _Rows) -> tuple[str, ...]:
        return self.names if rows.has("queue") else ()

    def read(self, rows: _Rows) -> Callable[[list[str]], tuple[str, ...]]:
        """A function that gives the name of the row's queue; nothing if the file or the policy has none."""
        if not self.named_in(rows):
            return lambda _: ()
        place, known = rows.header.index("queue"), {name: (name,) for name in self.names}

        def named(row: list[str]) -> tuple[str, ...]:
            name = row[place].strip()
            return known.get(name) or self._refuse(rows, name)

        return named

    def _refuse(self, rows: _Rows, name: str) -> NoReturn:
        fix = f"the policy has the queues {', '.join(self.names)}; write one of them, or leave the column out"
        rows.refuse(f"queue {f'is {_shown(name)}' if name else 'is missing'}; {fix}")


@dataclass(frozen=True, slots=True)
class _Trace:
    path: Path
    service_mean: float
    seed: int
    queues: _Queues

    @property
    def note(self) -> str:
        mean = units.in_words(self.service_mean)
        return f"{self.path.name} has no service times; they are assumed as lognormal with a mean of {mean}"

    def jobs(self) -> Iterator[Job]:
        with self.rows() as rows:
            if rows.are_counts:
                yield from _within_minutes(rows, self.services(), Random(f"{self.seed}/arrivals").random)
            else:
                yield from _arrivals(rows, self.services(), self.queues)

    def services(self) -> Callable[[], float]:
        """A function that draws service times; with its own random generator, so that arrivals do not depend on it."""
        gauss, exp = Random(f"{self.seed}/services").gauss, math.exp
        mu = math.log(self.service_mean) - _SIGMA**2 / 2
        return lambda: exp(mu + gauss(0.0, _SIGMA))

    @contextmanager
    def rows(self) -> Iterator[_Rows]:
        try:
            with self._file() as file:
                yield _Rows(shown(self.path), file)
        except CannotReadError as error:
            raise self.refusal(str(error)) from None
        except OSError as error:
            raise self.refusal(in_words(error)) from None

    @contextmanager
    def _file(self) -> Iterator[IO[bytes]]:
        with opened(self.path, missing="name a trace, CSV or gzipped CSV") as file:
            start = file.peek(LONGEST_MARK)
            if start.startswith(_GZIP):
                with gzip.GzipFile(fileobj=file) as plain, io.BufferedReader(plain) as lines:
                    yield lines
            else:
                refuse_packed(start)
                yield file

    def refusal(self, text: str) -> ConfigurationError:
        return ConfigurationError([Problem(shown(self.path), text)])


class _Rows:
    """The rows below the header; the header gives the order of the columns."""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self._name = name
        self._file = file
        self._line = 0
        self._empty = 0
        self._reader = csv.reader(self._lines(), strict=True)
        self.header = self._header()

    def __iter__(self) -> Iterator[list[str]]:
        try:
            yield from self._reader
        except csv.Error as error:
            self.refuse(f"is not CSV: {error}")

    @property
    def are_counts(self) -> bool:
        """Whether the rows are counts per minute; else each row is a job."""
        return not self.has("t")

    def has(self, name: str) -> bool:
        return name in self.header

    def skip(self) -> None:
        """Skips an empty line, up to a limit: a gigabyte of empty lines is one megabyte of gzip."""
        self._empty += 1
        if self._empty > _MOST_EMPTY:
            self.refuse(f"is the last of more than {_MOST_EMPTY:,} empty lines; is it a trace?")

    def refuse(self, text: str, *, line: int | None = None) -> NoReturn:
        shown = "".join(letter if letter.isprintable() else "?" for letter in text)
        raise ConfigurationError([Problem(f"{self._name}:{self._line if line is None else line}", shown)])

    def refuse_row(self, row: list[str], why: str) -> NoReturn:
        """Refuses the row for its number of columns if that is wrong, else for `why`."""
        if len(row) != len(self.header):
            columns = "1 column" if len(row) == 1 else f"{len(row)} columns"
            has = f"has {columns}, and the header has {len(self.header)} ({_shown(','.join(self.header))})"
            self.refuse(f"{has}; give each row all columns, with commas between them and a point in numbers")
        self.refuse(why)

    def refuse_number(self, row: list[str], name: str, must: str) -> NoReturn:
        place = self.header.index(name)
        text = row[place].strip() if place < len(row) else ""
        self.refuse_row(row, f"{name} {f'is {_shown(text)}' if text else 'is missing'}; it must be {must}")

    def _header(self) -> list[str]:
        row = next(iter(self), None)
        if row is None:
            self.refuse("is empty; a trace is a header and a row for each job", line=1)
        header = [name.strip() for name in row]
        fits = sum(all(header.count(name) == 1 for name in kind) for kind in _KINDS) == 1
        if not fits or header.count("service") > 1 or header.count("queue") > 1:
            self.refuse(f"is not the header of a trace: {_shown(','.join(row))}; it is {_FORMS}")
        return header

    def _lines(self) -> Iterator[str]:
        """Raises at the first line that cannot be read."""
        readline = self._file.readline
        try:
            # A file that is not text may have gigabytes without a line break.
            line = readline(_LONGEST_LINE).removeprefix(_BYTE_ORDER_MARK)
            while line:
                self._line += 1
                if len(line) == _LONGEST_LINE:
                    self.refuse(f"is longer than {_LONGEST_LINE:,} bytes; is it a trace?")
                yield line.decode()
                line = readline(_LONGEST_LINE)
        except UnicodeDecodeError:
            self.refuse("is not UTF-8; a trace is CSV in UTF-8, plain or gzipped")
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            ends = "ends in the middle" if isinstance(error, EOFError) else "is damaged"
            self._line += 1
            self.refuse(f"cannot be unpacked: the gzip data {ends}; copy the file again")


def _shown(text: str) -> str:
    return repr(text if len(text) <= bounds.VALUE else f"{text[: bounds.VALUE]}…")


def _is_blank(row: list[str]) -> bool:
    return not row or (len(row) == 1 and not row[0].strip())


def _number(text: str) -> float:
    """NaN if it is not a number: NaN is outside all limits."""
    try:
        return float(text) if _is_plain(text) else math.nan
    except ValueError:
        return math.nan


def _is_plain(text: str) -> bool:
    """Only ASCII digits: Python would also accept 1_0 and the digits of other scripts."""
    return "_" not in text and text.isascii()


def _arrivals(rows: _Rows, draw: Callable[[], float], queues: _Queues) -> Iterator[Job]:
    """One job per row."""
    queue_of = queues.read(rows)
    width, place, is_told = len(rows.header), rows.header.index("t"), rows.has("service")
    service_place = rows.header.index("service") if is_told else place
    last, number = 0.0, 0
    for row in rows:
        try:
            arrival = float(row[place])
            service = float(row[service_place]) if is_told else draw()
            well = last <= arrival < math.inf and 0 <= service < math.inf and len(row) == width
            well = well and _is_plain(row[place]) and _is_plain(row[service_place])
        except (ValueError, IndexError):
            well = False
        if not well:
            if _is_blank(row):
                rows.skip()
                continue
            _refuse_job(rows, row, last)
        if not number and arrival > _A_DATE_S:
            rows.refuse(
                f"t begins at {arrival:.15g} s, which is a date; subtract the first t from all, so that it is 0"
            )
        if arrival >= 2 * _A_DATE_S:
            rows.refuse(f"t is {arrival:.15g} s, more than six years; is it in milliseconds? divide it")
        number += 1
        if number > MOST_JOBS:
            rows.refuse(f"is the row of more than {MOST_JOBS:,} jobs; cut the file into parts")
        last = arrival
        yield arrival, service, *queue_of(row)
    if not number:
        rows.refuse("has a header and no row below it; is it the right file?", line=1)


def _refuse_job(rows: _Rows, row: list[str], last: float) -> NoReturn:
    place = rows.header.index("t")
    arrival = _number(row[place]) if place < len(row) else math.nan
    if not 0 <= arrival < math.inf:
        rows.refuse_number(row, "t", "the seconds from the start, 0 or more")
    if rows.has("service") and arrival >= last:
        rows.refuse_number(row, "service", "the seconds that the job takes, 0 or more")
    fix = f"tail -n +2 FILE | sort -t, -k{place + 1},{place + 1}g"
    back = f"t goes back by {last - arrival:.6g} s, from {last:.15g} to {arrival:.15g}"
    rows.refuse_row(row, f"{back}; sort the rows below the header: {fix}")


def _counts(rows: _Rows) -> Iterator[tuple[int, int]]:
    """Each minute and its number of jobs."""
    minute_place, count_place, width = rows.header.index("minute"), rows.header.index("count"), len(rows.header)
    last, total, empty = -1.0, 0, True
    for row in rows:
        if _is_blank(row):
            rows.skip()
            continue
        if len(row) != width:
            rows.refuse_row(row, "")
        minute, count = _number(row[minute_place]), _number(row[count_place])
        if not (0 <= minute < _MOST_MINUTES and minute.is_integer()):
            must = f"a whole number from the start, 0 to {_MOST_MINUTES:,}"
            rows.refuse_number(row, "minute", must)
        if minute <= last:
            again = "stands there twice" if minute == last else f"comes after {last:.15g}"
            fix = f"tail -n +2 FILE | sort -t, -k{minute_place + 1},{minute_place + 1}g"
            rows.refuse(f"minute {minute:.15g} {again}; sort them, and give each once: {fix}")
        if not (0 <= count < math.inf and count.is_integer()):
            rows.refuse_number(row, "count", "a whole number of jobs, 0 or more")
        last, total, empty = minute, total + int(count), False
        if total > MOST_JOBS:
            rows.refuse(f"brings it to more than {MOST_JOBS:,} jobs; cut the file into parts")
        yield int(minute), int(count)
    if empty:
        rows.refuse("has a header and no row below it; is it the right file?", line=1)


def _within_minutes(rows: _Rows, draw: Callable[[], float], random: Callable[[], float]) -> Iterator[Job]:
    """The jobs at random times of their minute, in order: each time the first of the remaining ones is drawn."""
    for minute, count in _counts(rows):
        start, left = minute * _MINUTE_S, 1.0
        for many in range(count, 0, -1):
            left *= random() ** (1 / many)
            yield start + _MINUTE_S * (1 - left), draw()
