"""The lease in Redis: one holder at a time, for a time that Redis enforces."""

from __future__ import annotations

from controller.adapters.redis import scripts
from controller.adapters.redis.connection import Client
from controller.adapters.redis.keys import Keys, ask, foreign_data, value_of
from controller.adapters.redis.record import ms, number
from controller.core.model import Lease
from controller.core.ports import Bid, NotAcquired


class RedisLeases:
    """The lease: SET PX with an owner check, and an epoch that keeps rising even after Redis lost data.

    Redis enforces the time to live.
    """

    def __init__(self, redis: Client, keys: Keys) -> None:
        self._keys = keys
        self._acquire = redis.register_script(scripts.script("acquire"))
        self._renew = redis.register_script(scripts.script("renew"))
        self._release = redis.register_script(scripts.script("release"))

    async def acquire(self, bid: Bid, ttl: float) -> Lease | NotAcquired:
        keys = [self._keys.lease, self._keys.epoch, self._keys.leader]
        known: list[str | int] = [bid.seen_epoch, bid.last_holder, ms(bid.patience), int(bid.of_nothing)]
        answer = await ask(self._acquire(keys=keys, args=[bid.holder, ms(ttl), *known]), keys)
        if answer[0] == scripts.EMPTY:
            return NotAcquired(empty=True)
        try:
            granted, epoch, wait = (number(str(part)) for part in answer)
        except (ValueError, OverflowError):
            raise foreign_data(self._keys.epoch) from None
        return Lease(bid.holder, epoch) if granted else NotAcquired(epoch, wait / 1000)

    async def renew(self, lease: Lease, ttl: float) -> bool:
        keys = [self._keys.lease, self._keys.epoch, self._keys.leader]
        return bool(await ask(self._renew(keys=keys, args=[value_of(lease), ms(ttl)]), keys))

    async def release(self, lease: Lease) -> None:
        await ask(self._release(keys=[self._keys.lease, self._keys.leader], args=[value_of(lease)]))
