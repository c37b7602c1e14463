"""The next times of a schedule, in its zone and in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from controller.core.schedule_times import next_times
from controller.policy import WorkerPolicy

WORKER = WorkerPolicy.model_validate(
    {"service": "s", "queue": {"table": "t"}, "tiers": [{"replicas": 2}], "max_replicas": 5}
    | {
        "schedules": [
            {"cron": "30 2 * * *", "for": "2h", "timezone": "Europe/Berlin", "min_replicas": 1, "lead": "5m"},
            {"cron": "* * * * *", "for": "1m", "timezone": "UTC", "max_replicas": 1},
        ]
    }
)
NOW = datetime(2026, 10, 23, 12, tzinfo=UTC).timestamp()


def test_five_times_are_listed_and_the_hour_that_comes_twice_shows_in_the_utc_columns() -> None:
    daily, _ = next_times(WORKER, NOW)
    assert daily.heading == "schedule `30 2 * * *` for 2h, 5m early has min_replicas 1"
    assert list(daily.table())[:4] == [
        ("ON, EUROPE/BERLIN", "OFF", "ON, UTC", "OFF"),
        ("Sat 2026-10-24 02:25", "Sat 04:30", "Sat 2026-10-24 00:25", "Sat 02:30"),
        ("Sun 2026-10-25 02:25", "Sun 03:30", "Sun 2026-10-25 00:25", "Sun 02:30"),
        ("Mon 2026-10-26 02:25", "Mon 04:30", "Mon 2026-10-26 01:25", "Mon 03:30"),
    ]
    assert len(list(daily.table())) == 6


def test_one_that_does_not_end_says_so() -> None:
    _, always = next_times(WORKER, NOW)
    ((_, off, _, _),) = list(always.table())[1:]
    assert off == "never"
    assert always.as_object()["times"][0]["until"] is None


def test_as_json_the_times_have_the_offset_of_their_zone() -> None:
    daily, _ = next_times(WORKER, NOW)
    assert daily.as_object()["times"][1] == {
        "since": "2026-10-25T02:25:00+02:00",
        "until": "2026-10-25T03:30:00+01:00",
        "since_utc": "2026-10-25T00:25:00.000Z",
        "until_utc": "2026-10-25T02:30:00.000Z",
    }
