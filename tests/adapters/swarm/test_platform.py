"""The adapter against the fake Engine over its socket: what it sends, and what its errors say."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import web

from controller.adapters.swarm import client as sending
from controller.adapters.swarm.client import SwarmClient
from controller.adapters.swarm.platform import SwarmPlatform
from controller.adapters.swarm.settings import load_swarm
from controller.core.model import Replicas
from controller.core.ports import LeaseLost, NotSent, Outdated, Refused, Unavailable
from controller.fake_swarm import FakeEngine, said
from controller.policy import Policy
from tests.support.scene import intent_to

KEY = "swarm:jobs"


def policy_of(*names: str) -> Policy:
    each = {"queue": {"table": "job"}, "tiers": [{"replicas": 1}], "max_replicas": 5}
    workers = {f"w{place}": {"swarm": {"service": name}, **each} for place, name in enumerate(names)}
    return Policy.model_validate({"interval": "10s", "workers": workers})


@asynccontextmanager
async def platform(engine: FakeEngine, tmp_path: Path, *names: str, **how: Any) -> AsyncIterator[SwarmPlatform]:
    async with engine.over(tmp_path / "docker.sock") as host:
        swarm = SwarmPlatform(SwarmClient(load_swarm({"DOCKER_HOST": host}), **how), policy_of(*(names or ("jobs",))))
        try:
            yield swarm
        finally:
            await swarm.close()


def certify(folder: Path) -> None:
    """The three files of Docker's TLS, of one self-signed certificate that is authority, server and client."""
    folder.mkdir()
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    names = [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(names, cwd=folder, check=True, capture_output=True)
    shutil.copy(folder / "cert.pem", folder / "ca.pem")


async def read(swarm: SwarmPlatform, key: str = KEY) -> Replicas:
    reading = (await swarm.observe([key]))[key]
    assert isinstance(reading, Replicas), reading
    return reading


async def test_a_change_is_the_whole_spec_with_another_count_and_the_version_of_the_reading(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.create("jobs", 1, EndpointSpec={"Mode": "vip"}, Labels={"n": "1.0e400"})
    async with platform(engine, tmp_path) as swarm:
        seen = await read(swarm)
        before = engine.of("jobs")["Spec"]
        await swarm.scale(KEY, intent_to(3), seen)
        (sent,) = engine.sent
        assert sent == {**before, "Mode": {"Replicated": {"Replicas": 3}}}
        assert engine.requests[-1].endswith("/update?version=10&registryAuthFrom=spec")
        assert (await read(swarm)).configured == 3
        engine.step("jobs", "running")
        assert (await read(swarm)).running == 3


async def test_a_stale_leader_s_change_is_refused_by_the_manager_itself(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.create("jobs", 1)
    async with platform(engine, tmp_path) as swarm:
        stale = await read(swarm)
        await swarm.scale(KEY, intent_to(4), await read(swarm))
        with pytest.raises(Outdated, match="changed since it was read"):
            await swarm.scale(KEY, intent_to(2), stale)
        assert engine.count("jobs") == 4


async def test_zero_and_back_from_zero(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.create("jobs", 2)
    async with platform(engine, tmp_path) as swarm:
        await swarm.scale(KEY, intent_to(0), await read(swarm))
        seen = await read(swarm)
        assert (seen.configured, seen.running, seen.alive, seen.leaving) == (0, 0, 2, 2)
        engine.stop("jobs")
        assert (await read(swarm)).alive == 0
        await swarm.scale(KEY, intent_to(1), await read(swarm))
        engine.step("jobs", "running")
        assert (await read(swarm)).running == 1


async def test_a_cycle_asks_for_all_services_together_and_never_for_the_tasks_of_others(tmp_path: Path) -> None:
    """The Engine's filter by name finds every service whose name begins with it."""
    engine = FakeEngine()
    names = [f"jobs{number}" for number in range(20)]
    for name in [*names, "jobs1-of-another-team"]:
        engine.create(name)
    engine.now += 60
    async with platform(engine, tmp_path, *names) as swarm:
        readings = await swarm.observe([f"swarm:{name}" for name in names])
        assert all(isinstance(one, Replicas) and one.running == 1 for one in readings.values())
        services, tasks = engine.requests[1:]
        assert "filters=" in services
        asked = json.loads(unquote(tasks.partition("filters=")[2]))["service"]
        assert len(asked) == 20
        assert engine.of("jobs1-of-another-team")["ID"] not in asked
        await swarm.observe([f"swarm:{name}" for name in names])
        assert len(engine.requests) == 5, "the version of the API is asked for once"


async def test_one_broken_service_stops_no_other(tmp_path: Path) -> None:
    engine = FakeEngine()
    for name in ("jobs", "odd", "everywhere", "strange"):
        engine.create(name)
    engine.of("odd")["Version"] = {"Index": "ten"}
    engine.of("everywhere")["Spec"]["Mode"] = {"Global": {}}
    engine.tasks_of("strange")[0].json["Status"] = "?"
    async with platform(engine, tmp_path, "jobs", "odd", "everywhere", "strange", "gone") as swarm:
        readings = await swarm.observe([f"swarm:{name}" for name in ("jobs", "odd", "everywhere", "strange", "gone")])
    texts = {key: str(one) for key, one in readings.items() if isinstance(one, Unavailable)}
    assert isinstance(readings[KEY], Replicas)
    assert "service odd (Version.Index" in texts["swarm:odd"]
    assert "in Global mode" in texts["swarm:everywhere"]
    assert "service strange (Status" in texts["swarm:strange"]
    assert "there is no service gone; `docker service ls`" in texts["swarm:gone"]


async def test_workers_that_crash_at_their_start_are_seen_as_crashing_while_one_is_up_for_a_second(
    tmp_path: Path,
) -> None:
    engine = FakeEngine()
    engine.create("jobs", 2)
    engine.now += 60
    engine.step("jobs", "failed", err="task: non-zero exit (3)")
    async with platform(engine, tmp_path) as swarm:
        seen = await read(swarm)
        assert (seen.running, seen.crashed) == (0, 2)
        assert "non-zero exit (3)" in seen.words.crashed
        engine.step("jobs", "running")
        assert (await read(swarm)).running == 0
        engine.now += 10
        seen = await read(swarm)
        assert (seen.running, seen.crashed) == (2, 0)


async def test_a_paused_update_is_reported_and_not_resumed_by_a_change(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.create("jobs", 2)
    engine.set_update("jobs", "paused", "update paused due to failure or early termination of task x")
    async with platform(engine, tmp_path) as swarm:
        seen = await read(swarm)
        assert seen.under_way is not None
        assert "docker service rollback jobs" in seen.under_way.fix
        with pytest.raises(Refused, match="would resume it"):
            await swarm.scale(KEY, intent_to(3), seen)
    assert engine.sent == []


async def test_a_change_waits_while_an_update_may_still_roll_back_by_itself(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.create("jobs", 2, UpdateConfig={"FailureAction": "rollback"})
    engine.set_update("jobs", "updating")
    async with platform(engine, tmp_path) as swarm:
        with pytest.raises(NotSent, match="waits for the end of the update"):
            await swarm.scale(KEY, intent_to(3), await read(swarm))
        engine.set_update("jobs", "completed")
        await swarm.scale(KEY, intent_to(3), await read(swarm))
    assert engine.count("jobs") == 3


@pytest.mark.parametrize("left", [0, 1], ids=["before connecting", "after connecting"])
async def test_without_the_lease_nothing_is_sent(tmp_path: Path, left: int) -> None:
    engine = FakeEngine()
    engine.create("jobs", 1)
    answers = iter([True] * left + [False] * 9)
    async with platform(engine, tmp_path, may_act=lambda _: next(answers)) as swarm:
        with pytest.raises(LeaseLost):
            await swarm.scale(KEY, intent_to(3), await read(swarm))
    assert engine.sent == []


def _of_the_update(status: int, message: str) -> Any:
    return lambda method, _path: said(status, message) if method == "POST" else None


@pytest.mark.parametrize(
    ("status", "message", "error", "says"),
    [
        pytest.param(500, "update out of sequence", Outdated, "next cycle", id="stale"),
        pytest.param(409, "update out of sequence", Outdated, "next cycle", id="stale, whatever the status"),
        pytest.param(404, "service x not found", Outdated, "not found", id="gone"),
        pytest.param(400, "bad spec", Refused, "bad spec", id="refused"),
        pytest.param(403, "", Refused, "POST /services/ID/update", id="a proxy that only reads"),
        pytest.param(503, "This node is not a swarm manager.", NotSent, "DOCKER_HOST", id="demoted"),
        pytest.param(500, "rpc error: deadline exceeded", Unavailable, "deadline exceeded", id="unknown outcome"),
    ],
)
async def test_what_an_answer_to_a_change_means(
    tmp_path: Path, status: int, message: str, error: type[Unavailable], says: str
) -> None:
    engine = FakeEngine()
    engine.create("jobs", 1)
    async with platform(engine, tmp_path) as swarm:
        seen = await read(swarm)
        engine.fault = _of_the_update(status, message)
        with pytest.raises(Unavailable, match=says) as caught:
            await swarm.scale(KEY, intent_to(3), seen)
    assert type(caught.value) is error


def _large(_method: str, path: str) -> web.Response | None:
    return web.Response(body=b"[" + b"0," * 500 + b"0]") if path.endswith("/services") else None


FAULTS: dict[str, tuple[Any, str]] = {
    "no manager": (lambda _m, p: said(503, "This node is not a swarm manager.") if "_ping" not in p else None, "init"),
    "a proxy that allows no lists": (lambda _m, p: web.Response(status=403) if "_ping" not in p else None, "GET"),
    "an error page": (
        lambda _m, p: web.Response(status=502, text="<html>\x1b") if "_ping" not in p else None,
        "<html>",
    ),
    "no JSON": (lambda _m, p: web.Response(text="[NaN") if "_ping" not in p else None, "unknown format"),
    "no list": (lambda _m, p: web.json_response({}) if "_ping" not in p else None, "unknown format"),
    "no Engine": (lambda _m, _p: web.Response(status=404), "is .* a Docker Engine"),
    "too large": (_large, "more than 1,000 bytes"),
    "compressed": (lambda _m, _p: web.Response(text="OK", headers={"Content-Encoding": "br"}), "compressed"),
}


@pytest.mark.parametrize(("fault", "says"), FAULTS.values(), ids=FAULTS)
async def test_a_reading_that_fails_says_why_and_is_never_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Any, says: str
) -> None:
    monkeypatch.setattr(sending, "MOST_BYTES", 1000)
    engine = FakeEngine(fault=fault)
    engine.create("jobs", 1)
    async with platform(engine, tmp_path) as swarm:
        with pytest.raises(Unavailable, match=says) as caught:
            await swarm.observe([KEY])
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("api", "says"), [("1.24", "at least 1.38"), ("2.0", "a Docker Engine"), ("", "a Docker")])
async def test_an_engine_that_is_too_old_is_refused(tmp_path: Path, api: str, says: str) -> None:
    async with platform(FakeEngine(api=api), tmp_path) as swarm:
        with pytest.raises(Unavailable, match=says):
            await swarm.observe([KEY])


async def test_an_engine_that_was_replaced_by_another_version_is_asked_for_it_again(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.create("jobs", 1)
    async with platform(engine, tmp_path) as swarm:
        await read(swarm)
        engine.api = "1.47"
        with pytest.raises(Unavailable, match="Maximum supported API version is"):
            await swarm.observe([KEY])
        await read(swarm)
    assert engine.requests[-1].startswith("GET /v1.47/")


async def test_an_engine_that_does_not_run_is_named_with_its_socket(tmp_path: Path) -> None:
    settings = load_swarm({"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"})
    swarm = SwarmPlatform(SwarmClient(settings), policy_of("jobs"))
    with pytest.raises(NotSent, match=r"cannot be reached at .*docker\.sock .*is the Engine running"):
        await swarm.observe([KEY])
    await swarm.close()


async def test_over_tcp_without_tls(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.create("jobs", 2)
    async with engine.over_tcp() as host:
        swarm = SwarmPlatform(SwarmClient(load_swarm({"DOCKER_HOST": host})), policy_of("jobs"))
        assert (await read(swarm)).running == 2
        await swarm.close()


async def test_over_tls_both_sides_show_a_certificate_and_an_engine_of_another_authority_is_refused(
    tmp_path: Path,
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        certify(folder)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ours / "ca.pem")
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(ours / "cert.pem", ours / "key.pem")
    engine = FakeEngine()
    engine.create("jobs", 2)
    async with engine.over_tcp(server) as host:
        for folder, is_trusted in ((ours, True), (theirs, False)):
            settings = load_swarm({"DOCKER_HOST": host, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(folder)})
            swarm = SwarmPlatform(SwarmClient(settings), policy_of("jobs"))
            if is_trusted:
                assert (await read(swarm)).running == 2
            else:
                with pytest.raises(Unavailable, match="TLS failed: do "):
                    await swarm.observe([KEY])
            await swarm.close()


async def test_what_stands_before_an_engine_fills_no_jar_with_cookies() -> None:
    async def answer(_: web.Request) -> web.Response:
        found = web.Response(text="OK", headers={"Api-Version": "1.41"})
        found.set_cookie("balancer", "a")
        return found

    app = web.Application()
    app.router.add_get("/_ping", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = SwarmClient(load_swarm({"DOCKER_HOST": f"tcp://127.0.0.1:{runner.addresses[0][1]}"}))
    assert await client.api() == "1.41"
    assert list(client._http.cookies.jar) == []
    await client.close()
    await runner.cleanup()
