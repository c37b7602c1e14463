"""Settings of a real Redis that put the lease at risk are reported once, in a sentence with the fix."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from controller.adapters.clock import SystemClock
from controller.adapters.redis import connection as redis_connection
from controller.adapters.redis.connection import connect
from controller.adapters.redis.keys import Keys
from controller.demo.servers import Servers
from controller.doctor import redis as redis_checks
from controller.doctor.redis import reporting_risks, risks
from tests.support.patience import in_time
from tests.support.redis_servers import IN_MEMORY, RedisServer, redis_cluster, redis_server

KEYS = Keys("autoscaler", "env")
FORGETS = "Redis saves nothing (no AOF, no save points): a restart loses"


class Ahead(SystemClock):
    def wall(self) -> float:
        return super().wall() + 60


async def said(url: str, clock: SystemClock | None = None) -> list[str]:
    async with aclosing(connect(url)) as client:
        return [found.sentence for found in await risks(client, KEYS, clock or SystemClock())]


def about(words: str, warnings: list[str]) -> bool:
    return any(words in warning for warning in warnings)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis"), "--appendonly", "yes") as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> Iterator[RedisServer]:
    """One that has nothing to be warned of, whatever the last test set."""
    yield shared
    for setting in ("maxmemory 0", "maxmemory-policy noeviction", "appendonly yes"):
        shared.ask("CONFIG", "SET", *setting.split())
    shared.ask("ACL", "SETUSER", "u", "reset")


async def test_a_redis_that_is_set_as_advised_is_not_complained_of(server: RedisServer) -> None:
    server.ask("CONFIG", "SET", "maxmemory", "1gb")
    assert await said(server.url) == []


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
async def test_a_policy_that_evicts_is_warned_of(server: RedisServer, policy: str) -> None:
    server.ask("CONFIG", "SET", "maxmemory", "1gb")
    server.ask("CONFIG", "SET", "maxmemory-policy", policy)
    (warning,) = await said(server.url)
    assert f"may evict the lease or the journal when its memory is full (maxmemory-policy {policy})" in warning
    assert "set maxmemory-policy noeviction" in warning


async def test_a_policy_that_never_acts_is_not_warned_of(server: RedisServer) -> None:
    server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    assert await said(server.url) == []


async def test_a_redis_that_saves_nothing_is_warned_of(tmp_path: Path) -> None:
    with redis_server(tmp_path, *IN_MEMORY) as forgetful:
        (warning,) = await said(forgetful.url)
        assert warning.startswith(FORGETS)
        forgetful.ask("CONFIG", "SET", "save", "60 1")
        assert await said(forgetful.url) == []


async def test_a_failover_that_may_lose_a_write_is_warned_of_on_the_primary_and_the_replica_is_named(
    tmp_path: Path,
) -> None:
    options = ("--appendonly", "yes")
    with (
        redis_server(tmp_path, *options) as primary,
        redis_server(tmp_path, "--replicaof", "127.0.0.1", str(primary.port), *options) as replica,
    ):
        primary.until("replication", "state=online")
        (warning,) = await said(primary.url)
        assert warning.startswith("Redis has 1 replica and does not wait for any")
        assert "REDIS_URL names a replica" in (await said(replica.url))[0]
        primary.ask("CONFIG", "SET", "min-replicas-to-write", "1")
        assert await said(primary.url) == []


async def test_clocks_that_disagree_are_warned_of(server: RedisServer) -> None:
    (warning,) = await said(server.url, Ahead())
    assert warning.startswith("Redis' clock is 1 min behind the local clock")


@pytest.mark.costly
async def test_a_plain_address_of_a_cluster_s_node_is_warned_of_and_a_cluster_s_own_is_not(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as (node,):
        assert about("add ?cluster=true to it", await said(node.url))
        (warning,) = await said(f"{node.url}?cluster=true")
        assert warning.startswith(FORGETS)


async def test_a_sentinel_is_warned_of_and_nothing_else_is_said(tmp_path: Path) -> None:
    configuration = tmp_path / "sentinel.conf"
    configuration.touch()
    with redis_server(tmp_path, str(configuration), "--sentinel") as sentinel:
        (warning,) = await said(sentinel.url)
    assert warning.startswith("REDIS_URL names a Sentinel, which is not supported")


async def test_a_version_that_is_too_old_is_named(server: RedisServer) -> None:
    (found,) = redis_checks._place({"redis_version": "6.0.16"}, cluster=False)
    assert found.sentence == "Redis 6.0.16 is older than 6.2, the oldest supported version; upgrade it"


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        ("+@all -info", "Redis denies INFO"),
        ("+@all -evalsha", "no controller can lead: Redis denies the user of REDIS_URL a right"),
        ("+@all -script", "no controller can lead: Redis denies the user of REDIS_URL a right"),
    ],
)
async def test_what_is_denied_is_said_where_it_matters(server: RedisServer, rights: str, words: str) -> None:
    server.ask("SCRIPT", "FLUSH")
    server.ask("ACL", "SETUSER", "u", "on", ">hunter2", "~*", *rights.split())
    (warning,) = await said(server.url.replace("redis://", "redis://u:hunter2@"))
    assert warning.startswith(words)
    assert "hunter2" not in warning


async def test_rights_that_only_a_later_write_would_miss_are_named_at_the_start(server: RedisServer) -> None:
    """A script can ask since Redis 7; before, the first write says it."""
    server.ask("ACL", "SETUSER", "u", "on", ">hunter2", "~*", "+@all", "-hdel", "-hset", "-set")
    warnings = await said(server.url.replace("redis://", "redis://u:hunter2@"))
    if "redis_version:6." in server.process_says("server"):
        assert warnings == []
    else:
        (warning,) = warnings
        assert warning.startswith("no controller can lead: the user of REDIS_URL lacks rights")
        assert warning.endswith(": +hdel +hset +set")


async def test_looks_that_a_managed_redis_denies_are_passed_over(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--rename-command", "CONFIG", "hidden", "--save", "") as managed:
        managed.ask("ACL", "SETUSER", "u", "on", ">pw", "~*", "+@all", "-time")
        assert await said(managed.url) == []


async def test_looking_writes_nothing(server: RedisServer) -> None:
    await said(server.url)
    assert server.ask("DBSIZE") == 0


async def test_the_warnings_are_said_once_as_soon_as_redis_answers(
    stoppable_servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_checks, "_AGAIN_S", 0.05)
    told: list[tuple[str, object]] = []
    heard = asyncio.Event()

    def report(event: str, /, **fields: object) -> None:
        told.append((event, fields["message"]))
        heard.set()

    stoppable_servers.stop_redis()
    async with reporting_risks(stoppable_servers.redis_url, KEYS, SystemClock(), report):
        await asyncio.sleep(0.2)
        assert told == []
        stoppable_servers.start_redis()
        await in_time(heard.wait(), "the warning")
        stoppable_servers.stop_redis()
        stoppable_servers.start_redis()
        await asyncio.sleep(0.3)
    ((event, message),) = told
    assert event == "redis_warning"
    assert str(message).startswith(FORGETS)


async def test_a_redis_that_never_answers_delays_neither_the_start_nor_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_checks, "_LONGEST_LOOK_S", 3600)
    monkeypatch.setattr(redis_connection, "TIMEOUT_S", 3600)
    told: list[str] = []

    async def around(url: str) -> None:
        async with reporting_risks(url, KEYS, SystemClock(), lambda event, /, **_: told.append(event)):
            await asyncio.sleep(0.1)

    with redis_server(tmp_path, *IN_MEMORY) as frozen:
        os.kill(frozen.process.pid, signal.SIGSTOP)
        await in_time(around(frozen.url), "the start and the end")
    assert told == []
