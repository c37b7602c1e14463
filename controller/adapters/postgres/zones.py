"""Decides by evidence in which time zone a timestamp without a zone is written; only better evidence changes it.

The candidates are UTC, which most libraries store, and the session time zones of the roles that may write to the table,
of the database and of the server. The evidence, the best first:

1. queue.timezone.
2. Rows that would be impossible: created, claimed or finished in the future, claimed or finished before creation, or
   claimed before the job was due.
3. The column's default: now() uses the zone of the writing session; timezone('UTC', now()) names its zone.
4. Waiting jobs that would all be due in the future in one zone and not in the other.
5. The other columns of the table, which the same program probably writes.

Without evidence it is UTC. Unless rows or the policy decide, the age of a claim is the smallest that any candidate
gives, so that a running job is not taken for stale. Pure, except for the queries that gather the evidence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from psycopg import sql

from controller.adapters.postgres.columns import UTC, Ask, Column, Kind, Shape

_TOLERANCE_S = 300.0
"""Below this a difference is clock skew between workers; zones differ by at least 15 min."""
_MOST_ROWS = 200
_CLEARLY = 4
"""A zone is chosen if over 4 times as many rows contradict each other zone."""
_A_ZONE = re.compile(
    r"""(?:AT\s+TIME\s+ZONE\s+|timezone\()'(?P<zone>[^']+)'(?P<is_interval>::interval)?""", re.IGNORECASE
)
_HOURS = re.compile(r"\s*([+-]?)(\d+(?:\.\d*)?)\s*")
_INTERVAL = re.compile(r"(?:INTERVAL\s+')?([+-]?)(\d+):(\d+)(?::\d+)?'?", re.IGNORECASE)
_NOW = re.compile(
    r"\b(?:now|transaction_timestamp|statement_timestamp|clock_timestamp)\(\)|\bCURRENT_TIMESTAMP\b|\bLOCALTIMESTAMP\b"
    r"|'now'::",
    re.IGNORECASE,
)
DUE, CREATED = "scheduled_for", "created_at"

# The zone of each role that may write here, then that of the database. Writers are the roles that may insert; if only
# superusers may, the owner. A zone set for a role in this database overrides the role's own, which overrides the
# database's. The server's own is that of our session. If our role has one of its own, it is unknown, and probably that
# of the server's log: initdb sets both.
_ZONES = """
WITH zones AS (
  SELECT r.setrole, r.setdatabase, substr(s.setting, strpos(s.setting, '=') + 1) AS zone
  FROM pg_db_role_setting r, unnest(r.setconfig) AS s(setting)
  WHERE lower(split_part(s.setting, '=', 1)) = 'timezone'
    AND r.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))),
may AS (
  SELECT o.oid, o.rolsuper FROM pg_roles o JOIN pg_class c ON c.oid = {table}::oid
  WHERE o.rolcanlogin AND (o.oid = c.relowner OR NOT o.rolsuper AND has_table_privilege(o.oid, c.oid, 'INSERT'))),
writers AS (SELECT oid FROM may WHERE NOT rolsuper OR NOT EXISTS (SELECT FROM may WHERE NOT rolsuper)),
server AS (
  SELECT reset_val AS zone, name = 'TimeZone' AS is_known FROM pg_settings
  WHERE name = CASE WHEN EXISTS (
    SELECT FROM zones z JOIN pg_roles o ON o.oid = z.setrole WHERE o.rolname = session_user)
    THEN 'log_timezone' ELSE 'TimeZone' END)
SELECT coalesce(w.zone, s.zone), w.oid IS NOT NULL, w.zone IS NOT NULL OR s.is_known
FROM (SELECT x.oid, coalesce(
    (SELECT zone FROM zones z WHERE z.setrole = x.oid ORDER BY z.setdatabase DESC LIMIT 1),
    (SELECT zone FROM zones z WHERE z.setrole = 0 ORDER BY z.setdatabase DESC LIMIT 1)) AS zone
  FROM (SELECT oid FROM writers UNION ALL SELECT NULL) AS x) AS w CROSS JOIN server s ORDER BY 2 DESC
"""
_OFFSETS = "SELECT z.name, extract(epoch FROM timezone(z.name, now()) - timezone('UTC', now()))::float8 FROM {zones}"


class Rank(IntEnum):
    """The strength of the evidence that decided."""

    NOTHING = 0
    OTHER_COLUMNS = 1
    WAITING_ROWS = 2
    DEFAULT = 3
    ROWS = 4
    POLICY = 5


class Verdict(NamedTuple):
    zone: str
    rank: Rank


@dataclass(frozen=True, slots=True)
class Candidates:
    """zones: the zones that a timestamp may be written in, including UTC.

    local: the zone that now() has in the writers' sessions; None if writers differ, or if it is unknown. is_hidden:
    it is that of the server, which our role's own zone hides.
    """

    zones: tuple[str, ...]
    local: str | None
    is_hidden: bool = False

    @property
    def matter(self) -> bool:
        return len(self.zones) > 1


class Sample(NamedTuple):
    """A sample row. times: for each column and each candidate zone, the time in seconds since 1970.

    was_claimed: whether a worker has or had the job.
    """

    was_claimed: bool
    times: Mapping[str, Mapping[str, float]]


async def candidates(shape: Shape, ask: Ask) -> Candidates:
    """The candidates. Zones with an offset of 0 at present are left out: they make no difference.

    Raises:
        psycopg.Error: a query failed.
    """
    rows = [
        (zone_of_setting(setting), is_writer, is_known)
        for setting, is_writer, is_known in await ask(sql.SQL(_ZONES).format(table=sql.Literal(shape.oid)))
    ]
    names = list(dict.fromkeys(name for name, _, _ in rows))
    values = sql.SQL(", ").join(sql.SQL("({})").format(sql.Literal(name)) for name in names)
    zones = sql.SQL("(VALUES {}) AS z(name)").format(values)
    offsets: dict[str, float] = dict([*await ask(sql.SQL(_OFFSETS).format(zones=zones))])
    theirs = [row for row in rows if row[1]] or rows
    is_sure = all(is_known for _, _, is_known in theirs)
    agreed = theirs[0][0] if is_sure and len({offsets[name] for name, _, _ in theirs}) == 1 else None
    local = None if agreed is None else agreed if offsets[agreed] else UTC
    return Candidates((UTC, *(name for name in names if offsets[name])), local, is_hidden=not is_sure)


def zone_of_setting(setting: str) -> str:
    """The zone of a session with this TimeZone, as timezone() takes it.

    SET timezone = 5 and SET TIME ZONE INTERVAL '05:30' are east of Greenwich; timezone('5', …) would be west of it.
    """
    hours = _HOURS.fullmatch(setting)
    if hours is not None:
        return _at_offset(hours[1], round(float(hours[2]) * 3600))
    interval = _INTERVAL.fullmatch(setting) if setting.upper().startswith("INTERVAL") else None
    return setting if interval is None else _of_interval(interval)


def _of_interval(interval: re.Match[str]) -> str:
    sign, hours, minutes = interval.groups()
    return _at_offset(sign, int(hours) * 3600 + int(minutes) * 60)


def _at_offset(sign: str, east_s: int) -> str:
    """A zone this number of seconds east of Greenwich, or west if the sign is "-"."""
    if east_s == 0:
        return UTC
    here, there = ("-", "+") if sign == "-" else ("+", "-")
    hours, rest = divmod(east_s, 3600)
    if rest == 0 and hours <= 12:  # both signs exist up to there
        return f"Etc/GMT{there}{hours}"
    text = f"{hours:02}:{rest // 60:02}"
    return f"<{here}{text}>{there}{text}"


def by_default(column: Column, known: Candidates) -> Verdict | None:
    """The zone by the column's default; None if the default does not show it."""
    text = column.default or ""
    named = _A_ZONE.search(text)
    if named is not None:
        zone = named["zone"]
        if named["is_interval"]:
            interval = _INTERVAL.fullmatch(zone)
            return None if interval is None else Verdict(_of_interval(interval), Rank.DEFAULT)
        return Verdict(UTC if zone.lower() in {"utc", "gmt", "z"} else zone, Rank.DEFAULT)
    return Verdict(known.local, Rank.DEFAULT) if known.local is not None and _NOW.search(text) else None


def decide_zones(
    columns: Mapping[str, Column],
    known: Candidates,
    rows: Sequence[Sample],
    now: float,
    before: Mapping[str, Verdict] | None = None,
) -> dict[str, Verdict]:
    """The verdict for each timestamp without a zone, by its key in the policy. before: the last verdicts.

    Stronger evidence replaces a verdict; so does equal evidence from rows or a default. Weaker evidence never does.
    """
    local = {key: column for key, column in columns.items() if column.kind is Kind.LOCAL}
    before = before or {}
    found: dict[str, Verdict] = {}
    created = _Created(columns.get(CREATED))
    # The other columns are compared with created_at, so that is decided first.
    for key in sorted(local, key=lambda key: key != CREATED):
        verdict = _by_rows(key, known, rows, now, created) or by_default(local[key], known)
        verdict = _steady(verdict or Verdict(UTC, Rank.NOTHING), before.get(key))
        if verdict.rank >= Rank.DEFAULT:
            found[key] = verdict
            if key == CREATED:
                created.zone = verdict.zone
    found |= _belied(local, known, found)
    siblings = {verdict.zone for verdict in found.values()}
    for key in local.keys() - found.keys():
        verdict = Verdict(UTC, Rank.NOTHING)
        if key == DUE and (zone := _by_waiting_rows(known, rows, now)) is not None:
            verdict = Verdict(zone, Rank.WAITING_ROWS)
        elif len(siblings) == 1:
            verdict = Verdict(next(iter(siblings)), Rank.OTHER_COLUMNS)
        found[key] = _steady(verdict, before.get(key))
    return found


def _belied(local: Mapping[str, Column], known: Candidates, found: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """Verdicts by a default, where rows of another column show that the program does not leave that time to it."""
    defaults = {key: by_default(column, known) for key, column in local.items()}
    actual = {
        default.zone: verdict.zone
        for key, verdict in found.items()
        if verdict.rank is Rank.ROWS and (default := defaults[key]) is not None and default.zone != verdict.zone
    }
    return {
        key: Verdict(actual[verdict.zone], Rank.ROWS)
        for key, verdict in found.items()
        if verdict.rank is Rank.DEFAULT and verdict.zone in actual
    }


def _steady(new: Verdict, before: Verdict | None) -> Verdict:
    if before is None or new.rank > before.rank or (new.rank == before.rank and new.rank >= Rank.DEFAULT):
        return new
    return before


class _Created:
    """When a job was created. zone: None while the column's own zone is undecided; then it is unknown."""

    def __init__(self, column: Column | None) -> None:
        self.zone = UTC if column is not None and column.kind is not Kind.LOCAL else None

    def of(self, row: Sample) -> float | None:
        return None if self.zone is None else row.times.get(CREATED, {}).get(self.zone)


def _by_rows(key: str, known: Candidates, rows: Sequence[Sample], now: float, created: _Created) -> Verdict | None:
    against = dict.fromkeys(known.zones, 0)
    for row in rows:
        times = row.times.get(key)
        if times is None:
            continue
        began = created.of(row) if key != CREATED else None
        for zone in known.zones:
            against[zone] += _cannot_be(key, times[zone], now, began, was_claimed=row.was_claimed)
    best = _least_spoken_against(against)
    return None if best is None else Verdict(best, Rank.ROWS)


def _cannot_be(key: str, at: float, now: float, created: float | None, *, was_claimed: bool) -> bool:
    may_be_later = key == DUE and not was_claimed
    if at > now + _TOLERANCE_S and not may_be_later:
        return True
    return created is not None and at < created - _TOLERANCE_S


def _least_spoken_against(against: Mapping[str, int]) -> str | None:
    """The zone that few or no rows contradict, if many contradict every other zone; else None."""
    best, *others = sorted(against, key=against.__getitem__)
    if others and all(against[other] > _CLEARLY * against[best] for other in others):
        return best
    # Several zones remain possible; to take the first would not be evidence.
    return None


def _by_waiting_rows(known: Candidates, rows: Sequence[Sample], now: float) -> str | None:
    waiting = [row.times[DUE] for row in rows if not row.was_claimed and DUE in row.times]
    # A job that is in the future in every zone, or due in every zone, shows nothing.
    telling = [times for times in waiting if len({times[zone] > now + _TOLERANCE_S for zone in known.zones}) > 1]
    if not telling:
        return None
    later = {zone: sum(times[zone] > now + _TOLERANCE_S for times in telling) for zone in known.zones}
    return _least_spoken_against(later)


def sample_query(times: Sequence[sql.Composable], arms: Sequence[tuple[bool, sql.Composable]]) -> sql.Composed:
    """Up to 200 rows per arm: whether the jobs were claimed, then each time in seconds since 1970.

    arms: for each, whether its jobs were claimed, and the SQL after FROM, with the row aliased j.
    """
    epochs = [
        sql.SQL("CASE WHEN isfinite({0}) THEN extract(epoch FROM {0})::float8 END").format(value) for value in times
    ]
    parts = [
        sql.SQL("(SELECT {} FROM {} LIMIT {})").format(
            sql.SQL(", ").join([sql.Literal(was_claimed), *epochs]), arm, sql.Literal(_MOST_ROWS)
        )
        for was_claimed, arm in arms
    ]
    return sql.SQL(" UNION ALL ").join(parts)
