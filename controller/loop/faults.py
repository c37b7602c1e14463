"""What fails, since when, and how often the log says so: at once, then at a slow beat, and once when it is over.

Pure: time is an argument, so that an outage of hours is a table in a test.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from controller.core.model import Reason, Remark
from controller.core.ports import Source
from controller.core.units import in_words
from controller.loop.cycle import CONTROLLER, Cycle, Outcome

REPEAT_S = 60.0
"""A trouble that goes on is said this often, however short the interval is."""

CONDITIONS: Mapping[str, str] = {
    Reason.WORKERS_CRASH.value: "a worker runs again, or was stopped,",
    Reason.WORKERS_EXITED.value: "workers stay, or none is wanted,",
    Reason.WORKERS_MISSING.value: "as many workers run as are configured",
    Reason.DEPLOYMENT_HANGS.value: "the deployment is through, or gone,",
    Reason.NO_PROGRESS.value: "jobs are taken again, none is ready, or a new deployment began,",
}
"""Faults of one worker's service, by name, and what is said when they are over."""

_MANY = 100
"""Kinds of trouble remembered within one stretch: a bug that words itself anew each time must not fill the memory."""
_HOLDS_S = 3600.0
"""A remark that was gone for less is the same one."""
_STRETCH_SAID_AGAIN_S = 3600.0
_STRETCH_OVER_S = 600.0
_FIGURES = re.compile(r"\d[\d.,]*\+?(?: ?(?:ms|min|s|m|h)\b)?")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")


def failing_after(before: Mapping[str, float], cycle: Cycle, at: float) -> dict[str, float]:
    """What fails by this cycle's account, and since when; `at` is the cycle's time, by whichever clock `before` goes.

    Only a cycle that heard from it ends a trouble: while PostgreSQL is down nobody knows whether Redis came back.
    """
    after = {name: since for name, since in before.items() if not _is_heard_from(name, cycle)}
    if cycle.fault is not None:
        after[cycle.fault.source] = before.get(cycle.fault.source, at)
    for condition in cycle.degrading:
        name = condition.reason.value
        after[name] = before.get(name, at - condition.lasted_s)
    return after


def _is_heard_from(name: str, cycle: Cycle) -> bool:
    """Whether this cycle had a successful call to that dependency, or otherwise shows that the fault is over."""
    if name in CONDITIONS:
        return cycle.conditions is not None
    if name == CONTROLLER:
        return cycle.outcome is not Outcome.CRASHED
    return name in cycle.answered


class Throttle:
    """Tells apart what is new from what was said less than REPEAT_S ago."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, float]] = {}

    def lasted(self, trouble: str, now: float) -> float | None:
        """For how many seconds it has gone on, 0 where it is new; None where it is too early to say it again."""
        began, said = self._said.pop(trouble, (now, None))
        if said is not None and now - said < REPEAT_S:
            self._said[trouble] = (began, said)
            return None
        self._said[trouble] = (began, now)
        if len(self._said) > _MANY:
            del self._said[next(iter(self._said))]
        return now - began

    def over(self) -> None:
        self._said.clear()


class Said:
    """Remarks that were made; each is made once for as long as it holds, whatever its figures are meanwhile."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], float] = {}

    def new(self, remarks: Iterable[Remark], now: float) -> list[Remark]:
        """Those that were not made within the last hour in which they held; `now` is monotonic."""
        found = []
        for remark in remarks:
            key = remark.about, _FIGURES.sub("0", remark.text)
            last = self._last.pop(key, None)
            self._last[key] = now
            if last is None or now - last > _HOLDS_S:
                found.append(remark)
            if len(self._last) > _MANY:
                del self._last[next(iter(self._last))]
        return found


class Stretch:
    """Tells when the log hears that cycles are stretched, because the platform's requests run out; `now` is monotonic.

    At once, again where they have become twice as rare, and once an hour; and when nothing was stretched for 10 min.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._last = self._said_at = -math.inf
        self._said_pace = 0.0

    def is_news(self, pace: float, interval: float, now: float) -> bool:
        """Whether it is to be said that the next cycle comes only after `pace` seconds."""
        if pace <= interval:
            return False
        begins = self._since is None
        self._since = now if self._since is None else self._since
        self._last = now
        if not begins and pace < 2 * self._said_pace and now - self._said_at < _STRETCH_SAID_AGAIN_S:
            return False
        self._said_pace, self._said_at = pace, now
        return True

    def ended(self, now: float) -> float | None:
        """For how many seconds it went on, where it is to be said that it is over."""
        if self._since is None or now - self._last < _STRETCH_OVER_S:
            return None
        lasted, self._since = self._last - self._since, None
        return lasted


class Recovery(NamedTuple):
    """What answers again, after how many seconds."""

    name: str
    lasted: float

    @property
    def sentence(self) -> str:
        again = "cycles end well again" if self.name == CONTROLLER else f"{self.name} answers again"
        again = CONDITIONS.get(self.name, again)
        return f"{again} after {in_words(self.lasted)}"


class CycleLogger:
    """What the log is told of one worker's cycles; `now` is monotonic."""

    def __init__(self) -> None:
        self._failing: dict[str, float] = {}
        self._lines = Throttle()
        self._bugs = Throttle()

    def line(self, cycle: Cycle, now: float) -> dict[str, Any] | None:
        """The cycle's line; None for a failed or crashed one that ends as the one before did, between two beats."""
        if cycle.outcome not in {Outcome.FAILED, Outcome.CRASHED}:
            self._lines.over()
            self._bugs.over()
            return cycle.line()
        lasted = self._lines.lasted(cycle.reason, now)
        if lasted is None:
            return None
        return {**cycle.line(), "message": f"{cycle.message}, for {in_words(lasted)}" if lasted else cycle.message}

    def is_new(self, bug: Exception, now: float) -> bool:
        """Whether its traceback is worth a place in the log: it is another one, or was not shown for a beat."""
        return self._bugs.lasted(_ADDRESS.sub("0x…", repr(bug)), now) is not None

    def recovered(self, cycle: Cycle, now: float) -> list[Recovery]:
        """What failed before this cycle and answered in it."""
        before, self._failing = self._failing, failing_after(self._failing, cycle, now)
        return [Recovery(name, now - since) for name, since in before.items() if name not in self._failing]

    def stood_aside(self, journal: Source, now: float) -> list[Recovery]:
        """Another replica leads, so that the journal answers; what else failed is that one's to say."""
        since = self._failing.get(journal.name)
        self._failing = {}
        self._lines.over()
        self._bugs.over()
        return [] if since is None else [Recovery(journal.name, now - since)]
