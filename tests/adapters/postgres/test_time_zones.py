"""Times without a zone, in databases, roles and tables that think in another zone than UTC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from controller.adapters.postgres.columns import UTC, Column, Kind
from controller.adapters.postgres.queue import PostgresQueue
from controller.adapters.postgres.zones import (
    Candidates,
    Rank,
    Sample,
    Verdict,
    by_default,
    decide_zones,
    zone_of_setting,
)
from controller.core.ports import Unavailable
from controller.policy import Queue
from tests.support.examples import some

Connection = psycopg.AsyncConnection[Any]
HELSINKI, NEW_YORK, KOLKATA = "Europe/Helsinki", "America/New_York", "Asia/Kolkata"
LIMIT = 100


async def database_in(admin: Connection, url: str, zone: str) -> None:
    """Sessions that begin from now on think in that zone, and so does this one."""
    database = sql.Identifier(urlsplit(url).path[1:])
    await admin.execute(sql.SQL("ALTER DATABASE {} SET timezone = {}").format(database, sql.Literal(zone)))
    await admin.execute(sql.SQL("SET timezone = {}").format(sql.Literal(zone)))


def jobs(**more: object) -> Queue:
    return Queue.model_validate({"table": "jobs", **more})


ZONES_TRIED = (HELSINKI, NEW_YORK, KOLKATA, "Pacific/Auckland", UTC)
DEFAULTS = ("now()", "CURRENT_TIMESTAMP", "LOCALTIMESTAMP", "clock_timestamp()")
ZONES = pytest.mark.parametrize("zone", ZONES_TRIED)


# East of Greenwich, rows in the future would show the zone, too; west of it, only the default does.
@pytest.mark.parametrize(
    ("zone", "default"),
    [
        (zone, default)
        for number, zone in enumerate(ZONES_TRIED)
        for default in some(DEFAULTS, 1 if zone == NEW_YORK else 4, number)
    ],
)
async def test_a_due_time_by_its_column_s_default_is_due_at_once(
    admin: Connection, queue: PostgresQueue, database_url: str, zone: str, default: str
) -> None:
    await database_in(admin, database_url, zone)
    await admin.execute(f"CREATE TABLE jobs (status text, scheduled_for timestamp DEFAULT {default})".encode())
    await admin.execute("INSERT INTO jobs SELECT 'pending' FROM generate_series(1, 50)")
    depth = await queue.depth(jobs(), LIMIT)
    assert (depth.pending, depth.remarks) == (50, ())
    assert depth.oldest_age_s == pytest.approx(0, abs=300)


@ZONES
async def test_a_default_that_names_utc_is_utc(
    admin: Connection, queue: PostgresQueue, database_url: str, zone: str
) -> None:
    await database_in(admin, database_url, zone)
    await admin.execute("CREATE TABLE jobs (status text, run_at timestamp DEFAULT timezone('utc', now()))")
    await admin.execute("INSERT INTO jobs SELECT 'pending' FROM generate_series(1, 3)")
    assert (await queue.depth(jobs(), LIMIT)).pending == 3


@ZONES
@pytest.mark.parametrize("writes", ["now()", "timezone('UTC', now())"], ids=["local", "UTC"])
async def test_a_due_time_without_a_default_is_judged_by_the_jobs_that_wait(
    admin: Connection, queue: PostgresQueue, database_url: str, zone: str, writes: str
) -> None:
    await database_in(admin, database_url, zone)
    await admin.execute("CREATE TABLE jobs (status text, run_at timestamp)")
    await admin.execute(f"INSERT INTO jobs SELECT 'pending', {writes} FROM generate_series(1, 7)".encode())
    assert (await queue.depth(jobs(), LIMIT)).pending == 7


@ZONES
@pytest.mark.parametrize("writes", ["now()", "timezone('UTC', now())"], ids=["local", "UTC"])
async def test_jobs_for_later_stay_later_where_the_table_says_when_they_were_created(
    admin: Connection, queue: PostgresQueue, database_url: str, zone: str, writes: str
) -> None:
    """In UTC, one hour from now is past in Helsinki's time; but no job is due before it was created."""
    await database_in(admin, database_url, zone)
    await admin.execute("CREATE TABLE jobs (status text, run_at timestamp, created_at timestamptz DEFAULT now())")
    await admin.execute(
        f"INSERT INTO jobs SELECT 'pending', {writes} + interval '1 h' FROM generate_series(1, 7)".encode()
    )
    assert (await queue.depth(jobs(), LIMIT)).pending == 0
    assert (await queue.rest(jobs(), LIMIT)).scheduled == 7


@ZONES
@pytest.mark.parametrize("created", ["timestamp DEFAULT now()", "timestamptz DEFAULT now()", "timestamp"])
async def test_a_claim_of_this_moment_is_no_stale_one(
    admin: Connection, queue: PostgresQueue, database_url: str, zone: str, created: str
) -> None:
    await database_in(admin, database_url, zone)
    await admin.execute(f"CREATE TABLE jobs (status text, created_at {created}, locked_at timestamp)".encode())
    await admin.execute("INSERT INTO jobs SELECT 'processing', now(), now() FROM generate_series(1, 5)")
    depth = await queue.depth(jobs(stale_after="15m"), LIMIT)
    assert (depth.processing, depth.stale) == (5, 0)


@pytest.mark.parametrize("zone", [KOLKATA, NEW_YORK])
async def test_a_claim_of_a_program_that_writes_utc_is_no_stale_one_though_the_default_is_local(
    admin: Connection, queue: PostgresQueue, database_url: str, zone: str
) -> None:
    """As Prisma does."""
    await database_in(admin, database_url, zone)
    await admin.execute("CREATE TABLE jobs (status text, created_at timestamp DEFAULT now(), locked_at timestamp)")
    await admin.execute("INSERT INTO jobs SELECT 'processing', t, t FROM timezone('UTC', now()) AS t")
    depth = await queue.depth(jobs(stale_after="15m"), LIMIT)
    assert (depth.processing, depth.stale) == (1, 0)


@ZONES
async def test_a_claim_of_long_ago_is_stale(
    admin: Connection, queue: PostgresQueue, database_url: str, zone: str
) -> None:
    await database_in(admin, database_url, zone)
    await admin.execute("CREATE TABLE jobs (status text, created_at timestamp DEFAULT now(), locked_at timestamp)")
    await admin.execute("INSERT INTO jobs SELECT 'processing', now() - interval '3 h', now() - interval '1 h'")
    await admin.execute("INSERT INTO jobs SELECT 'processing', now() - interval '1 h', now() - interval '1 min'")
    depth = await queue.depth(jobs(stale_after="15m"), LIMIT)
    assert (depth.processing, depth.stale) == (1, 1)


@pytest.mark.parametrize("zone", [HELSINKI, NEW_YORK, "5.5"])
async def test_the_zone_of_a_role_that_writes_counts_as_the_database_s(
    admin: Connection, queue: PostgresQueue, database_url: str, zone: str
) -> None:
    await admin.execute("CREATE TABLE jobs (status text, scheduled_for timestamp DEFAULT now(), locked_at timestamp)")
    await admin.execute("DROP ROLE IF EXISTS app_far_away")
    await admin.execute("CREATE ROLE app_far_away LOGIN")
    try:
        await admin.execute("GRANT INSERT ON jobs TO app_far_away")
        await admin.execute(f"ALTER ROLE app_far_away SET timezone = '{zone}'".encode())
        app = database_url.replace("postgres@", "app_far_away@")
        async with await psycopg.AsyncConnection.connect(app, autocommit=True) as worker:
            await worker.execute("INSERT INTO jobs (status) SELECT 'pending' FROM generate_series(1, 4)")
            await worker.execute("INSERT INTO jobs SELECT 'processing', now(), now() FROM generate_series(1, 5)")
        depth = await queue.depth(jobs(stale_after="15m"), LIMIT)
        assert (depth.pending, depth.processing, depth.stale) == (4, 5, 0)
    finally:
        await admin.execute("DROP OWNED BY app_far_away")
        await admin.execute("DROP ROLE app_far_away")


async def test_the_zone_of_a_role_that_only_reads_or_runs_the_server_says_nothing(
    admin: Connection, queue: PostgresQueue
) -> None:
    await admin.execute("CREATE TABLE jobs (status text, scheduled_for timestamp DEFAULT now())")
    await admin.execute("DROP ROLE IF EXISTS traveller")
    await admin.execute("CREATE ROLE traveller LOGIN SUPERUSER")
    try:
        await admin.execute("ALTER ROLE traveller SET timezone = 'America/New_York'")
        await admin.execute("INSERT INTO jobs SELECT 'pending' FROM generate_series(1, 4)")
        depth = await queue.depth(jobs(), LIMIT)
        assert (depth.pending, depth.remarks) == (4, ())
    finally:
        await admin.execute("DROP ROLE traveller")


async def test_a_reader_with_a_zone_of_its_own_does_not_know_that_of_the_server(
    admin: Connection, database_url: str
) -> None:
    await admin.execute("CREATE TABLE jobs (status text, scheduled_for timestamp DEFAULT now())")
    await admin.execute("DROP ROLE IF EXISTS homesick")
    await admin.execute("CREATE ROLE homesick LOGIN")
    await admin.execute("ALTER ROLE homesick SET timezone = 'Asia/Tokyo'")
    await admin.execute("GRANT SELECT ON jobs TO homesick")
    queue = PostgresQueue(database_url.replace("postgres@", "homesick@"), timeout_s=30.0)
    try:
        (remark,) = (await queue.depth(jobs(), LIMIT)).remarks
        assert "the server's zone is unknown, because the user of DATABASE_URL has one of its own" in remark.text
        await database_in(admin, database_url, HELSINKI)
        await admin.execute("INSERT INTO jobs SELECT 'pending' FROM generate_series(1, 4)")
        depth = await queue.depth(jobs(), LIMIT)
        assert (depth.pending, depth.remarks) == (4, ())
    finally:
        await queue.close()
        await admin.execute("DROP OWNED BY homesick")
        await admin.execute("DROP ROLE homesick")


async def test_writers_in_different_zones_leave_it_to_the_rows(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TABLE jobs (status text, scheduled_for timestamp DEFAULT now())")
    for role in ("far_east", "far_west"):
        await admin.execute(f"DROP ROLE IF EXISTS {role}".encode())
        await admin.execute(f"CREATE ROLE {role} LOGIN".encode())
        await admin.execute(f"GRANT INSERT ON jobs TO {role}".encode())
    try:
        await admin.execute("ALTER ROLE far_east SET timezone = 'Asia/Tokyo'")
        await admin.execute("ALTER ROLE far_west SET timezone = 'America/New_York'")
        await admin.execute(
            "INSERT INTO jobs SELECT 'pending', timezone('Asia/Tokyo', now()) FROM generate_series(1, 4)"
        )
        depth = await queue.depth(jobs(), LIMIT)
        assert (depth.pending, depth.remarks) == (4, ())
    finally:
        for role in ("far_east", "far_west"):
            await admin.execute(f"DROP OWNED BY {role}".encode())
            await admin.execute(f"DROP ROLE {role}".encode())


@pytest.mark.parametrize("zone", [HELSINKI, NEW_YORK])
async def test_the_policy_has_the_first_word(
    admin: Connection, queue: PostgresQueue, database_url: str, zone: str
) -> None:
    await database_in(admin, database_url, zone)
    await admin.execute("CREATE TABLE jobs (status text, run_at timestamp DEFAULT now())")
    await admin.execute("INSERT INTO jobs VALUES ('pending', timezone('Asia/Tokyo', now()) - interval '1 min')")
    await admin.execute("INSERT INTO jobs VALUES ('pending', timezone('Asia/Tokyo', now()) + interval '1 min')")
    depth = await queue.depth(jobs(timezone="Asia/Tokyo"), LIMIT)
    assert depth.pending == 1
    assert depth.oldest_age_s == pytest.approx(60, abs=50)


async def test_a_zone_that_postgresql_does_not_know_is_said(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TABLE jobs (status text, run_at timestamp)")
    with pytest.raises(Unavailable, match=r"Europe/Nowhere.*queue\.timezone"):
        await queue.depth(jobs(timezone="Europe/Nowhere"), LIMIT)


async def test_where_nothing_decides_it_is_utc_and_said_until_a_row_decides(
    admin: Connection, queue: PostgresQueue, database_url: str
) -> None:
    await database_in(admin, database_url, HELSINKI)
    await admin.execute("CREATE TABLE jobs (status text, created_at timestamp, locked_at timestamp)")
    await admin.execute("INSERT INTO jobs VALUES ('pending', now() - interval '3 h')")
    depth = await queue.depth(jobs(), LIMIT)
    assert depth.pending == 1
    (remark,) = depth.remarks
    assert remark.about == "timezone"
    assert "read as UTC, which may be wrong: set queue.timezone, for example timezone: Europe/Helsinki" in remark.text
    await admin.execute("INSERT INTO jobs VALUES ('pending', now() - interval '4 min')")
    depth = await queue.depth(jobs(), LIMIT)
    assert depth.remarks == ()
    assert depth.oldest_age_s == pytest.approx(3 * 3600, abs=300)


async def test_in_a_database_in_utc_nothing_is_to_decide(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TABLE jobs (status text, created_at timestamp, locked_at timestamp)")
    await admin.execute("INSERT INTO jobs VALUES ('pending', now())")
    assert (await queue.depth(jobs(), LIMIT)).remarks == ()


async def test_a_view_has_the_defaults_of_the_table_behind_it(
    admin: Connection, queue: PostgresQueue, database_url: str
) -> None:
    await database_in(admin, database_url, HELSINKI)
    await admin.execute("CREATE TABLE behind (status text, scheduled_for timestamp DEFAULT now())")
    await admin.execute("CREATE VIEW jobs AS SELECT * FROM behind")
    await admin.execute("INSERT INTO behind SELECT 'pending' FROM generate_series(1, 3)")
    assert (await queue.depth(jobs(), LIMIT)).pending == 3


async def test_how_long_jobs_take_does_not_depend_on_the_zone_in_which_their_times_are_written(
    admin: Connection, queue: PostgresQueue, database_url: str
) -> None:
    await database_in(admin, database_url, HELSINKI)
    await admin.execute(
        "CREATE TABLE jobs (status text, created_at timestamp DEFAULT now(), started_at timestamptz, "
        "completed_at timestamp)"
    )
    await admin.execute(
        "INSERT INTO jobs SELECT 'completed', now(), now() - interval '9 s', now() FROM generate_series(1, 9)"
    )
    service = await queue.service_time(jobs())
    assert service is not None
    assert service.mean_s == pytest.approx(9, abs=0.3)


# --- the decision, pure ---

NOW = 1_000_000.0
OFFSETS = {UTC: 0.0, HELSINKI: 7200.0}
LOCAL = Column(Kind.LOCAL)


def row(zone: str, *, was_claimed: bool = False, **ago: float) -> Sample:
    """A row whose times were written in that zone, this many seconds ago."""
    return Sample(was_claimed, {key: seen(zone, NOW - seconds) for key, seconds in ago.items()})


def seen(zone: str, at: float) -> Mapping[str, float]:
    """By each reading: written in Helsinki and read as UTC, it is two hours later than it was."""
    return {reading: at + OFFSETS[zone] - OFFSETS[reading] for reading in OFFSETS}


KNOWN = Candidates((UTC, HELSINKI), HELSINKI)


@pytest.mark.parametrize(
    ("default", "zone"),
    [
        ("now()", HELSINKI),
        ("CURRENT_TIMESTAMP", HELSINKI),
        ("(now())::timestamp without time zone", HELSINKI),
        ("(now() + '01:00:00'::interval)", HELSINKI),
        ("('now'::text)::timestamp without time zone", HELSINKI),
        ("timezone('utc'::text, now())", UTC),
        ("(now() AT TIME ZONE 'UTC'::text)", UTC),
        ("(now() AT TIME ZONE 'Asia/Tokyo'::text)", "Asia/Tokyo"),
        ("(now() AT TIME ZONE '-03:00:00'::interval)", "Etc/GMT+3"),
        ("timezone('05:30:00'::interval, now())", "<+05:30>-05:30"),
        ("timezone('1 day'::interval, now())", None),
        ("'2020-01-01 00:00:00'::timestamp without time zone", None),
        (None, None),
    ],
)
def test_what_a_default_says_of_the_zone(default: str | None, zone: str | None) -> None:
    verdict = by_default(Column(Kind.LOCAL, default=default), KNOWN)
    assert (verdict.zone if verdict else None) == zone


@pytest.mark.parametrize(
    ("setting", "zone"),
    [
        ("5", "Etc/GMT-5"),
        ("+05", "Etc/GMT-5"),
        ("-3", "Etc/GMT+3"),
        ("-9.5", "<-09:30>+09:30"),
        ("13", "<+13:00>-13:00"),
        ("0", UTC),
        ("INTERVAL '-08:00:00'", "Etc/GMT+8"),
        ("INTERVAL '05:45:00'", "<+05:45>-05:45"),
        *((name, name) for name in (HELSINKI, "EST5EDT", "UTC+3", "<+05>-05", "+05:30")),
    ],
)
def test_an_offset_is_east_in_a_setting_and_west_in_timezone(setting: str, zone: str) -> None:
    assert zone_of_setting(setting) == zone


def test_rows_that_cannot_be_speak_louder_than_a_default() -> None:
    columns = {"created_at": Column(Kind.LOCAL, default="now()")}
    west = Candidates((UTC, NEW_YORK), NEW_YORK)
    in_utc = [Sample(False, {"created_at": {UTC: NOW - 60, NEW_YORK: NOW - 60 + 5 * 3600}})] * 3
    assert decide_zones(columns, west, in_utc, NOW)["created_at"] == Verdict(UTC, Rank.ROWS)


def test_a_default_that_rows_of_another_column_belie_says_nothing() -> None:
    """A program that writes created_at in UTC writes the due time in UTC, too; no row alone shows that."""
    by_now = Column(Kind.LOCAL, default="now()")
    west = Candidates((UTC, NEW_YORK), NEW_YORK)
    in_utc = {UTC: NOW - 60, NEW_YORK: NOW - 60 + 5 * 3600}
    rows = [Sample(False, {"created_at": in_utc, "scheduled_for": in_utc})] * 3
    first = decide_zones({"created_at": by_now, "scheduled_for": by_now}, west, rows, NOW)
    assert first == dict.fromkeys(("created_at", "scheduled_for"), Verdict(UTC, Rank.ROWS))
    assert decide_zones({"created_at": by_now, "scheduled_for": by_now}, west, [], NOW, first) == first


def test_a_verdict_stays_where_later_rows_say_nothing_or_contradict_each_other() -> None:
    columns = {"locked_at": LOCAL}
    first = decide_zones(columns, KNOWN, [row(HELSINKI, was_claimed=True, locked_at=5)], NOW)
    assert first == {"locked_at": Verdict(HELSINKI, Rank.ROWS)}
    silent = [row(HELSINKI, locked_at=90_000)]
    mixed = [row(HELSINKI, locked_at=5), row(UTC, locked_at=5)]
    for rows in ([], silent, mixed):
        assert decide_zones(columns, KNOWN, rows, NOW, first) == first


@given(st.data())
def test_rows_never_decide_for_a_zone_that_they_were_not_written_in(data: st.DataObject) -> None:
    """Where none is recent enough to tell, nothing decides; a clock may differ by a minute."""
    zone = data.draw(st.sampled_from([UTC, HELSINKI]))
    ages = data.draw(st.lists(st.floats(-60, 90_000), min_size=1, max_size=20))
    columns = {"created_at": Column(Kind.ZONED), "locked_at": LOCAL}
    rows = [Sample(False, {"locked_at": seen(zone, NOW - age), "created_at": {UTC: NOW - age - 30}}) for age in ages]
    verdict = decide_zones(columns, KNOWN, rows, NOW)["locked_at"]
    assert verdict == Verdict(zone, Rank.ROWS) or (verdict.rank is Rank.NOTHING and min(ages) > 6000)
