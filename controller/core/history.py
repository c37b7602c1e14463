"""How a worker's history changes after a cycle's note, a settled change and an external change. Pure.

Redis takes the same steps in its Lua scripts, because there they are atomic with the check of the lease; a test holds
the two equal. These functions serve the callers that must not write: `explain` and a dry run. `now` is by the journal's
clock.
"""

from __future__ import annotations

from dataclasses import replace

from controller.core.model import History, Intent, Recommendation
from controller.core.ports import CycleNote, Retention, Settled

_LONGEST_START_S = 600.0
"""A longer start is not measured: it waited for something else, such as a build, a plan's limit or an approval."""


def remembered(history: History, note: CycleNote, keep: Retention, now: float) -> History:
    """After a cycle's note of what it read."""
    history = _from_now_on(history, now)
    since = now if history.since is None else history.since
    count = note.count if history.count is None else history.count
    history = replace(history, since=since, count=count)
    history = replace(history, queue_seen=note.queue_seen or history.queue_seen)
    if note.working:
        history = replace(history, unconfirmed_stop=None)
    if note.count is not None and note.running is not None:
        history = _timed(history, note.count, note.running, now, keep.gap)
    if not note.read:
        last, read_at = history.unread_at or 0.0, history.queue_read_at or 0.0
        goes_on = last > read_at and now - last <= keep.gap
        return replace(history, unread=history.unread + 1 if goes_on else 1, unread_at=now)
    if note.recommended is None:
        return replace(history, read_at=now, unread=0)
    history = history.carried_on(now, window=keep.window, gap=keep.gap)
    kept = [one for one in history.recommendations if now - keep.window - keep.gap <= one.at <= now]
    new = [Recommendation(now, note.recommended)] if keep.window else []
    return replace(history, recommendations=(*kept, *new), remembered_at=now, window=keep.window, unread=0)


def settled(
    history: History, intent: Intent, outcome: Settled, count: int, now: float, *, unconfirmed_stop: str
) -> History:
    """After the open intent was closed; unchanged if another intent is open by now."""
    if history.intent is None or history.intent.id != intent.id:
        return history
    was, field = history.intent, f"last_{intent.direction.value}"
    history = replace(history, count=count, intent=None, unconfirmed_stop=unconfirmed_stop or history.unconfirmed_stop)
    if outcome in {Settled.NEVER_SENT, Settled.REFUSED}:
        history = _stamped(history, field, was.previous)
    elif outcome is Settled.NOT_HONOURED or not was.accepted:
        history = _stamped(history, field, now)
    if outcome is Settled.REFUSED or (outcome is Settled.NOT_HONOURED and was.accepted):
        return replace(history, refused_at=now, refused_to=was.after, setbacks=history.setbacks + 1)
    if outcome is Settled.APPLIED:
        return replace(history, refused_at=None, refused_to=None, setbacks=0)
    return history


def with_external_change(history: History, count: int, now: float) -> History:
    """After a change that was made outside the controller: both cooldowns start."""
    return replace(history, last_up=now, last_down=now, count=count, start=None)


def _from_now_on(history: History, now: float) -> History:
    """Timestamps from the future become `now`.

    After a clock was set back, scaling then waits for one cooldown and not until the clock has caught up.
    """

    def at_most_now(at: float | None) -> float | None:
        return None if at is None else min(at, now)

    intent = history.intent
    return replace(
        history,
        last_up=at_most_now(history.last_up),
        last_down=at_most_now(history.last_down),
        since=at_most_now(history.since),
        unbroken_since=at_most_now(history.unbroken_since),
        remembered_at=at_most_now(history.remembered_at),
        refused_at=at_most_now(history.refused_at),
        read_at=at_most_now(history.read_at),
        unread_at=at_most_now(history.unread_at),
        intent=None if intent is None else replace(intent, at=min(intent.at, now)),
    )


def _timed(history: History, count: int, running: int, now: float, gap: float) -> History:
    """Measures how long a scale-up takes; dropped if the count changed or no reading came for `gap` seconds."""
    start = history.start
    if start is None:
        return history
    took, silent = now - start.at, now - max(start.at, start.seen or 0.0) > gap
    if took < 0 or took >= _LONGEST_START_S or silent or count not in {start.before, start.after}:
        return replace(history, start=None)
    if count != start.after or running < start.after:
        return replace(history, start=replace(start, seen=now))
    if start.seen is None:
        return replace(history, start=None)
    known = history.start_up_s
    smoothed = took if known is None else 0.7 * known + 0.3 * took
    return replace(history, start=None, start_up_s=round(smoothed, 3))


def _stamped(history: History, field: str, at: float | None) -> History:
    return replace(history, last_up=at) if field == "last_up" else replace(history, last_down=at)
