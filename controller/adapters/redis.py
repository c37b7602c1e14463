"""Redis: the lease, the journal and the rate-limit contract with the workers.

All keys of ours stand under one prefix with one hash tag, so that a script touches one slot of a Redis Cluster:

    {<prefix>:<environment>}:lease              the holder, with a time to live
    {<prefix>:<environment>}:epoch              a counter that only rises
    {<prefix>:<environment>}:worker:<name>      a hash: stamps, the open intent, the agreed count
    {<prefix>:<environment>}:past:<name>        a sorted set: recommendations within the stabilization window
    {<prefix>:<environment>}:cycles             a hash: the last cycle of each worker, for the standby
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar, cast

from controller.adapters import redis_scripts as scripts
from controller.adapters.redis_connection import FAULTS, Client, in_words, set_all
from controller.model import Decision, History, Intent, Lease, Recommendation
from controller.policy import RateLimit as RateLimitPolicy
from controller.ports import Clock, Keep, LeaseLost, Recalled, Settled, Source, Unavailable

_CYCLES_KEPT_MS = 24 * 3600 * 1000
_MOST_DIGITS = 15
"""Of any number that we keep: milliseconds since the epoch have 13."""

T = TypeVar("T")


async def _ask(answer: Awaitable[T]) -> T:
    """The answer, or Unavailable with what a person can do about it."""
    try:
        return await answer
    except FAULTS as error:
        raise Unavailable(Source.JOURNAL, in_words(error)) from None


class Keys:
    """The names of our keys."""

    def __init__(self, prefix: str, environment: str) -> None:
        self._tag = f"{{{prefix}:{environment}}}"
        self.lease = f"{self._tag}:lease"
        self.epoch = f"{self._tag}:epoch"
        self.cycles = f"{self._tag}:cycles"

    def worker(self, name: str) -> str:
        return f"{self._tag}:worker:{name}"

    def past(self, name: str) -> str:
        return f"{self._tag}:past:{name}"


class RedisLeases:
    """SET NX PX with an owner check, and an epoch by INCR. The time to live is in Redis only."""

    def __init__(self, redis: Client, keys: Keys) -> None:
        self._keys = keys
        self._acquire = redis.register_script(scripts.ACQUIRE)
        self._renew = redis.register_script(scripts.RENEW)
        self._release = redis.register_script(scripts.RELEASE)

    async def acquire(self, holder: str, ttl: float, seen_epoch: int) -> Lease | None:
        keys = [self._keys.lease, self._keys.epoch]
        epoch = int(await _ask(self._acquire(keys=keys, args=[holder, _ms(ttl), seen_epoch])))
        return Lease(holder, epoch) if epoch else None

    async def renew(self, lease: Lease, ttl: float) -> bool:
        return bool(await _ask(self._renew(keys=[self._keys.lease], args=[lease.holder, _ms(ttl)])))

    async def release(self, lease: Lease) -> None:
        await _ask(self._release(keys=[self._keys.lease], args=[lease.holder]))


class RedisJournal:
    """What survives a restart. Every write is one script that checks the lease first."""

    def __init__(self, redis: Client, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._scripts = {
            name: redis.register_script(getattr(scripts, name))
            for name in ("RECALL", "REMEMBER", "RECORD_INTENT", "ACCEPT", "SETTLE", "CHARGE", "PUBLISH")
        }

    async def recall(self, worker: str) -> Recalled:
        return _recalled(await self._run("RECALL", worker, []))

    async def remember(self, worker: str, recommended: int, count: int, keep: Keep, lease: Lease) -> Recalled:
        args: list[str | int] = [
            lease.holder,
            recommended,
            count,
            _ms(keep.window),
            _ms(keep.gap),
            uuid.uuid4().hex[:8],
        ]
        return _recalled(await self._run("REMEMBER", worker, args))

    async def record_intent(self, worker: str, decision: Decision, lease: Lease) -> Intent:
        ident = uuid.uuid4().hex
        args: list[str | int] = [lease.holder, ident, lease.epoch, decision.current, decision.desired]
        answer = await self._run("RECORD_INTENT", worker, [*args, decision.direction.value])
        return Intent(ident, lease.epoch, decision.current, decision.desired, _seconds(answer[1]))

    async def accept(self, worker: str, intent: Intent, lease: Lease) -> None:
        await self._run("ACCEPT", worker, [lease.holder, intent.id, intent.direction.value])

    async def settle(self, worker: str, intent: Intent, outcome: Settled, count: int, lease: Lease) -> Recalled:
        args: list[str | int] = [lease.holder, intent.id, intent.direction.value, outcome.value, count]
        return _recalled(await self._run("SETTLE", worker, args))

    async def charge(self, worker: str, count: int, lease: Lease) -> Recalled:
        return _recalled(await self._run("CHARGE", worker, [lease.holder, count]))

    async def publish(self, lines: Mapping[str, str], lease: Lease) -> None:
        pairs = [text for pair in lines.items() for text in pair]
        args: list[str | int] = [lease.holder, _CYCLES_KEPT_MS, *pairs]
        _refuse_lost(await _ask(self._scripts["PUBLISH"](keys=[self._keys.lease, self._keys.cycles], args=args)))

    async def published(self) -> Mapping[str, str]:
        return await _ask(cast("Awaitable[dict[str, str]]", self._redis.hgetall(self._keys.cycles)))

    async def _run(self, name: str, worker: str, args: Sequence[str | int]) -> list[Any]:
        keys = [self._keys.lease, self._keys.worker(worker), self._keys.past(worker)]
        return _refuse_lost(await _ask(self._scripts[name](keys=keys, args=args)))


class RedisRateLimit:
    """The keys shared with the workers, in their names as the policy gives them; they carry no prefix of ours."""

    def __init__(self, redis: Client, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock

    async def used(self, limit: RateLimitPolicy) -> int:
        """The count under the minute's start in epoch *seconds*, as the workers write it."""
        window = int(self._clock.wall() // 60 * 60)
        key = limit.keys.usage.replace("<window>", str(window))
        value = await _ask(cast("Awaitable[str | None]", self._redis.get(key)))
        if value is not None and not (len(value) <= _MOST_DIGITS and value.isascii() and value.isdigit()):
            raise Unavailable(Source.JOURNAL, f"{key} holds no number; workers count it with INCR")
        return int(value or 0)

    async def share(self, limit: RateLimitPolicy, max_workers: int, replicas: int) -> None:
        """The share first: on a Cluster they are written one by one, and it is what the workers obey."""
        share = limit.rpm // replicas if replicas else limit.rpm
        values = {
            limit.keys.per_worker_rpm: str(share),
            limit.keys.rpm_limit: str(limit.rpm),
            limit.keys.max_workers: str(max_workers),
        }
        await _ask(set_all(self._redis, values))


def _refuse_lost(answer: list[Any]) -> list[Any]:
    if answer[0] == scripts.LOST:
        raise LeaseLost("another replica holds the lease, or it ran out; nothing was written and nothing is sent")
    return answer


def _recalled(answer: list[Any]) -> Recalled:
    try:
        return _understood(answer)
    except (ValueError, KeyError, TypeError):
        raise Unavailable(
            Source.JOURNAL, "holds something in the worker's hash that is not ours; look at it (HGETALL), and DEL it"
        ) from None


def _understood(answer: list[Any]) -> Recalled:
    _, now, flat, past = answer
    fields = dict(zip(flat[::2], flat[1::2], strict=True)) if isinstance(flat, list) else dict(flat)
    history = History(
        last_up=_stamp(fields, "last_up"),
        last_down=_stamp(fields, "last_down"),
        since=_stamp(fields, "since"),
        unbroken_since=_stamp(fields, "unbroken_since"),
        remembered_at=_stamp(fields, "recommended_at"),
        window=_seconds(fields.get("window", "0")),
        recommendations=tuple(_recommendation(member) for member in past),
        intent=_intent(fields),
        count=_number(fields["count"]) if "count" in fields else None,
        refused_at=_stamp(fields, "refused_at"),
    )
    return Recalled(history, _seconds(now))


def _intent(fields: Mapping[str, str]) -> Intent | None:
    if not fields.get("intent"):
        return None
    return Intent(
        id=fields["intent"],
        epoch=_number(fields["intent_epoch"]),
        before=_number(fields["intent_before"]),
        after=_number(fields["intent_after"]),
        at=_seconds(fields["intent_at"]),
        accepted=fields.get("intent_accepted") == "1",
    )


def _recommendation(member: str) -> Recommendation:
    at, replicas, _ = member.split(":")
    return Recommendation(_seconds(at), _number(replicas))


def _stamp(fields: Mapping[str, str], name: str) -> float | None:
    return _seconds(fields[name]) if fields.get(name) else None


def _number(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError("too long to be a number of ours")
    return int(text)


def _seconds(milliseconds: str) -> float:
    return _number(milliseconds) / 1000


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
