"""When a worker's schedules are on, and which of them holds at a moment: the first of the list that is on. Pure.

A start is a time by the clock on the wall. Where that clock is changed, Debian cron's rule says which moment it is:

- A line of fixed times (neither its minute nor its hour begins with `*`) begins exactly once. A time that is skipped in
  spring begins at the first moment after the gap; of a time that comes twice in autumn, the first one counts.
- Any other line begins whenever the clock shows such a time: not at all in the gap, and twice in the doubled hour.

From there on, `for` is time that passes, so the end may be at another hour than usual on that day. Starts of one
schedule that overlap make one longer time. All moments are in seconds since the epoch.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from operator import itemgetter
from typing import Any, NamedTuple

from controller.policy import Schedule, WorkerPolicy

DAY_S = 86_400.0
AHEAD_S = 8 * DAY_S
"""How far the end of what holds now is looked for; a schedule of a longer time without a pause has no end."""
_MOST_DAYS = 50 * 366
"""How far the next start is looked for: 29 February on a given day of the week comes once in 28 years, or 40."""
_DAYS_ON = 40
"""Days in a row on which a schedule without a pause is followed; it counts as endless then."""


class OnTime(NamedTuple):
    """From `since` on, and not at `until` any more. until: None: it does not end within the time looked at."""

    since: float
    until: float | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """What holds from `since` to `until`; place: of the schedule in the list. until: None: longer than AHEAD_S."""

    since: float
    until: float | None
    place: int | None = None


_FIRST_STRETCH = -1e18


def in_force(schedules: Sequence[Schedule], now: float) -> Stretch:
    """The stretch that `now` is in; its place is None while no schedule is on."""
    stretches = _of_day(tuple(schedules), int(now // DAY_S))
    return next(one for one in reversed(stretches) if one.since <= now)


@lru_cache(maxsize=128)
def _of_day(schedules: tuple[Schedule, ...], day: int) -> tuple[Stretch, ...]:
    """Those of one day of UTC, in order; the first begins long before it, and the last may end long after.

    Decisions ask for the same day again and again, and a day's answer never changes.
    """
    begins, ends = day * DAY_S, day * DAY_S + DAY_S
    stretches = _between(schedules, begins, ends + DAY_S)
    if stretches[-1].since < ends:  # what holds at the end of the day holds for longer than the next one
        stretches = _between(schedules, begins, ends + AHEAD_S)
    first, *others = [one for one in stretches if one.since < ends]
    return (Stretch(_FIRST_STRETCH, first.until, first.place), *others)


def _between(schedules: Sequence[Schedule], begins: float, horizon: float) -> list[Stretch]:
    on = [list(_on_times(one, begins, horizon)) for one in schedules]
    edges = {edge for times in on for since, until in times for edge in (since, until) if begins < edge <= horizon}
    holds = [(edge, _first_on(on, edge)) for edge in (begins, *sorted(edges))]
    changes = [holds[0], *(after for before, after in pairwise(holds) if before[1] != after[1])]
    untils = [*(edge if edge < horizon else None for edge, _ in changes[1:]), None]
    return [Stretch(edge, until, place) for (edge, place), until in zip(changes, untils, strict=True)]


def limited(policy: WorkerPolicy, place: int | None) -> WorkerPolicy:
    """Without its schedules, and with the limits of the one at that place of the list; None: with its own."""
    limits: dict[str, Any] = {"schedules": ()}
    if place is not None:
        one = policy.schedules[place]
        limits |= {} if one.min_replicas is None else {"min_replicas": one.min_replicas}
        limits |= {} if one.max_replicas is None else {"max_replicas": one.max_replicas}
    return policy.model_copy(update=limits)


def _first_on(on: Sequence[Sequence[tuple[float, float]]], at: float) -> int | None:
    """The times of each schedule are in order and apart, so only the last one that has begun can hold."""
    for place, times in enumerate(on):
        begun = bisect_right(times, at, key=itemgetter(0))
        if begun and at < times[begun - 1][1]:
            return place
    return None


def next_on_times(schedule: Schedule, now: float, count: int) -> list[OnTime]:
    """The next times at which it is on, in order, with the one that has begun; fewer if 50 years have fewer."""
    found: list[OnTime] = []
    since: float | None = None
    until = 0.0
    first = _day_of(schedule, now - _reach(schedule))
    for number in range(_MOST_DAYS):
        for start in starts_on(schedule, first + timedelta(days=number)):
            begin, end = start - schedule.lead, start + schedule.on_for
            if since is not None and begin > until:
                found.append(OnTime(since, until))
                since = None
            if end > now:
                since, until = begin if since is None else since, max(until, end)
        if len(found) >= count:
            return found[:count]
        if since is not None and until - since > _DAYS_ON * DAY_S:
            return [*found, OnTime(since, None)]
    return found if since is None else [*found, OnTime(since, until)]


def on_s(schedules: Sequence[Schedule], since: float, until: float) -> list[float]:
    """By place in the list: for how many seconds each one holds between the two moments."""
    held = [0.0] * len(schedules)
    at = since
    while at < until:
        now = in_force(schedules, at)
        ends = min(until, at + DAY_S if now.until is None else now.until)
        if now.place is not None:
            held[now.place] += ends - at
        at = ends
    return held


def _on_times(schedule: Schedule, since: float, until: float) -> Iterator[tuple[float, float]]:
    """When it is on between the two moments, in order and apart from each other; the last may be cut off."""
    day, last = _day_of(schedule, since - _reach(schedule)), _day_of(schedule, until + schedule.lead)
    begun: float | None = None
    ends = since
    while day <= last:
        for start in starts_on(schedule, day):
            begin, end = start - schedule.lead, start + schedule.on_for
            if begun is not None and begin > ends:
                yield begun, ends
                begun = None
            if end > since and begin < until:
                begun, ends = begin if begun is None else begun, max(ends, end)
        day += timedelta(days=1)
    if begun is not None:
        yield begun, ends


def _reach(schedule: Schedule) -> float:
    """How long before a moment a start may be that the moment is still within."""
    return schedule.on_for + DAY_S  # a day more, because a skipped time begins later than it says


def _day_of(schedule: Schedule, at: float) -> date:
    return datetime.fromtimestamp(at, UTC).astimezone(schedule.zone).date()


def starts_on(schedule: Schedule, day: date) -> tuple[float, ...]:
    """The moments at which it starts by that day's clock, in order."""
    line, zone = schedule.line, schedule.zone
    if day.month not in line.months or not line.matches(day):
        return ()
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    offsets = {at.utcoffset() for at in (midnight, midnight.replace(hour=12), midnight + timedelta(days=1))}
    if len(offsets) == 1:  # the clock is not changed on this day
        begins = midnight.timestamp()
        return tuple(begins + seconds for seconds in line.times)
    found: set[float] = set()
    for seconds in line.times:
        found.update(_moments(midnight.replace(hour=seconds // 3600, minute=seconds % 3600 // 60), once=line.is_fixed))
    return tuple(sorted(found))


def _moments(wall: datetime, *, once: bool) -> Iterator[float]:
    """When the clock on the wall shows this time, on a day on which it is changed."""
    first, second = wall.timestamp(), wall.replace(fold=1).timestamp()
    if second < first:  # it is skipped: `second` is before the gap, and `first` after it
        if once:
            yield _end_of_gap(wall, int(second), int(first))
        return
    yield first
    if second > first and not once:
        yield second


def _end_of_gap(wall: datetime, before: int, after: int) -> float:
    """The first moment of the new offset."""
    zone = wall.tzinfo
    new = datetime.fromtimestamp(after, zone).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == new:
            after = middle
        else:
            before = middle
    return float(after)


def on_words(schedule: Schedule, until: float | None, now: float) -> str:
    """`min_replicas 2 and max_replicas 8 by the schedule 0 8 * * mon-fri, until 18:00 Europe/Berlin`."""
    end = words_until(until, schedule, now)
    return f"{limits_of(schedule)} by the schedule `{schedule.cron}`{f', {end}' if end else ''}"


def told_as(schedules: Sequence[Schedule], now: float) -> str:
    """The schedule that is on, as the record remembers that its begin was told; "": none is on."""
    place = in_force(schedules, now).place if schedules else None
    if place is None:
        return ""
    one = schedules[place]
    return f"{limits_of(one)} by the schedule `{one.cron}` {one.timezone}"


def limits_of(schedule: Schedule) -> str:
    """`min_replicas 2 and max_replicas 8`; only those that it changes."""
    limits = {"min_replicas": schedule.min_replicas, "max_replicas": schedule.max_replicas}
    return " and ".join(f"{key} {count}" for key, count in limits.items() if count is not None)


def words_until(until: float | None, schedule: Schedule, now: float) -> str:
    """`until 18:00 Europe/Berlin`, with the day if that is not within a day; "" if there is no end."""
    if until is None:
        return ""
    form = "%H:%M" if until - now < DAY_S else "%a %d %b %H:%M"
    return f"until {datetime.fromtimestamp(until, UTC).astimezone(schedule.zone).strftime(form)} {schedule.timezone}"
