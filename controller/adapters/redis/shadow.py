"""A copy of the journal in this process, which is written back to a Redis that has lost data.

A stamp is tied to this machine's monotonic clock when it is first seen. If Redis comes back empty or with older data,
or if its clock jumped, the scripts get the ages again. A stamp can only move later by that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_ROUND_TRIP_S = 2.0
"""A stamp that moved by less than this (a round trip to Redis) is the same event, written back by another process."""

INTENT = ("intent", "intent_epoch", "intent_before", "intent_after")


@dataclass(frozen=True, slots=True)
class _Anchor:
    """stamp: as Redis wrote it, in ms. at: the earliest moment that it can stand for, by our monotonic clock."""

    stamp: int
    at: float

    def age_ms(self, now: float) -> str:
        return f"{max(0.0, now - self.at) * 1000:.0f}"


class Shadow:
    """The last seen state of one worker."""

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
        """Stores what Redis holds. redis_now: its time in ms; asked_at: our monotonic time right before the request."""
        if "memory" not in fields:
            return  # Redis was emptied: keep our copy
        same, revision = fields["memory"] == self._memory, int(fields.get("revision", "0"))
        if same and revision < self._revision:
            return  # Redis was rolled back, or a newer answer was processed first
        written = same and revision > self._revision
        self._up = _updated(self._up, fields.get("last_up"), redis_now, asked_at, written=written)
        self._down = _updated(self._down, fields.get("last_down"), redis_now, asked_at, written=written)
        self._memory, self._revision, self._count = fields["memory"], revision, fields.get("count", "")
        intent = tuple(fields[name] for name in INTENT) if fields.get("intent") else ()
        known = self._intent_at if intent == self._intent else None
        self._intent, self._accepted = intent, fields.get("intent_accepted", "0")
        self._stops = fields.get("intent_stops", "")
        self._intent_at = (
            _updated(known, fields.get("intent_at"), redis_now, asked_at, written=False) if intent else None
        )

    def evidence(self, now: float) -> list[str]:
        """The copy as script arguments, in their order; ages in milliseconds, '' if unknown."""
        ages = [anchor.age_ms(now) if anchor else "" for anchor in (self._up, self._down)]
        intent = (
            [*self._intent, self._intent_at.age_ms(now), self._accepted, self._stops] if self._intent_at else [""] * 7
        )
        return [self._memory, str(self._revision), *ages, self._count, *intent]


def _updated(
    known: _Anchor | None, text: str | None, redis_now: int, asked_at: float, *, written: bool
) -> _Anchor | None:
    """The new anchor of a stamp. written: the record was written since, so an earlier stamp was restored on purpose."""
    if not text:
        return None if written else known
    stamp = int(text)
    # A stamp from the future (Redis' clock was set back) counts as now; taken as new each time, it would never get old.
    new = _Anchor(stamp, asked_at - max(0, redis_now - stamp) / 1000)
    if known is None or (stamp < known.stamp and written):
        return new
    if stamp > known.stamp:
        return new if written or new.at > known.at + _ROUND_TRIP_S else _Anchor(stamp, known.at)
    return known
