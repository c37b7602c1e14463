"""Schedules in a policy: what is refused, with its place and the fix."""

from __future__ import annotations

from textwrap import dedent

import pytest

from controller.core.problems import ConfigurationError
from controller.policy import Policy, load_policy, schedules

GOOD = 'cron: "0 8 * * mon-fri", for: 10h, timezone: Europe/Berlin, min_replicas: 2, max_replicas: 8'


def text(schedule: str = GOOD, more: str = "") -> str:
    return dedent(f"""\
        workers:
          a:
            service: svc
            queue: {{table: job}}
            per_worker: 5
            max_replicas: 5
            min_replicas: 1
            {more or "scale_up: {cooldown: 30s}"}
            schedules:
              - {{{schedule}}}
        """)


def loaded(schedule: str = GOOD, more: str = "") -> Policy:
    return load_policy(text(schedule, more), {})[0]


def refused(schedule: str, more: str = "") -> list[str]:
    with pytest.raises(ConfigurationError) as refusal:
        load_policy(text(schedule, more), {})
    return [str(problem) for problem in refusal.value.problems]


def test_a_schedule_is_read_as_it_is_written() -> None:
    (one,) = loaded().workers["a"].schedules
    assert (one.cron, one.on_for, one.timezone, one.lead) == ("0 8 * * mon-fri", 36_000.0, "Europe/Berlin", 0.0)
    assert (one.min_replicas, one.max_replicas) == (2, 8)


def test_the_lowest_and_the_highest_count_are_those_of_any_hour() -> None:
    worker = loaded(GOOD.replace("min_replicas: 2", "min_replicas: 0")).workers["a"]
    assert (worker.lowest_min, worker.highest_max) == (0, 8)


FORM = "write minute hour day-of-month month day-of-week, for example 0 8 * * mon-fri"
WEEKDAYS = "it may be 0 to 7 (0 and 7 are Sunday), or sun to sat, a list or a range"
LINES = {
    "@reboot": f"'@reboot' is a nickname, and a schedule needs the five fields; {FORM}",
    "@daily": f"'@daily' is a nickname, and a schedule needs the five fields; {FORM}",
    "0 8 * *": f"'0 8 * *' has 4 fields instead of five; {FORM}",
    "0 0 8 * * 1": f"'0 0 8 * * 1' has 6 fields instead of five; {FORM}",
    "61 8 * * *": "'61 8 * * *' has 61 as minute, which is not understood; it may be 0 to 59, a list or a range",
    "0 24 * * *": "'0 24 * * *' has 24 as hour, which is not understood; it may be 0 to 23, a list or a range",
    "0 8 * * monday": f"'0 8 * * monday' has monday as day-of-week, which is not understood; {WEEKDAYS}",
    "0 8 * * fri-mon": (
        "'0 8 * * fri-mon' has fri-mon as day-of-week, which is not understood; a range must rise, so write for "
        f"example fri,sat,sun; {WEEKDAYS}"
    ),
    "0 8 30 2 *": ("'0 8 30 2 *' never begins, because no month has such a day (day-of-month 30, month 2); change one"),
    "0 8 31 4,6 *": (
        "'0 8 31 4,6 *' never begins, because no month has such a day (day-of-month 31, month 4,6); change one"
    ),
    "0 0 30-31 2 *": (
        "'0 0 30-31 2 *' never begins, because no month has such a day (day-of-month 30-31, month 2); change one"
    ),
    "0 0 */10 2 mon#5": (
        "'0 0 */10 2 mon#5' never begins, because no month has such a day (day-of-month */10, month 2); change one"
    ),
    "0 8 \u00b2 * *": (
        "'0 8 \u00b2 * *' has \u00b2 as day-of-month, which is not understood; it may be 1 to 31, or L for the last "
        "day, a list or a range"
    ),
    "x" * 101: "is longer than 100 characters; shorten it",
}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:20])
def test_a_line_that_is_refused(line: str) -> None:
    problems = refused(GOOD.replace("0 8 * * mon-fri", line))
    assert problems == [f"policy.yaml:10: workers.a.schedules[0].cron: {LINES[line]}"]


@pytest.mark.parametrize("line", ["0 0 29 2 *", "0 0 * 2 mon#5", "0 8 L * *", "0 0 31 2 mon", "*/5 8-18 * jan-mar 7"])
def test_a_line_that_is_taken(line: str) -> None:
    assert loaded(GOOD.replace("0 8 * * mon-fri", line)).workers["a"].schedules[0].cron == line


ZONES = {
    "Berlin": "did you mean Europe/Berlin?",
    "europe/berlin": "did you mean Europe/Berlin?",
    "Europe/Berln": "did you mean Europe/Berlin?",
    "New York": "did you mean America/New_York?",
    "Mars": "write one such as Europe/Berlin, or UTC",
    "../../etc/passwd": "write one such as Europe/Berlin, or UTC",
    "/etc/localtime": "write one such as Europe/Berlin, or UTC",
}


@pytest.mark.parametrize("zone", ZONES)
def test_a_time_zone_that_is_refused(zone: str) -> None:
    (problem,) = refused(GOOD.replace("Europe/Berlin", zone))
    assert problem == (
        f"policy.yaml:10: workers.a.schedules[0].timezone: '{zone}' is not a time zone that this machine knows; "
        f"{ZONES[zone]} (if it is right, install a newer tzdata)"
    )


def test_a_machine_without_time_zones_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "available_timezones", set)
    (problem,) = refused(GOOD.replace("Europe/Berlin", "Europe/Nowhere"))
    assert "this machine has no time zone data; install tzdata (pip install tzdata)" in problem


PLACE = "policy.yaml:10: workers.a.schedules[0]"
CONTRADICTIONS = {
    "without a min and a max": (
        'cron: "0 8 * * *", for: 1h, timezone: UTC',
        "",
        f"{PLACE}: changes nothing; write min_replicas, max_replicas or both",
    ),
    "a min above its own max": (
        GOOD.replace("min_replicas: 2", "min_replicas: 9"),
        "",
        f"{PLACE}: has min_replicas 9, more than its max_replicas, which is 8; lower the first or raise the second",
    ),
    "a min above the worker's max": (
        'cron: "0 8 * * *", for: 1h, timezone: UTC, min_replicas: 6',
        "",
        f"{PLACE}: has min_replicas 6, more than the worker's max_replicas, which is 5; write max_replicas too",
    ),
    "a max below the worker's min": (
        'cron: "0 8 * * *", for: 1h, timezone: UTC, max_replicas: 0',
        "",
        f"{PLACE}: has max_replicas 0, less than the worker's min_replicas, which is 1; write min_replicas too",
    ),
    "a max above the rate limit": (
        GOOD,
        "rate_limit: {rpm: 6}",
        (
            f"{PLACE}.max_replicas: is 8, more than rate_limit.rpm, which is 6, so that the share of each worker would "
            "be 0 requests a minute; write 6 or less, or raise rpm"
        ),
    ),
    "shorter than a minute": (GOOD.replace("10h", "59s"), "", f"{PLACE}.for: '59s' must be 1m to 168h"),
    "longer than a week": (GOOD.replace("10h", "169h"), "", f"{PLACE}.for: '169h' must be 1m to 168h"),
    "a lead of more than a day": (f"{GOOD}, lead: 25h", "", f"{PLACE}.lead: '25h' must be at most 24h"),
    "another name for the zone": (f"{GOOD}, tz: UTC", "", f"{PLACE}.tz: is not a key: write timezone"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_schedule_that_does_not_fit(name: str) -> None:
    schedule, more, problem = CONTRADICTIONS[name]
    assert refused(schedule, more) == [problem]


def test_tiers_that_fall_below_a_higher_max_are_refused_there() -> None:
    falling = "[{up_to: 5, replicas: 8}, {replicas: 6}]"
    with pytest.raises(ConfigurationError) as refusal:
        load_policy(text().replace("per_worker: 5", f"tiers: {falling}"), {})
    (problem,) = refusal.value.problems
    assert str(problem) == (
        f"{PLACE}.max_replicas: is 8, and below that number the tiers fall: more jobs must not mean fewer workers; "
        "edit the tiers"
    )


def test_more_than_twenty_are_refused() -> None:
    twenty_one = "\n      - ".join([f"{{{GOOD}}}"] * 21)
    with pytest.raises(ConfigurationError) as refusal:
        load_policy(text().replace(f"{{{GOOD}}}", twenty_one), {})
    assert [one.text for one in refusal.value.problems] == ["has more than 20 entries; write fewer"]


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load_policy(text().replace(f"\n      - {{{GOOD}}}", " []"), {})
    assert [one.text for one in refusal.value.problems] == ["is empty; write at least one, or leave the key out"]
