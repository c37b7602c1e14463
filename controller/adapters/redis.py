"""Redis: the lease, the journal and the rate-limit contract with the workers.

All keys of ours stand under one prefix with one hash tag, so that a script touches one slot of a Redis Cluster:

    {<prefix>:<environment>}:lease              <epoch>:<holder>, with a time to live
    {<prefix>:<environment>}:epoch              a number that only rises
    {<prefix>:<environment>}:leader             a hash: who leads or led last, since when, and until when it trusts it
    {<prefix>:<environment>}:worker:<name>      a hash: stamps, the open intent, the agreed count
    {<prefix>:<environment>}:past:<name>        a sorted set: recommendations within the stabilization window
    {<prefix>:<environment>}:cycles             a hash: the last cycle of each worker, for the standby
    {<prefix>:<environment>}:listening          what was last said of being woken, for doctor
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from controller.adapters import redis_scripts as scripts
from controller.adapters.redis_connection import FAULTS, Client, in_words, set_all
from controller.adapters.redis_shadow import Shadow
from controller.model import Decision, History, Intent, Leader, Lease, Recommendation
from controller.policy import RateLimit as RateLimitPolicy
from controller.ports import (
    Bid,
    Clock,
    Held,
    Keep,
    LeaseLost,
    Note,
    Recalled,
    Settled,
    Source,
    Unavailable,
    Watched,
)
from controller.watch import Watch

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
        self.leader = f"{self._tag}:leader"
        self.cycles = f"{self._tag}:cycles"
        self.listening = f"{self._tag}:listening"

    def worker(self, name: str) -> str:
        return f"{self._tag}:worker:{name}"

    def past(self, name: str) -> str:
        return f"{self._tag}:past:{name}"


class RedisLeases:
    """SET PX with an owner check, and an epoch that rises over every loss of data. The time to live is in Redis."""

    def __init__(self, redis: Client, keys: Keys) -> None:
        self._keys = keys
        self._acquire = redis.register_script(scripts.ACQUIRE)
        self._renew = redis.register_script(scripts.RENEW)
        self._release = redis.register_script(scripts.RELEASE)

    async def acquire(self, bid: Bid, ttl: float) -> Lease | Held:
        keys = [self._keys.lease, self._keys.epoch, self._keys.leader]
        known: list[str | int] = [bid.seen_epoch, bid.last_holder, _ms(bid.patience), int(bid.of_nothing)]
        answer = await _ask(self._acquire(keys=keys, args=[bid.holder, _ms(ttl), *known]))
        if answer[0] == scripts.EMPTY:
            return Held(empty=True)
        try:
            granted, epoch, wait = (_number(str(part)) for part in answer)
        except (ValueError, OverflowError):
            raise _not_ours("the epoch") from None
        return Lease(bid.holder, epoch) if granted else Held(epoch, wait / 1000)

    async def renew(self, lease: Lease, ttl: float) -> bool:
        keys = [self._keys.lease, self._keys.epoch, self._keys.leader]
        return bool(await _ask(self._renew(keys=keys, args=[_value(lease), _ms(ttl)])))

    async def release(self, lease: Lease) -> None:
        await _ask(self._release(keys=[self._keys.lease, self._keys.leader], args=[_value(lease)]))


class RedisJournal:
    """What survives a restart. Every write is one script that checks the lease first."""

    def __init__(self, redis: Client, keys: Keys, clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._shadows: dict[str, Shadow] = {}
        self._scripts = {
            name: redis.register_script(getattr(scripts, name))
            for name in (
                "RECALL",
                "REMEMBER",
                "RECORD_INTENT",
                "ACCEPT",
                "SETTLE",
                "CHARGE",
                "PUBLISH",
                "WATCH",
                "KEEP_WATCH",
            )
        }

    async def recall(self, worker: str) -> Recalled:
        return await self._run("RECALL", worker, [])

    async def remember(self, worker: str, note: Note, keep: Keep, lease: Lease) -> Recalled:
        args: list[str | int] = [
            _value(lease),
            *("" if note.recommended is None else note.recommended, note.count, _ms(keep.window), _ms(keep.gap)),
            *(uuid.uuid4().hex[:8], int(note.working)),
            *self._shadow(worker).evidence(self._clock.monotonic()),
            "" if note.started_in is None else _ms(note.started_in),
            note.queue_seen,
        ]
        return await self._run("REMEMBER", worker, args)

    async def record_intent(self, worker: str, ident: str, decision: Decision, version: str, lease: Lease) -> Intent:
        args: list[str | int] = [_value(lease), ident, lease.epoch, decision.current, decision.desired]
        recalled = await self._run("RECORD_INTENT", worker, [*args, decision.direction.value, *_parts(version)])
        assert recalled.history.intent is not None, "the script has just written it"
        return recalled.history.intent

    async def accept(self, worker: str, intent: Intent, lease: Lease) -> None:
        await self._run("ACCEPT", worker, [_value(lease), intent.id, intent.direction.value])

    async def settle(
        self, worker: str, intent: Intent, outcome: Settled, count: int, lease: Lease, *, unseen_stop: str = ""
    ) -> Recalled:
        what = [intent.id, intent.direction.value, outcome.value, count, unseen_stop]
        return await self._run("SETTLE", worker, [_value(lease), *what])

    async def charge(self, worker: str, count: int, lease: Lease) -> Recalled:
        return await self._run("CHARGE", worker, [_value(lease), count])

    async def keep_watch(self, worker: str, watch: Watch, lease: Lease) -> None:
        keys = [self._keys.lease, self._keys.worker(worker)]
        _refuse(await _ask(self._scripts["KEEP_WATCH"](keys=keys, args=[_value(lease), watch.as_text()])))

    async def publish(self, lines: Mapping[str, str], lease: Lease) -> None:
        pairs = [text for pair in lines.items() for text in pair]
        args: list[str | int] = [_value(lease), _CYCLES_KEPT_MS, *pairs]
        keys = [self._keys.lease, self._keys.leader, self._keys.cycles]
        _refuse(await _ask(self._scripts["PUBLISH"](keys=keys, args=args)))

    async def watch(self, workers: Sequence[str]) -> Watched:
        asked_at = self._clock.monotonic()
        keys = [self._keys.leader, self._keys.cycles, *(self._keys.worker(worker) for worker in workers)]
        args = [known for worker in workers for known in self._shadow(worker).evidence(asked_at)]
        stamp, leader, cycles, hashes = await _ask(self._scripts["WATCH"](keys=keys, args=args))
        try:
            for worker, flat in zip(workers, hashes, strict=True):
                self._shadow(worker).note(_fields(flat), int(stamp), asked_at)
            return _watched(int(stamp), _fields(leader), _fields(cycles))
        except (ValueError, KeyError, TypeError):
            raise _not_ours("the leader's or a worker's hash") from None

    async def _run(self, name: str, worker: str, args: Sequence[str | int]) -> Recalled:
        asked_at = self._clock.monotonic()
        keys = [self._keys.lease, self._keys.worker(worker), self._keys.past(worker)]
        _, now, flat, past = _refuse(await _ask(self._scripts[name](keys=keys, args=args)))
        try:
            fields = _fields(flat)
            recalled = Recalled(_history(fields, past), _seconds(now), _version(fields))
            self._shadow(worker).note(fields, int(now), asked_at)
        except (ValueError, KeyError, TypeError):
            raise _not_ours("the worker's hash") from None
        return recalled

    def _shadow(self, worker: str) -> Shadow:
        return self._shadows.setdefault(worker, Shadow())


class RedisRateLimit:
    """The keys shared with the workers, in their names as the policy gives them; they carry no prefix of ours."""

    def __init__(self, redis: Client, clock: Clock, *, may_write: Callable[[], bool] = lambda: True) -> None:
        """`may_write`: whether we still lead; a leader that froze and woke would publish a share of long ago."""
        self._redis = redis
        self._clock = clock
        self._may_write = may_write

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
        if not self._may_write():
            raise LeaseLost(
                "the lease ran out before the shares were published; nothing was written and nothing is sent"
            )
        await _ask(set_all(self._redis, values))


def _refuse(answer: list[Any]) -> list[Any]:
    if answer[0] == scripts.LOST:
        raise LeaseLost("another replica holds the lease, or it ran out; nothing was written and nothing is sent")
    if answer[0] == scripts.CHANGED:
        raise Unavailable(
            Source.JOURNAL, "holds another memory than the one that this was decided on; nothing was sent"
        )
    return answer


def _not_ours(what: str) -> Unavailable:
    return Unavailable(Source.JOURNAL, f"holds something in {what} that is not ours; look at it (HGETALL), and DEL it")


def _value(lease: Lease) -> str:
    """What the lease's key holds while it is this one."""
    return f"{lease.epoch}:{lease.holder}"


def _version(fields: Mapping[str, str]) -> str:
    return "/".join(fields.get(name, "") for name in ("memory", "revision", "run", "raised"))


def _parts(version: str) -> list[str]:
    return [*version.split("/"), "", "", ""][:4]


def _fields(flat: Any) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True)) if isinstance(flat, list) else dict(flat)


def _watched(now: int, leader: Mapping[str, str], cycles: Mapping[str, str]) -> Watched:
    published = _stamp(leader, "published")
    age = None if published is None else max(0.0, now / 1000 - published)
    if not leader.get("holder"):
        return Watched(None, 0.0, cycles, age)
    known = Leader(leader["holder"], _number(leader["epoch"]), _seconds(leader["since"]))
    left = 0.0 if leader.get("released") == "1" else _seconds(leader["until"]) - now / 1000
    return Watched(known, min(max(0.0, left), _seconds(leader["ttl"])), cycles, age)


def _history(fields: Mapping[str, str], past: Sequence[str]) -> History:
    return History(
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
        refused_to=_number(fields["refused_to"]) if fields.get("refused_to") else None,
        setbacks=_number(fields.get("setbacks", "0")),
        unseen_stop=fields.get("unseen_stop"),
        start_up_s=_stamp(fields, "start_up"),
        queue_seen=fields.get("queue_seen", ""),
        watch=Watch.from_text(fields.get("watch")),
    )


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
