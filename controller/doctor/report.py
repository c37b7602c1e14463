"""`autoscaler doctor`: connects to everything as `run` does, only reads, reports what is wrong and how to fix it."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, cast

import psycopg

from controller.adapters.postgres.errors import in_words
from controller.adapters.redis.connection import FAULTS, speaks_tls
from controller.adapters.redis.connection import connect as connect_redis
from controller.adapters.redis.connection import in_words as redis_words
from controller.adapters.redis.keys import Keys
from controller.adapters.redis.listening_report import load_report
from controller.app import Controller, RunOptions, opened
from controller.configuration import Configuration
from controller.core import units
from controller.core.model import QueueDepth
from controller.core.ports import Unavailable
from controller.core.queues import alone
from controller.core.text.masking import Masker
from controller.core.units import iso
from controller.doctor.any_platform import PlatformAsked
from controller.doctor.finding import Finding, Level, error, ok, warning
from controller.doctor.postgres_connections import connections
from controller.doctor.postgres_queue import QueueChecks, unreadable
from controller.doctor.postgres_server import Database, reach, woken
from controller.doctor.redis import clock_ahead, risks
from controller.loop.readings import QueueReader
from controller.platforms import named, used_by
from controller.policy import WorkerPolicy

_ANY_PLATFORM = "controller.doctor.any_platform:check_any"
_MOST_SKEW_S = 2.0
_READ_S = 5.0
"""Longer than a cycle's timeout: a person waits here, and a slow query should be measured rather than cut off."""


@dataclass
class Report:
    """everywhere: findings that concern no single worker. workers: findings per worker.

    jobs: seconds that the longest jobs of each worker take; None if unknown.
    """

    everywhere: list[Finding] = field(default_factory=list)
    workers: dict[str, list[Finding]] = field(default_factory=dict)
    jobs: dict[str, float | None] = field(default_factory=dict)

    @property
    def is_well(self) -> bool:
        """No finding is an error; warnings are allowed."""
        return all(finding.level is not Level.ERROR for _, finding in self.rows())

    def masked(self, mask: Masker) -> Report:
        """A copy with every secret masked, which may be shown."""
        return Report(
            [finding.masked(mask) for finding in self.everywhere],
            {name: [finding.masked(mask) for finding in findings] for name, findings in self.workers.items()},
            self.jobs,
        )

    def rows(self) -> Iterator[tuple[str | None, Finding]]:
        for finding in self.everywhere:
            yield None, finding
        for name, findings in self.workers.items():
            for finding in findings:
                yield name, finding


async def examine(configuration: Configuration) -> Report:
    """Runs all checks, in the order in which a person would fix what they find. Changes nothing."""
    report = Report(workers={name: [] for name in configuration.policy.workers})
    async with opened(configuration, RunOptions(), stream=sys.stderr, events=sys.stderr, form="text") as controller:
        ahead: dict[str, float] = {}
        database = await _postgres(configuration, controller, report, ahead)
        place = len(report.everywhere)
        # Findings are in the order of the work: without PostgreSQL nothing can be decided, without Redis no replica
        # leads, and only then does it matter what a platform would do. So the late answer is put where it belongs. This
        # check waits 6 s for its connection to be cut, so it runs while the others are made.
        listening = asyncio.create_task(_listening(configuration, controller, database))
        try:
            await _redis(configuration, controller, report, ahead)
            if ahead:
                report.everywhere.append(clocks(ahead))
            await _platforms(configuration, controller, report)
            report.everywhere[place:place] = await listening
        finally:
            listening.cancel()
    return report


async def _postgres(
    configuration: Configuration, controller: Controller, report: Report, ahead: dict[str, float]
) -> Database | None:
    """Checks PostgreSQL and each worker's queue; returns the database, or None if it could not be asked."""
    settings = configuration.settings
    report.everywhere += [ok("addresses", str(note)) for note in settings.notes]
    report.everywhere += [warning("settings", str(one)) for one in configuration.warnings]
    database: Database | None = None
    try:
        # The connection that the controller itself would read on: the role may be allowed only one.
        reader = await controller.queue.reader()
    except (psycopg.Error, UnicodeError) as failure:
        words = (
            in_words(failure, None, _READ_S)
            if isinstance(failure, psycopg.Error)
            else "cannot be reached: its address holds characters that cannot be encoded"
        )
        report.everywhere.append(error("PostgreSQL", f"PostgreSQL {words}", "check DATABASE_URL"))
        for findings in report.workers.values():
            findings.append(error("queue", "not checked: PostgreSQL cannot be reached", "fix that first"))
        return None
    checks = QueueChecks(reader, controller.queue, _READ_S)
    try:
        findings, ahead["PostgreSQL"], database = await reach(reader, controller.ports.clock, _READ_S)
        report.everywhere += findings
        report.everywhere.append(await connections(reader, configuration.policy, _READ_S))
    except psycopg.Error as failure:
        report.everywhere.append(error("PostgreSQL", f"PostgreSQL {in_words(failure, None, _READ_S)}"))
    for name, worker in configuration.policy.workers.items():
        longest = []
        for queue_name, only in alone(worker).items():
            asks = functools.partial(_was_seen, controller, name, only)
            report.workers[name] += [_named(found, queue_name) for found in await _queue(checks, only, asks)]
            longest.append(await checks.longest_job(only))
        report.jobs[name] = max(filter(None, longest), default=None)
    return database


def _named(finding: Finding, queue: str) -> Finding:
    """Of one of several queues, so that its subject names it."""
    return replace(finding, about=f"{finding.about} {queue}") if queue else finding


async def _listening(configuration: Configuration, controller: Controller, database: Database | None) -> list[Finding]:
    if database is None or not await _has_channels(controller):
        return []
    url, direct = configuration.settings.database_url, configuration.settings.database_direct_url
    variable = "DATABASE_URL" if direct is None else "DATABASE_DIRECT_URL"
    address = (direct or url).get_secret_value()
    return [await woken(address, variable, controller.queue, database if direct else None)]


async def _was_seen(controller: Controller, name: str, worker: WorkerPolicy) -> bool:
    """Whether the journal says that a controller has seen jobs in this queue; False if Redis cannot be asked."""
    try:
        recalled = await controller.ports.journal.recall(name)
    except Unavailable:
        return False
    return worker.only_queue.identity in recalled.history.queue_seen.split(",")


async def _queue(checks: QueueChecks, worker: WorkerPolicy, was_seen: Callable[[], Awaitable[bool]]) -> list[Finding]:
    """Checks one queue; asks for the reader anew, because an earlier worker's query may have ended its connection."""
    try:
        checks.reader = await checks.queue.reader()
    except psycopg.Error as failure:
        return [unreadable(failure, worker, _READ_S)]
    return await checks.look(worker, was_seen)


async def _has_channels(controller: Controller) -> bool:
    for queue in (queue for worker in controller.policy.workers.values() for queue in worker.each_queue.values()):
        try:
            if await controller.queue.channels(queue):
                return True
        except Unavailable:
            continue  # the worker's own finding reports it
    return False


async def _redis(configuration: Configuration, controller: Controller, report: Report, ahead: dict[str, float]) -> None:
    settings, clock = configuration.settings, controller.ports.clock
    url = settings.redis_url.get_secret_value()
    try:
        async with asyncio.timeout(2 * _READ_S), aclosing(connect_redis(url)) as client:
            offset = await clock_ahead(client, clock)
            keys = Keys(settings.key_prefix, settings.group)
            found, last = await risks(client, keys), await load_report(client, keys.listening)
    except (*FAULTS, TimeoutError) as failure:
        words = (
            "did not answer in time" if isinstance(failure, TimeoutError) else redis_words(cast("Exception", failure))
        )
        report.everywhere.append(error("Redis", f"Redis {words}", await _redis_fix(url)))
        return
    if last is not None and last.event == "wake_unavailable":
        report.everywhere.append(
            warning("listening", f"the leading controller reported at {iso(last.at)}: {last.message}")
        )
    if offset is not None:
        ahead["Redis"] = offset
    report.everywhere += found or [ok("Redis", "saves its data, does not evict our keys, and grants all needed rights")]


async def _redis_fix(url: str) -> str:
    """If the port speaks TLS and REDIS_URL does not, or the reverse, that explains the failure; say so."""
    tls, asked = await speaks_tls(url), url.startswith("rediss://")
    if tls is None or tls is asked:
        return "check REDIS_URL"
    right, wrong = ("rediss://", "redis://") if tls else ("redis://", "rediss://")
    return f"that port speaks {'TLS' if tls else 'no TLS'}: write {right} instead of {wrong} in REDIS_URL"


async def _platforms(configuration: Configuration, controller: Controller, report: Report) -> None:
    policy = configuration.policy
    for one in used_by(policy):
        workers = {name: worker for name, worker in policy.workers.items() if worker.target.platform == one.target}
        asked = PlatformAsked(
            controller.platforms.opened(one.target),
            configuration.access[one.target],
            policy.interval,
            workers,
            report.jobs,
            controller.ports.clock,
            await _holders(controller, workers),
        )
        found = await named(one.checks or _ANY_PLATFORM)(asked)
        report.everywhere += found.everywhere
        for name, findings in found.workers.items():
            report.workers[name] += findings


async def _holders(controller: Controller, workers: Mapping[str, WorkerPolicy]) -> Mapping[str, tuple[str, ...] | None]:
    ports, found = controller.ports, {}
    for name, worker in workers.items():
        if controller.platforms.chooser(worker.target.key) is None:
            continue
        reader = QueueReader(name, worker, ports.queue, ports.clock, ports.report, holders=True)
        answers = {key: depth async for key, depth in ports.queue.depths(reader.requests)}
        depth = reader.with_known(answers).depth
        if isinstance(depth, QueueDepth):
            found[name] = depth.holders
    return found


def clocks(ahead: Mapping[str, float]) -> Finding:
    """Compares the clocks that were read with each other and with the local clock. ahead: seconds, by name."""
    shown = ", ".join(f"{name} {_ahead(offset)}" for name, offset in ahead.items())
    offsets = [0.0, *ahead.values()]
    if max(offsets) - min(offsets) > _MOST_SKEW_S:
        says = (
            f"against the local clock: {shown}; cooldowns use Redis' clock, due jobs PostgreSQL's, the rate limit's "
            "minutes the local one"
        )
        return warning("clocks", says, "synchronise all of them by NTP")
    return ok("clocks", f"against the local clock: {shown}")


def _ahead(seconds: float) -> str:
    """To 10 ms: below that, the request that reads a clock takes longer than what it shows."""
    rounded = round(seconds, 2)
    return f"{units.in_words(abs(rounded))} {'ahead' if rounded > 0 else 'behind'}" if rounded else "equal"


def as_object(report: Report) -> dict[str, Any]:
    return {
        "well": report.is_well,
        "findings": [
            {
                "worker": worker,
                "about": finding.about,
                "level": finding.level.value,
                "says": finding.says,
                "fix": finding.fix or None,
                "sql": list(finding.sql),
            }
            for worker, finding in report.rows()
        ],
    }
