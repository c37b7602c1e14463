"""How a worker's history changes: what a cycle read, a change recorded, accepted and settled, data given back. Pure.

These functions are the journal's rules, and there is no second copy of them: Redis only keeps what they return, if
nothing else was written meanwhile (see Journal.write). `now` is by the journal's clock, and a new timestamp that equals
it means "when this is written": the journal puts its own time there, so that a cooldown counts from the platform's
answer and not from the reading before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from controller.core.budget import Spent, larger
from controller.core.model import Change, Direction, History, Recommendation, Start
from controller.core.override import Overrides
from controller.core.pauses import looked, with_pauses
from controller.core.ports import CycleNote, Retention, Settled

_LONGEST_START_S = 600.0
"""A longer start is not measured: it waited for something else, such as a build, a plan's limit or an approval."""
_SAME_INSTANT_S = 0.05
"""A timestamp that a process remembers is later than the journal's only if it differs by more than this: the delay of a
network varies."""
_MOST_KEPT = 500
"""Recommendations that are kept; as text they stay far below what is read of one field (bounds.PUBLISHED)."""
_MOST_STARTS = 9
_AFTER = " after "
"""Newest starts whose median is the start time."""


def noted(history: History, note: CycleNote, keep: Retention, now: float) -> History:
    """After a cycle's note of what it read."""
    if note.count is not None and note.running is not None:
        history = with_start(history, note.count, note.running, now, keep.gap)
    return replace(
        history,
        since=now if history.since is None else history.since,
        count=note.count if history.count is None else history.count,
        queue_seen=note.queue_seen or history.queue_seen,
        unconfirmed_stop=None if note.working else history.unconfirmed_stop,
        **({"read_at": now, "unread": 0} if note.read else _one_more_unread(history, keep.gap, now)),
        **({} if note.recommended is None else _recommendation(history, note, keep, now)),
    )


def _one_more_unread(history: History, gap: float, now: float) -> dict[str, Any]:
    last, read_at = history.unread_at or 0.0, history.queue_read_at or 0.0
    goes_on = last > read_at and now - last <= gap
    return {"unread": history.unread + 1 if goes_on else 1, "unread_at": now}


def recorded(history: History, change: Change, now: float) -> History:
    """After a change was recorded, before it is requested: its cooldown starts, and no start is measured any more."""
    previous = history.last_up if change.direction is Direction.UP else history.last_down
    change = replace(change, at=now, previous=previous)
    return replace(history, change=change, start=None, **_scaled_at(change.direction, now))


def accepted(history: History, change: Change, now: float) -> History:
    """After the platform accepted the open change: cooldown and start time count from its answer, which is now."""
    open_one = history.change
    if open_one is None or open_one.id != change.id:
        return history
    start = start_of(change.before, change.after, now)
    change = replace(open_one, accepted_at=now)
    return replace(history, change=change, start=start, **_scaled_at(change.direction, now))


def start_of(before: int, after: int, now: float) -> Start | None:
    """What is measured after the platform accepted a change at `now`; nothing after a scale-down."""
    return Start(now, before, after) if after > before else None


def settled(
    history: History,
    change: Change,
    outcome: Settled,
    count: int,
    now: float,
    *,
    unconfirmed_stop: str = "",
    running: int | None = None,
) -> History:
    """After the open change was closed; unchanged if another change is open by now.

    A change that was never sent or was refused changed nothing, so the cooldown before it counts again. A change that
    may have happened at any time since it was sent counts from now. `running`: instances that run, if the reading is
    newer than the cycle's note.
    """
    was = history.change
    if was is None or was.id != change.id:
        return history
    history = replace(history, count=count, change=None, unconfirmed_stop=unconfirmed_stop or history.unconfirmed_stop)
    if outcome in {Settled.NEVER_SENT, Settled.REFUSED}:
        history = replace(history, **_scaled_at(was.direction, was.previous))
    elif outcome is Settled.NOT_HONOURED or not was.is_accepted:
        history = replace(history, **_scaled_at(was.direction, now))
    if outcome is Settled.REFUSED or (outcome is Settled.NOT_HONOURED and was.is_accepted):
        history = replace(history, refused_at=now, refused_to=was.after, setbacks=history.setbacks + 1)
    elif outcome is Settled.APPLIED:
        history = replace(history, refused_at=None, refused_to=None, setbacks=0)
        history = replace(history, scaled_within=_then_within(history.scaled_within, was.within))
    return history if running is None else with_start(history, count, running, now, math.inf)


def took_turns(history: History, limits: str) -> bool:
    """Whether a policy with these limits made a change, and then one with others did: two replicas, two policies."""
    last, _, earlier = history.scaled_within.partition(_AFTER)
    return last != limits and earlier == limits


def _then_within(before: str, limits: str) -> str:
    if not limits:
        return ""  # of a change by the version before
    last, _, earlier = before.partition(_AFTER)
    return f"{limits}{_AFTER}{earlier if last == limits else last}".removesuffix(_AFTER)


def with_external_change(history: History, count: int, now: float) -> History:
    """After a change that was made outside the controller.

    Both cooldowns start: it was made for a reason, and must not be undone at once.
    """
    return replace(history, last_up=now, last_down=now, count=count, start=None, scaled_within="")


def not_after(history: History, now: float) -> History:
    """Timestamps from the future become `now`.

    After a clock was set back, scaling then waits for one cooldown and not until the clock has caught up.
    """

    def at_most_now(at: float | None) -> float | None:
        return None if at is None else min(at, now)

    change = history.change
    return replace(
        history,
        last_up=at_most_now(history.last_up),
        last_down=at_most_now(history.last_down),
        since=at_most_now(history.since),
        unbroken_since=at_most_now(history.unbroken_since),
        remembered_at=at_most_now(history.remembered_at),
        recommendations=tuple(one for one in history.recommendations if one.at <= now),
        learned_at=at_most_now(history.learned_at),
        load=None if history.load is None else replace(history.load, at=min(history.load.at, now)),
        promise=None if history.promise is None else history.promise.not_after(now),
        refused_at=at_most_now(history.refused_at),
        read_at=at_most_now(history.read_at),
        unread_at=at_most_now(history.unread_at),
        change=None if change is None else replace(change, at=min(change.at, now)),
        overrides=history.overrides.not_after(now),
        spent=None if history.spent is None else history.spent.not_after(now),
    )


class Loss(Enum):
    """What became of a record since this process last saw it, by its identity and its revision.

    NEWER: written since, so it knows more than this process. SAME: not written since. EMPTIED: gone, or begun anew by
    no one yet. ROLLED_BACK: an older state of it came back.
    """

    NEWER = "newer"
    SAME = "same"
    EMPTIED = "emptied"
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True, slots=True)
class Known:
    """What this process remembers of a record.

    up_age, down_age: of the last scale in each direction; change_age: of the open change; overrides_age: since somebody
    set or ended an override. In seconds, by the process's own monotonic clock, so they are true even if the journal's
    clock jumped. overrides, schedule, spent, scaled_within: as they were last seen.
    """

    up_age: float | None = None
    down_age: float | None = None
    count: int | None = None
    change: Change | None = None
    change_age: float = 0.0
    overrides: Overrides = field(default=Overrides())
    overrides_age: float = 0.0
    schedule: str = ""
    spent: Spent | None = None
    scaled_within: str = ""


def given_back(history: History, known: Known | None, loss: Loss, now: float, *, leads: bool = True) -> History:
    """The history with what this process knows and the journal lost. Timestamps only move later by it.

    known: None if this process has seen no state of the record yet. leads: a standby does not replace what another
    process has already given back to an emptied record; the leader does, because it knows its own last change.
    """
    is_lost, replaces = loss in {Loss.EMPTIED, Loss.ROLLED_BACK}, leads or loss is Loss.ROLLED_BACK
    history = replace(history, since=now) if is_lost and replaces else history
    if known is None:
        return history
    if loss is not Loss.NEWER:
        up, down = _later(history.last_up, known.up_age, now), _later(history.last_down, known.down_age, now)
        history = replace(history, last_up=up, last_down=down)
    if is_lost and known.count is not None and (replaces or history.count is None):
        history = replace(history, count=known.count, scaled_within=known.scaled_within)
    if is_lost and min(known.overrides.changed_at, now - known.overrides_age) > history.overrides.changed_at:
        history = replace(history, overrides=known.overrides)
    if is_lost and replaces:
        history = replace(history, schedule=known.schedule)
    if loss is not Loss.NEWER:
        spent = None if known.spent is None else known.spent.not_after(now)
        history = replace(history, spent=larger(spent, history.spent))
    ours, theirs = known.change, history.change
    if is_lost and ours is not None and (replaces or theirs is None):
        # How it was before this change is not known any more, so its cooldown stays even if nothing was sent.
        previous = history.last_up if ours.direction is Direction.UP else history.last_down
        return replace(history, change=replace(ours, at=now - known.change_age, previous=previous))
    if loss is Loss.ROLLED_BACK and leads and ours is None:
        return replace(history, change=None)  # it was settled since
    if ours is not None and theirs is not None and ours.id == theirs.id:
        at = now - known.change_age
        return replace(history, change=replace(theirs, at=at)) if at > theirs.at + _SAME_INSTANT_S else history
    return history


def doubted(history: History, now: float) -> History:
    """After the journal's server restarted or failed over, perhaps with older data: what it lost is unknown."""
    return replace(history, since=now)


def _later(at: float | None, age: float | None, now: float) -> float | None:
    if age is None:
        return at
    return now - age if now - age > (at or 0.0) + _SAME_INSTANT_S else at


def _recommendation(history: History, note: CycleNote, keep: Retention, now: float) -> dict[str, Any]:
    """After a gap, or with a longer window than was kept, the history is unbroken only from now on."""
    assert note.recommended is not None, "only a look with a recommendation is noted"
    last = history.remembered_at
    silent = last is None or now - last > keep.gap
    window = round(keep.window, 3)  # the journal keeps milliseconds, and 29990 of them are 29.990000000000002 s
    unbroken_since = now if silent or window > history.window else history.unbroken_since
    # A pause may be longer than the window, so what it began with stays: at most one entry for each count.
    oldest = -math.inf if keep.most else now - keep.window - keep.gap
    past = list(needed([one for one in history.recommendations if oldest <= one.at <= now])) if keep.window else []
    ended: list[tuple[int, float]] = []
    since = -math.inf if last is None else last
    for look in (*(one for one in note.looks if since < one.at < now), Recommendation(now, note.recommended)):
        ended += looked(past, look, last, keep.most)
    return {
        "unbroken_since": unbroken_since,
        "remembered_at": history.remembered_at if note.is_woken else now,
        "apart_s": history.apart_s if note.is_woken or last is None else now - last,
        "window": window,
        "recommendations": needed(past) if keep.window else (),
        # What happened while nobody looked is unknown.
        "pauses": history.pauses if silent or not ended else with_pauses(history.pauses, ended),
    }


def needed(recommendations: Sequence[Recommendation]) -> tuple[Recommendation, ...]:
    """Those that may still be the highest of a window that ends now or later, oldest and highest first.

    One that is not higher than a later one never decides. So at most max_replicas are kept, however long the window and
    however often the queue is read, and they tell when each worker was last needed.
    """
    kept: list[Recommendation] = []
    highest = -1
    for one in reversed(recommendations):
        if one.replicas > highest:
            kept.append(one)
            highest = one.replicas
    kept.reverse()
    while len(kept) > _MOST_KEPT:
        # Of two neighbours, the higher count at the later time: a worker then stays longer, never shorter.
        pairs = zip(kept[:-1:2], kept[1:-1:2], strict=False)
        kept = [*(Recommendation(later.at, earlier.replicas) for earlier, later in pairs), *kept[len(kept) % 2 - 2 :]]
    return tuple(kept)


def thinned(looks: Sequence[Recommendation]) -> tuple[Recommendation, ...]:
    """Those of the looks since the last poll that can matter: when each worker was first needed, and when last."""
    last, first, highest = set(needed(looks)), [], -1
    for look in looks:
        if look.replicas > highest or look in last:
            first.append(look)
        highest = max(highest, look.replicas)
    return tuple(first[-_MOST_KEPT:])


def with_start(history: History, count: int, running: int, now: float, gap: float) -> History:
    """Measures how long a scale-up takes; dropped if the count changed or no reading came for `gap` seconds."""
    if history.start is None:
        return history
    start, took = timed(history.start, count, running, now, gap)
    if took is not None:
        return replace(history, start=None, start_ups=with_took(history.start_ups, took))
    return history if start is history.start else replace(history, start=start)


def timed(start: Start, count: int, running: int, now: float, gap: float) -> tuple[Start | None, float | None]:
    """The measurement after a reading, and how long the start took; None: it goes on, or is dropped."""
    took, silent = now - start.at, now - max(start.at, start.seen or 0.0) > gap
    if took < 0 or took >= _LONGEST_START_S or silent or count not in {start.before, start.after}:
        return None, None
    if count != start.after or running < start.after:
        return Start(start.at, start.before, start.after, now), None
    return None, None if start.seen is None else took


def with_took(start_ups: tuple[float, ...], took: float) -> tuple[float, ...]:
    """With one start more, as the newest."""
    return (*start_ups, round(took, 3))[-_MOST_STARTS:]


def _scaled_at(direction: Direction, at: float | None) -> dict[str, Any]:
    return {"last_up": at} if direction is Direction.UP else {"last_down": at}
