"""Redis: the lease, the journal and the rate-limit contract with the workers.

All our keys have one prefix with one hash tag, so that a script touches one slot of a Redis Cluster:

    {<prefix>:<environment>}:lease              <epoch>:<holder>, with a time to live
    {<prefix>:<environment>}:epoch              a number that only rises
    {<prefix>:<environment>}:leader             a hash: who leads or led last, since when, and until when it trusts it
    {<prefix>:<environment>}:worker:<record>    a hash: stamps, the open intent, the agreed count
    {<prefix>:<environment>}:past:<record>      a sorted set: recommendations within the stabilization window
    {<prefix>:<environment>}:records            a hash: by service id, the name of its record
    {<prefix>:<environment>}:cycles             a hash: the last cycle of each worker, for the standby
    {<prefix>:<environment>}:listening          the last report about listening for NOTIFY, for doctor

A record belongs to a service and never changes its name: it is named after the worker that scaled the service when the
record began. So an older version, which knows only worker names, finds it, and its data are taken over. If a worker's
name already names another service's record, the new record is called `<name>@<service id>`.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from controller.adapters.redis import SOURCE, scripts
from controller.adapters.redis.connection import FAULTS, Client, in_words, set_all
from controller.adapters.redis.shadow import Shadow
from controller.core.model import Decision, Direction, History, Intent, Leader, Lease, RateUsage, Recommendation, Start
from controller.core.ports import (
    Bid,
    Clock,
    CycleNote,
    LeaderState,
    LeaseLost,
    NotAcquired,
    Recalled,
    Retention,
    Settled,
    Unavailable,
)
from controller.core.text import bounds
from controller.core.watch import Watch
from controller.policy import RateLimit as RateLimitPolicy

_CYCLES_KEPT_MS = 24 * 3600 * 1000
_MOST_DIGITS = 15
"""Digits of any number that we store; milliseconds since the epoch have 13."""

_LEFT_FOR_S = 30 * 24 * 3600.0
"""A service that was removed from the policy is reported at each start for 30 days, then no more."""
_USUAL_LEASE_MS = 15_000
"""Assumed if the leader's time to live is unknown."""
_NO_TEXT = "\ufffd"
"""The character that replaces bytes that are not UTF-8."""
_LATE_S = 10.0
"""Workers that have used up their share begin the new minute up to this much late."""

T = TypeVar("T")


async def _ask(answer: Awaitable[T], keys: Sequence[str] = ()) -> T:
    """The answer; any fault becomes Unavailable with its fix. keys: the keys involved, named in the message."""
    try:
        return await answer
    except FAULTS as error:
        if keys and "WRONGTYPE" in str(error):
            raise _foreign_data(" or ".join(keys)) from None
        raise Unavailable(SOURCE, in_words(error)) from None


class Keys:
    """The names of our keys."""

    def __init__(self, prefix: str, environment: str) -> None:
        self._tag = f"{{{prefix}:{environment}}}"
        self.lease = f"{self._tag}:lease"
        self.epoch = f"{self._tag}:epoch"
        self.leader = f"{self._tag}:leader"
        self.cycles = f"{self._tag}:cycles"
        self.listening = f"{self._tag}:listening"
        self.records = f"{self._tag}:records"

    def worker(self, record: str) -> str:
        return f"{self._tag}:worker:{record}"

    def past(self, record: str) -> str:
        return f"{self._tag}:past:{record}"


class RedisLeases:
    """The lease: SET PX with an owner check, and an epoch that keeps rising even after Redis lost data.

    Redis enforces the time to live.
    """

    def __init__(self, redis: Client, keys: Keys) -> None:
        self._keys = keys
        self._acquire = redis.register_script(scripts.ACQUIRE)
        self._renew = redis.register_script(scripts.RENEW)
        self._release = redis.register_script(scripts.RELEASE)

    async def acquire(self, bid: Bid, ttl: float) -> Lease | NotAcquired:
        keys = [self._keys.lease, self._keys.epoch, self._keys.leader]
        known: list[str | int] = [bid.seen_epoch, bid.last_holder, _ms(bid.patience), int(bid.of_nothing)]
        answer = await _ask(self._acquire(keys=keys, args=[bid.holder, _ms(ttl), *known]), keys)
        if answer[0] == scripts.EMPTY:
            return NotAcquired(empty=True)
        try:
            granted, epoch, wait = (_number(str(part)) for part in answer)
        except (ValueError, OverflowError):
            raise _foreign_data(self._keys.epoch) from None
        return Lease(bid.holder, epoch) if granted else NotAcquired(epoch, wait / 1000)

    async def renew(self, lease: Lease, ttl: float) -> bool:
        keys = [self._keys.lease, self._keys.epoch, self._keys.leader]
        return bool(await _ask(self._renew(keys=keys, args=[_value(lease), _ms(ttl)]), keys))

    async def release(self, lease: Lease) -> None:
        await _ask(self._release(keys=[self._keys.lease, self._keys.leader], args=[_value(lease)]))


@dataclass(frozen=True, slots=True)
class Left:
    """A worker that is no longer in the policy, and its last known count.

    service: None if an older version, which stored no service, wrote it.
    """

    worker: str
    service: str | None
    count: int | None


class RedisJournal:
    """The state that survives a restart. Every write is one script that checks the lease first."""

    source = SOURCE

    def __init__(self, redis: Client, keys: Keys, clock: Clock, services: Mapping[str, str] | None = None) -> None:
        """services: by worker, the id of the service that the record belongs to; without one, the worker's name."""
        self._redis = redis
        self._keys = keys
        self._clock = clock
        self._services = dict(services or {})
        self._records: dict[str, str] = {}
        self._shadows: dict[str, Shadow] = {}
        self._scripts = {
            name: redis.register_script(getattr(scripts, name))
            for name in (
                *("FIND", "RECALL", "REMEMBER", "RECORD_INTENT", "ACCEPT", "SETTLE", "RECORD_EXTERNAL_CHANGE"),
                *("PUBLISH", "WATCH", "KEEP_WATCH"),
            )
        }

    async def recall(self, worker: str) -> Recalled:
        return await self._run("RECALL", worker, [])

    async def remember(self, worker: str, note: CycleNote, keep: Retention, lease: Lease) -> Recalled:
        args: list[str | int] = [
            _value(lease),
            *(_or_empty(note.recommended), _or_empty(note.count), _ms(keep.window), _ms(keep.gap)),
            *(uuid.uuid4().hex[:8], int(note.working)),
            *self._shadow(worker).evidence(self._clock.monotonic()),
            *(_or_empty(note.running), int(note.read)),
            *(self._services.get(worker, ""), await self._record(worker), worker, note.queue_seen),
        ]
        return await self._run("REMEMBER", worker, args)

    async def record_intent(
        self, worker: str, ident: str, decision: Decision, version: str, lease: Lease, *, stops: str | None = None
    ) -> Intent:
        args: list[str | int] = [_value(lease), ident, lease.epoch, decision.current, decision.desired]
        decided = [decision.direction.value, *_parts(version), stops or ""]
        recalled = await self._run("RECORD_INTENT", worker, [*args, *decided])
        assert recalled.history.intent is not None, "the script has just written it"
        return recalled.history.intent

    async def accept(self, worker: str, intent: Intent, lease: Lease) -> None:
        await self._run("ACCEPT", worker, [_value(lease), intent.id, intent.direction.value])

    async def settle(
        self,
        worker: str,
        intent: Intent,
        outcome: Settled,
        count: int,
        lease: Lease,
        *,
        unconfirmed_stop: str = "",
        running: int | None = None,
    ) -> Recalled:
        what = [intent.id, intent.direction.value, outcome.value, count, unconfirmed_stop, _or_empty(running)]
        return await self._run("SETTLE", worker, [_value(lease), *what])

    async def record_external_change(self, worker: str, count: int, lease: Lease) -> Recalled:
        return await self._run("RECORD_EXTERNAL_CHANGE", worker, [_value(lease), count])

    async def keep_watch(self, worker: str, watch: Watch, lease: Lease) -> None:
        keys = [self._keys.lease, self._keys.worker(worker)]
        _accepted(await _ask(self._scripts["KEEP_WATCH"](keys=keys, args=[_value(lease), watch.as_text()])))

    async def publish(self, lines: Mapping[str, str], lease: Lease) -> None:
        pairs = [text for pair in lines.items() for text in pair]
        args: list[str | int] = [_value(lease), _CYCLES_KEPT_MS, *pairs]
        keys = [self._keys.lease, self._keys.leader, self._keys.cycles]
        _accepted(await _ask(self._scripts["PUBLISH"](keys=keys, args=args)))

    async def watch(self, workers: Sequence[str]) -> LeaderState:
        records = [await self._record(worker) for worker in workers]
        asked_at = self._clock.monotonic()
        hashes_of = [self._keys.worker(record) for record in records]
        keys = [self._keys.leader, self._keys.cycles, self._keys.records, *hashes_of]
        args = [
            known
            for worker, record in zip(workers, records, strict=True)
            for known in (self._services.get(worker, ""), record, *self._shadow(worker).evidence(asked_at))
        ]
        stamp, leader, cycles, hashes = await _ask(self._scripts["WATCH"](keys=keys, args=args))
        problems = [_not_a_hash(keys[0])] if leader == "" else []
        problems += [_not_a_hash(keys[1])] if cycles == "" else []
        for worker, key, flat in zip(workers, hashes_of, hashes, strict=True):
            try:
                self._shadow(worker).note(_fields(flat), int(stamp), asked_at)
            except (ValueError, KeyError, TypeError):
                problems.append(_malformed(key))
            if flat == "":
                problems.append(_not_a_hash(key))
        return _leader_state(int(stamp), keys[0], _fields(leader), _fields(cycles), problems)

    async def left_behind(self) -> list[Left]:
        """Workers of an earlier policy whose service is scaled by no worker of this policy."""
        records = await self._hash(self._keys.records)
        found = [
            Left(fields.get("name") or record, service, _readable(fields, "count"))
            for service, record in sorted(records.items())
            if service not in self._services.values()
            for fields in [await self._hash(self._keys.worker(record))]
            if self._clock.wall() - (_readable(fields, "recommended_at") or 0) / 1000 < _LEFT_FOR_S
        ]
        # An older version stored no services, but it left the last cycles that it published.
        named = {*self._services, *records.values(), *(left.worker for left in found)}
        cycles = await self._hash(self._keys.cycles)
        return found + [Left(name, None, _published_count(text)) for name, text in cycles.items() if name not in named]

    async def _hash(self, key: str) -> dict[str, str]:
        return await _ask(cast("Awaitable[dict[str, str]]", self._redis.hgetall(key)))

    async def _run(self, name: str, worker: str, args: Sequence[str | int]) -> Recalled:
        record = await self._record(worker)
        asked_at = self._clock.monotonic()
        keys = [self._keys.lease, self._keys.worker(record), self._keys.past(record)]
        keys += [self._keys.records] if name == "REMEMBER" else []
        _, now, flat, past = _accepted(await _ask(self._scripts[name](keys=keys, args=args), keys))
        try:
            fields = _fields(flat)
            recalled = Recalled(_history(fields, past), _seconds(now), _version(fields))
            self._shadow(worker).note(fields, int(now), asked_at)
        except (ValueError, KeyError, TypeError):
            raise _foreign_data(f"{keys[1]} or {keys[2]}") from None
        return recalled

    async def _record(self, worker: str) -> str:
        """The name of the record of the worker's service."""
        service = self._services.get(worker)
        if service is None or worker in self._records:
            return self._records.get(worker, worker)
        keys = [self._keys.records, self._keys.worker(worker)]
        found, owner = await _ask(self._scripts["FIND"](keys=keys, args=[service]), keys)
        if found:
            self._records[worker] = found  # an entry is never changed
            return str(found)
        return worker if owner in {"", service} else f"{worker}@{service}"

    def _shadow(self, worker: str) -> Shadow:
        return self._shadows.setdefault(worker, Shadow())


class RedisRateLimit:
    """The rate-limit keys shared with the workers. The policy names them; they have no prefix of ours."""

    def __init__(self, redis: Client, clock: Clock, *, may_write: Callable[[], bool] = lambda: True) -> None:
        """may_write: whether we still lead. A leader that was frozen would otherwise publish an old share."""
        self._redis = redis
        self._clock = clock
        self._may_write = may_write
        self._counted: dict[str, dict[str, int]] = {}

    async def used(self, limit: RateLimitPolicy) -> RateUsage:
        """The requests of this minute and the one before; the keys end in the minute's start, in epoch *seconds*.

        The count of the minute before has no times: its requests are assumed to be spread evenly and _LATE_S late, so
        that a new minute does not look empty before the workers have begun it.
        """
        now = self._clock.wall()
        window = int(now // 60 * 60)
        keys = [limit.keys.usage.replace("<window>", str(start)) for start in (window, window - 60)]
        pipeline = self._redis.pipeline(transaction=False)  # two GETs in one round trip, on a Cluster too
        for key in keys:
            pipeline.get(key)
        current, before = map(_count, keys, await _ask(cast("Awaitable[list[str | None]]", pipeline.execute())))
        known = self._counted.get(limit.keys.usage, {})
        before = max(before, known.get(keys[1], 0))  # the key may expire 65 s after its first request
        self._counted[limit.keys.usage] = {keys[0]: current, keys[1]: before}
        share = min(1.0, (60 + _LATE_S - (now - window)) / 60)
        return RateUsage(current, limit.rpm, recent=current + math.ceil(before * share - 1e-9))

    async def share(self, limit: RateLimitPolicy, max_workers: int, replicas: int) -> None:
        """Publishes the share first: on a Cluster keys are written one by one, and workers obey this one."""
        share = limit.rpm // replicas if replicas else limit.rpm
        values = {
            limit.keys.per_worker_rpm: str(share),
            limit.keys.rpm_limit: str(limit.rpm),
            limit.keys.max_workers: str(max_workers),
        }
        if not self._may_write():
            raise LeaseLost(
                "the lease expired before the shares were published; nothing was written and nothing is sent"
            )
        await _ask(set_all(self._redis, values))


def _count(key: str, value: str | None) -> int:
    if value is not None and not (len(value) <= _MOST_DIGITS and value.isascii() and value.isdigit()):
        raise Unavailable(SOURCE, f"{key} does not hold a number; workers must count with INCR")
    return int(value or 0)


def _accepted(answer: list[Any]) -> list[Any]:
    if answer[0] == scripts.LOST:
        raise LeaseLost("another replica holds the lease, or it expired; nothing was written and nothing is sent")
    if answer[0] == scripts.CHANGED:
        raise Unavailable(SOURCE, "holds newer data than this decision was based on; nothing was sent")
    return answer


def _foreign_data(key: str) -> Unavailable:
    return Unavailable(SOURCE, f"holds data in {key} that is not ours; check it, and DEL it")


def _malformed(key: str) -> str:
    return f"{key} has a malformed field; check it (HGETALL), and DEL it"


def _not_a_hash(key: str) -> str:
    return f"{key} is not a hash; check it (TYPE), and DEL it"


def _value(lease: Lease) -> str:
    """The value of the lease's key while this lease is held."""
    return f"{lease.epoch}:{lease.holder}"


def _version(fields: Mapping[str, str]) -> str:
    return "/".join(fields.get(name, "") for name in ("memory", "revision", "run", "raised"))


def _published_count(text: str) -> int | None:
    try:
        count = json.loads(text)["status"]["configured"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return count if type(count) is int else None


def _or_empty(number: int | None) -> int | str:
    return "" if number is None else number


def _parts(version: str) -> list[str]:
    return [*version.split("/"), "", "", ""][:4]


def _fields(flat: Any) -> dict[str, str]:
    """A hash. Values longer than any of ours are cut; a cut value is then neither a number nor JSON."""
    if not flat:
        return {}
    fields = dict(zip(flat[::2], flat[1::2], strict=True)) if isinstance(flat, list) else dict(flat)
    return {name: bounds.cut(text, bounds.PUBLISHED) for name, text in fields.items()}


def _leader_state(
    now: int, key: str, leader: Mapping[str, str], cycles: Mapping[str, str], problems: list[str]
) -> LeaderState:
    """Unreadable fields of the leader's hash count as unknown; the leader rewrites most of them when it renews."""
    published, epoch, since, until, ttl = (
        _readable(leader, name) for name in ("published", "epoch", "since", "until", "ttl")
    )
    has = bool(leader.get("holder"))
    if (has and None in {epoch, since, until, ttl}) or (published is None and "published" in leader):
        problems.append(_malformed(key))
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


def _history(fields: Mapping[str, str], past: Sequence[str]) -> History:
    if _NO_TEXT in _version(fields) + fields.get("intent", ""):
        raise ValueError("is binary, so it cannot be sent back unchanged")
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
        unconfirmed_stop=fields.get("unseen_stop"),
        start_up_s=_stamp(fields, "start_up"),
        queue_seen=fields.get("queue_seen", ""),
        start=_start(fields),
        read_at=_stamp(fields, "read_at"),
        unread=_unread(fields),
        unread_at=_stamp(fields, "unread_at"),
        watch=Watch.from_text(fields.get("watch")),
    )


def _start(fields: Mapping[str, str]) -> Start | None:
    if not fields.get("start_at"):
        return None
    before, after = _number(fields["start_before"]), _number(fields["start_after"])
    return Start(_seconds(fields["start_at"]), before, after, _stamp(fields, "start_seen"))


def _unread(fields: Mapping[str, str]) -> int:
    """Failed readings in a row; 0 if a reading came after. An older version notes readings only as recommendations."""
    read_at = max(_stamp(fields, name) or 0.0 for name in ("recommended_at", "read_at"))
    return _number(fields["unread"]) if (_stamp(fields, "unread_at") or 0.0) > read_at else 0


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
        stops=_stops(fields),
        previous=_previous(fields),
    )


def _stops(fields: Mapping[str, str]) -> str | None:
    """The deployment that this intent stops. A value for another intent is a leftover of an older version."""
    ident, _, deployment = fields.get("intent_stops", "").partition(":")
    return deployment if deployment and ident == fields["intent"] else None


def _previous(fields: Mapping[str, str]) -> float | None:
    previous = fields.get("intent_previous", "=")
    if previous != "=":
        return _seconds(previous) if previous else None
    direction = Direction.between(_number(fields["intent_before"]), _number(fields["intent_after"]))
    return _stamp(fields, f"last_{direction.value}")


def _recommendation(member: str) -> Recommendation:
    at, replicas, _ = member.split(":")
    return Recommendation(_seconds(at), _number(replicas))


def _stamp(fields: Mapping[str, str], name: str) -> float | None:
    return _seconds(fields[name]) if fields.get(name) else None


def _readable(fields: Mapping[str, str], name: str) -> int | None:
    """The field as a number; None if it is missing or malformed."""
    try:
        return _number(fields[name])
    except (KeyError, ValueError):
        return None


def _number(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError("too long to be a number of ours")
    return int(text)


def _seconds(milliseconds: str) -> float:
    return _number(milliseconds) / 1000


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
