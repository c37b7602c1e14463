"""What happened, in order, for people: time, process, event. Kept as values; formatted only when it is printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.virtual.loop import Kernel


class Entry(NamedTuple):
    at: float
    who: str
    what: str
    detail: str


@dataclass
class Trace:
    kernel: Kernel
    entries: list[Entry] = field(default_factory=list)

    def note(self, who: str, what: str, detail: str = "") -> None:
        self.entries.append(Entry(self.kernel.now, who, what, detail))

    def lines(self) -> Iterator[str]:
        for entry in self.entries:
            yield f"{entry.at:9.3f}  {entry.who:<9} {entry.what:<11} {_readable(entry.detail)}".rstrip()


@dataclass
class LogStream:
    """Where a simulated controller's log goes: into the trace."""

    trace: Trace
    who: str

    def write(self, text: str) -> int:
        if text != "\n":
            self.trace.note(self.who, "log", text)
        return len(text)

    def flush(self) -> None:
        pass


def _readable(detail: str) -> str:
    if not detail.startswith("{"):
        return detail
    line = json.loads(detail)
    if line["event"] != "reconcile":
        fields = " ".join(f"{key}={value}" for key, value in line.items() if key not in {"at", "event", "message"})
        return f"{line['event']}: {line.get('message', '')} {fields}"
    return (
        f"{line['outcome']}: {line['message']} (epoch {line['epoch']}, depth {line['depth']}, "
        f"configured {line['configured']}, running {line['running']}, {line['reason']})"
    )
