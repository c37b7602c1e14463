"""The output of the demo: a redrawn screen on a terminal, else plain lines of at most 80 columns.

A cycle that changes nothing takes no new line on either: ten equal lines would push the decision of a minute ago out of
sight. Both get the controller's log lines as they are, so the demo shows what an operator would see, and no more.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from controller.core.units import in_seconds

PLAIN_WIDTH = 80
"""Columns if the output is not a terminal; on a terminal, its own width is used."""
_INDENT = 9
"""Columns of the time, such as ` 12.3 s  `."""
_BAR, _SQUARES = 40, 20
"""Columns of the bar of jobs; most workers that are drawn, with two columns each."""
_KEPT = 200
"""Rows that are kept: more than a terminal has lines."""
_STYLES = {"applied": "bold green", "failed": "red", "crashed": "red"}
"""By the outcome of a cycle."""


class Screen(Protocol):
    """Shows the reconcile lines of the controller, and messages between them."""

    def cycle(self, at_s: float, line: Mapping[str, Any]) -> None: ...

    def say(self, at_s: float, words: str) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *ending: object) -> None: ...


def screen(headline: str) -> Screen:
    """headline: stays on top of a terminal; else it is the first line."""
    console = Console(highlight=False)
    return LiveScreen(console, headline) if console.is_terminal else PlainScreen(headline)


def wrapped(text: str, width: int = PLAIN_WIDTH, *, indent: int = 0) -> str:
    """The text in lines of `width` columns, all but the first indented; a longer word is not broken."""
    kept = text.replace(" → ", "\u00a0→\u00a0")  # `1 → 2` is one word
    lines = textwrap.fill(kept, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)
    return lines.replace("\u00a0", " ")


@dataclass
class PlainScreen:
    """Two lines for each change of a figure: the figures, then the decision."""

    headline: str
    _last: tuple[object, ...] = ()

    def cycle(self, at_s: float, line: Mapping[str, Any]) -> None:
        now = tuple(line[key] for key in ("depth", "configured", "running", "desired", "outcome"))
        if now == self._last:
            return
        self._last = now
        figures = "  ".join(f"{key} {_figure(line, key)}" for key in ("depth", "configured", "running"))
        self.say(at_s, f"{figures}  {line['reason']}")
        print(wrapped(f"{'':{_INDENT}}{line['message']}", indent=_INDENT), flush=True)

    def say(self, at_s: float, words: str) -> None:
        print(wrapped(f"{_time(at_s)}{words}", indent=_INDENT), flush=True)

    def __enter__(self) -> Self:
        print(wrapped(self.headline), flush=True)
        return self

    def __exit__(self, *ending: object) -> None:
        return


@dataclass(frozen=True, slots=True)
class _Row:
    """One cycle, or a message. same: of consecutive rows with the same value, only the newest is shown."""

    at_s: float
    figures: tuple[str, str]
    words: str
    style: str
    same: tuple[object, ...] | None = None


@dataclass
class LiveScreen:
    """The present state as bars at the top; below it the decisions, newest last, as many as fit the terminal."""

    console: Console
    headline: str
    _rows: list[_Row] = field(default_factory=list)
    _now: Mapping[str, Any] | None = None
    _deepest: int = 1

    def __post_init__(self) -> None:
        self._live = Live(console=self.console, auto_refresh=False)

    def cycle(self, at_s: float, line: Mapping[str, Any]) -> None:
        self._now = line
        self._deepest = max(self._deepest, line["depth"] or 0)
        configured, desired = _figure(line, "configured"), _figure(line, "desired")
        workers = configured if configured == desired else f"{configured} → {desired}"
        same = tuple(line[key] for key in ("outcome", "configured", "desired", "reason"))
        if self._rows and self._rows[-1].same == same:
            self._rows.pop()
        style = _STYLES.get(line["outcome"], "")
        words = f"{line['reason']}: {line['message']}"
        self._add(_Row(at_s, (_figure(line, "depth"), workers), words, style, same))

    def say(self, at_s: float, words: str) -> None:
        self._add(_Row(at_s, ("", ""), words, "dim"))

    def __enter__(self) -> Self:
        self._live.start()
        self._draw()
        return self

    def __exit__(self, *ending: object) -> None:
        self._live.stop()

    def _add(self, row: _Row) -> None:
        self._rows = [*self._rows[1 - _KEPT :], row]
        self._draw()

    def lines(self) -> list[Text]:
        """The lines shown now; they fit the width and the height of the terminal."""
        width, height = self.console.size
        names = _columns("time", "depth", "workers") + "decision"
        top = [*self._heading(width), Text(), *self._bars(), Text(), Text(names)]
        room = height - 1 - len(top)  # the cursor stands in the last line of a terminal
        return [*top, *_newest(self._rows, width, room)]

    def _draw(self) -> None:
        self._live.update(Group(*self.lines()), refresh=True)

    def _heading(self, width: int) -> Iterator[Text]:
        yield from (Text(line, style="bold") for line in wrapped(self.headline, width).splitlines())

    def _bars(self) -> Iterator[Text]:
        line = self._now or {"depth": 0, "running": 0, "configured": 0}
        depth, running, configured = (line[key] or 0 for key in ("depth", "running", "configured"))
        filled = round(depth / self._deepest * _BAR)
        yield Text.assemble("  jobs     ", ("█" * filled, "yellow"), ("·" * (_BAR - filled), "dim"), f" {depth}")
        yield Text.assemble(
            "  workers  ",
            ("■ " * min(running, configured, _SQUARES), "green"),
            ("□ " * (min(configured, _SQUARES) - min(running, configured, _SQUARES)), "cyan"),
            f" {running} of {configured}" if configured else " none",
        )


def _newest(rows: Iterable[_Row], width: int, room: int) -> list[Text]:
    """The lines of the newest rows that fit completely, in the order of time.

    An older row that changed nothing has one line: on 80 columns the decisions would otherwise be out of sight soon.
    """
    shown: list[Text] = []
    for age, row in enumerate(reversed(list(rows))):
        head = _columns(in_seconds(row.at_s), *row.figures)
        words = wrapped(head + row.words, width, indent=len(head)).splitlines()
        if age and not row.style and len(words) > 1:
            words = [wrapped(head + row.words, width - 2, indent=len(head)).splitlines()[0] + " …"]
        lines = [Text(line, style=row.style) for line in words]
        if len(shown) + len(lines) > room:
            break
        shown[:0] = lines
    return shown


def _columns(time: str, depth: str, workers: str) -> str:
    return f"{time:>6}  {depth:>5}  {workers:>7}  "


def _time(at_s: float) -> str:
    return f"{in_seconds(at_s):>7}  "


def _figure(line: Mapping[str, Any], key: str) -> str:
    return "?" if line[key] is None else str(line[key])
