"""What fails and since when, and how often the log repeats it: at once, then every REPEAT_S, and once at its end.

A fault has a name: the dependency, CONTROLLER, or the reason of a fault of one worker's service. Pure: time is an
argument, so that an outage of hours is a table in a test.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from controller.core.model import Remark
from controller.core.ports import Source
from controller.core.reasons import Reason
from controller.core.units import in_words
from controller.loop.cycle import CONTROLLER, Cycle, Outcome

REPEAT_S = 60.0
"""A fault that lasts is logged this often, however short the interval is."""

CONDITIONS: Mapping[str, str] = {
    Reason.WORKERS_CRASH.value: "a worker runs again, or was stopped,",
    Reason.WORKERS_EXITED.value: "workers stay up, or none is wanted,",
    Reason.WORKERS_MISSING.value: "as many workers run as are configured, or it is known why not,",
    Reason.DEPLOYMENT_HANGS.value: "the deployment finished, or is gone,",
    Reason.NO_PROGRESS.value: "jobs are taken again, none is ready, or a new deployment began,",
}
"""Faults of one worker's service, by name, and the beginning of the log's sentence when they are over."""

_MANY = 100
"""Kinds of faults, and remarks, that are remembered: a bug whose text differs each time must not fill the memory."""
_SAME_REMARK_S = 3600.0
"""A remark that comes back after less than this is the same one, and is not logged again."""
_STRETCH_SAID_AGAIN_S = 3600.0
_STRETCH_OVER_S = 600.0
_FIGURES = re.compile(r"\d[\d.,]*\+?(?: ?(?:ms|min|s|m|h)\b)?")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")


def failing_after(before: Mapping[str, float], cycle: Cycle, at: float) -> dict[str, float]:
    """What fails after this cycle, by name, and since when; `at` is the cycle's time, by the clock of `before`.

    A fault clears only after a successful call to that dependency: a cycle that failed on PostgreSQL does not tell
    whether Redis answers again.
    """
    after = {name: since for name, since in before.items() if not is_heard_from(name, cycle)}
    if cycle.fault is not None:
        after[cycle.fault.source] = before.get(cycle.fault.source, at)
    elif cycle.outcome in {Outcome.FAILED, Outcome.CRASHED}:
        after[CONTROLLER] = before.get(CONTROLLER, at)  # whatever it was: such a cycle never leaves /health healthy
    for condition in cycle.degrading:
        name = condition.reason.value
        after[name] = before.get(name, at - condition.lasted_s)
    return after


def is_heard_from(name: str, cycle: Cycle) -> bool:
    """Whether this cycle had a successful call to that dependency, or otherwise shows that the fault is over."""
    if name in CONDITIONS:
        return cycle.conditions is not None
    if name == CONTROLLER:
        return cycle.outcome is not Outcome.CRASHED
    return name in cycle.answered


class Throttle:
    """Lets each kind of fault through at once, and then once every REPEAT_S for as long as it lasts."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, float]] = {}
        """By kind: when it began, and when it was let through last."""

    def lasted(self, kind: str, now: float) -> float | None:
        """Seconds since it began, 0 if it is new; None if it was let through less than REPEAT_S ago."""
        began, said = self._said.pop(kind, (now, None))
        if said is not None and now - said < REPEAT_S:
            self._said[kind] = (began, said)
            return None
        self._said[kind] = (began, now)
        if len(self._said) > _MANY:
            del self._said[next(iter(self._said))]
        return now - began

    def over(self) -> None:
        """All faults have ended; the next one of any kind is new."""
        self._said.clear()


class RemarkThrottle:
    """Lets each remark through once for as long as it holds, even if the figures in its text change."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], float] = {}

    def new(self, remarks: Iterable[Remark], now: float) -> list[Remark]:
        """Those that were not made within the last _SAME_REMARK_S; `now` is monotonic."""
        found = []
        for remark in remarks:
            key = remark.about, _FIGURES.sub("0", remark.text)
            last = self._last.pop(key, None)
            self._last[key] = now
            if last is None or now - last > _SAME_REMARK_S:
                found.append(remark)
            if len(self._last) > _MANY:
                del self._last[next(iter(self._last))]
        return found


class Stretch:
    """When to log that cycles are stretched, because the platform's requests run out; `now` is monotonic.

    At once, again if the pace has doubled, and once an hour; and when no cycle was stretched for 10 min.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._last = self._said_at = -math.inf
        self._said_pace = 0.0

    def is_news(self, pace: float, interval: float, now: float) -> bool:
        """Whether to log that the next cycle comes only after `pace` seconds."""
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
        """Seconds that it lasted, if it is time to log that it is over; None otherwise."""
        if self._since is None or now - self._last < _STRETCH_OVER_S:
            return None
        lasted, self._since = self._last - self._since, None
        return lasted


class Recovery(NamedTuple):
    """What fails no longer, and how many seconds it failed."""

    name: str
    lasted: float

    @property
    def sentence(self) -> str:
        again = "cycles succeed again" if self.name == CONTROLLER else f"{self.name} answers again"
        again = CONDITIONS.get(self.name, again)
        return f"{again} after {in_words(self.lasted)}"


def kind_of_bug(bug: Exception) -> str:
    """The same for two that differ only in where in memory their objects lie."""
    return _ADDRESS.sub("0x…", repr(bug))


class CycleLogger:
    """What to log of one worker's cycles; `now` is monotonic."""

    def __init__(self) -> None:
        self._failing: dict[str, float] = {}
        self._lines = Throttle()
        self._bugs = Throttle()

    def line(self, cycle: Cycle, now: float) -> dict[str, Any] | None:
        """The cycle's line; None if it failed or crashed for a reason that was logged less than REPEAT_S ago."""
        if cycle.outcome not in {Outcome.FAILED, Outcome.CRASHED}:
            self._lines.over()
            self._bugs.over()
            return cycle.line()
        lasted = self._lines.lasted(cycle.reason, now)
        if lasted is None:
            return None
        return {**cycle.line(), "message": f"{cycle.message}, for {in_words(lasted)}" if lasted else cycle.message}

    def is_new(self, bug: Exception, now: float) -> bool:
        """Whether to log its traceback: it is another bug, or was last logged REPEAT_S ago or more."""
        return self._bugs.lasted(kind_of_bug(bug), now) is not None

    def recovered(self, cycle: Cycle, now: float) -> list[Recovery]:
        """What failed before this cycle and fails no longer."""
        before, self._failing = self._failing, failing_after(self._failing, cycle, now)
        return [Recovery(name, now - since) for name, since in before.items() if name not in self._failing]

    def stood_aside(self, journal: Source, now: float) -> list[Recovery]:
        """Another replica leads, so that the journal answers; other faults are now for the leader to log."""
        since = self._failing.get(journal.name)
        self._failing = {}
        self._lines.over()
        self._bugs.over()
        return [] if since is None else [Recovery(journal.name, now - since)]
