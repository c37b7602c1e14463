"""`autoscaler run`: the controller until a signal.

A platform sends SIGTERM and, some seconds later, SIGKILL (Railway: 0 s after SIGTERM unless drainingSeconds is set). So
the end is planned backwards, with a bound for each step: a cycle that only reads is abandoned, one that has asked for a
change waits for its answer, then the lease is given back, then the last lines are written.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any

from controller.cli import output
from controller.cli.arguments import ENVIRONMENT, add_policy, policy_of
from controller.core.units import in_words
from controller.loop import signals

if TYPE_CHECKING:
    from pathlib import Path

    from controller.app import Controller
    from controller.cli.parser import Commands
    from controller.config.load import ShadowFile
    from controller.config.settings import Settings
    from controller.configuration import Configuration
    from controller.core.problems import ConfigurationError
    from controller.loop.reload import Reload
    from controller.policy import Policy

GOODBYE_S = 1.0
"""For a cycle to end after a signal; one that only reads is abandoned then, so that a successor leads within 2 s."""
_RELEASE_S = 1.0
"""For the lease to be given back; where Redis takes longer, it runs out by itself."""
_LEAVE_S = 0.4
"""For all that is still open then to be closed, and for the last lines of the log; the process ends without it."""
_LAST_LINES_S = 0.2
_LAST_WORDS_S = 0.3
"""For the history and notifications, as far as they are known; what is left then, the successor finds out."""
LONGEST_GOODBYE_S = 20.0
"""For one that asks Railway for a change: it is neither cut short nor left without its answer."""
_AGAIN_S = 5.0
DRY_RUN = "decide and print it; change nothing, and use no cooldown"
"""The help of --dry-run."""


def add(commands: Commands) -> None:
    parser = commands.add(
        "run",
        run,
        "run the controller until a signal ends it",
        touches="reads PostgreSQL; reads and changes the workers on their platform; writes its own keys and the "
        "rate-limit keys in Redis; listens on PORT. With `--dry-run` it only reads",
        last=ENVIRONMENT,
    )
    add_policy(parser)
    parser.add_argument("--dry-run", action="store_true", help=DRY_RUN)


def run(parsed: argparse.Namespace) -> int:
    from controller.configuration import configure

    path = policy_of(parsed)
    configuration = configure(path, os.environ)
    if configuration.settings.push_every_s is not None:
        refuse_without_otlp()
    return asyncio.run(serve(configuration, path, dry_run=parsed.dry_run))


def refuse_without_otlp() -> None:
    from controller.config.variables import OTLP_ENDPOINT
    from controller.core.problems import ConfigurationError, Problem

    try:
        import controller.web.metrics.otlp  # noqa: F401  # whether it can be imported
    except ImportError as missing:
        fix = "install worker-autoscaler[otlp], or unset the variable"
        raise ConfigurationError([Problem(OTLP_ENDPOINT, f"needs the extra otlp ({missing}): {fix}")]) from None


async def serve(configuration: Configuration, path: Path, *, dry_run: bool) -> int:
    """The controller until a signal: server, lease, loop and wake-ups. Returns the exit code."""
    from controller.adapters.redis.keys import Keys
    from controller.app import RunOptions, opened
    from controller.doctor.redis import reporting_risks
    from controller.web.connections import serving
    from controller.web.server import application, listening_socket

    told = _told()
    settings = configuration.settings
    form = settings.log_format or ("text" if sys.stdout.isatty() else "json")
    listener = listening_socket(settings.port)
    wraps = output.width if sys.stdout.isatty() else None  # elsewhere a line is an event, for grep
    options = RunOptions(dry_run=dry_run, waits_for_survivors=True, width=wraps)
    out = sys.stdout
    async with opened(
        configuration, options, stream=out, events=out, form=form, last_lines_s=_LAST_LINES_S
    ) as controller:
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
            for warning in controller.configuration.warnings:
                controller.log.event("setting_warning", variable=warning.place, message=str(warning))
            _log_policy(controller)
            _log_shadow(controller)
            telling = asyncio.create_task(_tell_of_left_behind(controller))
            keys = Keys(settings.key_prefix, settings.group)
            address = settings.redis_url.get_secret_value()
            async with reporting_risks(address, keys, controller.ports.clock, controller.log.event):
                code = await _until_told(controller, settings, told, path)
            telling.cancel()
        by = f" ({told.result().name})" if told.done() else ""
        controller.log.event("stopped", message="ended by a bug" if code else f"stopped normally{by}")
        return code


def _told() -> asyncio.Future[signal.Signals]:
    """Done with the first signal."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[signal.Signals] = loop.create_future()

    within_s = GOODBYE_S + _RELEASE_S + _LEAVE_S
    signals.on_end_in(loop, lambda number: told.set_result(signal.Signals(number)), within_s=within_s)
    return told


def _log_policy(controller: Controller) -> None:
    interval = in_words(controller.policy.interval)
    for name, worker in controller.policy.workers.items():
        controller.log.event(
            "policy_loaded",
            worker=name,
            service=worker.target.key,
            message=f"{worker.min_replicas} to {worker.max_replicas} workers, every {interval}",
        )


def _log_shadow(controller: Controller) -> None:
    """What of the shadow policy has no effect, once."""
    shadow = controller.configuration.shadow
    for note in () if shadow is None else shadow.notes:
        controller.log.event("shadow_warning", message=note)


async def _tell_of_left_behind(controller: Controller) -> None:
    """Once after each start, as soon as Redis answers: reports workers that left the policy and still cost money."""
    from controller.core.model import workers
    from controller.core.ports import Unavailable

    while True:
        try:
            every = await controller.left_behind()
        except Unavailable:  # seeking the lease reports it already
            await asyncio.sleep(_AGAIN_S)
            continue
        for left in sorted(every, key=lambda left: left.worker):
            if left.service is None:
                continue  # of a version before this one: which service it was is unknown
            was = "an unknown number of workers" if left.count is None else workers(left.count)
            controller.log.event(
                "policy_loaded",
                worker=left.worker,
                service=left.service,
                left_at=left.count,
                message=f"this worker is not in the policy any more; its service keeps {was}, which the "
                "controller no longer changes: "
                "if they are not needed, set its replicas on its platform, or stop or delete it",
            )
        return


async def _until_told(
    controller: Controller, settings: Settings, told: asyncio.Future[signal.Signals], path: Path
) -> int:
    """Leads and turns until a signal; then ends the cycle, gives the lease back, and leaves.

    No task dies silently: the first that ends by itself ends the others, in the same good order, with exit code 1.
    """
    if told.done():
        return 0
    leading = asyncio.create_task(controller.leadership.keep())
    running = asyncio.create_task(controller.runner.run())
    changed = asyncio.Event()
    listening = asyncio.create_task(_listen_anew(controller, settings, changed))
    recording = asyncio.create_task(controller.recorder.run())
    telling = asyncio.create_task(controller.notifier.run())
    shadowing = asyncio.create_task(controller.shadow.run())
    reload = _reload(controller, path, changed)
    signals.on_hangup_in(asyncio.get_running_loop(), reload.ask)
    reloading = asyncio.create_task(reload.run())
    tasks: list[asyncio.Future[Any]] = [leading, running, listening, recording, telling, shadowing, reloading]
    if settings.push_every_s is not None:
        tasks.append(_pushing(controller, settings, settings.push_every_s))
    await asyncio.wait([told, *tasks], return_when=asyncio.FIRST_COMPLETED)
    # From here on each step has its own bound, and a thread ends the process if one is exceeded: a platform that sends
    # SIGKILL instead would leave the lease to run out by itself, and the service without a leader for that long.
    code = 0 if told.done() else 1
    signals.leave_within(GOODBYE_S + _RELEASE_S + _LEAVE_S, code)
    controller.runner.stop()
    listening.cancel()
    await asyncio.wait({running}, timeout=GOODBYE_S)
    # A change that was sent is waited for: its answer is recorded, so that the successor need not find out.
    if controller.runner.acts:
        signals.leave_within(LONGEST_GOODBYE_S + _RELEASE_S + _LEAVE_S, code)
        await asyncio.wait({running}, timeout=LONGEST_GOODBYE_S)
    signals.leave_within(_RELEASE_S + _LEAVE_S, code)
    running.cancel()
    every = controller.recorder, controller.notifier, controller.shadow
    await asyncio.gather(*(one.last_words(_LAST_WORDS_S) for one in every))
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


def _pushing(controller: Controller, settings: Settings, interval_s: float) -> asyncio.Task[None]:
    """Sends the metrics to an OpenTelemetry collector."""
    from controller.web.metrics.otlp import Pusher

    pusher = Pusher(controller.shown, group=settings.group, replica=settings.replica, interval_s=interval_s)
    return asyncio.create_task(pusher.run())


def _reload(controller: Controller, path: Path, changed: asyncio.Event) -> Reload[Configuration]:
    """changed: is set when another policy is in force."""
    from controller.configuration import configure
    from controller.loop.reload import Refusal, Reload

    log, mask = controller.log, controller.configuration.mask

    async def adopt(configuration: Configuration) -> None:
        before, shadow = controller.policy, controller.configuration.shadow
        if (configuration.policy, configuration.shadow) == (before, shadow):
            controller.shown.refusal = None
            log.event("policy_loaded", message="read again: the values are the same", hash=controller.shown.digest)
            return
        edits = [*_edits(before, configuration.policy), *_shadow_edits(shadow, configuration.shadow)]
        await controller.adopt(configuration)
        changed.set()
        for name, edit in edits:
            log.event("policy_loaded", worker=name, hash=controller.shown.digest, message=edit)
        if configuration.shadow != shadow:
            _log_shadow(controller)

    def refuse(error: ConfigurationError) -> None:
        problems = tuple(mask.text(str(problem)) for problem in error.problems)
        refusal = Refusal(problems, controller.ports.clock.wall())
        is_new = controller.shown.refusal is None or controller.shown.refusal.problems != problems
        controller.shown.refusal = refusal
        if is_new:
            message = f"the policy was changed and cannot be used, so the one in force stays: {refusal.words}"
            log.event("policy_refused", message=message)

    def beside() -> list[Path]:
        shadow = controller.configuration.shadow
        return [] if shadow is None else [shadow.path]

    return Reload(path, lambda: configure(path, os.environ), adopt, refuse, beside=beside)


def _edits(old: Policy, new: Policy) -> list[tuple[str | None, str]]:
    """What an edit changes, by worker (None: of the whole policy), in the words of `plan`."""
    from controller.core.edits import edits

    return edits(old, new)


def _shadow_edits(old: ShadowFile | None, new: ShadowFile | None) -> list[tuple[str | None, str]]:
    """The same of the shadow policy."""
    if old is None or new is None:
        return [] if old == new else [(None, "a shadow policy is new" if old is None else "the shadow policy is gone")]
    return [(name, f"of the shadow policy: {edit}") for name, edit in _edits(old.policy, new.policy)]


async def _listen_anew(controller: Controller, settings: Settings, changed: asyncio.Event) -> None:
    """_listen(), again with each policy, because the channels may be others."""
    while True:
        listening = asyncio.create_task(_listen(controller, settings))
        waiting = asyncio.create_task(changed.wait())
        try:
            await asyncio.wait({listening, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                await listening
                return
            changed.clear()
        finally:
            listening.cancel()
            waiting.cancel()
            await asyncio.wait({listening})


async def _listen(controller: Controller, settings: Settings) -> None:
    """Wakes the runner when a job is announced, on whichever channels the policy or a library has."""
    from controller.adapters.postgres.listener import Listener
    from controller.adapters.redis.keys import Keys
    from controller.adapters.redis.listening_report import ListeningReport, save_report

    queues = [queue for worker in controller.policy.workers.values() for queue in worker.each_queue.values()]
    direct = settings.database_direct_url
    key = Keys(settings.key_prefix, settings.group).listening
    leaving: set[asyncio.Task[None]] = set()

    def report(event: str, /, **fields: object) -> None:
        controller.log.event(event, **fields)
        if not controller.options.dry_run:
            words = controller.configuration.mask.text(str(fields.get("message")))
            last = ListeningReport(event, words, controller.ports.clock.wall())
            leaving.add(task := asyncio.create_task(save_report(settings.redis_url.get_secret_value(), key, last)))
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
