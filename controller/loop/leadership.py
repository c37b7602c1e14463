"""The lease: one task acquires, renews and releases it, and can tell at any moment whether this replica may act.

The lease counts as valid from *before* the request that acquired or renewed it, on the monotonic clock, and ends a
margin before its expiry in Redis. A replica that is not sure to hold the lease stops acting.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

from controller.config.timing import Timing
from controller.core.model import Leader, Lease
from controller.core.ports import Bid, Clock, LeaderState, Leases, Report, Unavailable
from controller.core.text import bounds

_NEVER = float("-inf")


class Leadership:
    """Holds the lease, or waits for it. `changed` is set whenever the role changes.

    `leader` is the replica that leads or led last, as Redis shows it; None if unknown.
    """

    def __init__(
        self,
        leases: Leases,
        clock: Clock,
        *,
        timing: Timing,
        replica: str,
        report: Report,
        watch: Callable[[], Awaitable[LeaderState]] | None = None,
        turning: Callable[[], bool] = lambda: True,
        waits_for_survivors: bool = False,
    ) -> None:
        """`watch` reads what a standby shows. `turning`: whether the loop that needs the lease still runs.

        waits_for_survivors: a new process that finds Redis empty waits first for replicas that remember its contents.
        """
        self._leases = leases
        self._clock = clock
        self._timing = timing
        self._replica = replica
        self._report = report
        self._watch = watch
        self._turning = turning
        self._waits_for_survivors = waits_for_survivors
        self._held: Lease | None = None
        self._valid_until = 0.0
        self._seen_epoch = 0
        self._holder = self._new_holder()
        self._last_holder = ""
        self._others_until = _NEVER
        self._empty_since: float | None = None
        self._wait = 0.0
        self._stopping = asyncio.Event()
        self.leader: Leader | None = None
        self.fault: Unavailable | None = None
        self.fault_since: float | None = None
        self.has_led = False
        self.changed = asyncio.Event()

    @property
    def lease(self) -> Lease | None:
        """The lease while it is certainly ours; None otherwise. A local check without I/O."""
        if self._held is not None and self._clock.monotonic() < self._valid_until:
            return self._held
        return None

    def may_act(self, epoch: int) -> bool:
        """Whether a change of that epoch may be sent now: the lease is the same and lasts longer than the request."""
        lease, left = self.lease, self._valid_until - self._clock.monotonic()
        return lease is not None and lease.epoch == epoch and left >= self._timing.least_left

    @property
    def holder(self) -> str:
        return self._holder

    async def keep(self) -> None:
        """Runs until stop(). Only this task acquires, renews or releases the lease."""
        while not self._stopping.is_set():
            await self.turn()
            try:
                await asyncio.wait_for(self._stopping.wait(), self._pause())
            except TimeoutError:
                continue
        await self.release()

    async def seek(self) -> Lease | None:
        """The lease, or None if another replica has it. On an empty Redis it waits as long as a new process must."""
        while True:
            await self.turn()
            if self.lease is not None or self._empty_since is None or self.fault is not None:
                return self.lease
            await asyncio.sleep(min(self._timing.poll / 2, self._pause()))

    def stop(self) -> None:
        self._stopping.set()

    async def turn(self) -> None:
        """One attempt to acquire or to renew the lease."""
        before = self._clock.monotonic()
        try:
            if self._held is not None and not self._turning():
                await self._give_up()
            elif self._held is not None:
                await self._renew(before)
            elif self._turning():
                await self._acquire(before)
            if self._watch is not None and self._held is None:
                # The other lease is valid for at most `trusted_for` from this response on, so count from after it.
                self._note(await self._watch(), self._clock.monotonic())
        except Unavailable as unavailable:
            self._note_fault(unavailable)
        else:
            self.fault = self.fault_since = None

    async def _acquire(self, before: float) -> None:
        bid = Bid(
            self._holder,
            seen_epoch=self._seen_epoch,
            last_holder=self._last_holder,
            patience=max(0.0, self._others_until - before),
            of_nothing=self._may_start_from_empty(before),
        )
        answer = await self._leases.acquire(bid, self._timing.ttl)
        if not isinstance(answer, Lease):
            self._wait = answer.wait
            self._seen_epoch = max(self._seen_epoch, answer.epoch)
            self._empty_since = (before if self._empty_since is None else self._empty_since) if answer.empty else None
            return
        self._held, self._seen_epoch, self.has_led = answer, answer.epoch, True
        self._valid_until, self._others_until = before + self._timing.window, _NEVER
        self._last_holder, self._empty_since, self._wait = answer.holder, None, 0.0
        self.leader = Leader(answer.holder, answer.epoch, self._clock.wall())
        if self.lease is None:
            self._step_down("the response that granted it came too late")
            return
        self._report("lease_acquired", epoch=answer.epoch, holder=answer.holder, message="this replica leads")
        self.changed.set()

    def _may_start_from_empty(self, now: float) -> bool:
        """Whether to take the lease of a Redis that knows no leader."""
        if not self._waits_for_survivors or now < self._valid_until:
            return True  # no other replica can have got the lease while ours was certainly valid
        return self._empty_since is not None and self._left_to_survivors(now) <= 0

    def _left_to_survivors(self, now: float) -> float:
        """For how many seconds more an empty Redis is left to replicas that may remember its contents."""
        if self._empty_since is None or not self._waits_for_survivors:
            return 0.0
        # A process that has seen a leader knows that others exist, but not which one led last before the loss.
        patience = self._timing.survivors_wait if self._seen_epoch == 0 else self._timing.window
        return self._empty_since + patience - now

    async def _renew(self, before: float) -> None:
        assert self._held is not None
        if before >= self._valid_until or not await self._leases.renew(self._held, self._timing.ttl):
            self._step_down("another replica has it, it ended, or Redis lost it")
            return
        if self._clock.monotonic() >= self._valid_until:
            # The response came after our lease had ended: another replica may already have taken it.
            self._step_down("the renewal came too late")
            return
        self._valid_until = before + self._timing.window

    def _note(self, watched: LeaderState, now: float) -> None:
        self.leader = watched.leader
        if watched.leader is None:
            return  # Redis lost the leader; keep what we know of it
        self._seen_epoch = max(self._seen_epoch, watched.leader.epoch)
        if watched.leader.holder != self._last_holder:
            # Never earlier than known before: Redis may be restored to an older state, and its clock may jump.
            self._others_until = max(self._others_until, now + watched.trusted_for)

    def _note_fault(self, unavailable: Unavailable) -> None:
        if self.fault is None:
            self.fault_since = self._clock.wall()
            message = f"{unavailable}; it is unknown which replica leads, so no count is changed"
            self._report("redis_unavailable", message=message)
        self.fault = unavailable
        self.leader = None if self.lease is None else self.leader
        self._empty_since = None  # Redis may have held a lease meanwhile
        if self._held is not None and self.lease is None:
            self._step_down("Redis could not be reached for as long as the lease lasts")

    def _step_down(self, why: str) -> None:
        assert self._held is not None
        self._report("lease_lost", epoch=self._held.epoch, message=f"the lease is lost: {why}")
        self._held = None
        self._holder = self._new_holder()
        self.changed.set()

    async def _give_up(self) -> None:
        """Releases the lease because the loop hangs, so that a replica whose loop runs can take it."""
        held = self._held
        self._step_down("the loop of this replica has stopped, so another replica can take it")
        self._valid_until = _NEVER
        if held is not None:
            await self._leases.release(held)

    async def release(self) -> None:
        """Releases the lease, so that the next leader need not wait for its end."""
        if self._held is None:
            return
        held, self._held = self._held, None
        try:
            await self._leases.release(held)
        except Unavailable:
            return  # the lease ends by itself
        self._report("lease_released", epoch=held.epoch, message="the lease is released")

    def _pause(self) -> float:
        if self.fault is not None:
            return self._timing.retry
        if self._held is not None:
            return self._timing.renew
        # At the end of the other lease or of the wait for survivors, if that is sooner than the next poll.
        left = [self._wait, self._left_to_survivors(self._clock.monotonic())]
        return min([self._timing.poll, *(wait + 0.02 for wait in left if wait > 0)])

    def _new_holder(self) -> str:
        # A new id for each attempt to lead: if Redis holds it, exactly this attempt got the lease.
        return f"{bounds.cut(self._replica, bounds.NAME)}:{uuid.uuid4()}"
