"""Real programs: what they are given, what their exit codes mean, and that nothing of them is left behind."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import shlex
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.adapters import process
from controller.adapters.command import programs
from controller.adapters.command.answer import MOST_BYTES
from controller.adapters.command.platform import AT_ONCE, CommandPlatform, Means
from controller.core.model import Replicas
from controller.core.ports import LeaseLost, NotSent, Outdated, Refused, Unavailable
from controller.core.text.masking import Masker
from controller.policy import Policy
from tests.support.patience import PATIENCE_S, until
from tests.support.scene import intent_to
from tests.virtual.idle import LoopClock

KEY = "command:jobs"
UP = replace(intent_to(3, epoch=7), before=1, reason="Tier", message="9 jobs: 1 → 3")


def policy_of(read: str = "echo 1", scale: str = "true", timeout: str = "20s", **more: Any) -> Policy:
    """read, scale: of sh, which a policy may name as it may name any program."""
    command = {"read": ["sh", "-c", read], "scale": ["sh", "-c", scale], "timeout": timeout, "name": "jobs", **more}
    worker = {"command": command, "queue": {"table": "job"}, "tiers": [{"replicas": 1}], "max_replicas": 5}
    return Policy.model_validate({"interval": "10s", "workers": {"generation": worker}})


def platform_of(policy: Policy, variables: Mapping[str, str] | None = None, *, leads: bool = True) -> CommandPlatform:
    every = {"PATH": os.environ["PATH"], **(variables or {})}
    return CommandPlatform(Means(every, LoopClock(), lambda _: leads, Masker()), policy)


async def read(platform: CommandPlatform) -> Replicas | Unavailable:
    return (await platform.observe([KEY]))[KEY]


def open_files() -> set[Path]:
    return {*Path("/proc/self/fd").iterdir()}


async def seen(platform: CommandPlatform) -> Replicas:
    reading = await read(platform)
    assert isinstance(reading, Replicas), reading
    return reading


async def test_scale_is_told_the_change_as_variables_and_as_json_on_stdin(tmp_path: Path) -> None:
    place = shlex.quote(str(tmp_path))
    policy = policy_of(
        """echo '{"configured": 1, "version": "v7"}'""", f"env > {place}/env; cat > {place}/stdin; sleep 0"
    )
    platform = platform_of(policy)
    await platform.scale(KEY, UP, await seen(platform))
    told = json.loads((tmp_path / "stdin").read_text())
    assert told == {
        "worker": "generation",
        "target": KEY,
        "desired": 3,
        "current": 1,
        "reason": "Tier",
        "message": "9 jobs: 1 → 3",
        "epoch": 7,
        "change": "a1b2c3",
        "version": "v7",
    }
    variables = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert {f"AUTOSCALER_{name.upper()}": str(value) for name, value in told.items()}.items() <= variables.items()


async def test_a_program_gets_no_variable_that_the_policy_does_not_name(tmp_path: Path) -> None:
    variables = {"DATABASE_URL": "postgresql://u:secret@h/d", "API_KEY": "k", "HOME": "/h", "LANG": "C.UTF-8"}
    policy = policy_of(f"env > {shlex.quote(str(tmp_path / 'env'))}; echo 1", environment=["API_KEY"])
    await seen(platform_of(policy, variables))
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {
        "PATH", "HOME", "LANG", "API_KEY", "AUTOSCALER_WORKER", "AUTOSCALER_TARGET"
    }  # fmt: skip


async def test_no_shell_reads_the_words_of_a_command(tmp_path: Path) -> None:
    policy = policy_of(read="printf '%s' \"$0\" > /dev/null; echo 1")
    command = policy.workers["generation"].command
    assert command is not None
    argv = ("printf", "%s", "1; touch $HOME `id`")
    worker = policy.workers["generation"].model_copy(update={"command": command.model_copy(update={"read": argv})})
    reading = await read(platform_of(policy.model_copy(update={"workers": {"generation": worker}})))
    assert "1; touch $HOME `id`" in str(reading)


@pytest.mark.parametrize(
    ("scale", "error", "says"),
    [
        pytest.param("exit 75", NotSent, "exit code 75", id="not now"),
        pytest.param("exit 76", Outdated, "the next cycle reads", id="another count meanwhile"),
        pytest.param("echo no such app >&2; exit 78", Refused, "exit code 78: no such app", id="refused"),
        pytest.param("echo half done; exit 1", Unavailable, "exit code 1: half done", id="unknown outcome"),
        pytest.param("kill -9 $$", Unavailable, "signal 9", id="a signal"),
        pytest.param("exit 127", Unavailable, "exit code 127", id="a program that sh did not find"),
    ],
)
async def test_what_an_exit_code_of_scale_means(scale: str, error: type[Unavailable], says: str) -> None:
    platform = platform_of(policy_of(scale=scale))
    with pytest.raises(Unavailable, match=says) as caught:
        await platform.scale(KEY, UP, await seen(platform))
    assert type(caught.value) is error
    assert str(caught.value).startswith("Command: command jobs: scale ")


async def test_without_the_lease_scale_is_not_started(tmp_path: Path) -> None:
    policy = policy_of(scale=f"touch {shlex.quote(str(tmp_path / 'started'))}")
    platform = platform_of(policy, leads=False)
    with pytest.raises(LeaseLost):
        await platform.scale(KEY, UP, await seen(platform))
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("program", "says"),
    [
        pytest.param("echo 'p4ssw0rd-of-mine'; exit 3", "read ended with exit code 3: •••", id="an exit code"),
        pytest.param("echo key=p4ssw0rd-of-mine", "the answer is 'key=•••', which is neither", id="no count"),
        pytest.param("yes | head -c 100000", "more than 1,000 bytes", id="too much output"),
        pytest.param("yes | head -c 100000 >&2", "more than 1,000 bytes", id="too much on stderr"),
        pytest.param("echo 1 | cat", "", id="a pipe that works"),
    ],
)
async def test_a_reading_that_fails_says_why_without_a_secret(
    monkeypatch: pytest.MonkeyPatch, program: str, says: str
) -> None:
    monkeypatch.setattr(programs, "MOST_BYTES", 1000)
    policy = policy_of(program, environment=["API_KEY"])
    reading = await read(platform_of(policy, {"API_KEY": "p4ssw0rd-of-mine"}))
    assert isinstance(reading, Unavailable if says else Replicas)
    assert says in str(reading)


@pytest.mark.parametrize("stream", ["1", "2"], ids=["stdout", "stderr"])
async def test_of_a_program_that_never_stops_writing_nothing_stays_open_or_is_reported(
    stream: str,
) -> None:
    open_before, reported = open_files(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, said: reported.append(said))
    more_than_a_pipe_takes = b"x" * 100_000
    gc.disable()  # which would close them some time
    try:
        with pytest.raises(process.TooMuchOutputError):
            await process.run(
                ["sh", "-c", f"exec yes >&{stream}"],
                {"PATH": os.environ["PATH"]},
                more_than_a_pipe_takes,
                timeout_s=PATIENCE_S,
                most_bytes=MOST_BYTES,
            )
        await asyncio.sleep(0.1)
        assert open_files() <= open_before
    finally:
        gc.enable()
    assert reported == []


async def test_a_program_that_is_not_there_is_refused_and_nothing_changed() -> None:
    policy = policy_of()
    command = policy.workers["generation"].command
    assert command is not None
    gone = command.model_copy(update={"scale": ("/nowhere/scale",)})
    worker = policy.workers["generation"].model_copy(update={"command": gone})
    platform = platform_of(policy.model_copy(update={"workers": {"generation": worker}}))
    with pytest.raises(Refused, match="scale cannot be started: No such file"):
        await platform.scale(KEY, UP, await seen(platform))


async def test_a_program_that_does_not_end_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    nested = f"echo $$ >> {shlex.quote(str(pids))}; exec sleep 300"
    policy = policy_of(f"trap '' TERM; sh -c {shlex.quote(nested)} & sh -c {shlex.quote(nested)}", timeout="1s")
    reading = await read(platform_of(policy))
    assert "read was killed, because it did not end within 1 s" in str(reading)

    def gone() -> bool:
        return not any(Path(f"/proc/{pid}").exists() and _is_alive(pid) for pid in pids.read_text().split())

    await until(gone, "every process of the group has ended")


@pytest.mark.costly
async def test_of_a_process_that_left_the_group_and_keeps_the_output_nothing_stays_open_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process, "_KILL_S", 0.1)
    pid, open_before = tmp_path / "pid", open_files()
    policy = policy_of(f"setsid sh -c 'echo $$ > {shlex.quote(str(pid))}; exec sleep 300' & echo 1", timeout="3s")
    gc.disable()
    try:
        reading = await read(platform_of(policy))
        assert "read ended, but a process that it started kept its output open for 3 s" in str(reading)
        await until(lambda: open_files() <= open_before, "no file is open that was not open before")
    finally:
        gc.enable()
        os.kill(int(pid.read_text()), signal.SIGKILL)


def _is_alive(pid: str) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}


async def test_a_program_need_not_read_its_stdin() -> None:
    assert (await seen(platform_of(policy_of("exec <&-; echo 2")))).configured == 2


@pytest.mark.costly
async def test_only_a_few_programs_run_at_the_same_time(tmp_path: Path) -> None:
    place = shlex.quote(str(tmp_path))
    program = f"touch {place}/$$; ls {place} | wc -l; sleep 0.02; rm {place}/$$"
    worker = policy_of(program).workers["generation"]
    assert worker.command is not None
    names = [f"jobs{number}" for number in range(3 * AT_ONCE)]
    commands = {name: worker.command.model_copy(update={"name": name}) for name in names}
    workers = {name: worker.model_copy(update={"command": one}) for name, one in commands.items()}
    platform = platform_of(policy_of().model_copy(update={"workers": workers}))
    readings = await platform.observe([f"command:{name}" for name in names])
    counts = [one.configured if isinstance(one, Replicas) else 99 for one in readings.values()]
    assert 1 <= max(counts) <= AT_ONCE


async def test_a_policy_that_is_adopted_reads_its_own_programs() -> None:
    platform = platform_of(policy_of("echo 1"))
    assert (await seen(platform)).configured == 1
    platform.serve(policy_of("echo 2"))
    assert (await seen(platform)).configured == 2
    await platform.close()
    await asyncio.sleep(0)
