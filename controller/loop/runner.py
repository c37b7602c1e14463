"""The loop: while this replica leads, one tick per interval; a notification of the queue wakes it earlier.

Only this module has a broad `except` (see also supervisor.py): it turns a bug in one worker's cycle into a logged
`crashed`, so that the other workers and the next cycle go on.
"""

from __future__ import annotations

import asyncio
import functools
import math
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from controller.core.allowed import of_the_hour
from controller.core.model import Lease, QueueDepth, Replicas
from controller.core.ports import LeaseLost, Requests, Unavailable, pace_words
from controller.core.reasons import Because, Reason
from controller.core.text import bounds
from controller.core.units import in_words
from controller.loop.board import Board
from controller.loop.cycle import CONTROLLER, LONGEST_CYCLE_S, Cycle, Fault, Outcome, hold_because
from controller.loop.faults import CycleLogger, Recovery, Stretch
from controller.loop.leadership import Leadership
from controller.loop.log import Log
from controller.loop.platforms import read
from controller.loop.readings import Answers, Beside, QueueReader, QueueReading, nothing_beside
from controller.loop.reconciler import CannotTell, Ports, Reconciler
from controller.loop.schedule_status import ScheduleStatus
from controller.loop.status import ControllerStatus
from controller.policy import Policy, WorkerPolicy

T = TypeVar("T")
_FRESH_S = 1.0
"""A depth that was read longer ago than this, because the platform was slow, is read again before it is used."""
_PATIENCE_S = 1.0
"""Seconds that the other workers wait for a queue with a timeout of its own, before they go on without it."""
_REPORTS_AT_ONCE = 50
Readings = Mapping[str, Replicas | Unavailable]
Listener = Callable[[Cycle, Mapping[str, float], Mapping[str, float]], None]
"""A cycle, what failed for its worker before it, by name, and since when; and the same after it."""


class Depths(NamedTuple):
    """A reading of queues that has begun, and by worker the answers of its queues, as soon as all of them are there."""

    reading: asyncio.Task[None]
    of: Mapping[str, asyncio.Future[Answers]]


class Runner:
    """Drives one reconciler per worker of the policy."""

    def __init__(
        self,
        policy: Policy,
        ports: Ports,
        leadership: Leadership,
        status: ControllerStatus,
        log: Log,
        *,
        landing_bound: float,
        gap: float | None = None,
        listeners: Sequence[Listener] = (),
        beside: Beside | None = None,
    ) -> None:
        """gap: seconds without a cycle after which a history has a gap; None: three intervals and 1 s.

        Three intervals, because a cycle may be late without the history being incomplete. landing_bound: in seconds.
        listeners: told of each cycle; none of them may wait. beside: what a shadow policy needs of the readings.
        """
        self._policy = policy
        self._next: tuple[Policy, Callable[[], object], asyncio.Future[None]] | None = None
        self._fixed_gap, self._landing_bound = gap, landing_bound
        self._ports = ports
        self._leadership = leadership
        self._status = status
        self._log = log
        self._listeners = listeners
        self._beside = beside or nothing_beside
        self._board = Board(policy)
        self._reconcilers = [self._new(name, worker) for name, worker in policy.workers.items()]
        self._queues = {name: self._reader(name, worker) for name, worker in policy.workers.items()}
        self._cycle_loggers = {name: CycleLogger() for name in policy.workers}
        self._behind: dict[str, asyncio.Task[Any]] = {}
        """By worker: a cycle that still waits for a slow queue while the other workers go on."""
        self._reading: set[asyncio.Task[None]] = set()
        """Readings of the queues that have begun."""
        self._stretches: dict[str, Stretch] = {}
        """By platform."""
        self._stopping = False
        self._wake_up = asyncio.Event()
        self._woken = False
        self._woken_at = self._due = -math.inf
        # By platform: when its requests suffice for another cycle, and when that is due.
        self._paced_until: dict[str, float] = {}
        self._due_of: dict[str, float] = {}
        self._resting: set[str] = set()
        """Platforms whose requests do not suffice for this turn, while another one has its turn."""

    @property
    def _gap(self) -> float:
        return self._fixed_gap or 3 * self._policy.interval + 1

    def _reader(self, name: str, worker: WorkerPolicy) -> QueueReader:
        ports, target = self._ports, worker.target.key
        return QueueReader(
            name,
            worker,
            ports.queue,
            ports.clock,
            ports.report,
            beside=self._beside,
            holders=ports.on(target).platform.chooser(target) is not None,
        )

    async def adopt(self, policy: Policy, also: Callable[[], object]) -> None:
        """Goes on with this policy from the next turn on; returns once it does. A cycle that has begun is finished.

        also: called at that moment, before any cycle of the policy.
        """
        taken = asyncio.get_running_loop().create_future()
        self._next = policy, also, taken
        self._wake_up.set()
        await taken

    async def _adopt(self, policy: Policy, also: Callable[[], object], taken: asyncio.Future[None]) -> None:
        if self._behind:
            await asyncio.wait(self._behind.values())
        also()
        before = {one.worker: one for one in self._reconcilers}
        paced = policy.interval != self._policy.interval
        self._policy, self._next, self._board = policy, None, Board(policy)
        self._reconcilers = []
        for name, worker in policy.workers.items():
            old = before.get(name)
            same = old is not None and old.policy.target == worker.target
            new = old.adopted(worker, self._gap, self._board) if old and same else self._new(name, worker)
            self._reconcilers.append(new)
            if old is None or old.policy != worker or paced:
                self._queues[name] = self._reader(name, worker)
            self._cycle_loggers.setdefault(name, CycleLogger())
        for name in before.keys() - policy.workers.keys():
            del self._queues[name]
        if not taken.done():
            taken.set_result(None)

    def _new(self, name: str, worker: WorkerPolicy) -> Reconciler:
        return Reconciler(name, worker, self._gap, self._ports, self._landing_bound, board=self._board)

    def reconciler(self, worker: str) -> Reconciler:
        return next(one for one in self._reconcilers if one.worker == worker)

    async def read(self) -> tuple[Readings, Mapping[str, QueueReading]]:
        """One reading of the platform, by service, and of the queues, by worker."""
        await self.recall_starts()
        looking, depths = self._look(self._reconcilers), self._count(self._reconcilers)
        queues = {name: await self._queues[name].completed(await answers) for name, answers in depths.of.items()}
        readings = [await one for one in dict.fromkeys(looking.values())]
        return {key: reading for one in readings for key, reading in one.items()}, queues

    async def recall_starts(self) -> None:
        """Asks the history how long workers take to start, which decides how far ahead scheduled jobs are counted.

        Only a single pass needs it: the queue is read before the history, and `run` knows the start from the cycle
        before. If the history cannot be recalled, the start stays unknown, and the pass itself reports the fault.
        """
        for name, queue in self._queues.items():
            try:
                recalled = await self._ports.journal.recall(name)
            except Unavailable:
                return
            queue.start_up_s = recalled.history.start_up_s

    async def run(self) -> None:
        """Runs cycles until stop(); a cycle that has begun is finished."""
        try:
            while not self._stopping:
                if self._next is not None:
                    await self._adopt(*self._next)
                self._leadership.changed.clear()
                lease = self._leadership.lease
                woken, self._woken = self._woken, False
                self._wake_up.clear()
                if not (woken and lease is not None and await self._checked_quickly(lease)):
                    await self._turn(lease)
                self._status.turned()
                if not self._stopping:
                    await self._wait()
            if self._behind:
                await asyncio.wait(self._behind.values())
        finally:
            for one in (*self._behind.values(), *self._reading):
                one.cancel()

    async def _turn(self, lease: Lease | None) -> None:
        started = self._ports.clock.monotonic()
        platforms = {one.platform.source.name: one.platform for one in self._reconcilers}
        # A wake-up is for all whose requests suffice; else those have their turn that are due, or nearly so.
        is_due = started >= self._due
        until = self._due_of if is_due else self._paced_until
        nearly = self._policy.interval / 10 if is_due else 0.0
        self._resting = {name for name in platforms if until.get(name, -math.inf) - nearly > started}
        if self._resting == platforms.keys():
            self._resting = set()  # after a change of role, nothing is known of this moment, so all are read
        if lease is not None:
            await self.tick(lease, waits=False)
        elif self._leadership.fault is not None:
            await self._without_redis()
        else:
            await self._as_standby()
        for name in platforms.keys() - self._resting:
            self._set_pace(name, platforms[name].requests(), started)
        self._status.pace = max(one.pace for one in self._reconcilers)
        self._due = min(self._due_of[name] for name in platforms)

    def _set_pace(self, platform: str, requests: Requests | None, started: float) -> None:
        """When this platform's workers have their next turn."""
        pace = 0.0
        if requests is not None:
            self._report_pace(platform, requests)
            pace = requests.pace_s
        for reconciler in self._reconcilers:
            if reconciler.platform.source.name == platform:
                reconciler.pace = pace
        self._paced_until[platform] = self._ports.clock.monotonic() + pace
        self._due_of[platform] = max(started + self._policy.interval, self._paced_until[platform])

    @property
    def policy(self) -> Policy:
        """The one in force."""
        return self._policy

    @property
    def acts(self) -> bool:
        """Whether a change is being requested right now."""
        return any(reconciler.acts for reconciler in self._reconcilers)

    @property
    def is_outdated(self) -> bool:
        """Whether a change was not sent because it was decided on an old reading; the next tick decides again."""
        return any(reconciler.is_outdated for reconciler in self._reconcilers)

    def stop(self) -> None:
        self._stopping = True
        self._wake_up.set()

    def wake(self) -> None:
        """A job was announced, or listening has just begun: the next check does not wait for the interval.

        A burst of notifications causes one check, not hundreds.
        """
        if self._leadership.lease is not None and not self._woken:
            self._woken = True
            self._wake_up.set()

    async def _checked_quickly(self, lease: Lease) -> bool:
        """Whether a quick check of the queues was enough: no change is wanted before the next interval.

        It uses the last cycle's reading of the platform, so that a queue that is busy all day costs no requests.
        """
        now = self._ports.clock.monotonic()
        self._woken_at = now
        if now >= self._due:
            return False
        idle = [one for one in self._reconcilers if one.worker not in self._behind]
        depths = self._count(idle)
        begun = {one.worker: asyncio.create_task(self._check(one, depths, lease)) for one in idle}
        done = await self._wait_for(begun, waits=False)
        # A bug leads to a cycle, which reports it.
        checks = {name: one.exception() or one.result() for name, one in done.items()}
        now = self._ports.clock.monotonic()
        wanting = {
            platform: None
            for one in idle
            if one.worker in checks and not isinstance(checks[one.worker], Cycle | CannotTell)
            if now >= self._paced_until.get(platform := one.platform.source.name, -math.inf)
        }
        if wanting:
            name = " and ".join(wanting)
            self._log.event("woken", message=f"the queue announced jobs that need a change; reading {name} now")
            return False
        for check in checks.values():
            if isinstance(check, Cycle):
                self._report_cycle(check)
        return True

    async def tick(self, lease: Lease | None, *, waits: bool = True) -> list[Cycle]:
        """One pass over every worker: one reading of each platform for all of its workers, then each by itself.

        waits: return when all passes have ended. Otherwise the pass of a queue with a timeout of its own may go on
        after the return, and no other pass begins for that worker meanwhile.
        """
        idle = self._idle()
        if not idle:
            return []
        looking, depths = self._look(idle), self._count(idle)
        again = functools.cache(lambda: self._count(idle))
        begun = {
            one.worker: asyncio.create_task(self._guarded(one, looking[one.worker], (depths, again), lease))
            for one in idle
        }
        done = await self._wait_for(begun, waits=waits, late=lambda ended: self._report_cycle(ended.result()))
        cycles = [one.result() for one in done.values()]
        for number, cycle in enumerate(cycles, start=1):
            self._report_cycle(cycle)
            if number % _REPORTS_AT_ONCE == 0:
                await asyncio.sleep(0)  # probes and the lease do not wait for the lines of a thousand workers
        if lease is not None:
            await self._publish(lease)
        return cycles

    def _idle(self) -> list[Reconciler]:
        """Whose pass may begin."""
        return [
            one
            for one in self._reconcilers
            if one.worker not in self._behind and one.platform.source.name not in self._resting
        ]

    async def _wait_for(
        self,
        begun: Mapping[str, asyncio.Task[T]],
        *,
        waits: bool,
        late: Callable[[asyncio.Task[T]], None] = lambda _: None,
    ) -> dict[str, asyncio.Task[T]]:
        """Waits for the tasks and returns those that are done.

        A task of a queue with a timeout of its own may go on after that, and so may those of one platform once those of
        another have ended; `late` is called with it when it ends.
        """
        patient = {name for name in begun if self._policy.workers[name].has_own_timeout and not waits}
        quick = {name: one for name, one in begun.items() if name not in patient}
        moment = min(_PATIENCE_S, self._policy.interval / 4)
        try:
            if quick:
                await self._wait_for_a_platform(quick, moment=None if waits else moment)
            if patient:
                await asyncio.wait([begun[name] for name in patient], timeout=moment)
        except asyncio.CancelledError:
            for one in (*begun.values(), *self._reading):
                one.cancel()
            raise

        def ended(name: str, one: asyncio.Task[T]) -> None:
            self._behind.pop(name, None)
            if not one.cancelled() and one.exception() is None:
                late(one)

        for name, one in begun.items():
            if not one.done():
                self._behind[name] = one
                one.add_done_callback(functools.partial(ended, name))
        return {name: one for name, one in begun.items() if one.done()}

    async def _wait_for_a_platform(self, begun: Mapping[str, asyncio.Task[Any]], *, moment: float | None) -> None:
        """Until all are done; but once those of one platform are, the others have only `moment` seconds more."""
        groups: dict[str, list[asyncio.Task[Any]]] = {}
        for one in self._reconcilers:
            if one.worker in begun:
                groups.setdefault(one.platform.source.name, []).append(begun[one.worker])
        if moment is None or len(groups) == 1:
            await asyncio.wait(begun.values())
            return
        waiting = [asyncio.create_task(asyncio.wait(group)) for group in groups.values()]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(begun.values(), timeout=moment)
        finally:
            for one_group in waiting:
                one_group.cancel()

    def _look(self, these: Iterable[Reconciler]) -> Mapping[str, asyncio.Task[Readings]]:
        """By worker, the reading of its platform, which has begun: one for all of a platform's workers."""
        together: dict[str, list[Reconciler]] = {}
        for one in these:
            together.setdefault(one.platform.source.name, []).append(one)
        looking: dict[str, asyncio.Task[Readings]] = {}
        for group in together.values():
            reading = asyncio.create_task(read(group[0].platform, [one.policy.target.key for one in group]))
            looking |= dict.fromkeys((one.worker for one in group), reading)
        return looking

    def _count(self, idle: Iterable[Reconciler]) -> Depths:
        """One reading of all these queues, which has begun."""
        loop = asyncio.get_running_loop()
        answers: dict[str, asyncio.Future[Answers]] = {one.worker: loop.create_future() for one in idle}
        reading = asyncio.create_task(self._read_depths(answers))
        self._reading.add(reading)
        reading.add_done_callback(lambda ended: self._depths_ended(ended, answers))
        return Depths(reading, answers)

    async def _read_depths(self, answers: Mapping[str, asyncio.Future[Answers]]) -> None:
        requests = {name: self._queues[name].requests for name in answers}
        workers = {key: name for name, of_worker in requests.items() for key in of_worker}
        every = {key: request for of_worker in requests.values() for key, request in of_worker.items()}
        read: dict[str, dict[str, QueueDepth | Unavailable]] = {name: {} for name in requests}
        async for key, depth in self._ports.queue.depths(every):
            name = workers[key]
            read[name][key] = depth
            if len(read[name]) == len(requests[name]) and not answers[name].done():
                answers[name].set_result(read[name])

    def _depths_ended(self, ended: asyncio.Task[None], answers: Mapping[str, asyncio.Future[Answers]]) -> None:
        """A pass that still waits for its queue gets the bug that ended the reading, or ends with it."""
        self._reading.discard(ended)
        bug = None if ended.cancelled() else ended.exception()
        for waiting in answers.values():
            if waiting.done():
                continue
            if bug is None:
                waiting.cancel()
            else:
                waiting.set_exception(bug)

    async def _check(self, reconciler: Reconciler, depths: Depths, lease: Lease) -> Cycle | CannotTell | None:
        name = reconciler.worker
        depth = await asyncio.shield(depths.of[name])
        return await reconciler.quick_check(self._queues[name].with_known(depth), lease)

    async def _guarded(
        self,
        reconciler: Reconciler,
        looking: asyncio.Task[Readings],
        counting: tuple[Depths, Callable[[], Depths]],
        lease: Lease | None,
    ) -> Cycle:
        """`counting`: the reading of the queues that runs beside that of the platform, and another one after it."""
        name, (depths, again) = reconciler.worker, counting
        asked_at = self._ports.clock.monotonic()
        try:
            async with asyncio.timeout(LONGEST_CYCLE_S):
                queue = await self._queues[name].completed(await asyncio.shield(depths.of[name]))
                counted_at = self._ports.clock.monotonic()
                readings = await asyncio.shield(looking)
                self._board.see(readings)
                if self._ports.clock.monotonic() - counted_at > _FRESH_S and not reconciler.policy.has_own_timeout:
                    depths = again()
                    queue = await self._queues[name].completed(await asyncio.shield(depths.of[name]))
                queue = replace(queue, asked_at=asked_at)
                cycle = await reconciler.reconcile(readings[reconciler.policy.target.key], queue, lease)
                self._queues[name].start_up_s = reconciler.start_up_s
                if cycle.queue is not None:
                    self._queues[name].report_remarks(cycle.queue)
                return cycle
        except TimeoutError:
            # Nothing may go on beside the next cycle: a reading that cannot be ended keeps the loop from turning.
            depths.reading.cancel()
            await asyncio.wait({depths.reading})
            because = Because(Reason.TIMED_OUT, f"hold: the cycle took longer than {in_words(LONGEST_CYCLE_S)}")
            return self._ended(reconciler, Outcome.FAILED, because, Fault(CONTROLLER, because.words), lease)
        except Exception as bug:  # noqa: BLE001  # a bug must not stop the other workers or the next cycle
            if self._cycle_loggers[reconciler.worker].is_new(bug, self._ports.clock.monotonic()):
                trace = traceback.format_exc()
                message = bounds.cut(repr(bug), bounds.MESSAGE)
                self._log.event("crashed", worker=reconciler.worker, message=message, traceback=trace)
            because = Because(Reason.CRASHED, f"hold: a bug ended the cycle ({type(bug).__name__}); see its traceback")
            return self._ended(reconciler, Outcome.CRASHED, because, Fault(CONTROLLER, because.words), lease)

    def _ended(
        self, reconciler: Reconciler, outcome: Outcome, because: Because, fault: Fault, lease: Lease | None
    ) -> Cycle:
        at = self._ports.clock.wall()
        return Cycle(
            at=at,
            worker=reconciler.worker,
            outcome=outcome,
            because=(because,),
            message=because.words,
            max_workers=of_the_hour(reconciler.policy, at).max_replicas,
            schedule=ScheduleStatus.of(reconciler.policy, at),
            epoch=lease.epoch if lease else None,
            fault=fault,
        )

    async def _publish(self, lease: Lease) -> None:
        try:
            await self._ports.journal.publish(self._status.to_publish(), lease)
        except (Unavailable, LeaseLost):
            return  # the cycle's line and the leadership task report the fault

    async def _without_redis(self) -> None:
        """A replica that led before goes on reading, so that people see the queue; any other only reports the fault."""
        if self._leadership.has_led:
            await self.tick(None, waits=False)
            return
        unavailable = self._leadership.fault or Unavailable(self._ports.journal.source, "cannot be reached")
        because, fault = hold_because(unavailable), Fault.of(unavailable)
        for reconciler in self._reconcilers:
            self._report_cycle(self._ended(reconciler, Outcome.FAILED, because, fault, None))

    async def _as_standby(self) -> None:
        if not self._behind:
            await self._ports.queue.close()  # a standby touches neither the queue nor the platform
        now = self._ports.clock.monotonic()
        for worker, logger in self._cycle_loggers.items():
            self._report_recoveries(logger.stood_aside(self._ports.journal.source, now), worker)

    def _report_cycle(self, cycle: Cycle) -> None:
        """Counts and shows the cycle, and logs it; a fault that lasts is logged once in REPEAT_S."""
        now, logger = self._ports.clock.monotonic(), self._cycle_loggers[cycle.worker]
        before = self._status.failing.get(cycle.worker, {})
        self._status.put(cycle)
        for listener in self._listeners:
            listener(cycle, before, self._status.failing[cycle.worker])
        self._report_recoveries(logger.recovered(cycle, now), cycle.worker)
        line = logger.line(cycle, now)
        if line is not None:
            self._log.line(line)

    def _report_pace(self, platform: str, requests: Requests) -> None:
        now, interval = self._ports.clock.monotonic(), self._policy.interval
        stretch = self._stretches.setdefault(platform, Stretch())
        if stretch.is_news(requests.pace_s, interval, now):
            said = pace_words(requests, interval, platform)
            self._log.event(
                "pace_stretched",
                pace_s=round(requests.pace_s, 1),
                used=requests.used,
                quota=requests.quota,
                window_s=requests.window_s,
                message=f"{said}; set a longer interval, or use a larger plan",
            )
        lasted = stretch.ended(now)
        if lasted is not None:
            message = f"cycles come every {in_words(interval)} again, after {in_words(lasted)} of longer pauses"
            self._log.event("pace_normal", message=message)

    def _report_recoveries(self, recoveries: Iterable[Recovery], worker: str) -> None:
        for recovery in recoveries:
            self._log.event("recovered", worker=worker, source=recovery.name, message=recovery.sentence)

    async def _wait(self) -> None:
        """Waits until the next interval (longer while requests run out), a wake-up, a change of role, or stop()."""
        await self._pause_until(self._due)
        open_at = min(self._due, self._woken_at + self._policy.wake_min_interval)
        if self._woken and not self._stopping and self._ports.clock.monotonic() < open_at:
            self._wake_up.clear()
            await self._pause_until(open_at)

    async def _pause_until(self, due: float) -> None:
        """Waits until `due`, a wake-up or a change of role.

        Once per interval it reports that the loop runs, so that a long pause does not degrade /health.
        """
        changed = asyncio.create_task(self._leadership.changed.wait())
        nudged = asyncio.create_task(self._wake_up.wait())
        try:
            while (left := due - self._ports.clock.monotonic()) > 0:
                awaited = {changed, nudged}
                timeout = min(left, self._policy.interval)
                if (await asyncio.wait(awaited, timeout=timeout, return_when=asyncio.FIRST_COMPLETED))[0]:
                    return
                self._status.turned()
        finally:
            changed.cancel()
            nudged.cancel()
