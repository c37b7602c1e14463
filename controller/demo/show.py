"""`autoscaler demo`: the real controller scales real worker processes up and down.

A real PostgreSQL and a real Redis in a temporary folder, a fake platform whose replicas are real worker processes, a
burst of jobs, and the controller that `autoscaler run` runs, as a process of its own with the shipped policy. Only its
interval and its cooldowns are shortened, through its environment.

So nothing here knows how to scale: what a person sees is the product. The exit code says whether it worked, so that the
demo is also a test of the installation. Everything that it starts is owned by this process or dies with it, even if it
is killed with -9 (server_host, and the controller's death signal).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from controller.core.units import in_words
from controller.demo import server_host
from controller.demo.browser import open_page
from controller.demo.jobs import create_queue, enqueue, summary
from controller.demo.platforms import TITLES, PlatformName, Stand, WorkerProgram, stand
from controller.demo.recording import save
from controller.demo.screen import Screen, screen, wrapped
from controller.demo.servers import MissingExtra, ServerError, Servers, start_servers
from controller.loop import signals

WAVES = ((3.0, 8), (3.0, 18), (3.0, 30), (3.0, 40), (3.0, 70))
"""The burst: seconds since the wave before, and jobs. Each wave reaches a higher tier."""
JOB_S = 1.5
LONGEST_S = 180.0
"""A demo that takes longer has failed."""

# A burst of the demo lasts 15 s; with the shipped interval of 10 s and cooldowns of 30 s and 120 s it would last
# for minutes, most of them waiting.
_SHORTENED = {
    "POLL_INTERVAL_MS": "1000",
    "SCALE_UP_COOLDOWN_MS": "2000",
    "SCALE_DOWN_COOLDOWN_MS": "3000",
    "GLOBAL_RPM_LIMIT": "6000",
    "LEASE_TTL_MS": "3000",
}
_FROM_OUTSIDE = (
    *("RAILWAY_TOKEN", "RAILWAY_API_TOKEN", "MAX_WORKERS", "MIN_WORKERS", "AUTOSCALER_POLICY"),
    *("DATABASE_DIRECT_URL", "HTTP_TOKEN", "REDIS_KEY_PREFIX", "LEASE_RENEW_MS", "REDIS_TIMEOUT_MS"),
    *("RAILWAY_TIMEOUT_MS", "LANDING_BOUND_MS", "KUBECONFIG", "KUBERNETES_TIMEOUT_MS"),
    *("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "SWARM_TIMEOUT_MS"),
)
"""Variables of a real deployment that a person may have set; they must not reach the demo."""


def demo(
    *,
    seconds: float | None,
    keep: bool,
    record: Path | None = None,
    page: bool = False,
    platform: PlatformName = "railway",
    docker: str | None = None,
) -> int:
    """Runs the demo; the exit code is 0 if all jobs are done, or if the given time is over.

    page: open it. docker: a real Engine at unix:///PATH, instead of the fake Swarm.
    """
    try:
        return asyncio.run(_demo(_Wishes(seconds, keep, record, page, platform, docker)))
    except (MissingExtra, ServerError) as error:
        print(f"autoscaler: {error}", file=sys.stderr)
        return 2 if isinstance(error, MissingExtra) else 1


@dataclass
class _Seen:
    """The figures of the summary, from the controller's log."""

    started: float = field(default_factory=time.monotonic)
    peak: int = 0
    actions: int = 0
    well: bool = False
    last: Mapping[str, Any] | None = None
    lines: list[Mapping[str, Any]] = field(default_factory=list)

    def note(self, line: Mapping[str, Any]) -> None:
        self.last = line
        self.lines.append(line)
        self.peak = max(self.peak, line["running"] or 0)
        self.actions += line["outcome"] == "applied"
        self.well = self.well or line["outcome"] in {"applied", "held"}

    @property
    def at_rest(self) -> bool:
        last = self.last
        return last is not None and last["depth"] == 0 and last["configured"] == 0 and last["running"] == 0

    @property
    def at_s(self) -> float:
        return time.monotonic() - self.started


class _Wishes(NamedTuple):
    """See demo()."""

    seconds: float | None
    keep: bool
    record: Path | None
    page: bool
    platform: PlatformName
    docker: str | None

    @property
    def title(self) -> str:
        """What is started."""
        return TITLES[self.platform] if self.docker is None else f"a service of the Swarm at {self.docker}"


async def _demo(wishes: _Wishes) -> int:
    seconds, keep, record = wishes.seconds, wishes.keep, wishes.record
    told = _stop_requested()
    port = next(server_host.free_ports())
    headline = f"page: http://127.0.0.1:{port}/  (Ctrl-C ends the demo and the page)"
    with ExitStack() as curtain:
        shown = curtain.enter_context(screen(headline))
        shown.say(0.0, f"PostgreSQL, Redis, {wishes.title} and the controller start")
        with start_servers() as servers:
            async with _stage(servers, wishes) as stage, _controller(stage, port) as controller:
                if stage.stand.left:
                    shown.say(0.0, stage.stand.left)
                if keep:
                    _say(_how_to_connect(stage))
                seen = _Seen()
                pointing = asyncio.create_task(_point_to_the_page(port, seen, shown, opens=wishes.page))
                limit = seconds if seconds is not None else None if keep else LONGEST_S
                play = asyncio.create_task(_play(stage, controller, seen, shown, keep=keep))
                awaited: list[asyncio.Future[Any]] = [play, told]
                await asyncio.wait(awaited, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
                pointing.cancel()
                finished = await _ended(play)
                curtain.close()
                _say(await _closing_summary(stage, seen, finished=finished))
                if record is not None and not seen.lines:
                    _say("nothing is recorded: the demo ended before the first cycle")
                elif record is not None:
                    await save(
                        record, stage.stand.policy.read_text(encoding="utf-8"), _SHORTENED, seen.lines, stage.queue
                    )
                    _say(wrapped(f"recorded in {record}: jobs.csv, cycles.jsonl and policy.yaml"))
    if told.done():
        return signals.exit_code_of(told.result())
    return 0 if finished or (seconds is not None and seen.well) else 1


async def _point_to_the_page(port: int, seen: _Seen, shown: Screen, *, opens: bool) -> None:
    """As soon as it answers."""
    url = f"http://127.0.0.1:{port}/"
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        writer.close()
        break
    is_open = opens and await asyncio.to_thread(open_page, url)
    words = "is open in a browser" if is_open else "answers" + (", and no browser can be opened here" if opens else "")
    shown.say(seen.at_s, f"{url} {words}")


def _say(text: str) -> None:
    """Prints at once, without buffering."""
    print(text, flush=True)


async def _ended(play: asyncio.Task[None]) -> bool:
    """Whether the demo ended by itself; its error is raised here."""
    if play.done():
        await play
        return True
    play.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await play
    return False


def _stop_requested() -> asyncio.Future[int]:
    loop = asyncio.get_running_loop()
    told: asyncio.Future[int] = loop.create_future()

    signals.on_end_in(loop, told.set_result)
    return told


@dataclass(frozen=True, slots=True)
class _Stage:
    """environment: of the controller. stand: see there."""

    servers: Servers
    queue: psycopg.AsyncConnection[Any]
    environment: dict[str, str]
    stand: Stand


@asynccontextmanager
async def _stage(servers: Servers, wishes: _Wishes) -> AsyncIterator[_Stage]:
    """Everything but the controller: the queue's table, and the platform with one worker, which does not run."""
    urls = {"DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url}
    argv = (sys.executable, "-m", "controller.demo.worker")
    program = WorkerProgram(argv, {**urls, "WORKER_CONCURRENCY": "2"}, {"WORKER_LIFELINE": "stdin"})
    async with AsyncExitStack() as stack:
        queue = await stack.enter_async_context(
            await psycopg.AsyncConnection.connect(servers.database_url, autocommit=True)
        )
        await create_queue(queue)
        stood = await stack.enter_async_context(stand(wishes.platform, wishes.docker, program))
        inherited = {name: value for name, value in os.environ.items() if name not in _FROM_OUTSIDE}
        # Processes of this machine must not use the machine's proxy to reach each other.
        near = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        yield _Stage(servers, queue, {**inherited, **near, **urls, **stood.variables, **_SHORTENED}, stood)


@asynccontextmanager
async def _controller(stage: _Stage, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """`autoscaler run` as a separate process, which the kernel ends if this one is killed."""
    # A session of its own: Ctrl-C in the terminal reaches the demo alone, which ends the controller in order.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "controller", "run", "--policy", str(stage.stand.policy)),
        env={**stage.environment, "LOG_FORMAT": "json", "PORT": str(port)},
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        preexec_fn=server_host.dying_with_us(signal.SIGKILL),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _play(
    stage: _Stage, controller: asyncio.subprocess.Process, seen: _Seen, shown: Screen, *, keep: bool
) -> None:
    """Adds the burst and shows the controller's lines, until all jobs are done and no worker runs."""
    feeding = asyncio.create_task(_feed(stage, seen, shown))
    try:
        assert controller.stdout is not None
        async for text in controller.stdout:
            line = _reconcile_line(text)
            if line is None:
                continue
            seen.note(line)
            shown.cycle(seen.at_s, line)
            if feeding.done() and seen.at_rest and not keep:
                await feeding
                return
        raise ServerError(f"the controller ended by itself, with exit code {await controller.wait()}")
    finally:
        feeding.cancel()


def _reconcile_line(text: bytes) -> dict[str, Any] | None:
    try:
        line: dict[str, Any] = json.loads(text)
    except ValueError:
        return None
    return line if line.get("event") == "reconcile" else None


async def _feed(stage: _Stage, seen: _Seen, shown: Screen) -> None:
    for pause, jobs in WAVES:
        await asyncio.sleep(pause)
        await enqueue(stage.queue, jobs, duration_s=JOB_S)
        shown.say(seen.at_s, f"{jobs} jobs come in")


async def _closing_summary(stage: _Stage, seen: _Seen, *, finished: bool) -> str:
    done = await summary(stage.queue)
    left = "" if finished else f" ({done.pending + done.processing} left when it ended)"
    words = (
        f"{done.completed} jobs done{left}, at most {seen.peak} workers, {seen.actions} scale actions, "
        f"worst wait {in_words(done.worst_wait_s)}, in {in_words(seen.at_s)}"
    )
    return f"\n{wrapped(words)}"


def _how_to_connect(stage: _Stage) -> str:
    """The demo's own policy and its shortened settings too: with others, `explain` would decide otherwise."""
    names = ("DATABASE_URL", "REDIS_URL", *stage.stand.variables, *_SHORTENED)
    values = {**{name: stage.environment[name] for name in names}, "AUTOSCALER_POLICY": str(stage.stand.policy)}
    exports = "\n".join(f"  export {name}={shlex.quote(value)}" for name, value in values.items())
    return (
        f"The demo runs until Ctrl-C. To look at it from another terminal:\n{exports}\n"
        f"  autoscaler explain\n  {stage.stand.look}\n  psql $DATABASE_URL\n"
    )
