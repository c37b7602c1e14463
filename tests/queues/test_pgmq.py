"""The preset pgmq, on the real library: its own SQL, installed and called by its own client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from controller.adapters.postgres.queue import PostgresQueue
from controller.demo.servers import Servers
from controller.policy import Queue
from tests.queues.published import ZONES, depth, move_to
from tests.queues.scenario import Count, Stage, listening, stage
from tests.support.unhurried import PATIENT_S

pgmq = pytest.importorskip("pgmq", reason="pgmq is not installed: pip install 'worker-autoscaler[dev]'")
HOUR_S = 3600


@pytest.fixture(scope="module")
def place(servers: Servers) -> Iterator[Stage]:
    """5 and 2 messages wait in two queues, 3 are being read, 4 are for later, 2 were archived and 1 was deleted."""
    with stage(servers) as one:
        pgmq.install_pgmq_from_sql(dsn=one.url)
        with queue_on(one) as client:
            for name in ("default", "other"):
                client.create_queue(name)
            client.send_batch("default", [{"n": n} for n in range(6)])
            done = client.read_batch("default", vt=HOUR_S, batch_size=3)
            client.archive_batch("default", [message.msg_id for message in done[:2]])
            client.delete("default", done[2].msg_id)
            client.read_batch("default", vt=HOUR_S, batch_size=3)
            client.send_batch("default", [{"n": n} for n in range(4)], delay=HOUR_S)
            client.send_batch("default", [{"n": n} for n in range(5)])
            client.send_batch("other", [{"n": n} for n in range(2)])
        one.let_read("pgmq")
        yield one


def queue_on(place: Stage) -> Any:
    return closing(pgmq.PGMQueue(conn_string=place.url, init_extension=False, pool_size=1))


@pytest.mark.parametrize("zone", ZONES)
async def test_what_waits_what_is_being_read_and_what_is_for_later_are_told_apart(place: Stage, zone: str) -> None:
    move_to(place, zone)
    seen = await place.read("pgmq", queues=["default", "other"])
    assert seen == Count(pending=7, processing=3, scheduled=4, failed=None)
    assert seen.oldest_age_s == place.aged(0)
    assert await place.read("pgmq", queues=["other"]) == Count(pending=2, processing=0, scheduled=0, failed=None)


async def test_the_controller_reads_all_its_queues_at_once(place: Stage) -> None:
    seen = await depth(place, Queue(preset="pgmq", queues=("default", "other")))
    assert (seen.pending, seen.processing, seen.stale) == (7, 3, 0)


async def test_its_own_count_of_what_is_visible_is_the_same(place: Stage) -> None:
    with queue_on(place) as client:
        visible = client.metrics("default").queue_visible_length
    assert (await place.read("pgmq", queues=["default"])).pending == visible


async def test_a_message_that_is_not_deleted_in_time_is_ready_again(place: Stage) -> None:
    with queue_on(place) as client:
        client.create_queue("killed")
        client.send("killed", {})
        client.read("killed", vt=HOUR_S)
        place.let_read("pgmq")
        assert await place.read("pgmq", queues=["killed"]) == Count(pending=0, processing=1, scheduled=0, failed=None)
        client.set_vt("killed", 1, 0)
    assert await place.read("pgmq", queues=["killed"]) == Count(pending=1, processing=0, scheduled=0, failed=None)


async def test_a_queue_that_notifies_wakes_every_listener(place: Stage) -> None:
    reader = PostgresQueue(place.reader, timeout_s=PATIENT_S)
    channels = frozenset(await reader.channels(Queue(preset="pgmq", queues=("default",))))
    await reader.close()
    with queue_on(place) as client:
        client.enable_notify("default")
        async with listening(place, channels) as heard:
            sent = client.send("default", {})
        client.delete("default", sent)
    assert heard == channels
