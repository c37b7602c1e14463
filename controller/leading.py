"""Leading: one task that gets, renews and gives back the lease, and knows at any moment whether we may act.

Validity is counted from *before* the request that got or renewed the lease, on the monotonic clock, and ends a margin
before the one that Redis keeps. Whoever is not sure to hold the lease stops acting.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

from controller.model import Lease
from controller.ports import Clock, Leases, Report, Unavailable

_DRIFT = 0.01
"""Two clocks of which one runs this much faster still agree in time on who leads."""


class Leadership:
    """Holds the lease, or waits for it. `changed` is set whenever the role changes."""

    def __init__(
        self,
        leases: Leases,
        clock: Clock,
        *,
        ttl: float,
        replica: str,
        report: Report,
        standing_by: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._leases = leases
        self._clock = clock
        self._ttl = ttl
        self._replica = replica
        self._report = report
        self._standing_by = standing_by
        self._held: Lease | None = None
        self._valid_until = 0.0
        self._seen_epoch = 0
        self._holder = self._new_holder()
        self._stopping = asyncio.Event()
        self.trouble: Unavailable | None = None
        self.trouble_since: float | None = None
        self.has_led = False
        self.changed = asyncio.Event()

    @property
    def lease(self) -> Lease | None:
        """The lease while it is certainly ours; None otherwise. A local check, without any I/O."""
        if self._held is not None and self._clock.monotonic() < self._valid_until:
            return self._held
        return None

    @property
    def holder(self) -> str:
        return self._holder

    async def keep(self) -> None:
        """Runs until stop(): the only place that acquires, renews or releases."""
        while not self._stopping.is_set():
            await self.turn()
            try:
                await asyncio.wait_for(self._stopping.wait(), self._pause())
            except TimeoutError:
                continue
        await self.release()

    def stop(self) -> None:
        self._stopping.set()

    async def turn(self) -> None:
        """One attempt to renew or to get the lease."""
        before = self._clock.monotonic()
        try:
            await (self._renew(before) if self._held is not None else self._acquire(before))
            if self._held is None and self._standing_by is not None:
                await self._standing_by()
        except Unavailable as unavailable:
            self._lose_sight(unavailable)
        else:
            self.trouble = self.trouble_since = None

    async def _acquire(self, before: float) -> None:
        lease = await self._leases.acquire(self._holder, self._ttl, self._seen_epoch)
        if lease is None:
            return
        self._held, self._seen_epoch, self.has_led = lease, lease.epoch, True
        self._valid_until = before + self._window
        self._report("lease_acquired", epoch=lease.epoch, holder=lease.holder, message="this replica leads")
        self.changed.set()

    async def _renew(self, before: float) -> None:
        assert self._held is not None
        if before >= self._valid_until or not await self._leases.renew(self._held, self._ttl):
            self._step_down("it went to another replica, or was not renewed in time")
            return
        if self._clock.monotonic() >= self._valid_until:
            # The answer came after our window had closed: somebody may have stopped waiting for us.
            self._step_down("the renewal came too late")
            return
        self._valid_until = before + self._window

    def _lose_sight(self, unavailable: Unavailable) -> None:
        if self.trouble is None:
            self.trouble_since = self._clock.wall()
            self._report(
                "redis_unavailable", message=f"{unavailable}; nobody can know who leads, so nothing is changed"
            )
        self.trouble = unavailable
        if self._held is not None and self.lease is None:
            self._step_down("Redis could not be reached for as long as the lease lasts")

    def _step_down(self, why: str) -> None:
        assert self._held is not None
        self._report("lease_lost", epoch=self._held.epoch, message=f"the lease is lost: {why}")
        self._held = None
        self._holder = self._new_holder()
        self.changed.set()

    async def release(self) -> None:
        """Gives the lease back, so that a successor need not wait for its end."""
        if self._held is None:
            return
        held, self._held = self._held, None
        try:
            await self._leases.release(held)
        except Unavailable:
            return  # it runs out by itself
        self._report("lease_released", epoch=held.epoch, message="the lease is given back")

    @property
    def _window(self) -> float:
        return self._ttl * (1 - _DRIFT) - min(1.0, self._ttl / 10)

    def _pause(self) -> float:
        if self.trouble is not None:
            return min(1.0, self._ttl / 10)
        return self._ttl / 3 if self._held is not None else min(2.0, self._ttl / 5)

    def _new_holder(self) -> str:
        # New for every attempt at leading: whoever finds its own name in Redis knows that this very attempt got it.
        return f"{self._replica}:{uuid.uuid4()}"
