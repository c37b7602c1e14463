"""In which zone a timestamp without a zone is written: decided by evidence, and never changed without better evidence.

The candidates are UTC, which libraries store, and the zones in which sessions think that write to the table: those of
the roles that may, of the database, of the server. What decides, the best first:

1. queue.timezone.
2. Rows that cannot be: nothing was created, claimed or finished in the future, nothing was claimed or finished before
   it was created, and a job that was claimed was due.
3. The column's default: now() is in the zone of the session that writes; timezone('UTC', now()) says it itself.
4. Jobs that wait and would all be due in the future by one reading, and not by the other.
5. The other columns of the table, which most likely the same program writes.

Where nothing decides, UTC; and a claim is as young as the likelier or the other reading makes it, so that nothing that
may be running is taken for stale. Pure, but for the queries that gather the evidence.
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
"""Clocks of workers differ; zones differ by at least 15 min."""
_MOST_ROWS = 200
_CLEARLY = 4
"""So many times more rows have to speak against one reading than against the other."""
_A_ZONE = re.compile(r"""(?:AT\s+TIME\s+ZONE\s+'([^']+)'|timezone\('([^']+)')""", re.IGNORECASE)
_NOW = re.compile(
    r"\b(?:now|transaction_timestamp|statement_timestamp|clock_timestamp)\(\)|\bCURRENT_TIMESTAMP\b|\bLOCALTIMESTAMP\b"
    r"|'now'::",
    re.IGNORECASE,
)
DUE, CREATED = "scheduled_for", "created_at"

# The zone of each role that may write here, then that of the database. Writers are the roles that may insert; where
# only superusers may, the owner. A zone that is set for a role in this database comes before one of the role, and that
# before one of the database; what the server's file says is our own session's, where nothing is set for us.
_ZONES = """
WITH zones AS (
  SELECT r.setrole, r.setdatabase, substr(s.setting, strpos(s.setting, '=') + 1) AS zone
  FROM pg_db_role_setting r, unnest(r.setconfig) AS s(setting)
  WHERE lower(split_part(s.setting, '=', 1)) = 'timezone'
    AND r.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))),
may AS (
  SELECT o.oid, o.rolsuper FROM pg_roles o JOIN pg_class c ON c.oid = {table}::oid
  WHERE o.rolcanlogin AND (o.oid = c.relowner OR NOT o.rolsuper AND has_table_privilege(o.oid, c.oid, 'INSERT'))),
writers AS (SELECT oid FROM may WHERE NOT rolsuper OR NOT EXISTS (SELECT FROM may WHERE NOT rolsuper))
SELECT coalesce(
  (SELECT zone FROM zones z WHERE z.setrole = w.oid ORDER BY z.setdatabase DESC LIMIT 1),
  (SELECT zone FROM zones z WHERE z.setrole = 0 ORDER BY z.setdatabase DESC LIMIT 1),
  (SELECT reset_val FROM pg_settings WHERE name = 'TimeZone')), w.oid IS NOT NULL
FROM (SELECT oid FROM writers UNION ALL SELECT NULL) AS w ORDER BY 2 DESC
"""
_OFFSETS = "SELECT z.name, extract(epoch FROM timezone(z.name, now()) - timezone('UTC', now()))::float8 FROM {zones}"


class Rank(IntEnum):
    """How good the evidence is that decided."""

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
    """zones: those that a timestamp may be written in, UTC among them.

    local: the one that now() gives to whatever writes here; None where writers differ.
    """

    zones: tuple[str, ...]
    local: str | None

    @property
    def matter(self) -> bool:
        return len(self.zones) > 1


class Sample(NamedTuple):
    """A row that was looked at. times: of each column, in seconds since 1970, by each reading (zone) of it.

    was_claimed: whether a worker has it or had it.
    """

    was_claimed: bool
    times: Mapping[str, Mapping[str, float]]


async def candidates(shape: Shape, ask: Ask) -> Candidates:
    """Zones with the offset that UTC has right now are no candidates: they make no difference.

    Raises:
        psycopg.Error: it could not be asked.
    """
    rows = await ask(sql.SQL(_ZONES).format(table=sql.Literal(shape.oid)))
    names = list(dict.fromkeys(name for name, _ in rows))
    values = sql.SQL(", ").join(sql.SQL("({})").format(sql.Literal(name)) for name in names)
    zones = sql.SQL("(VALUES {}) AS z(name)").format(values)
    offsets: dict[str, float] = dict([*await ask(sql.SQL(_OFFSETS).format(zones=zones))])
    theirs = [name for name, is_writer in rows if is_writer] or names
    agreed = theirs[0] if len({offsets[name] for name in theirs}) == 1 else None
    local = None if agreed is None else agreed if offsets[agreed] else UTC
    return Candidates((UTC, *(name for name in names if offsets[name])), local)


def by_default(column: Column, known: Candidates) -> Verdict | None:
    """What the column's default says of the zone; None: nothing."""
    text = column.default or ""
    named = _A_ZONE.search(text)
    if named is not None:
        zone = named[1] or named[2]
        return Verdict(UTC if zone.lower() in {"utc", "gmt", "z"} else zone, Rank.DEFAULT)
    return Verdict(known.local, Rank.DEFAULT) if known.local is not None and _NOW.search(text) else None


def decide_zones(
    columns: Mapping[str, Column],
    known: Candidates,
    rows: Sequence[Sample],
    now: float,
    before: Mapping[str, Verdict] | None = None,
) -> dict[str, Verdict]:
    """Of each timestamp without a zone, by its key in the policy. before: what was decided last time.

    A verdict gives way to a better one, and where rows or a default decided to one as good: never to a worse.
    """
    local = {key: column for key, column in columns.items() if column.kind is Kind.LOCAL}
    before = before or {}
    found: dict[str, Verdict] = {}
    created = _Created(columns.get(CREATED))
    # What tells when a job was created judges the other columns, so that it comes first.
    for key in sorted(local, key=lambda key: key != CREATED):
        verdict = _by_rows(key, known, rows, now, created) or by_default(local[key], known)
        verdict = _steady(verdict or Verdict(UTC, Rank.NOTHING), before.get(key))
        if verdict.rank >= Rank.DEFAULT:
            found[key] = verdict
            if key == CREATED:
                created.zone = verdict.zone
    siblings = {verdict.zone for verdict in found.values()}
    for key in local.keys() - found.keys():
        verdict = Verdict(UTC, Rank.NOTHING)
        if key == DUE and (zone := _by_waiting_rows(known, rows, now)) is not None:
            verdict = Verdict(zone, Rank.WAITING_ROWS)
        elif len(siblings) == 1:
            verdict = Verdict(next(iter(siblings)), Rank.OTHER_COLUMNS)
        found[key] = _steady(verdict, before.get(key))
    return found


def _steady(new: Verdict, before: Verdict | None) -> Verdict:
    if before is None or new.rank > before.rank or (new.rank == before.rank and new.rank >= Rank.DEFAULT):
        return new
    return before


class _Created:
    """When a job was created, as far as that is known: zone None where its own column is not decided."""

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
    """The one reading that few rows or none speak against, where many speak against each other one."""
    best, *others = sorted(against, key=against.__getitem__)
    if others and all(against[other] > _CLEARLY * against[best] for other in others):
        return best
    # One is out of the question and two are left: the first of these is no evidence.
    return None


def _by_waiting_rows(known: Candidates, rows: Sequence[Sample], now: float) -> str | None:
    waiting = [row.times[DUE] for row in rows if not row.was_claimed and DUE in row.times]
    # A job that is far off by every reading, or long due by every reading, says nothing.
    telling = [times for times in waiting if len({times[zone] > now + _TOLERANCE_S for zone in known.zones}) > 1]
    if not telling:
        return None
    later = {zone: sum(times[zone] > now + _TOLERANCE_S for times in telling) for zone in known.zones}
    return _least_spoken_against(later)


def sample_query(times: Sequence[sql.Composable], arms: Sequence[tuple[bool, sql.Composable]]) -> sql.Composed:
    """Some rows of each arm: whether these jobs were claimed, then each of the times in seconds since 1970.

    arms: what stands behind FROM, with the row aliased j.
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
