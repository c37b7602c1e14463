"""Composition root: open, wire, serve, close in reverse."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Literal, TextIO

from aiohttp import web

from controller.adapters import postgres
from controller.adapters.clock import SystemClock
from controller.adapters.dry_run import DryRunJournal, DryRunLeases, DryRunPlatform, DryRunRateLimit
from controller.adapters.railway import RailwayPlatform
from controller.adapters.railway.client import RailwayClient
from controller.adapters.redis import Keys, RedisJournal, RedisLeases, RedisRateLimit, connect
from controller.board import Board
from controller.configuration import Configuration
from controller.cycle import Cycle, Outcome
from controller.decide import Step, trail
from controller.leading import Leadership
from controller.log import Log
from controller.model import Because, Observation, Reason, Replicas
from controller.policy import Policy
from controller.ports import Leases, Unavailable
from controller.reconciler import Reconciler, World
from controller.runner import Runner
from controller.server import Shown, application, listening_socket
from controller.settings import Settings

_LONGEST_GOODBYE_S = 20.0
_SLOWEST_QUERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Controller:
    """All the parts, wired."""

    policy: Policy
    world: World
    leadership: Leadership
    board: Board
    runner: Runner
    log: Log
    dry_run: bool

    @property
    def shown(self) -> Shown:
        return Shown(self.board, self.leadership, self.policy, self.dry_run)


@asynccontextmanager
async def opened(
    configuration: Configuration, *, dry_run: bool, stream: TextIO, events: TextIO, form: Literal["json", "text"]
) -> AsyncIterator[Controller]:
    """The controller, wired to the real world; nothing is sent anywhere until it is asked to."""
    settings, policy = configuration.settings, configuration.policy
    clock = SystemClock()
    log = Log(stream, form=form, clock=clock, secrets=settings.secrets, events=events)
    board = Board(clock, policy.interval)
    async with AsyncExitStack() as stack:
        world, leases = await _world(settings, policy, clock, log, stack)
        if dry_run:
            leases = DryRunLeases()
            world = World(
                world.queue,
                DryRunPlatform(world.platform),
                DryRunJournal(world.journal),
                DryRunRateLimit(world.rate_limit),
                clock,
                log.event,
            )

        async def stand_by() -> None:
            board.take_over(await world.journal.published())

        leadership = Leadership(
            leases,
            clock,
            ttl=settings.lease_ttl,
            replica=settings.replica,
            report=log.event,
            standing_by=stand_by,
        )
        runner = Runner(policy, world, leadership, board, log)
        yield Controller(policy, world, leadership, board, runner, log, dry_run)


async def _world(
    settings: Settings, policy: Policy, clock: SystemClock, log: Log, stack: AsyncExitStack
) -> tuple[World, Leases]:
    redis = connect(settings.redis_url.get_secret_value())
    stack.push_async_callback(redis.aclose)
    keys = Keys(settings.key_prefix, settings.environment_id)
    client = RailwayClient(settings.railway_api_url, settings.railway_token, clock)
    stack.push_async_callback(client.close)
    # Below the interval, so that a slow count cannot make the readings queue up.
    timeout = max(0.25, min(_SLOWEST_QUERY_S, 0.8 * policy.interval))
    queue = postgres.PostgresQueue(settings.database_url.get_secret_value(), timeout_s=timeout)
    stack.push_async_callback(queue.close)
    platform = RailwayPlatform(client, project=settings.project_id, environment=settings.environment_id)
    world = World(queue, platform, RedisJournal(redis, keys), RedisRateLimit(redis, clock), clock, log.event)
    return world, RedisLeases(redis, keys)


async def run(configuration: Configuration, *, dry_run: bool) -> None:
    """The controller until SIGTERM or SIGINT: the server, the lease, the loop and the wake-ups."""
    settings = configuration.settings
    listener = listening_socket(settings.port)
    form = settings.log_format or ("text" if sys.stdout.isatty() else "json")
    async with opened(configuration, dry_run=dry_run, stream=sys.stdout, events=sys.stdout, form=form) as controller:
        site = web.AppRunner(application(controller.shown), access_log=None, handle_signals=False)
        await site.setup()
        await web.SockSite(site, listener).start()
        port = listener.getsockname()[1]
        controller.log.event(
            "started",
            port=port,
            replica=settings.replica,
            dry_run=dry_run,
            message=f"serving /health, /metrics and /status on port {port}",
        )
        _log_policy(controller)
        try:
            await _until_told(controller, settings)
        finally:
            await site.cleanup()
            controller.log.event("stopped", message="stopped in good order")


def _log_policy(controller: Controller) -> None:
    for name, worker in controller.policy.workers.items():
        controller.log.event(
            "policy_loaded",
            worker=name,
            service=worker.service,
            message=f"{worker.min_replicas} to {worker.max_replicas} workers, every {controller.policy.interval:g} s",
        )


async def _until_told(controller: Controller, settings: Settings) -> None:
    """Leads and turns until a signal; then ends the cycle, gives the lease back, and leaves."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, told.set)
    channels = sorted({worker.queue.wake_on for worker in controller.policy.workers.values() if worker.queue.wake_on})
    async with asyncio.TaskGroup() as group:
        leading = group.create_task(controller.leadership.keep())
        running = group.create_task(controller.runner.run())
        listening = group.create_task(
            postgres.listen(
                settings.database_url.get_secret_value(),
                channels,
                leading=lambda: controller.leadership.lease is not None,
                wake=controller.runner.wake,
                pause=asyncio.sleep,
            )
            if channels
            else told.wait()
        )
        await told.wait()
        controller.runner.stop()
        listening.cancel()
        await asyncio.wait({running}, timeout=_LONGEST_GOODBYE_S)
        running.cancel()
        controller.leadership.stop()
        await leading


async def once(configuration: Configuration, *, dry_run: bool, as_json: bool) -> int:
    """One cycle for cron: exit 0 where it applied or held (or another replica leads), 1 where it failed."""
    form: Literal["json", "text"] = "json" if as_json else "text"
    async with opened(configuration, dry_run=dry_run, stream=sys.stdout, events=sys.stderr, form=form) as controller:
        leadership = controller.leadership
        await leadership.turn()
        lease = leadership.lease
        if lease is None:
            cycles = [_without_lease(controller, name) for name in controller.policy.workers]
            for cycle in cycles:
                controller.log.line(cycle.line())
        else:
            keeping = asyncio.create_task(leadership.keep())
            try:
                cycles = await controller.runner.tick(lease)
            finally:
                leadership.stop()
                await keeping
        return 0 if all(cycle.outcome in {Outcome.APPLIED, Outcome.HELD, Outcome.STANDBY} for cycle in cycles) else 1


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
    """What would be done right now, and each rule's turn; no steps where something could not be read."""

    cycle: Cycle
    steps: tuple[Step, ...]


async def explain(configuration: Configuration) -> list[Explanation]:
    """Observes and decides, as a cycle would, and changes nothing anywhere."""
    async with opened(configuration, dry_run=False, stream=sys.stderr, events=sys.stderr, form="text") as controller:
        services = [worker.service for worker in controller.policy.workers.values()]
        readings: Mapping[str, Replicas | Unavailable]
        try:
            readings = await controller.world.platform.observe(services)
        except Unavailable as unavailable:
            readings = dict.fromkeys(services, unavailable)
        explanations: list[Explanation] = []
        for name, worker in controller.policy.workers.items():
            reconciler = Reconciler(name, worker, controller.policy.interval, controller.world)
            cycle, recalled = await reconciler.explain(readings[worker.service])
            steps: tuple[Step, ...] = ()
            if recalled is not None and cycle.queue is not None and cycle.replicas is not None:
                steps = trail(worker, Observation(cycle.queue, cycle.replicas), recalled.history, recalled.now)
            explanations.append(Explanation(cycle, steps))
        return explanations
