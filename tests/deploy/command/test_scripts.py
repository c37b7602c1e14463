"""The examples of deploy/command, run by the adapter as a policy names them, in real time and as real processes.

What stands at the other end is a fake of a documented API, a stand-in for systemctl, or a real supervisord.
"""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from controller.core.ports import NotSent, Refused
from controller.policy import load_policy
from tests.contract import test_contract
from tests.contract.stages import Stage
from tests.deploy.command.fakes import TOKEN, FakeFly, FakeHeroku, FakeRender, FakeSystemd
from tests.deploy.command.stages import (
    FOLDER,
    HTTP,
    SCRIPTS,
    STAGES,
    load,
    on_an_api,
    on_supervisor,
    on_systemd,
    snippet,
)
from tests.docs.pages import PAGES
from tests.support.scene import intent_to

pytestmark = pytest.mark.costly


@pytest.fixture(params=STAGES)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with STAGES[request.param]() as stage:
        yield stage
        await stage.platform.close()


# The contract's own, where it is about what a script does; the rest of it is about the adapter.
test_counts = test_contract.test_up_and_down_to_zero_and_back_are_absolute_counts_that_the_next_readings_show
test_missing = test_contract.test_one_reading_has_all_targets_and_a_missing_one_spoils_no_other


async def test_a_change_that_was_decided_on_an_old_reading_is_not_made() -> None:
    async with on_systemd() as stage:
        await test_contract.test_a_change_that_was_decided_on_an_old_reading_is_not_made(stage)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_policy_in_the_head_of_each_script_is_valid(script: Path) -> None:
    worker = snippet(script)
    assert worker["command"]["read"][0] == f"/opt/scale/{script.name}"
    assert os.access(script, os.X_OK)
    rest = "queue: {table: jobs}, tiers: [{replicas: 1}], max_replicas: 5"
    policy, _ = load_policy(f"workers: {{web: {{{rest}, command: {worker['command']!r}}}}}", {})
    assert policy.workers["web"].target.words == "command shop-worker"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_the_page_on_commands_leads_to_each_script(script: Path) -> None:
    assert f"(../deploy/command/{script.name})" in PAGES["docs/command.md"]


class Ran(NamedTuple):
    code: int
    out: str
    err: str


async def ran(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, argv: str, environment: Mapping[str, str]
) -> Ran:
    """A script in this process, beside the event loop that serves its API. argv: its name, and its arguments."""
    name, *arguments = argv.split()
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    monkeypatch.syspath_prepend(FOLDER)
    capsys.readouterr()
    code = 0
    try:
        await asyncio.to_thread(runpy.run_path, str(FOLDER / f"{name}.py"), run_name="__main__")
    except SystemExit as ended:
        code = int(str(ended.code))
    return Ran(code, *capsys.readouterr())


class Api(NamedTuple):
    name: str
    fake: Any
    environment: dict[str, str]

    @property
    def words(self) -> str:
        return " ".join(HTTP[self.name][4]["one"])


@pytest.fixture(params=HTTP)
async def api(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    make, address, path, token, _ = HTTP[request.param]
    fake = make()
    monkeypatch.delenv("AUTOSCALER_VERSION", raising=False)
    monkeypatch.setenv("AUTOSCALER_DESIRED", "4")
    async with fake.served() as url:
        yield Api(request.param, fake, {address: url + path, token: TOKEN})


@pytest.fixture
async def api_of_fly(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    fake = FakeFly()
    monkeypatch.delenv("AUTOSCALER_VERSION", raising=False)
    monkeypatch.setenv("AUTOSCALER_DESIRED", "4")
    async with fake.served() as url:
        yield Api("fly", fake, {"FLY_API_HOSTNAME": url, "FLY_API_TOKEN": TOKEN})


FAULTS: dict[str, tuple[int, str]] = {
    "400": (78, "HTTP 400: as ordered"),
    "401": (78, "HTTP 401: as ordered"),
    "403": (78, "HTTP 403: as ordered"),
    "404": (78, "HTTP 404: as ordered"),
    "408": (1, "HTTP 408: as ordered"),
    "429": (75, "HTTP 429: as ordered"),
    "500": (1, "HTTP 500: as ordered"),
    "503": (1, "HTTP 503: as ordered"),
    "redirect": (78, "HTTP 302"),
    "html": (1, "the answer is not JSON"),
    "lost": (1, "no answer: "),
}
"""What a change ends with, and says, by what the API does."""


@pytest.mark.parametrize("kind", FAULTS)
async def test_the_exit_code_of_a_failed_change_says_whether_something_may_have_changed(
    api: Api, kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api.fake.fault = ("PATCH" if api.name == "heroku" else "POST", kind)
    code, says = FAULTS[kind]
    ended = await ran(capsys, monkeypatch, f"{api.name} scale {api.words}", api.environment)
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith(says)
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize("kind", ["401", "429", "500", "html", "lost"])
async def test_a_reading_that_fails_prints_nothing_and_a_change_that_cannot_read_first_has_changed_nothing(
    api: Api, kind: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api.fake.fault = ("GET", kind)
    for what, code in (("read", FAULTS[kind][0]), ("scale", 78 if kind == "401" else 75)):
        ended = await ran(capsys, monkeypatch, f"{api.name} {what} {api.words}", api.environment)
        assert (ended.code, ended.out) == (code, "")
        assert ended.err.startswith(FAULTS[kind][1])
    assert api.fake.changes == 0


async def test_an_api_that_does_not_answer_is_given_up(
    api: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    load(api.name)  # which imports it
    monkeypatch.setattr(sys.modules["scaling"], "REQUEST_S", 0.1)
    api.fake.fault = ("GET", "hang")
    ended = await ran(capsys, monkeypatch, f"{api.name} read {api.words}", api.environment)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("no answer: timed out (GET ")


async def test_an_api_that_cannot_be_reached_or_a_token_that_is_missing_changes_nothing(
    api: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, address, _, token, _ = HTTP[api.name]
    for variables, code, says in (
        ({address: "http://127.0.0.1:1"}, 75, "cannot connect to 127.0.0.1:1"),
        ({token: " "}, 78, f"{token} is not set; the policy needs environment: [{token}]"),
    ):
        ended = await ran(capsys, monkeypatch, f"{api.name} scale {api.words}", {**api.environment, **variables})
        assert (ended.code, ended.out) == (code, "")
        assert ended.err.startswith(says)


@pytest.mark.parametrize("argv", ["systemd read worker 90s", "supervisor read worker 30s", "fly read shop worker 5m"])
async def test_seconds_that_are_no_number_are_refused_in_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, argv: str
) -> None:
    said = await ran(capsys, monkeypatch, argv, {"FLY_API_TOKEN": TOKEN})
    assert (said.code, said.out) == (78, "")
    assert said.err == f"{argv.rsplit(maxsplit=1)[-1]!r} is no number of seconds: write it like 30\n"


async def test_what_the_api_says_reaches_the_one_who_reads_the_log() -> None:
    async with STAGES["heroku"]() as stage:
        seen = await stage.read()
        reading = (await stage.platform.observe([stage.absent]))[stage.absent]
        assert str(reading) == (
            "Command: command absent: read ended with exit code 78: "
            "HTTP 404: Couldn't find that app. (GET /apps/absent/formation)"
        )
        with pytest.raises(Refused, match="exit code 78: HTTP 404: Couldn't find that app"):
            await stage.platform.scale(stage.absent, intent_to(1), seen)


async def test_a_type_of_heroku_s_at_zero_is_zero_whether_it_is_listed_or_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeHeroku(counts={"one": 0}, started={"one": 0})
    async with fake.served() as url:
        for fake.is_listed in (False, True):
            variables = {"HEROKU_API_URL": url, "HEROKU_API_KEY": TOKEN}
            ended = await ran(capsys, monkeypatch, "heroku read shop one", variables)
            assert '"configured": 0, "running": 0' in ended.out


async def test_a_service_of_render_s_that_scales_by_itself_is_refused_and_read_all_the_same() -> None:
    fake = FakeRender()
    fake.services["one"]["serviceDetails"]["autoscaling"] = {"enabled": True, "min": 1, "max": 3}
    async with on_an_api("render", fake) as stage:
        assert (await stage.read()).configured == 2
        with pytest.raises(Refused, match="own autoscaling is on"):
            await stage.scale(3)
    assert fake.changes == 0


async def test_a_service_of_render_s_is_suspended_with_one_instance_and_resumes_with_one() -> None:
    """Otherwise it would come back with as many as it had before, if only for a moment."""
    fake = FakeRender()
    async with on_an_api("render", fake) as stage:
        for count in (0, 1, 0, 3):
            await stage.scale(count)
    posts = [request.removeprefix("POST /v1/services/one/") for request in fake.requests if request.startswith("POST")]
    assert posts == ["scale", "suspend", "resume", "suspend", "resume", "scale"]
    assert fake.services["one"]["serviceDetails"]["numInstances"] == 3


async def test_of_fly_machines_the_oldest_start_first_and_those_that_do_not_run_yet_stop_first(
    api_of_fly: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = api_of_fly.fake
    for states, desired, after in (
        (["starting", "started", "started", "stopped"], 1, ["stopping", "started", "stopping", "stopped"]),
        (["stopped", "started", "stopped", "stopped"], 3, ["starting", "started", "starting", "stopped"]),
        (["started", "started", "stopping", "stopped"], 3, ["started", "started", "stopped", "starting"]),
    ):
        for machine, state in zip(fake.machines, states, strict=False):
            machine["state"] = state
        monkeypatch.setenv("AUTOSCALER_DESIRED", str(desired))
        ended = await ran(capsys, monkeypatch, "fly scale shop one", api_of_fly.environment)
        assert ended == (0, "accepted\n", "")
        assert [machine["state"] for machine in fake.machines] == [*after, "started"]


async def test_more_fly_machines_than_there_are_is_refused_and_none_is_started(
    api_of_fly: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOSCALER_DESIRED", "5")
    ended = await ran(capsys, monkeypatch, "fly scale shop one", api_of_fly.environment)
    assert ended == (78, "", "one has 4 machines, 5 wanted: fly scale count\n")
    assert api_of_fly.fake.changes == 0


async def test_if_only_the_first_of_several_machines_was_started_the_outcome_is_unknown(
    api_of_fly: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api_of_fly.fake.fault, api_of_fly.fake.spared = ("POST", "429"), 1
    ended = await ran(capsys, monkeypatch, "fly scale shop one", api_of_fly.environment)
    assert (ended.code, ended.err[:33]) == (1, "1 of 2 done, then HTTP 429: as or")


@pytest.fixture
async def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSystemd:
    fake = FakeSystemd(tmp_path)
    monkeypatch.setenv("PATH", f"{fake.path}:{os.environ['PATH']}")
    return fake


async def test_of_a_template_the_lowest_free_instances_start_and_the_highest_stop(
    systemd: FakeSystemd, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd.set("one", 1, "failed failed")
    for desired, running in ((4, [1, 2, 3, 4]), (3, [1, 2, 3]), (0, [])):
        monkeypatch.setenv("AUTOSCALER_DESIRED", str(desired))
        assert (await ran(capsys, monkeypatch, "systemd scale one", {})).code == 0
        assert systemd.running("one") == running


async def test_a_unit_that_is_started_again_after_a_crash_is_configured_and_crashed(
    systemd: FakeSystemd, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, state in enumerate(("activating auto-restart", "deactivating stop-sigterm", "failed failed"), 3):
        systemd.set("one", number, state)
    ended = await ran(capsys, monkeypatch, "systemd read one 45 --user", {})
    assert json.loads(ended.out) == {
        "configured": 3, "running": 2, "alive": 4, "crashed": 1, "draining": 45, "version": "3"
    }  # fmt: skip
    assert "show --user --property=Id" not in systemd.calls, "options of systemctl come before its verb"
    assert systemd.calls.startswith("--user show ")


async def test_a_template_that_is_not_there_is_no_template_at_zero(
    systemd: FakeSystemd, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = await ran(capsys, monkeypatch, "systemd read worker", {})
    assert ended == (78, "", "worker@1.service is not-found\n")
    monkeypatch.setenv("PATH", "/nowhere")
    ended = await ran(capsys, monkeypatch, "systemd read worker", {})
    assert ended == (78, "", "systemctl is not in PATH\n")


async def test_processes_of_supervisor_beyond_numprocs_are_refused_and_those_that_end_are_told_apart() -> None:
    stubborn = "/bin/sh -c 'trap \"\" TERM; while :; do /bin/sleep 0.1; done'"
    async with on_supervisor({"one": stubborn, "two": "/bin/false"}) as stage:
        with pytest.raises(Refused, match="one has 4 processes, 5 wanted: raise numprocs"):
            await stage.scale(5)
        await stage.scale(1)
        seen = await stage.read()
        assert (seen.configured, seen.running) == (1, 1)
        with pytest.raises(NotSent, match="only 3 processes of one can run: others still end"):
            await stage.scale(4)
