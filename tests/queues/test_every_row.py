"""Every preset, on rows of every combination of what it looks at: each is in exactly one arm, in any time zone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg import sql

from controller.adapters.postgres.places import located
from controller.adapters.postgres.presets.reader import load, names
from controller.adapters.postgres.statements import Place
from controller.demo.servers import Servers
from controller.policy import ARMS, Queue
from tests.queues.row_cases import CASES
from tests.queues.rows import Case
from tests.queues.scenario import Stage, stage
from tests.support.examples import some

ENOUGH = 100_000
OF_ITS_OWN_ZONE = {("processing", "dramatiq-pg")}
"""dramatiq-pg writes mtime by its session's zone: test_dramatiq_pg.py has its workers write and reads in that zone."""


@dataclass(frozen=True, slots=True)
class Written:
    case: Case
    place: Stage
    known: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    async def here(self) -> Mapping[str, Sequence[str]]:
        """The arms in the zone that the database was made with. No test changes the rows, so they are read once."""
        if "arms" not in self.known:
            self.known["arms"] = await self.arms()
        return self.known["arms"]

    async def found(self) -> Place:
        """Where the controller finds the queue, and in which shape."""
        async with reading(self.place) as connection:

            async def ask(statement: sql.Composed) -> Sequence[tuple[Any, ...]]:
                return await (await connection.execute(statement)).fetchall()

            queue = Queue.model_validate({"preset": self.case.preset, "queues": self.case.queues})
            return (await located(queue, ask)).place

    async def arms(self) -> Mapping[str, Sequence[str]]:
        """In which arms each row is, read in the session's own time zone."""
        found = await self.found()
        arms: dict[str, list[str]] = {}
        async with reading(self.place) as connection:
            for arm in ARMS:
                if getattr(found.form, arm):
                    for (name,) in await (await connection.execute(found.rows(arm, self._name))).fetchall():
                        arms.setdefault(name, []).append(arm)
        return arms

    async def times(self) -> Mapping[str, str | None]:
        """Since when each row is ready or in work, in seconds of the epoch; None where the row does not say it."""
        found = await self.found()
        times: dict[str, str | None] = {}
        async with reading(self.place) as connection:
            for arm, since in (("ready", found.form.since), ("processing", found.form.began or found.form.claimed_at)):
                if since is not None and (arm, self.case.preset) not in OF_ITS_OWN_ZONE:
                    what = f"ARRAY[{self._name}::text, extract(epoch FROM ({since})::timestamptz)::text]"
                    rows = await (await connection.execute(found.rows(arm, what))).fetchall()
                    times |= {name: seconds for ((name, seconds),) in rows}
        return times

    @property
    def _name(self) -> str:
        return self.case.named_by or load(self.case.preset).queue_column or ""


Connection = psycopg.AsyncConnection[tuple[Any, ...]]


@asynccontextmanager
async def reading(place: Stage) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(place.reader, autocommit=True) as connection:
        yield connection


async def one_row(connection: Connection, statement: str | sql.Composed) -> tuple[Any, ...]:
    row = await (await connection.execute(statement.encode() if isinstance(statement, str) else statement)).fetchone()
    assert row is not None
    return row


ZONES = ("Europe/Helsinki", "America/New_York")


@pytest.fixture(
    scope="module", params=some(CASES, every=3), ids=lambda case: " ".join(filter(None, (case.preset, case.form)))
)
def written(servers: Servers, request: pytest.FixtureRequest) -> Iterator[Written]:
    """The connection that wrote the rows stays open, for some are held by its locks."""
    case: Case = request.param
    with stage(servers) as place:
        asyncio.run(case.tables(place))
        with psycopg.connect(place.url, autocommit=True) as writer:
            writer.execute(case.statements().encode())
            yield Written(case, place)


async def test_every_row_is_in_exactly_one_arm(written: Written) -> None:
    arms = await written.here()
    assert {name: arms.get(name, []) for name, _ in written.case.rows() if len(arms.get(name, [])) != 1} == {}
    assert len(arms) == len(list(written.case.rows()))


async def test_ready_is_what_a_worker_that_starts_now_would_run(written: Written) -> None:
    arms = await written.here()
    ready = {name for name, found in arms.items() if "ready" in found}
    assert ready == {name for name, row in written.case.rows() if written.case.runs(row)}


async def test_the_sum_of_all_arms_is_the_number_of_rows(written: Written) -> None:
    found = await written.found()
    arms = Counter(arm for arms in (await written.here()).values() for arm in arms)
    async with reading(written.place) as connection:
        pending, _, processing, stale, _ = await one_row(connection, found.depth(ENOUGH))
        scheduled, failed = await one_row(connection, found.rest(ENOUGH))
    assert (stale is None) == (not found.detects_dead_workers)
    stale = stale or 0
    assert (pending, processing + stale) == (arms["ready"], arms["processing"])
    assert (scheduled or 0, failed or 0) == (arms["scheduled"], arms["failed"])
    rows = len(list(written.case.rows()))
    assert pending + processing + stale + (scheduled or 0) + (failed or 0) + arms["held"] + arms["finished"] == rows


@pytest.mark.parametrize("zone", ["Asia/Tokyo", *ZONES])
async def test_soon_is_what_a_worker_would_run_once_it_is_due_and_nothing_later(written: Written, zone: str) -> None:
    """The rows that are due later are due in an hour."""
    found, arms = await written.found(), await written.arms()
    then = [
        name
        for name, row in written.case.rows()
        if arms[name] == ["scheduled"]
        and "future" in {row.get("due"), row.get("eta")}
        and written.case.runs({**row, "due": "past", "eta": "past"})
    ]
    async with reading(written.place) as connection:
        await connection.execute(sql.SQL("SET TimeZone = {}").format(sql.Literal(zone)))
        soon = [(await one_row(connection, found.depth(ENOUGH, ahead_s=ahead)))[4] for ahead in (0, 1800, 7200)]
        first = (await one_row(connection, found.depth(1, ahead_s=7200)))[4]
    assert found.can_tell_soon == bool(found.form.scheduled), "every library that has a due time"
    expected = [None, 0, len(then)] if found.can_tell_soon else [None, None, None]
    assert soon == expected
    assert first == (1 if found.can_tell_soon else None), "it stops at the limit, as the other counts do"
    assert then or not found.can_tell_soon


async def test_rows_stay_in_their_arms_and_keep_their_times_in_any_time_zone(written: Written) -> None:
    here = (await written.here(), await written.times())
    async with reading(written.place) as connection:
        database = (await one_row(connection, "SELECT current_database()"))[0]
    places = [(of, zone) for of in ("DATABASE", "ROLE") for zone in ZONES]
    for of, zone in some(places, every=len(places), first=CASES.index(written.case)):
        await stays_the_same(written, database, of, zone, here)


async def stays_the_same(written: Written, database: str, of: str, zone: str, here: Any) -> None:
    written.place.execute(f"ALTER {of} {database if of == 'DATABASE' else written.place.role} SET TimeZone = '{zone}'")
    try:
        async with reading(written.place) as connection:
            assert await one_row(connection, "SHOW TimeZone") == (zone,)
        assert (await written.arms(), await written.times()) == here
    finally:
        written.place.execute(f"ALTER ROLE {written.place.role} RESET TimeZone")
        written.place.execute(f"ALTER DATABASE {database} SET TimeZone = 'Asia/Tokyo'")


def test_every_form_of_every_preset_has_its_rows() -> None:
    forms = {(name, form.versions) for name in names() for form in load(name).forms}
    assert {(case.preset, case.form) for case in CASES} == forms
