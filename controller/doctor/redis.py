"""Checks Redis' settings for risks to the lease and the journal; `run` does it once, when Redis first answers.

It only reads. A command that is denied (by an ACL, or by a managed Redis that hides CONFIG) is skipped.
"""

from __future__ import annotations

import asyncio
import re
import traceback
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

from redis.asyncio import RedisCluster
from redis.exceptions import ResponseError

from controller.adapters.redis.connection import FAULTS, Client, connect, in_words
from controller.adapters.redis.keys import Keys
from controller.adapters.redis.scripts import NAMES, script
from controller.core import units
from controller.core.ports import Clock, Report
from controller.doctor.finding import Finding, error, warning

_ABOUT = "Redis"
_LONGEST_LOOK_S = 2.0
_AGAIN_S = 5.0
_MOST_SKEW_S = 5.0
_OLDEST = (6, 2)
_COMMANDS = sorted(set(re.findall(r"redis\.call\('([A-Z]+)'", "".join(map(script, NAMES)))))
"""The commands that our scripts run by redis.call, all of which the user needs; INFO (by pcall) may be denied."""

# Returns those of our commands that the user is not allowed on our keys. Before Redis 7 a script cannot check this.
# Redis 8 wants the number of arguments that the command takes, so every number up to 4 is tried.
_DENIED = """
local denied = {}
if redis.acl_check_cmd then
  local arguments = {KEYS[1], '0', '0', '0'}
  for _, command in ipairs(ARGV) do
    local understood, allowed, count = false, true, 0
    while not understood and count <= #arguments do
      understood, allowed = pcall(redis.acl_check_cmd, command, unpack(arguments, 1, count))
      count = count + 1
    end
    if understood and not allowed then denied[#denied + 1] = command end
  end
end
return denied
"""

T = TypeVar("T")


@asynccontextmanager
async def reporting_risks(url: str, keys: Keys, clock: Clock, report: Report) -> AsyncIterator[None]:
    """While the context is open, checks Redis once in the background, as soon as it answers, and reports each risk."""

    def tell_of_a_bug(done: asyncio.Task[None]) -> None:
        if not done.cancelled() and (bug := done.exception()):
            trace = "".join(traceback.format_exception(bug))
            report("crashed", message=f"the check of Redis' settings crashed: {bug!r}", traceback=trace)

    looking = asyncio.create_task(_look(url, keys, clock, report))
    looking.add_done_callback(tell_of_a_bug)
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait({looking})


async def _look(url: str, keys: Keys, clock: Clock, report: Report) -> None:
    while True:
        try:
            # On its own connection, because a check that takes too long is cancelled and breaks its connection.
            async with asyncio.timeout(_LONGEST_LOOK_S), connect(url) as client:
                warnings = await risks(client, keys, clock)
        except FAULTS:  # the task that acquires the lease already reports it
            await asyncio.sleep(_AGAIN_S)
        else:
            for found in warnings:
                report("redis_warning", message=found.sentence)
            return


async def risks(client: Client, keys: Keys, clock: Clock | None = None) -> list[Finding]:
    """One finding with its fix for each setting that a person should change; an empty list if there is none.

    clock: compared with Redis' clock, if given.

    Raises:
        one of connection.FAULTS: Redis could not be asked.
    """
    # On a Cluster, ask the node that holds our keys.
    there: dict[str, Any] = {}
    if cluster := isinstance(client, RedisCluster):
        await client.initialize()
        there["target_nodes"] = client.get_node_from_key(keys.lease)
    info = cast("dict[str, Any] | None", await _allowed(client.info(**there)))
    if info is None:
        words = "Redis denies INFO, so its eviction policy, persistence and replicas were not checked"
        warnings = [warning(_ABOUT, words, "allow it: +info")]
    elif "sentinel" in (info.get("redis_mode"), info.get("server_mode")):  # as Redis and as Valkey call it
        words = "REDIS_URL names a Sentinel, which is not supported"
        return [error(_ABOUT, words, "set REDIS_URL to the primary's own address")]
    else:
        warnings = [*_place(info, cluster=cluster), *_memory(info), *_replicas(info)]
        if not info.get("aof_enabled", 1):
            warnings += _persistence(
                await _allowed(cast("Awaitable[dict[str, Any]]", client.config_get("save", **there))) or {}
            )
    ahead = None if clock is None else await clock_ahead(client, clock, **there)
    warnings += [] if ahead is None else _clocks(ahead)
    return [*warnings, *await _scripts(client, keys)]


async def _allowed(answer: Awaitable[T]) -> T | None:
    try:
        return await answer
    except ResponseError:
        return None


def _place(info: Mapping[str, Any], *, cluster: bool) -> Iterator[Finding]:
    version = re.match(r"(\d+)\.(\d+)", str(info.get("redis_version", "")))
    if version and (int(version[1]), int(version[2])) < _OLDEST:
        words = f"Redis {info['redis_version']} is older than 6.2, the oldest supported version"
        yield error(_ABOUT, words, "upgrade it")
    if info.get("role") == "slave":
        words = "REDIS_URL names a replica, which is read-only: no controller can lead"
        yield error(_ABOUT, words, "set REDIS_URL to the primary's address")
    if info.get("cluster_enabled") == 1 and not cluster:
        yield error(_ABOUT, "REDIS_URL names a node of a Redis Cluster", "add ?cluster=true to it")


def _memory(info: Mapping[str, Any]) -> Iterator[Finding]:
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if _number(info, "maxmemory") and policy != "noeviction":
        yield warning(
            _ABOUT,
            f"Redis may evict the lease or the journal when its memory is full (maxmemory-policy {policy})",
            "set maxmemory-policy noeviction, or give the autoscaler a Redis of its own",
        )


def _replicas(info: Mapping[str, Any]) -> Iterator[Finding]:
    """The number of good replicas is in INFO only while min-replicas-to-write is set."""
    replicas = _number(info, "connected_slaves")
    if info.get("role") == "master" and replicas and "min_slaves_good_slaves" not in info:
        yield warning(
            _ABOUT,
            f"Redis has {replicas} replica{'s' if replicas > 1 else ''} and does not wait for any: a failover may lose "
            "the last change, and two controllers may lead for a moment",
            "set min-replicas-to-write 1 and min-replicas-max-lag 10",
        )


def _persistence(config: Mapping[str, Any]) -> Iterator[Finding]:
    if config.get("save") == "":
        yield warning(
            _ABOUT,
            "Redis saves nothing (no AOF, no save points): a restart loses the cooldowns and any open change",
            "set appendonly yes",
        )


async def clock_ahead(client: Client, clock: Clock, **there: Any) -> float | None:
    """Seconds by which Redis' clock is ahead of the local clock; None if TIME is denied."""
    before = clock.wall()
    answer = await _allowed(client.time(**there))
    return None if answer is None else answer[0] + answer[1] / 1e6 - (before + clock.wall()) / 2


def _clocks(ahead: float) -> Iterator[Finding]:
    if abs(ahead) > _MOST_SKEW_S:
        yield warning(
            _ABOUT,
            f"Redis' clock is {units.in_words(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the local clock; "
            "cooldowns use Redis' clock, the rate limit's minute uses the local clock",
            "synchronise both by NTP",
        )


async def _scripts(client: Client, keys: Keys) -> list[Finding]:
    try:
        denied = await client.register_script(_DENIED)(keys=[keys.lease], args=_COMMANDS)
    except ResponseError as refusal:
        return [error(_ABOUT, f"no controller can lead: Redis {in_words(refusal)}")]
    if not denied:
        return []
    rights = " ".join(f"+{command.lower()}" for command in cast("list[str]", denied))
    words = f"no controller can lead: the user of REDIS_URL lacks rights on {keys.lease} that our scripts need"
    return [error(_ABOUT, words, f"grant: {rights}")]


def _number(info: Mapping[str, Any], name: str) -> int:
    value = info.get(name, 0)
    return value if isinstance(value, int) else 0
