"""What a shadow policy would have by now, in Redis: a hash with one JSON text a worker, which a new leader reads once.

Not to be confused with shadow.py, a process's copy of a record. Like the marks of notifications, the hash has no fence:
a replica that has just lost its lease may write once more, and the new leader writes over it with its next cycle. It
ends KEPT_S after the last change.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Collection, Mapping
from typing import Any, cast

from controller.adapters.redis.connection import Client
from controller.adapters.redis.keys import Keys, ask
from controller.adapters.redis.record import Stored, history_of, write_of
from controller.core.shadow import Account, Moment, ShadowFleet
from controller.core.text import bounds

KEPT_S = 7 * 24 * 3600
_MOST_TEXT = 2 * bounds.PUBLISHED
_LARGEST = 1e15


class RedisShadowFleets:
    """Of one group of controllers."""

    def __init__(self, redis: Client, keys: Keys) -> None:
        self._redis = redis
        self._key = keys.shadow

    async def load(self) -> Mapping[str, ShadowFleet]:
        """By worker. What cannot be read is left out: another version may have written it."""
        fields = await ask(cast("Awaitable[dict[Any, Any]]", self._redis.hgetall(self._key)), [self._key])
        found = {str(worker): fleet_of(str(text)) for worker, text in fields.items()}
        return {worker: fleet for worker, fleet in found.items() if fleet is not None}

    async def save(self, fleets: Mapping[str, ShadowFleet], gone: Collection[str]) -> None:
        """gone: workers whose shadow is forgotten."""
        if gone:
            await ask(self._redis.hdel(self._key, *gone), [self._key])
        if fleets:
            texts: dict[Any, Any] = {worker: text_of(fleet) for worker, fleet in fleets.items()}
            await ask(self._redis.hset(self._key, mapping=texts), [self._key])
            await ask(self._redis.pexpire(self._key, KEPT_S * 1000), [self._key])


def text_of(fleet: ShadowFleet) -> str:
    account, moment = fleet.account, fleet.moment
    values = {
        "policies": fleet.policies,
        "count": fleet.count,
        "since": fleet.since,
        # No timestamp equals not-a-number, so that each is written as it is.
        "history": dict(write_of(Stored({}, ""), fleet.history, math.nan).values),
        "account": [
            account.since,
            account.seconds,
            account.workers,
            account.workers_in_force,
            account.waiting,
            account.waiting_in_force,
            account.busy,
        ],
        "reason": fleet.reason,
        "message": fleet.message,
        "moment": None if moment is None else list(moment),
        "service_s": fleet.service_s,
    }
    return json.dumps(values, separators=(",", ":"))


def fleet_of(text: str) -> ShadowFleet | None:
    """None: it is no text of ours."""
    if len(text) > _MOST_TEXT:
        return None
    try:
        values = json.loads(text)
        moment, service = values["moment"], values["service_s"]
        at, *counts = (None,) if moment is None else moment
        return ShadowFleet(
            policies=bounds.cut(str(values["policies"]), bounds.NAME),
            count=_count(values["count"]),
            since=_number(values["since"]),
            history=history_of({str(name): str(value) for name, value in values["history"].items()}),
            account=_account(*map(_number, values["account"])),
            reason=bounds.cut(str(values["reason"]), bounds.NAME),
            message=bounds.cut(str(values["message"]), bounds.MESSAGE),
            moment=None if at is None else Moment(_number(at), *map(_count, counts)),
            service_s=None if service is None else _number(service),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _account(*sums: float) -> Account:
    since, seconds, workers, in_force, waiting, waiting_in_force, busy = sums
    return Account(since, seconds, workers, in_force, waiting, waiting_in_force, busy)


def _number(value: Any) -> float:
    if type(value) not in {int, float} or not 0 <= value < _LARGEST:
        raise ValueError("is no figure of ours")
    return float(value)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _LARGEST:
        raise ValueError("is no count of ours")
    return value
