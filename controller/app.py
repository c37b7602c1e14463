"""Composition root: opens all parts, wires them, and closes them in reverse order."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, TextIO

from controller.adapters import notify
from controller.adapters.clock import SystemClock
from controller.adapters.dry_run import DryRunJournal, DryRunLeases, DryRunRateLimit, DryRunShadowFleets
from controller.adapters.postgres.queue import PostgresQueue
from controller.adapters.redis.connection import connect
from controller.adapters.redis.journal import Left, RedisJournal
from controller.adapters.redis.keys import Keys
from controller.adapters.redis.leases import RedisLeases
from controller.adapters.redis.marks import RedisMarks
from controller.adapters.redis.rate_limit import RedisRateLimit
from controller.adapters.redis.shadow_fleets import RedisShadowFleets
from controller.adapters.redis.timeline import RedisTimeline
from controller.configuration import ADAPTERS, Configuration
from controller.core.ports import Clock
from controller.core.shadow import ShadowFleets
from controller.loop.leadership import Leadership
from controller.loop.log import Log, library_lines
from controller.loop.notifier import Notifier
from controller.loop.reconciler import Ports, Reconciler
from controller.loop.recorder import Recorder
from controller.loop.runner import Runner
from controller.loop.shadow import ShadowRunner
from controller.loop.status import ControllerStatus
from controller.loop.supervisor import Supervisor
from controller.loop.timed import TimedJournal, TimedQueue
from controller.loop.watching import watching
from controller.platforms import OpenPlatforms, named, used_by
from controller.policy import Policy
from controller.web.health import Shown

_SOURCES = (PostgresQueue.source.name, *(one.name for one in ADAPTERS.platforms), RedisJournal.source.name)
"""Names of all dependencies that a controller of a group may report to fail."""
_GARBAGE = (700, 10, 10)
"""Thresholds of the garbage collector: the defaults of Python, which the command line raises while it imports."""
_SLOWEST_QUERY_S = 2.0
_SHORTEST_QUERY_S = 0.25
_OLDEST_INTERVALS = 3
"""A reading of a PostgreSQL standby may be this many intervals old; an older one counts as unavailable."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How the controller runs. gap: seconds without a cycle after which a history has a gap; None: by the interval.

    waits_for_survivors: a new process on an empty Redis waits first for replicas that remember its contents.
    """

    dry_run: bool = False
    gap: float | None = None
    waits_for_survivors: bool = False
    width: Callable[[], int] | None = None
    """Columns at which the lines of a text log wrap; None: they stay whole."""


@dataclass(slots=True)
class Controller:
    """All the parts, wired."""

    policy: Policy
    journal: RedisJournal
    queue: PostgresQueue
    platforms: OpenPlatforms
    ports: Ports
    leadership: Leadership
    status: ControllerStatus
    runner: Runner
    log: Log
    options: RunOptions
    configuration: Configuration
    recorder: Recorder
    notifier: Notifier
    shadow: ShadowRunner
    left_behind: Callable[[], Awaitable[list[Left]]]
    """Workers in the journal that the policy no longer has."""

    shown: Shown = field(init=False)

    def __post_init__(self) -> None:
        self.status.serve(self.policy, _slower(self.policy), self.configuration.digest)
        self.shown = Shown(
            self.status,
            self.leadership,
            self.policy,
            self.options.dry_run,
            self.platforms.requests,
            self.platforms.source.name,
            lambda: self.log.lost,
            self.configuration.mask,
            self.recorder.timeline,
            self.configuration.shown,
            self.ports.clock.wall(),
            notifications=self.notifier.reports,
            sent=self.platforms.sent,
        )

    async def adopt(self, configuration: Configuration) -> None:
        """Goes on with another policy, between two turns. Histories, cooldowns and overrides stay in the journal.

        Raises:
            ConfigurationError: a platform that only this policy uses cannot be opened; nothing has changed.
        """
        self.platforms.prepare(configuration)
        await self.runner.adopt(configuration.policy, lambda: self._swap(configuration))

    def _swap(self, configuration: Configuration) -> None:
        policy, mask = configuration.policy, self.configuration.mask
        mask.become(configuration.mask)
        self.policy, self.configuration = policy, replace(configuration, mask=mask)
        self.journal.serve(policy.target_ids)
        self.queue.set_pace(_query_s(policy), _OLDEST_INTERVALS * policy.interval)
        self.platforms.serve(policy)
        self.log.serve(len(policy.workers))
        self.status.serve(policy, _slower(policy), configuration.digest)
        self.recorder.interval_s = policy.interval
        self.recorder.keep_s = 0.0 if self.options.dry_run else policy.history_retention
        self.notifier.serve(policy)
        _serve_shadow(self.shadow, configuration)
        shown = self.shown
        shown.platform = self.platforms.source.name
        shown.policy, shown.policy_shown, shown.refusal = policy, configuration.shown, None
        shown.loaded_at = self.ports.clock.wall()


@asynccontextmanager
async def opened(
    configuration: Configuration,
    options: RunOptions,
    *,
    stream: TextIO,
    events: TextIO,
    form: Literal["json", "text"],
    clock: Clock | None = None,
    last_lines_s: float | None = None,
) -> AsyncIterator[Controller]:
    """The controller, wired to the real ports; it sends nothing until a method is called.

    last_lines_s: seconds that the end waits for a blocked output to take the last lines; None: without a limit.
    """
    settings, policy, mask = configuration.settings, configuration.policy, configuration.mask
    for one in used_by(policy):
        named(one.opens)
    # All modules are imported and stay: the collector need not look at them again, and from here on memory counts.
    gc.freeze()
    gc.set_threshold(*_GARBAGE)
    clock = clock or SystemClock()
    log = Log(stream, form=form, clock=clock, mask=mask, events=events, width=options.width)
    log.serve(len(policy.workers))
    status = ControllerStatus(clock, policy.interval, _SOURCES, mask=mask)
    async with AsyncExitStack() as stack:
        stack.callback(log.close, last_lines_s)
        stack.enter_context(library_lines(log))
        timing = settings.timing
        redis = connect(settings.redis_url.get_secret_value(), timeout_s=timing.redis_timeout)
        stack.push_async_callback(redis.aclose)
        keys = Keys(settings.key_prefix, settings.group)
        journal = RedisJournal(redis, keys, clock, services=policy.target_ids)
        timed = TimedJournal(journal, clock, status.counts.call)

        leadership = Leadership(
            DryRunLeases() if options.dry_run else RedisLeases(redis, keys),
            clock,
            timing=timing,
            replica=settings.replica,
            report=_report_nothing if options.dry_run else log.event,
            watch=watching(timed, keys.cycles, status, log, clock, workers=lambda: runner.policy.workers),
            turning=lambda: not status.stands_still,
            waits_for_survivors=options.waits_for_survivors,
        )
        stack.push_async_callback(leadership.release)
        queue = _queue(configuration)
        stack.push_async_callback(queue.close)
        platforms = OpenPlatforms(
            configuration, clock, leadership.may_act, stack, status.counts.call, is_dry_run=options.dry_run
        )
        shares = RedisRateLimit(redis, clock, may_write=lambda: leadership.lease is not None)
        timed_queue = TimedQueue(queue, clock, status.counts.call)
        ports = Ports(timed_queue, platforms, timed, shares, clock, log.event)
        ports = _dry_run_ports(ports) if options.dry_run else ports
        recorder = Recorder(
            RedisTimeline(redis, keys),
            clock,
            lambda: leadership.lease,
            0.0 if options.dry_run else policy.history_retention,
            policy.interval,
            Supervisor("the history", clock, log.event),
            mask,
            lambda worker: shadow.count(worker),  # noqa: PLW0108  # it is made below
        )
        opening, marks = notify.opening(settings.group), RedisMarks(redis, keys)
        telling = Supervisor("notifications", clock, log.event)
        notifier = Notifier(opening, marks, clock, leadership, log.event, telling, mask, tells=not options.dry_run)
        notifier.serve(policy)
        stack.push_async_callback(notifier.close)
        log.tell(recorder.supervisor.around(recorder.event))
        log.tell(telling.around(notifier.event))
        fleets = RedisShadowFleets(redis, keys)
        shadow = _shadow(
            DryRunShadowFleets(fleets) if options.dry_run else fleets,
            ports,
            status,
            leadership,
            lambda worker: runner.reconciler(worker),  # noqa: PLW0108  # it is made below
            gap=options.gap,
        )
        _serve_shadow(shadow, configuration)
        bound = timing.landing_bound
        listeners = [one.supervisor.around(one.cycle) for one in (shadow, recorder, notifier)]
        runner = Runner(
            policy,
            ports,
            leadership,
            status,
            log,
            landing_bound=bound,
            gap=options.gap,
            listeners=listeners,
            beside=shadow.request,
        )
        parts = policy, journal, queue, platforms, ports, leadership, status, runner, log, options
        yield Controller(*parts, configuration, recorder, notifier, shadow, journal.left_behind)


def _shadow(
    fleets: ShadowFleets,
    ports: Ports,
    status: ControllerStatus,
    leadership: Leadership,
    reconciler: Callable[[str], Reconciler],
    *,
    gap: float | None,
) -> ShadowRunner:
    return ShadowRunner(
        fleets,
        ports,
        Supervisor("the shadow policy", ports.clock, ports.report),
        status,
        lambda: leadership.lease,
        reconciler,
        lambda: max(gap or 0.0, 3 * max(status.interval, status.pace) + 1),
    )


def _serve_shadow(shadow: ShadowRunner, configuration: Configuration) -> None:
    file = configuration.shadow
    shadow.serve(configuration.policy, {} if file is None else file.workers, "" if file is None else file.name)


def _queue(configuration: Configuration) -> PostgresQueue:
    settings, policy = configuration.settings, configuration.policy
    return PostgresQueue(
        settings.database_url.get_secret_value(),
        timeout_s=_query_s(policy),
        oldest_s=_OLDEST_INTERVALS * policy.interval,
        search_path=settings.search_path,
    )


def _query_s(policy: Policy) -> float:
    """Below the interval, so that slow counts do not pile up."""
    return max(_SHORTEST_QUERY_S, min(_SLOWEST_QUERY_S, 0.8 * policy.interval))


def _slower(policy: Policy) -> dict[str, float]:
    return {
        name: max(queue.timeout or 0.0 for queue in worker.each_queue.values())
        for name, worker in policy.workers.items()
        if worker.has_own_timeout
    }


def _report_nothing(_: str, /, **__: object) -> None:
    """A dry run reports no lease events: it takes no real lease."""


def _dry_run_ports(ports: Ports) -> Ports:
    return Ports(
        ports.queue,
        ports.platform,  # each of which is one that only reads
        DryRunJournal(ports.journal),
        DryRunRateLimit(ports.rate_limit),
        ports.clock,
        ports.report,
    )
