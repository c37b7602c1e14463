"""When schedules are on, also where a zone's clock is changed; the first of the list that is on holds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from cronsim import CronSim
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from controller.core.schedule import AHEAD_S, DAY_S, OnTime, in_force, next_on_times, on_s, starts_on, words_until
from controller.policy import Schedule

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
CHANGES = {
    "Berlin in spring, 02:00 to 03:00": (BERLIN, "2026-03-29"),
    "Berlin in autumn, 03:00 to 02:00": (BERLIN, "2026-10-25"),
    "New York in spring, 02:00 to 03:00": (NEW_YORK, "2026-03-08"),
    "New York in autumn, 02:00 to 01:00": (NEW_YORK, "2026-11-01"),
    "Lord Howe in spring, 02:00 to 02:30": (LORD_HOWE, "2026-10-04"),
    "Lord Howe in autumn, 02:00 to 01:30": (LORD_HOWE, "2026-04-05"),
    "Beirut, 00:00 to 01:00": ("Asia/Beirut", "2026-03-29"),
    "Havana, 01:00 to 00:00": ("America/Havana", "2026-11-01"),
    "Santiago, 24:00 to 23:00": ("America/Santiago", "2026-04-04"),
    "Troll, 01:00 to 03:00": ("Antarctica/Troll", "2026-03-29"),
    "a day without a change": (BERLIN, "2026-06-01"),
}


def schedule(cron: str, zone: str = "UTC", on_for: str = "1h", **more: Any) -> Schedule:
    limits = more or {"min_replicas": 1}
    return Schedule.model_validate({"cron": cron, "for": on_for, "timezone": zone, **limits})


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%d %H:%M")


@dataclass(frozen=True)
class Starts:
    """On that day of the zone, the line begins at these moments of UTC (day and time)."""

    zone: str
    day: str
    cron: str
    moments: tuple[str, ...]


STARTS = {
    "Berlin in spring: a fixed time in the gap begins when the gap ends": Starts(
        BERLIN, "2026-03-29", "30 2 * * *", ("29 01:00",)
    ),
    "Berlin in spring: two fixed times in the gap begin together": Starts(
        BERLIN, "2026-03-29", "10,50 2 * * *", ("29 01:00",)
    ),
    "Berlin in spring: 03:00 itself is 03:00": Starts(BERLIN, "2026-03-29", "0 3 * * *", ("29 01:00",)),
    "Berlin in spring: a line with a star has no start in the gap": Starts(BERLIN, "2026-03-29", "*/30 2 * * *", ()),
    "Berlin in spring: the hour after the gap is there": Starts(
        BERLIN, "2026-03-29", "*/30 3 * * *", ("29 01:00", "29 01:30")
    ),
    "Berlin in autumn: a fixed time in the doubled hour begins once, the first time": Starts(
        BERLIN, "2026-10-25", "30 2 * * *", ("25 00:30",)
    ),
    "Berlin in autumn: a line with a star begins in both hours": Starts(
        BERLIN, "2026-10-25", "*/30 2 * * *", ("25 00:00", "25 00:30", "25 01:00", "25 01:30")
    ),
    "Berlin in autumn: 08:00 is by the new clock": Starts(BERLIN, "2026-10-25", "0 8 * * *", ("25 07:00",)),
    "New York in spring: a fixed time in the gap begins when the gap ends": Starts(
        NEW_YORK, "2026-03-08", "30 2 * * *", ("08 07:00",)
    ),
    "New York in spring: a line with a star has no start in the gap": Starts(
        NEW_YORK, "2026-03-08", "*/20 2 * * *", ()
    ),
    "New York in autumn: a fixed time in the doubled hour begins once": Starts(
        NEW_YORK, "2026-11-01", "30 1 * * *", ("01 05:30",)
    ),
    "New York in autumn: each full hour by a star comes twice": Starts(
        NEW_YORK, "2026-11-01", "*/60 1 * * *", ("01 05:00", "01 06:00")
    ),
    "Lord Howe in spring: a fixed time in the half hour that is skipped begins at 02:30": Starts(
        LORD_HOWE, "2026-10-04", "15 2 * * *", ("03 15:30",)
    ),
    "Lord Howe in spring: a fixed time after the gap is itself": Starts(
        LORD_HOWE, "2026-10-04", "45 2 * * *", ("03 15:45",)
    ),
    "Lord Howe in spring: a line with a star has no start in the gap": Starts(
        LORD_HOWE, "2026-10-04", "*/15 2 * * *", ("03 15:30", "03 15:45")
    ),
    "Lord Howe in spring: the next full hour is not lost": Starts(
        LORD_HOWE, "2026-10-04", "*/30 3 * * *", ("03 16:00", "03 16:30")
    ),
    "Lord Howe in autumn: a fixed time in the doubled half hour begins once": Starts(
        LORD_HOWE, "2026-04-05", "45 1 * * *", ("04 14:45",)
    ),
    "Lord Howe in autumn: 01:15 is not doubled": Starts(
        LORD_HOWE,
        "2026-04-05",
        "*/15 1 * * *",
        ("04 14:00", "04 14:15", "04 14:30", "04 14:45", "04 15:00", "04 15:15"),
    ),
    "Lord Howe in autumn: the hour after it is not lost": Starts(
        LORD_HOWE, "2026-04-05", "*/30 2 * * *", ("04 15:30", "04 16:00")
    ),
    "a whole day that a zone left out begins when it is over": Starts(
        "Pacific/Apia", "2011-12-30", "0 8 * * *", ("30 10:00",)
    ),
    "a midnight in the gap begins at 01:00": Starts("Asia/Beirut", "2026-03-29", "0 0 * * *", ("28 22:00",)),
    "another day has none": Starts(BERLIN, "2026-03-30", "0 8 * * sun", ()),
}


@pytest.mark.parametrize("case", STARTS.values(), ids=STARTS.keys())
def test_starts_on_the_days_on_which_the_clock_is_changed(case: Starts) -> None:
    found = starts_on(schedule(case.cron, case.zone), date.fromisoformat(case.day))
    assert tuple(map(utc, found)) == case.moments


@dataclass(frozen=True)
class Frozen:
    """At `now` in UTC, a schedule is on until that time by its own clock, or off."""

    zone: str
    cron: str
    now: str
    until: str | None
    on_for: str = "2h"


FROZEN = {
    "Berlin in spring: a second before the gap it is off": Frozen(BERLIN, "30 2 * * *", "2026-03-29 00:59:59", None),
    "Berlin in spring: it is on for its whole time after the gap": Frozen(
        BERLIN, "30 2 * * *", "2026-03-29 01:00:00", "until 05:00 Europe/Berlin"
    ),
    "Berlin in spring: a day of 23 hours is shorter than 24h": Frozen(
        BERLIN, "0 0 29 3 *", "2026-03-29 12:00:00", "until 01:00 Europe/Berlin", "24h"
    ),
    "Berlin in autumn: in the second 02:45 it goes on since the first 02:30": Frozen(
        BERLIN, "30 2 * * *", "2026-10-25 01:45:00", "until 03:30 Europe/Berlin"
    ),
    "Berlin in autumn: it does not begin again": Frozen(BERLIN, "30 2 * * *", "2026-10-25 02:30:00", None),
    "New York in spring: in the gap it begins at 03:00": Frozen(
        NEW_YORK, "30 2 * * *", "2026-03-08 07:00:00", "until 05:00 America/New_York"
    ),
    "New York in spring: a second before it is off": Frozen(NEW_YORK, "30 2 * * *", "2026-03-08 06:59:59", None),
    "New York in autumn: 10 hours from 20:00 end at 05:00": Frozen(
        NEW_YORK, "0 20 * * sat", "2026-11-01 06:30:00", "until 05:00 America/New_York", "10h"
    ),
    "Lord Howe in spring: in the gap it begins at 02:30": Frozen(
        LORD_HOWE, "15 2 * * *", "2026-10-03 15:30:00", "until 04:30 Australia/Lord_Howe"
    ),
    "Lord Howe in spring: a second before it is off": Frozen(LORD_HOWE, "15 2 * * *", "2026-10-03 15:29:59", None),
    "Lord Howe in autumn: two hours from the first 01:45 end at 03:15": Frozen(
        LORD_HOWE, "45 1 * * *", "2026-04-04 15:15:00", "until 03:15 Australia/Lord_Howe"
    ),
    "Lord Howe in autumn: it does not begin again": Frozen(
        LORD_HOWE, "45 1 * * *", "2026-04-04 15:15:00", None, on_for="30m"
    ),
}


@pytest.mark.parametrize("case", FROZEN.values(), ids=FROZEN.keys())
def test_what_holds_at_a_moment_beside_a_change_of_the_clock(case: Frozen) -> None:
    one = schedule(case.cron, case.zone, case.on_for)
    with freeze_time(case.now):
        now = time.time()
        stretch = in_force([one], now)
    words = words_until(stretch.until, one, now) if stretch.place == 0 else None
    assert words == case.until


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(
    "cron", ["0 * * * *", "30 * * * *", "*/15 1-3 * * *", "*/30 3 * * *", "5 */2 * * *", "* * * * *"]
)
def test_a_line_with_a_star_begins_whenever_the_clock_shows_its_time(name: str, cron: str) -> None:
    zone, day = CHANGES[name]
    one = schedule(cron, zone)
    assert starts_on(one, date.fromisoformat(day)) == tuple(_shown_on(one, date.fromisoformat(day)))


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(
    "cron", ["30 2 * * *", "15 2 * * *", "45 1 * * *", "0 0 * * *", "0,30 0-4 * * *", "30 23 * * *"]
)
def test_a_line_of_fixed_times_begins_as_cronsim_says(name: str, cron: str) -> None:
    zone, text = CHANGES[name]
    one, day = schedule(cron, zone), date.fromisoformat(text)
    walk = CronSim(cron, datetime(day.year, day.month, day.day, tzinfo=one.zone) - timedelta(days=1))
    said = {moment.timestamp() for moment, _ in zip(walk, range(200), strict=False) if moment.date() == day}
    assert set(starts_on(one, day)) == said


def _shown_on(one: Schedule, day: date) -> Iterator[float]:
    """Each minute of real time at which the zone's clock shows a time of the line on that day."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() - DAY_S
    for minute in range(3 * 24 * 60):
        wall = datetime.fromtimestamp(start + 60 * minute, one.zone)
        if wall.date() == day and wall.hour * 3600 + wall.minute * 60 in one.line.times:
            yield start + 60 * minute


def test_the_first_of_the_list_that_is_on_holds() -> None:
    all_day, noon = schedule("0 8 * * *", on_for="10h"), schedule("0 12 * * *", on_for="1h")
    found = [in_force([noon, all_day], at(f"2026-06-01 {hour}")).place for hour in ("07:59", "08:00", "12:30", "13:00")]
    assert found == [None, 1, 0, 1]
    assert {in_force([all_day, noon], at(f"2026-06-01 {hour}:30")).place for hour in range(10, 17)} == {0}


def test_what_holds_ends_when_an_earlier_one_of_the_list_begins() -> None:
    noon, all_day = schedule("0 12 * * *", on_for="1h"), schedule("0 8 * * *", on_for="10h")
    assert in_force([noon, all_day], at("2026-06-01 09:00")).until == at("2026-06-01 12:00")
    assert in_force([noon, all_day], at("2026-06-01 12:00")).until == at("2026-06-01 13:00")


def test_a_lead_lets_it_begin_earlier_and_end_as_written() -> None:
    one = schedule("0 8 * * *", on_for="2h", min_replicas=1, lead="5m")
    assert next_on_times(one, at("2026-06-01 07:00"), 1) == [OnTime(at("2026-06-01 07:55"), at("2026-06-01 10:00"))]


def test_a_lead_begins_in_the_night_before() -> None:
    one = schedule("0 0 * * mon", on_for="1h", min_replicas=1, lead="5m")  # 1 June 2026 is a Monday
    assert in_force([one], at("2026-05-31 23:55")).place == 0
    assert in_force([one], at("2026-05-31 23:54:59")).place is None


def test_starts_that_overlap_are_one_time() -> None:
    one = schedule("0 8-12 * * *", on_for="90m")
    assert next_on_times(one, at("2026-06-01 09:00"), 1) == [OnTime(at("2026-06-01 08:00"), at("2026-06-01 13:30"))]


def test_times_that_touch_are_one_time_without_a_gap() -> None:
    one = schedule("0 8,9 * * *", on_for="1h")
    assert next_on_times(one, at("2026-06-01 07:00"), 1) == [OnTime(at("2026-06-01 08:00"), at("2026-06-01 10:00"))]


def test_a_schedule_without_a_pause_has_no_end() -> None:
    always = schedule("* * * * *", on_for="1m")
    assert in_force([always], at("2026-06-01 09:00")).until is None
    (only,) = next_on_times(always, at("2026-06-01 09:00"), 5)
    assert only.until is None


def test_a_rare_day_is_found_years_ahead() -> None:
    leap = schedule("0 0 * 2 mon#5", on_for="1h")  # 29 February on a Monday
    assert [utc(one.since) for one in next_on_times(leap, at("2026-06-01 00:00"), 1)] == ["29 00:00"]
    assert next_on_times(leap, at("2026-06-01 00:00"), 1)[0].since == at("2044-02-29 00:00")


def test_the_hours_of_a_week_are_those_of_the_schedule_that_holds() -> None:
    week = at("2026-06-01 00:00"), at("2026-06-08 00:00")
    office, lunch = schedule("0 8 * * mon-fri", on_for="10h"), schedule("0 12 * * *", on_for="1h")
    assert [seconds / 3600 for seconds in on_s([lunch, office], *week)] == [7.0, 45.0]
    assert [seconds / 3600 for seconds in on_s([schedule("* * * * *", on_for="1m")], *week)] == [168.0]


LINES = st.sampled_from(
    ["0 8 * * mon-fri", "30 2 * * *", "*/20 1-3 * * *", "0 0 1 * *", "15 2 * * sun", "0 22 * * *", "0 */6 * * *"]
)
TIMES = st.sampled_from(["1m", "45m", "2h", "10h", "25h", "168h"])
SCHEDULES = st.builds(
    lambda cron, zone, on_for, lead: schedule(cron, zone, on_for, min_replicas=1, lead=lead),
    LINES,
    st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, "UTC", "Asia/Kathmandu"]),
    TIMES,
    st.sampled_from(["0s", "5m", "24h"]),
)
MOMENTS = st.sampled_from([day for _, day in CHANGES.values()]).flatmap(
    lambda day: st.integers(-40 * 3600, 40 * 3600).map(lambda seconds: at(f"{day} 00:00") + seconds)
)


@given(each=st.lists(SCHEDULES, min_size=1, max_size=3), now=MOMENTS)
def test_what_holds_is_the_first_whose_start_is_recent_enough(each: list[Schedule], now: float) -> None:
    def is_on(one: Schedule) -> bool:
        today = datetime.fromtimestamp(now, one.zone).date()
        starts = [start for number in range(-10, 3) for start in starts_on(one, today + timedelta(days=number))]
        return any(start - one.lead <= now < start + one.on_for for start in starts)

    assert in_force(each, now).place == next((place for place, one in enumerate(each) if is_on(one)), None)


@given(each=st.lists(SCHEDULES, min_size=1, max_size=3), now=MOMENTS)
def test_what_holds_changes_at_its_end_and_not_before(each: list[Schedule], now: float) -> None:
    here = in_force(each, now)
    until = now + AHEAD_S if here.until is None else here.until
    assert now < until
    for share in (0.0, 0.3, 0.6, 0.999_999):
        assert in_force(each, now + share * (until - now)).place == here.place
    if here.until is not None:
        assert in_force(each, here.until).place != here.place
