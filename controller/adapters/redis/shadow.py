"""What this process remembers of the journal, in its own time: given back to a Redis that lost it.

A stamp is anchored to this machine's monotonic clock when it is first seen. A Redis that comes back empty or with older
data, or whose clock jumped, is told the ages again, and every stamp can only move later by that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_WAY_S = 2.0
"""A stamp that moved by less than a way to Redis may take is the same event, told by somebody else."""

INTENT = ("intent", "intent_epoch", "intent_before", "intent_after")


@dataclass(frozen=True, slots=True)
class _Anchor:
    """A stamp as Redis wrote it, and when that was at the earliest by our clock."""

    stamp: int
    at: float

    def age_ms(self, now: float) -> str:
        return f"{max(0.0, now - self.at) * 1000:.0f}"


class Shadow:
    """One worker's memory, as last seen."""

    def __init__(self) -> None:
        self._memory = ""
        self._revision = 0
        self._count = ""
        self._up: _Anchor | None = None
        self._down: _Anchor | None = None
        self._intent: tuple[str, ...] = ()
        self._intent_at: _Anchor | None = None
        self._accepted = "0"
        self._stops = ""

    def note(self, fields: Mapping[str, str], redis_now: int, asked_at: float) -> None:
        """`asked_at`: this process' monotonic time right before the question that Redis answered at `redis_now`."""
        if "memory" not in fields:
            return  # emptied: what we know is all there is
        same, revision = fields["memory"] == self._memory, int(fields.get("revision", "0"))
        if same and revision < self._revision:
            return  # rolled back, or an answer that was overtaken
        written = same and revision > self._revision
        self._up = _moved(self._up, fields.get("last_up"), redis_now, asked_at, written=written)
        self._down = _moved(self._down, fields.get("last_down"), redis_now, asked_at, written=written)
        self._memory, self._revision, self._count = fields["memory"], revision, fields.get("count", "")
        intent = tuple(fields[name] for name in INTENT) if fields.get("intent") else ()
        known = self._intent_at if intent == self._intent else None
        self._intent, self._accepted = intent, fields.get("intent_accepted", "0")
        self._stops = fields.get("intent_stops", "")
        self._intent_at = _moved(known, fields.get("intent_at"), redis_now, asked_at, written=False) if intent else None

    def evidence(self, now: float) -> list[str]:
        """All of it, in the order in which the scripts take it; ages in milliseconds, '' where nothing is known."""
        ages = [anchor.age_ms(now) if anchor else "" for anchor in (self._up, self._down)]
        told = (
            [*self._intent, self._intent_at.age_ms(now), self._accepted, self._stops] if self._intent_at else [""] * 7
        )
        return [self._memory, str(self._revision), *ages, self._count, *told]


def _moved(
    known: _Anchor | None, text: str | None, redis_now: int, asked_at: float, *, written: bool
) -> _Anchor | None:
    """`written`: somebody wrote this memory since, so that a stamp that went back was given back."""
    if not text:
        return None if written else known
    stamp = int(text)
    # A stamp from the future (the clock was set back) is of now: told again and again as new, it would never grow old.
    new = _Anchor(stamp, asked_at - max(0, redis_now - stamp) / 1000)
    if known is None or (stamp < known.stamp and written):
        return new
    if stamp > known.stamp:
        return new if written or new.at > known.at + _WAY_S else _Anchor(stamp, known.at)
    return known
