"""A copy of a record in this process, which is given back to a Redis that has lost data.

A timestamp is tied to this machine's monotonic clock when it is first seen. If Redis comes back empty or with older
data, or if its clock jumped, the ages are still known here. See core/history.py for what is given back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.adapters.redis.record import Stored, history_of, number
from controller.core.budget import Spent, larger
from controller.core.history import Known, Loss
from controller.core.model import Change, History
from controller.core.override import Overrides

_ROUND_TRIP_S = 2.0
"""A stamp that moved by less than this (a round trip to Redis) is the same event, written back by another process."""


@dataclass(frozen=True, slots=True)
class _Anchor:
    """stamp: as Redis wrote it, in ms. at: the earliest moment that it can stand for, by our monotonic clock."""

    stamp: int
    at: float

    def age(self, now: float) -> float:
        return max(0.0, now - self.at)


class Shadow:
    """The last seen state of one record."""

    def __init__(self) -> None:
        self._memory = ""
        self._read: tuple[Mapping[str, str], History] = {}, History()
        self._up: _Anchor | None = None
        self._down: _Anchor | None = None
        self._count: int | None = None
        self._change: Change | None = None
        self._change_at: _Anchor | None = None
        self._overrides = Overrides()
        self._overrides_at: _Anchor | None = None
        self._schedule = ""
        self._spent: Spent | None = None
        self._scaled_within = ""
        self.revision = 0
        """The highest revision that was seen of this memory."""

    def history_in(self, fields: Mapping[str, str]) -> History:
        """What a record holds. It is parsed only if it has changed, because a standby looks every second.

        Raises:
            ValueError, KeyError: a field is not what a controller writes.
        """
        if fields != self._read[0]:
            self._read = fields, history_of(fields)
        return self._read[1]

    def note(self, fields: Mapping[str, str], redis_now: int, asked_at: float) -> None:
        """Stores what Redis holds. redis_now: its time in ms; asked_at: our monotonic time right before the request.

        Raises:
            ValueError, KeyError: a field is not what a controller writes.
        """
        if "memory" not in fields:
            self._note_what_others_gave_back(self.history_in(fields), redis_now, asked_at)
            return
        same, revision = fields["memory"] == self._memory, number(fields.get("revision", "0"))
        if same and revision < self.revision:
            return  # Redis was rolled back, or a newer answer was processed first
        history = self.history_in(fields)
        written = same and revision > self.revision
        self._up = _updated(self._up, fields.get("last_up"), redis_now, asked_at, written=written)
        self._down = _updated(self._down, fields.get("last_down"), redis_now, asked_at, written=written)
        self._memory, self.revision, self._count = fields["memory"], revision, history.count
        self._schedule, self._spent, self._scaled_within = history.schedule, history.spent, history.scaled_within
        self._note_overrides(history.overrides, redis_now, asked_at)
        change, before = history.change, self._change
        known = self._change_at if change is not None and before is not None and change.id == before.id else None
        self._change = change
        self._change_at = (
            _updated(known, fields["intent_at"], redis_now, asked_at, written=False) if change is not None else None
        )

    def _note_what_others_gave_back(self, history: History, redis_now: int, asked_at: float) -> None:
        """Redis was emptied. Our copy stays, but a process that knew more may have spent more, or an operator came."""
        self._spent = larger(self._spent, history.spent)
        if history.overrides.changed_at > self._overrides.changed_at:
            self._note_overrides(history.overrides, redis_now, asked_at)

    def _note_overrides(self, overrides: Overrides, redis_now: int, asked_at: float) -> None:
        self._overrides, changed_at = overrides, round(1000 * overrides.changed_at)
        if not changed_at:
            self._overrides_at = None
        elif self._overrides_at is None or self._overrides_at.stamp != changed_at:
            self._overrides_at = _anchor(changed_at, redis_now, asked_at)

    def known(self, now: float) -> Known | None:
        """The copy, with ages by our monotonic clock; None: no state of the record was seen yet."""
        if not self._memory:
            return None
        up, down = (anchor.age(now) if anchor else None for anchor in (self._up, self._down))
        age, changed = (anchor.age(now) if anchor else 0.0 for anchor in (self._change_at, self._overrides_at))
        copy = self._schedule, self._spent, self._scaled_within
        return Known(up, down, self._count, self._change, age, self._overrides, changed, *copy)

    def loss_of(self, stored: Stored) -> Loss:
        """What became of the record, compared with the copy."""
        if not stored.exists:
            return Loss.EMPTIED
        if stored.fields["memory"] != self._memory or stored.revision == self.revision:
            return Loss.SAME
        return Loss.ROLLED_BACK if stored.revision < self.revision else Loss.NEWER


def _updated(
    known: _Anchor | None, text: str | None, redis_now: int, asked_at: float, *, written: bool
) -> _Anchor | None:
    """The new anchor of a stamp. written: the record was written since, so an earlier stamp was restored on purpose."""
    if not text:
        return None if written else known
    stamp = number(text)
    new = _anchor(stamp, redis_now, asked_at)
    if known is None or (stamp < known.stamp and written):
        return new
    if stamp > known.stamp:
        return new if written or new.at > known.at + _ROUND_TRIP_S else _Anchor(stamp, known.at)
    return known


def _anchor(stamp: int, redis_now: int, asked_at: float) -> _Anchor:
    # A stamp from the future (Redis' clock was set back) counts as now; taken as new each time, it would never get old.
    return _Anchor(stamp, asked_at - max(0, redis_now - stamp) / 1000)
