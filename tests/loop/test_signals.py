"""Signals: whichever of the five, and whenever it comes, the program ends in good order and without a traceback."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from controller.loop.signals import ENDING
from tests.support.examples import some
from tests.support.patience import in_time, until
from tests.support.processes import CLEAN, QUICK, Piped, Process, begun, led_before, running
from tests.support.scene import POLICY, Scene


def numbers(first: int) -> pytest.MarkDecorator:
    """By default half of them; the two halves together are all, and what is done about one does not depend on which."""
    return pytest.mark.parametrize("number", some(ENDING, every=2, first=first), ids=lambda number: number.name)


def defaults() -> None:
    """A program that runs the tests may ignore some, and what it starts inherits that."""
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)


@asynccontextmanager
async def started(
    *command: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *command),
        env={**CLEAN, "PYTHONPATH": str(POLICY.parent), "RAILWAY_WORKER_SERVICE_ID": "svc", **(environment or {})},
        cwd=POLICY.parent,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=defaults,  # nothing else runs in this process
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def forked(
    *arguments: str, environment: Mapping[str, str] | None = None, before: Callable[[], None] = defaults
) -> AsyncIterator[Piped]:
    """For what comes long after the start, which a fork of this process does not go through."""
    process = await begun(*arguments, environment=environment or {}, before=before)
    try:
        yield process
    finally:
        process.kill()
        await process.communicate()


async def until_it_looks_after(process: asyncio.subprocess.Process) -> None:
    """Until it has taken over signals, by what the kernel says of it: that is the first line of main."""

    await until(lambda: mask(process, "SigCgt") >= set(ENDING), "signals to be taken over", pause=0.001)


def mask(process: Process, which: str) -> set[signal.Signals]:
    """Of those that end us: which the process catches (SigCgt) or ignores (SigIgn), as the kernel has it."""
    (bits,) = re.findall(rf"{which}:\t(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    return {number for number in ENDING if int(bits, 16) >> (number - 1) & 1}


async def ends(process: asyncio.subprocess.Process | Piped) -> tuple[int | None, str]:
    """Its exit code, and all that it printed."""
    out, errors = await in_time(process.communicate(), "it to end")
    return process.returncode, out.decode() + errors.decode()


# --- run ---


@numbers(first=0)
async def test_each_ends_run_in_good_order_and_gives_the_lease_back(scene: Scene, number: signal.Signals) -> None:
    if number is signal.SIGHUP:
        number = signal.SIGUSR2  # a hangup reads the policy again: tests/loop/test_reload.py
    await led_before(scene)
    async with running(scene, **QUICK) as controller:
        await controller.until(event="reconcile", outcome="held")
        controller.process.send_signal(number)
        assert await controller.ended() == 0
        assert [line["event"] for line in controller.lines][-2:] == ["lease_released", "stopped"]
        assert number.name in controller.lines[-1]["message"]
    assert await scene.redis.keys("*:lease") == []


async def test_those_that_follow_change_nothing(scene: Scene) -> None:
    await led_before(scene)
    async with running(scene, **QUICK) as controller:
        await controller.until(event="reconcile", outcome="held")
        with contextlib.suppress(ProcessLookupError):
            while controller.process.returncode is None:
                for number in ENDING:
                    os.kill(controller.process.pid, number)
                await asyncio.sleep(0)
        assert await controller.ended() == 0
        assert [line["event"] for line in controller.lines][-2:] == ["lease_released", "stopped"]
        assert [line for line in controller.lines if line["event"] in {"library", "crashed"}] == []


@numbers(first=1)
async def test_run_is_ended_from_its_first_line_on_without_a_traceback(scene: Scene, number: signal.Signals) -> None:
    environment = {**scene.environment, "PORT": "0"}
    async with started("controller", "run", environment=environment) as process:
        await until_it_looks_after(process)
        process.send_signal(number)
        code, printed = await ends(process)
    assert code == 0
    assert "Traceback" not in printed
    assert await scene.redis.keys("*:lease") == []


async def test_nothing_is_imported_before_signals_are_looked_after() -> None:
    """What stands in the place of the commands' module prints who is looked after when it is asked for."""
    script = """if True:
        import sys, types, signal
        from controller.__main__ import main, signals
        print(sorted(name for name in sys.modules if name.startswith("controller")), "asyncio" in sys.modules)
        late = types.ModuleType("controller.cli.main")
        late.main = lambda: print([one.name for one in signals.ENDING if signal.getsignal(one) is signals._on_signal])
        sys.modules["controller.cli.main"] = late
        main()
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        env={**CLEAN, "PYTHONPATH": str(POLICY.parent)},
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=defaults,
    )
    out, _ = await in_time(process.communicate(), "it to end")
    imported, looked_after = out.decode().splitlines()
    assert imported == "['controller', 'controller.__main__', 'controller.loop', 'controller.loop.signals'] False"
    assert looked_after == str([number.name for number in ENDING])


@pytest.mark.parametrize("moment", some(range(1, 8), every=2))
async def test_whenever_in_its_start_it_comes(scene: Scene, moment: int) -> None:
    """Each moment is right; which one it hits is up to the machine."""
    environment = {**scene.environment, "PORT": "0"}
    async with started("controller", "run", environment=environment) as process:
        await until_it_looks_after(process)
        await asyncio.sleep(0.1 * moment)
        process.send_signal(signal.SIGINT if moment % 2 else signal.SIGTERM)
        code, printed = await ends(process)
    assert code == 0
    assert "Traceback" not in printed
    assert await scene.redis.keys("*:lease") == []


@pytest.mark.costly
async def test_it_ends_while_it_connects_to_what_does_not_answer(scene: Scene) -> None:
    """PostgreSQL, Redis and Railway take connections, and say nothing."""
    async with deaf() as port:
        nowhere = {
            "DATABASE_URL": f"postgresql://u@127.0.0.1:{port}/d",
            "REDIS_URL": f"redis://127.0.0.1:{port}/0",
            "RAILWAY_API_URL": f"http://127.0.0.1:{port}/graphql/v2",
        }
        async with started("controller", "run", environment={**scene.environment, **nowhere, "PORT": "0"}) as process:
            assert process.stdout is not None
            await in_time(process.stdout.readuntil(b"policy_loaded"), "it to run")
            process.send_signal(signal.SIGTERM)
            code, printed = await ends(process)
    assert code == 0
    assert "Traceback" not in printed


@asynccontextmanager
async def deaf() -> AsyncIterator[int]:
    """A port that takes every connection, and never says a word."""
    held = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        await reader.read()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in held:
            writer.close()


# --- the other commands ---

COMMANDS = {
    "once": ("once",),
    "explain": ("explain",),
    "doctor": ("doctor",),
    "check": ("check", "--from-database"),
    "simulate": ("simulate", "policy.yaml", "--workload", "poisson:rate=60/m", "--span", "30d"),
    "tune": ("tune", "--wait", "60s", "--workload", "poisson:rate=60/m", "--span", "30d"),
}
TWO = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize(
    ("command", "number"),
    [
        pytest.param(command, number, id=f"{name} {number.name}")
        for place, (name, command) in enumerate(COMMANDS.items())
        for number in some(TWO, every=2, first=place)
    ],
)
async def test_a_command_ends_with_128_and_the_number_and_without_a_traceback(
    scene: Scene, command: tuple[str, ...], number: signal.Signals
) -> None:
    async with deaf() as port:
        environment = {**scene.environment, "DATABASE_URL": f"postgresql://u@127.0.0.1:{port}/d"}
        for moment in some((0.0, 0.7), every=2, first=number):
            async with started("controller", *command, environment=environment) as process:
                await until_it_looks_after(process)
                await asyncio.sleep(moment)
                process.send_signal(number)
                code, printed = await ends(process)
            assert code == 128 + number
            assert "Traceback" not in printed


async def test_once_gives_the_lease_back_where_it_is_ended_in_a_reading(scene: Scene) -> None:
    await led_before(scene)
    (hanging,) = scene.fake.faults.add({"fault": "hang", "on": "query", "seconds": 3600.0, "times": 9})
    async with forked("once", environment=scene.environment) as process:
        await until(lambda: hanging.times < 9, "a reading that hangs")
        assert await scene.redis.keys("*:lease") != []
        process.send_signal(signal.SIGTERM)
        code, printed = await ends(process)
    assert code == 128 + signal.SIGTERM
    assert "Traceback" not in printed
    assert await scene.redis.keys("*:lease") == []


@pytest.mark.costly
async def test_once_lets_a_change_end_that_is_being_made(scene: Scene) -> None:
    await led_before(scene)
    await scene.jobs(15)
    scene.fake.inject("slow", on="mutation", seconds=2.0)
    async with forked("once", environment=scene.environment) as process:
        await until(lambda: scene.sent, "a change to be asked for")
        process.send_signal(signal.SIGTERM)
        code, _ = await ends(process)
    assert code == 128 + signal.SIGTERM
    assert await scene.redis.hget(await scene.journal_key(), "intent_accepted") in {None, "1"}
    assert await scene.redis.keys("*:lease") == []


async def test_a_loop_that_is_stuck_cannot_hold_the_process_up() -> None:
    """Not even if the loop never runs the callback of a signal."""
    script = """if True:
        import time
        from controller.loop import signals
        signals._LEAVES_S = 0.2
        signals.take_over()
        async def stuck():
            print("stuck", flush=True)
            time.sleep(3600)
        signals.interruptible(stuck())
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        env={**CLEAN, "PYTHONPATH": str(POLICY.parent)},
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=defaults,
    )
    assert process.stdout is not None
    await in_time(process.stdout.readuntil(b"stuck"), "it to be stuck")
    process.send_signal(signal.SIGTERM)
    assert await in_time(process.wait(), "it to end") == 128 + signal.SIGTERM


@pytest.mark.parametrize("number", some(ENDING, every=3), ids=lambda number: number.name)
async def test_the_fake_ends_in_good_order(number: signal.Signals) -> None:
    async with forked("fake-railway", "--port", "0") as process:
        await in_time(process.stdout.readuntil(b"fake Railway at"), "it to serve")
        process.send_signal(number)
        assert (await ends(process))[0] == 0


async def test_a_hangup_that_was_ignored_from_the_start_stays_ignored() -> None:
    """As nohup does it."""

    def nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async with forked("fake-railway", "--port", "0", before=nohup) as process:
        await in_time(process.stdout.readuntil(b"fake Railway at"), "it to serve")
        os.kill(process.pid, signal.SIGHUP)
        assert signal.SIGHUP in mask(process, "SigIgn")
        process.send_signal(signal.SIGTERM)
        assert (await ends(process))[0] == 0
