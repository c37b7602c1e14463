"""What the demo shows: a redrawn table on a terminal, plain lines anywhere else."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

_ROWS = 14
_BAR = 40


class Screen(Protocol):
    """Shows one reconcile line of the controller after another, and words in between."""

    def cycle(self, at_s: float, line: Mapping[str, Any]) -> None: ...

    def say(self, words: str) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *ending: object) -> None: ...


def screen() -> Screen:
    console = Console(highlight=False)
    return LiveScreen(console) if console.is_terminal else PlainScreen()


@dataclass
class PlainScreen:
    """One line per change of anything that is shown."""

    _last: tuple[object, ...] = ()

    def cycle(self, at_s: float, line: Mapping[str, Any]) -> None:
        now = tuple(line[key] for key in ("depth", "configured", "running", "desired", "outcome"))
        if now == self._last:
            return
        self._last = now
        figures = f"depth {_figure(line, 'depth')}  configured {_figure(line, 'configured')}"
        running = _figure(line, "running")
        print(f"{at_s:5.1f} s  {figures}  running {running}  {line['reason']}: {line['message']}", flush=True)

    def say(self, words: str) -> None:
        print(words, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ending: object) -> None:
        return


@dataclass
class LiveScreen:
    """The present state on top, in bars; below it the last cycles, newest last."""

    console: Console
    _rows: deque[tuple[float, Mapping[str, Any]]] = field(default_factory=lambda: deque(maxlen=_ROWS))
    _said: deque[str] = field(default_factory=lambda: deque(maxlen=3))
    _deepest: int = 1

    def __post_init__(self) -> None:
        self._live = Live(console=self.console, auto_refresh=False)

    def cycle(self, at_s: float, line: Mapping[str, Any]) -> None:
        self._rows.append((at_s, line))
        self._deepest = max(self._deepest, line["depth"] or 0)
        self._draw()

    def say(self, words: str) -> None:
        self._said.append(words)
        self._draw()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *ending: object) -> None:
        self._live.stop()

    def _draw(self) -> None:
        parts = [Text(words, style="dim") for words in self._said]
        if self._rows:
            parts = [*parts, Text(), *self._bars(self._rows[-1][1]), Text()]
            self._live.update(Group(*parts, self._table()), refresh=True)
        else:
            self._live.update(Group(*parts), refresh=True)

    def _bars(self, line: Mapping[str, Any]) -> list[Text]:
        depth, running, configured = (line[key] or 0 for key in ("depth", "running", "configured"))
        filled = round(depth / self._deepest * _BAR)
        return [
            Text.assemble("  jobs     ", ("█" * filled, "yellow"), ("·" * (_BAR - filled), "dim"), f" {depth}"),
            Text.assemble(
                "  workers  ",
                ("■ " * min(running, configured), "green"),
                ("□ " * max(0, configured - running), "cyan"),
                f" {running} of {configured}" if configured else " none",
            ),
        ]

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in ("time", "depth", "configured", "running", "desired"):
            table.add_column(name, justify="right", style="bold" if name == "desired" else "")
        table.add_column("reason")
        table.add_column("decision", overflow="ellipsis", no_wrap=True)
        for at_s, line in self._rows:
            figures = (_figure(line, key) for key in ("depth", "configured", "running", "desired"))
            style = {"applied": "bold green", "failed": "red", "crashed": "red"}.get(line["outcome"], "")
            table.add_row(f"{at_s:.0f} s", *figures, str(line["reason"]), Text(str(line["message"]), style=style))
        return table


def _figure(line: Mapping[str, Any], key: str) -> str:
    return "?" if line[key] is None else str(line[key])
