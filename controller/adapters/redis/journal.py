"""The journal in Redis: reads a worker's record, and replaces it if nothing was written since.

A record belongs to a service and never changes its name: it is named after the worker that scaled the service when the
record began. So an older version, which knows only worker names, finds it, and its data are taken over. If a worker's
name already names another service's record, the new record is called `<name>@<service id>`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from controller.adapters.redis import SOURCE, scripts
from controller.adapters.redis.connection import Client
from controller.adapters.redis.keys import Keys, ask, foreign_data, value_of
from controller.adapters.redis.record import Stored, Write, hash_of, history_of, readable, record_of, seconds, write_of
from controller.adapters.redis.shadow import Shadow
from controller.adapters.redis.together import Together
from controller.core.history import Loss, doubted, given_back, not_after
from controller.core.model import History, Leader, Lease
from controller.core.override import Overrides
from controller.core.ports import Clock, LeaderState, LeaseLost, Outrun, Recalled, Unavailable
from controller.core.text import bounds

_CYCLES_KEPT_MS = 24 * 3600 * 1000
_LEFT_FOR_S = 30 * 24 * 3600.0
"""A service that was removed from the policy is reported at each start for 30 days, then no more."""
_TRIES = 5
"""A leader writes a record at most a few times a cycle, so a second attempt all but always finds it unchanged."""
_USUAL_LEASE_MS = 15_000
"""Assumed if the leader's time to live is unknown."""


@dataclass(frozen=True, slots=True)
class Left:
    """A worker that is no longer in the policy, and its last known count.

    service: None if an older version, which stored no service, wrote it.
    """

    worker: str
    service: str | None
    count: int | None


class RedisJournal:
    """The state that survives a restart: one record a worker, written by one compare-and-set script."""

    source = SOURCE

    def __init__(self, redis: Client, keys: Keys, clock: Clock, services: Mapping[str, str] | None = None) -> None:
        """services: by worker, the id of the service that the record belongs to; without one, the worker's name."""
        self._redis = redis
        self._together = Together(redis)
        self._keys = keys
        self._clock = clock
        self._services = dict(services or {})
        self._records: dict[str, str] = {}
        self._shadows: dict[str, Shadow] = {}
        self._find, self._recall, self._write, self._publish, self._watch = (
            redis.register_script(scripts.script(name)) for name in ("find", "recall", "write", "publish", "watch")
        )

    def serve(self, services: Mapping[str, str]) -> None:
        """These are the workers and their services from now on; see __init__."""
        for worker in {*self._services, *services}:
            if self._services.get(worker) != services.get(worker):
                self._records.pop(worker, None)
                self._shadows.pop(worker, None)
        self._services = dict(services)

    async def recall(self, worker: str) -> Recalled:
        record = await self._record(worker)
        keys = [self._keys.worker(record), self._keys.past(record)]
        asked_at = self._clock.monotonic()
        now, server, text, past = await ask(self._together.ask(self._recall, keys), keys)
        try:
            return self._recalled(worker, Stored(record_of(text), server), past, int(now), asked_at)
        except (ValueError, KeyError, TypeError):
            raise foreign_data(" or ".join(keys)) from None

    async def write(self, worker: str, recalled: Recalled, history: History, lease: Lease, *, now: float) -> Recalled:
        stored = recalled.version
        assert isinstance(stored, Stored), "this journal has recalled it"
        identity = {
            "memory": stored.fields.get("memory") or uuid.uuid4().hex[:8],
            "revision": str(max(stored.revision, self._shadow(worker).revision) + 1),
            "run": stored.server,
        }
        return await self._compare_and_set(worker, stored, identity, write_of(stored, history, now), lease)

    async def amend(self, worker: str, amended: Callable[[Overrides, float], Overrides]) -> tuple[Overrides, float]:
        """Changes what operators ask for; returns what the record holds then, and the journal's time.

        It needs no lease. A leader that read the record before writes nothing, and decides again.

        Raises:
            Unavailable: it is unknown whether it was written.
        """
        for _ in range(_TRIES):
            record = await self._record(worker)
            keys = [self._keys.worker(record), self._keys.past(record)]
            now, server, text, _past = await ask(self._together.ask(self._recall, keys), keys)
            stored = Stored(record_of(text), server)
            try:
                before = history_of(stored.fields).overrides
                raised = readable(stored.fields, "raised") or 0
            except (ValueError, KeyError, TypeError):
                raise foreign_data(keys[0]) from None
            after = amended(before, seconds(now))
            if after == before:
                return before, seconds(now)
            identity, write = {"raised": str(raised + 1)}, Write({"overrides": after.as_text()})
            try:
                written = await self._compare_and_set(worker, stored, identity, write, None)
            except Outrun:
                continue
            return written.history.overrides, written.now
        raise Unavailable(SOURCE, "holds a record that changes all the time; try again")

    async def publish(self, lines: Mapping[str, str], lease: Lease) -> None:
        pairs = [text for pair in lines.items() for text in pair]
        keys = [self._keys.lease, self._keys.leader, self._keys.cycles]
        _accepted(await ask(self._publish(keys=keys, args=[value_of(lease), _CYCLES_KEPT_MS, *pairs])))

    async def watch(self, workers: Sequence[str]) -> LeaderState:
        records = [await self._record(worker) for worker in workers]
        keys = [self._keys.leader, self._keys.cycles, *(self._keys.worker(record) for record in records)]
        asked_at = self._clock.monotonic()
        answer = await ask(self._watch(keys=keys, args=[bounds.PUBLISHED, bounds.ALL_PUBLISHED]))
        now, server, leader, cycles, texts = answer
        problems = [_not_a_hash(key) for key, found in zip(keys[:2], (leader, cycles), strict=True) if found == ""]
        for worker, key, text in zip(workers, keys[2:], texts, strict=True):
            if text == "":
                problems.append(_not_a_hash(key))
                continue
            try:
                await self._give_back(worker, Stored(record_of(text), server), int(now), asked_at)
            except (ValueError, KeyError, TypeError):
                problems.append(f"{key} has a malformed field; check it (HGETALL), and DEL it")
        return _leader_state(int(now), keys[0], hash_of(leader), hash_of(cycles), problems)

    async def left_behind(self) -> list[Left]:
        """Workers of an earlier policy whose service is scaled by no worker of this policy."""
        records = await self._hash(self._keys.records)
        found = [
            Left(fields.get("name") or record, service, readable(fields, "count"))
            for service, record in sorted(records.items())
            if service not in self._services.values()
            for fields in [await self._hash(self._keys.worker(record))]
            if self._clock.wall() - _last_written(fields) < _LEFT_FOR_S
        ]
        # An older version stored no services, but it left the last cycles that it published.
        named = {*self._services, *records.values(), *(left.worker for left in found)}
        cycles = await self._hash(self._keys.cycles)
        return found + [Left(name, None, _published_count(text)) for name, text in cycles.items() if name not in named]

    async def _hash(self, key: str) -> dict[str, str]:
        return await ask(cast("Awaitable[dict[str, str]]", self._redis.hgetall(key)))

    def _recalled(self, worker: str, stored: Stored, past: Sequence[str], now: int, asked_at: float) -> Recalled:
        """The history in the record, with what this process knows and Redis has lost."""
        shadow, at = self._shadow(worker), now / 1000
        is_of_before = "recommended_at" in stored.fields
        history = history_of(stored.fields, past) if is_of_before else shadow.history_in(stored.fields)
        history = not_after(history, at)
        loss = shadow.loss_of(stored)
        if stored.is_of_another_run and loss is not Loss.ROLLED_BACK:
            history = doubted(history, at)
        history = given_back(history, shadow.known(asked_at), loss, at)
        shadow.note(stored.fields, now, asked_at)
        return Recalled(history, at, self._clock.monotonic(), stored)

    async def _give_back(self, worker: str, stored: Stored, now: int, asked_at: float) -> None:
        """Writes what this process knows and Redis has lost.

        It needs no lease: timestamps only move later by it, which makes every replica wait longer, never act sooner. It
        raises the revision only over a record that was rolled back, to one above what this process knows: a leader that
        knows more then still sees that it was rolled back.
        """
        shadow, at = self._shadow(worker), now / 1000
        history, known, loss = shadow.history_in(stored.fields), shadow.known(asked_at), shadow.loss_of(stored)
        given = given_back(history, known, loss, at, leads=False)
        shadow.note(stored.fields, now, asked_at)
        if known is None or given == history:
            return
        identity = {"raised": str((readable(stored.fields, "raised") or 0) + 1)}
        if loss is Loss.ROLLED_BACK:
            identity["revision"] = str(shadow.revision + 1)
        write = write_of(stored, given, at)
        # Its sorted set was not read here: the record of the version before goes on to say that it counts.
        write = replace(write, deleted=[name for name in write.deleted if name != "recommended_at"])
        try:
            await self._compare_and_set(worker, stored, identity, write, None)
        except Outrun:
            return  # the next look finds what is lost then

    async def _compare_and_set(
        self, worker: str, stored: Stored, identity: Mapping[str, str], write: Write, lease: Lease | None
    ) -> Recalled:
        record, service = await self._record(worker), self._services.get(worker, "")
        values = {**write.values, **identity, **({"service": service, "name": worker} if service else {})}
        deleted = [name for name in write.deleted if name not in values]
        sets = [text for name, value in values.items() for text in (name, value, str(int(name in write.stamped)))]
        guards = [value_of(lease) if lease else "", *stored.version, stored.server, service, record]
        keys = [self._keys.lease, self._keys.worker(record), self._keys.records]
        asked_at = self._clock.monotonic()
        answer = await ask(self._together.ask(self._write, keys, [*guards, str(len(deleted)), *deleted, *sets]), keys)
        _, now, server, text = _accepted(answer)
        try:
            written = Stored(record_of(text), server)
            shadow = self._shadow(worker)
            shadow.note(written.fields, int(now), asked_at)
            return Recalled(shadow.history_in(written.fields), seconds(now), self._clock.monotonic(), written)
        except (ValueError, KeyError, TypeError):
            raise foreign_data(keys[1]) from None

    async def _record(self, worker: str) -> str:
        """The name of the record of the worker's service."""
        service = self._services.get(worker)
        if service is None or worker in self._records:
            return self._records.get(worker, worker)
        keys = [self._keys.records, self._keys.worker(worker)]
        found, owner = await ask(self._together.ask(self._find, keys, [service]), keys)
        if found:
            self._records[worker] = found  # an entry is never changed
            return str(found)
        return worker if owner in {"", service} else f"{worker}@{service}"

    def _shadow(self, worker: str) -> Shadow:
        return self._shadows.setdefault(worker, Shadow())


def _accepted(answer: list[Any]) -> list[Any]:
    if answer[0] == scripts.LOST:
        raise LeaseLost("another replica holds the lease, or it expired; nothing was written and nothing is sent")
    if answer[0] == scripts.CHANGED:
        raise Outrun(SOURCE, "holds newer data than this decision was based on; nothing was sent")
    return answer


def _last_written(fields: Mapping[str, str]) -> float:
    """In seconds since the epoch; 0 if unknown."""
    return max(readable(fields, name) or 0 for name in ("recommended_at", "wanted_at", "read_at")) / 1000


def _not_a_hash(key: str) -> str:
    return f"{key} is not a hash; check it (TYPE), and DEL it"


def _published_count(text: str) -> int | None:
    try:
        count = json.loads(text)["status"]["configured"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return count if type(count) is int else None


def _leader_state(
    now: int, key: str, leader: Mapping[str, str], cycles: Mapping[str, str], problems: list[str]
) -> LeaderState:
    """Unreadable fields of the leader's hash count as unknown; the leader rewrites most of them when it renews."""
    published, epoch, since, until, ttl = (
        readable(leader, name) for name in ("published", "epoch", "since", "until", "ttl")
    )
    has = bool(leader.get("holder"))
    if (has and None in {epoch, since, until, ttl}) or (published is None and "published" in leader):
        problems.append(f"{key} has a malformed field; check it (HGETALL), and DEL it")
    age = None if published is None else max(0.0, (now - published) / 1000)
    if not has:
        return LeaderState(None, 0.0, cycles, age, tuple(problems))
    known = (
        None
        if epoch is None or since is None
        else Leader(bounds.cut(leader["holder"], bounds.WORDS), epoch, since / 1000)
    )
    ttl = _USUAL_LEASE_MS if ttl is None else ttl
    left = 0 if leader.get("released") == "1" else ttl if until is None else until - now
    return LeaderState(known, min(max(0, left), max(0, ttl)) / 1000, cycles, age, tuple(problems))
