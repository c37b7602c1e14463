"""Composition root: open, wire, serve, close in reverse."""

from __future__ import annotations

import asyncio
import functools
import gc
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, TextIO

from httpx import InvalidURL

from controller.adapters.clock import SystemClock
from controller.adapters.dry_run import DryRunJournal, DryRunLeases, DryRunPlatform, DryRunRateLimit
from controller.adapters.postgres.listener import Listener
from controller.adapters.postgres.queue import PostgresQueue
from controller.adapters.railway import RailwayPlatform
from controller.adapters.railway.client import RailwayClient
from controller.adapters.redis.connection import connect
from controller.adapters.redis.journal import Keys, Left, RedisJournal, RedisLeases, RedisRateLimit
from controller.adapters.redis.said import Said, leave
from controller.config.load import Configuration
from controller.config.settings import Settings
from controller.core.model import Because, Lease, Reason, Replicas, Rest, workers
from controller.core.ports import Clock, Unavailable, Watched
from controller.core.rules import Step
from controller.doctor.redis import warned
from controller.loop import signals
from controller.loop.cycle import Cycle, Outcome
from controller.loop.faults import Beat
from controller.loop.leadership import Leadership
from controller.loop.log import Log, library_lines
from controller.loop.reconciler import World
from controller.loop.runner import Runner
from controller.loop.status import Board
from controller.policy.document import ConfigurationError, Problem
from controller.policy.models import Policy, WorkerPolicy
from controller.web.connections import serving
from controller.web.server import Shown, application, listening_socket

_GARBAGE = (700, 10, 10)
"""When the collector looks: Python's own thresholds."""
_GOODBYE_S = 1.0
"""For a cycle to end after a signal; one that only reads is abandoned then, so that a successor leads within 2 s."""
_RELEASE_S = 1.0
"""For the lease to be given back; where Redis takes longer, it runs out by itself."""
_LEAVE_S = 0.4
"""For all that is still open then to be closed, and for the last lines of the log; the process ends without it."""
_LAST_LINES_S = 0.2
_LONGEST_GOODBYE_S = 20.0
"""For one that asks Railway for a change: it is neither cut short nor left without its answer."""
_AGAIN_S = 5.0
_SLOWEST_QUERY_S = 2.0
_SHORTEST_QUERY_S = 0.25
_OLDEST_INTERVALS = 3
"""What a standby of PostgreSQL shows may be this many intervals old; older, it is no reading."""
_SLOWEST_CRON_S = 3600.0
"""`once` cannot know how often cron runs it; recommendations further apart than this are no memory of a window."""


@dataclass(frozen=True, slots=True)
class Way:
    """How it is run. gap: a silence of so many seconds breaks the chain of recommendations; None: by the interval.

    waits_for_survivors: a newcomer on an empty Redis hears first what others remember of it.
    """

    dry_run: bool = False
    gap: float | None = None
    waits_for_survivors: bool = False


@dataclass(frozen=True, slots=True)
class Controller:
    """All the parts, wired."""

    policy: Policy
    queue: PostgresQueue
    railway: RailwayPlatform
    world: World
    leadership: Leadership
    board: Board
    runner: Runner
    log: Log
    way: Way
    configuration: Configuration
    left_behind: Callable[[], Awaitable[list[Left]]]
    """What an earlier policy left behind, by the journal."""

    @property
    def shown(self) -> Shown:
        return Shown(
            self.board,
            self.leadership,
            self.policy,
            self.way.dry_run,
            self.world.platform.requests,
            lambda: self.log.lost,
            self.configuration.mask,
            self.configuration.shown,
        )


@asynccontextmanager
async def opened(
    configuration: Configuration,
    way: Way,
    *,
    stream: TextIO,
    events: TextIO,
    form: Literal["json", "text"],
    clock: Clock | None = None,
    last_lines_s: float | None = None,
) -> AsyncIterator[Controller]:
    """The controller, wired to the real world; nothing is sent anywhere until it is asked to.

    last_lines_s: how long the end waits for an output that does not take its lines; None: as long as it takes.
    """
    settings, policy, mask = configuration.settings, configuration.policy, configuration.mask
    # All is imported: from here on memory counts, and what is there stays.
    gc.freeze()
    gc.set_threshold(*_GARBAGE)
    clock = clock or SystemClock()
    log = Log(stream, form=form, clock=clock, mask=mask, events=events)
    slower = {name: worker.queue.timeout for name, worker in policy.workers.items() if worker.queue.timeout}
    board = Board(clock, policy.interval, slower, mask)
    oddities = Beat()
    async with AsyncExitStack() as stack:
        stack.callback(log.close, last_lines_s)
        stack.enter_context(library_lines(log))
        timing = settings.timing
        redis = connect(settings.redis_url.get_secret_value(), timeout_s=timing.redis_timeout)
        stack.push_async_callback(redis.aclose)
        keys = Keys(settings.key_prefix, settings.environment_id)
        journal = RedisJournal(
            redis, keys, clock, services={name: worker.service for name, worker in policy.workers.items()}
        )

        async def watch() -> Watched:
            watched = await journal.watch(list(policy.workers))
            # A worker that the policy has no more is nobody's: it would be shown, and published again, for ever.
            ours = {name: text for name, text in watched.published.items() if name in policy.workers}
            notes = [f"{keys.cycles}: {note}" for note in board.take_over(ours, watched.age)]
            for note in (*watched.problems, *notes):
                if oddities.lasted(note, clock.monotonic()) is not None:
                    log.event("redis_warning", message=note)
            return watched

        leadership = Leadership(
            DryRunLeases() if way.dry_run else RedisLeases(redis, keys),
            clock,
            timing=timing,
            replica=settings.replica,
            report=_nothing if way.dry_run else log.event,
            watch=watch,
            turning=lambda: not board.stands_still,
            waits_for_survivors=way.waits_for_survivors,
        )
        stack.push_async_callback(leadership.release)
        queue, platform = _queue_and_platform(configuration, leadership, clock, stack)
        shares = RedisRateLimit(redis, clock, may_write=lambda: leadership.lease is not None)
        world = World(queue, platform, journal, shares, clock, log.event)
        world = _without_hands(world) if way.dry_run else world
        runner = Runner(policy, world, leadership, board, log, landing_bound=timing.landing_bound, gap=way.gap)
        parts = policy, queue, platform, world, leadership, board, runner, log, way
        yield Controller(*parts, configuration, journal.left_behind)


def _queue_and_platform(
    configuration: Configuration, leadership: Leadership, clock: Clock, stack: AsyncExitStack
) -> tuple[PostgresQueue, RailwayPlatform]:
    settings, policy = configuration.settings, configuration.policy
    ids = {settings.project_id, settings.environment_id, *(worker.service for worker in policy.workers.values())}
    # Below the interval, so that a slow count cannot make the readings queue up.
    timeout = max(_SHORTEST_QUERY_S, min(_SLOWEST_QUERY_S, 0.8 * policy.interval))
    queue = PostgresQueue(
        settings.database_url.get_secret_value(),
        timeout_s=timeout,
        oldest_s=_OLDEST_INTERVALS * policy.interval,
        search_path=settings.search_path,
    )
    stack.push_async_callback(queue.close)
    try:
        client = RailwayClient(
            settings.railway_api_url,
            settings.railway_token,
            clock,
            may_mutate=leadership.may_act,
            timeout_s=settings.timing.railway_timeout,
            clean=functools.partial(configuration.mask.json_text, ids=ids),
        )
    except (ValueError, ImportError, OSError, InvalidURL) as error:
        variables = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR"
        problem = f"one of them cannot be used ({type(error).__name__}); unset or mend it"
        raise ConfigurationError([Problem(variables, problem)]) from None
    stack.push_async_callback(client.close)
    project, environment = settings.project_id, settings.environment_id
    return queue, RailwayPlatform(client, project=project, environment=environment, interval_s=policy.interval)


def _nothing(_: str, /, **__: object) -> None:
    """What a dry run has to say of its leading: it leads by its own word only."""


def _without_hands(world: World) -> World:
    return World(
        world.queue,
        DryRunPlatform(world.platform),
        DryRunJournal(world.journal),
        DryRunRateLimit(world.rate_limit),
        world.clock,
        world.report,
    )


async def run(configuration: Configuration, *, dry_run: bool) -> int:
    """The controller until a signal: server, lease, loop and wake-ups. Returns the exit code."""
    told = _told()
    settings = configuration.settings
    form = settings.log_format or ("text" if sys.stdout.isatty() else "json")
    listener = listening_socket(settings.port)
    way = Way(dry_run=dry_run, waits_for_survivors=True)
    out = sys.stdout
    async with opened(configuration, way, stream=out, events=out, form=form, last_lines_s=_LAST_LINES_S) as controller:
        token = settings.http_token.get_secret_value() if settings.http_token else None
        async with serving(application(controller.shown, token), listener, controller.log.event) as connections:
            told.add_done_callback(lambda _: connections.close())  # clients could only hold up the end
            port = listener.getsockname()[1]
            controller.log.event(
                "started",
                port=port,
                replica=settings.replica,
                dry_run=dry_run,
                message=f"serving /health, /metrics and /status on port {port}",
            )
            for note in settings.notes:
                controller.log.event("setting_ignored", variable=note.place, message=str(note))
            for warning in settings.warnings:
                controller.log.event("setting_warning", variable=warning.place, message=str(warning))
            _log_policy(controller)
            telling = asyncio.create_task(_tell_of_left_behind(controller))
            keys = Keys(settings.key_prefix, settings.environment_id)
            address = settings.redis_url.get_secret_value()
            async with warned(address, keys, controller.world.clock, controller.log.event):
                code = await _until_told(controller, settings, told)
            telling.cancel()
        by = f", told by {told.result().name}" if told.done() else ""
        controller.log.event("stopped", message="ended by a bug" if code else f"stopped in good order{by}")
        return code


def _told() -> asyncio.Future[signal.Signals]:
    """Done with the first signal."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[signal.Signals] = loop.create_future()

    within_s = _GOODBYE_S + _RELEASE_S + _LEAVE_S
    signals.on_end_in(loop, lambda number: told.set_result(signal.Signals(number)), within_s=within_s)
    return told


def _log_policy(controller: Controller) -> None:
    for name, worker in controller.policy.workers.items():
        controller.log.event(
            "policy_loaded",
            worker=name,
            service=worker.service,
            message=f"{worker.min_replicas} to {worker.max_replicas} workers, every {controller.policy.interval:g} s",
        )


async def _tell_of_left_behind(controller: Controller) -> None:
    """Once after each start, as soon as Redis answers: what this policy names no more goes on costing money."""
    while True:
        try:
            every = await controller.left_behind()
        except Unavailable:  # whoever wants the lease says so already
            await asyncio.sleep(_AGAIN_S)
            continue
        for left in sorted(every, key=lambda left: left.worker):
            if left.service is None:
                continue  # of a version before this one, and nobody can tell which service it was
            was = "an unknown number of workers" if left.count is None else workers(left.count)
            controller.log.event(
                "policy_loaded",
                worker=left.worker,
                service=left.service,
                left_at=left.count,
                message=f"this worker is not in the policy any more; it was left at {was} and stays so: "
                "where nobody needs it, set its replicas on Railway, or stop or delete the service",
            )
        return


async def _until_told(controller: Controller, settings: Settings, told: asyncio.Future[signal.Signals]) -> int:
    """Leads and turns until a signal; then ends the cycle, gives the lease back, and leaves.

    No task dies silently: the first that ends by itself ends the others, in the same good order, with exit code 1.
    """
    if told.done():
        return 0
    leading = asyncio.create_task(controller.leadership.keep())
    running = asyncio.create_task(controller.runner.run())
    listening = asyncio.create_task(_listen(controller, settings))
    tasks: list[asyncio.Future[Any]] = [leading, running, listening]
    await asyncio.wait([told, *tasks], return_when=asyncio.FIRST_COMPLETED)
    code = 0 if told.done() else 1
    signals.leave_within(_GOODBYE_S + _RELEASE_S + _LEAVE_S, code)
    controller.runner.stop()
    listening.cancel()
    await asyncio.wait({running}, timeout=_GOODBYE_S)
    if controller.runner.acts:
        signals.leave_within(_LONGEST_GOODBYE_S + _RELEASE_S + _LEAVE_S, code)
        await asyncio.wait({running}, timeout=_LONGEST_GOODBYE_S)
    signals.leave_within(_RELEASE_S + _LEAVE_S, code)
    running.cancel()
    controller.leadership.stop()
    await asyncio.wait({leading}, timeout=_RELEASE_S)
    signals.leave_within(_LEAVE_S, code)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    bugs = [task.exception() for task in tasks if not task.cancelled()]
    for bug in filter(None, bugs):
        controller.log.event("crashed", message=repr(bug), traceback="".join(traceback.format_exception(bug)))
    return 1 if any(bugs) else 0


async def _listen(controller: Controller, settings: Settings) -> None:
    """Wakes the runner when a job is announced, on whichever channels the policy or a library has."""
    queues = [worker.queue for worker in controller.policy.workers.values()]
    direct = settings.database_direct_url
    key = Keys(settings.key_prefix, settings.environment_id).listening
    leaving: set[asyncio.Task[None]] = set()

    def report(event: str, /, **fields: object) -> None:
        controller.log.event(event, **fields)
        if not controller.way.dry_run:
            words = controller.configuration.mask.text(str(fields.get("message")))
            said = Said(event, words, controller.world.clock.wall())
            leaving.add(task := asyncio.create_task(leave(settings.redis_url.get_secret_value(), key, said)))
            task.add_done_callback(leaving.discard)

    await Listener(
        (direct or settings.database_url).get_secret_value(),
        "DATABASE_DIRECT_URL" if direct else "DATABASE_URL",
        lambda: controller.queue.every_channel(queues),
        leading=lambda: controller.leadership.lease is not None,
        begun=controller.runner.wake,
        wake=controller.runner.wake,
        notify=controller.queue.notify,
        report=report,
    ).run()


async def once(configuration: Configuration, *, dry_run: bool, as_json: bool) -> int:
    """One cycle for cron: exit 0 where it applied or held (or another replica leads), 1 where it failed.

    And 1 where its output did not take what it has to say.
    """
    form: Literal["json", "text"] = "json" if as_json else "text"
    way = Way(dry_run=dry_run, gap=_SLOWEST_CRON_S, waits_for_survivors=True)
    async with opened(configuration, way, stream=sys.stdout, events=sys.stderr, form=form) as controller:
        leadership = controller.leadership
        lease = await leadership.seek()
        if lease is None:
            cycles = [_without_lease(controller, name) for name in controller.policy.workers]
            for cycle in cycles:
                controller.log.line(cycle.line())
        else:
            keeping = asyncio.create_task(leadership.keep())
            try:
                cycles = await _whole(controller, lease)
                if controller.runner.is_outdated:
                    # As the next cycle of `run` would; the next `once` would know as little as this one did.
                    cycles = await _whole(controller, lease)
            finally:
                leadership.stop()
                await keeping
    is_well = all(cycle.outcome in {Outcome.APPLIED, Outcome.HELD, Outcome.STANDBY} for cycle in cycles)
    return 0 if is_well and not controller.log.lost else 1


async def _whole(controller: Controller, lease: Lease) -> list[Cycle]:
    """One tick; a signal ends it, but not while a change is being asked for."""
    ticking = asyncio.create_task(controller.runner.tick(lease))
    try:
        return await asyncio.shield(ticking)
    except asyncio.CancelledError:
        if controller.runner.acts:
            signals.extend(_LONGEST_GOODBYE_S)
            await asyncio.wait({ticking}, timeout=_LONGEST_GOODBYE_S)
        ticking.cancel()
        await asyncio.wait({ticking}, timeout=_GOODBYE_S)
        raise


def _without_lease(controller: Controller, worker: str) -> Cycle:
    trouble = controller.leadership.trouble
    if trouble is not None:
        outcome, because = Outcome.FAILED, Because(Reason.JOURNAL_UNAVAILABLE, f"hold: {trouble}")
    else:
        outcome = Outcome.STANDBY
        because = Because(Reason.STANDBY, "hold: another replica of the controller leads, and acts")
    maximum = controller.policy.workers[worker].max_replicas
    at = controller.world.clock.wall()
    return Cycle(at=at, worker=worker, outcome=outcome, because=(because,), message=because.words, max_workers=maximum)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would be done right now, and each rule's turn; no steps where something could not be read.

    rest: what the queue holds besides; None where it could not be read, or not in time.
    """

    cycle: Cycle
    steps: tuple[Step, ...]
    rest: Rest | None


async def explain(configuration: Configuration) -> list[Explanation]:
    """Observes and decides, as a cycle would, and changes nothing anywhere."""
    async with opened(configuration, Way(), stream=sys.stderr, events=sys.stderr, form="text") as controller:
        services = [worker.service for worker in controller.policy.workers.values()]
        readings: Mapping[str, Replicas | Unavailable]
        try:
            readings = await controller.world.platform.observe(services)
        except Unavailable as unavailable:
            readings = dict.fromkeys(services, unavailable)
        explanations: list[Explanation] = []
        for name, worker in controller.policy.workers.items():
            cycle, steps = await controller.runner.reconciler(name).explain(readings[worker.service])
            explanations.append(Explanation(cycle, steps, await _rest(controller, worker)))
        return explanations


async def _rest(controller: Controller, worker: WorkerPolicy) -> Rest | None:
    try:
        return await controller.queue.rest(worker.queue, worker.count_limit)
    except Unavailable:
        return None
