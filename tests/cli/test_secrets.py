"""A secret that is planted somewhere is found nowhere but in the request to Railway: every door is searched."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from aiohttp import web
from redis.asyncio import Redis

from controller.app import RunOptions, opened
from controller.configuration import configure
from controller.core.ports import Unavailable
from controller.fake_railway import FakeRailway
from controller.simulation.policy_file import without_secret_defaults
from tests.support.examples import some
from tests.support.patience import until
from tests.support.processes import CLEAN, QUICK, autoscaler, begun, led_before, running
from tests.support.scene import POLICY, Scene

TOKEN = "9f3b1c7e-PLANTED-railway-4d5e-8a6b"
HTTP_TOKEN = "PLANTED-http-b7c9d1e3f5"
DATABASE_PASSWORD = "PLANTED/db p@ss%w0rd"
DIRECT_PASSWORD = "PLANTED-direct-'quote'-77"
REDIS_PASSWORD = 'PLANTED:redis#2"b'
PGPASSWORD = "PLANTED-pgpass-31337"
OF_THE_POLICY = "PLANTED-policy-\\back'quote"
TENANT_KEY = "PLANTED-tenant-0451"
UNNAMED = "PLANTED-dsn-90210"
HOOK = "PLANTED-hook-0123456789"
SIGNING = "PLANTED-signing-9876543210"
SECRETS = (
    *(TOKEN, HTTP_TOKEN, DATABASE_PASSWORD, DIRECT_PASSWORD, REDIS_PASSWORD, PGPASSWORD, OF_THE_POLICY, TENANT_KEY),
    *(UNNAMED, HOOK, SIGNING),
)


def forms(secret: str) -> Iterator[str]:
    """In whichever way it may stand in a text; and its beginning, which a text that is cut may end in."""
    yield from (secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1])
    yield secret.replace("'", "''")
    yield secret.replace("'", "&#x27;").replace('"', "&#34;")
    yield secret[: len("PLANTED-") + 2] if secret.startswith("PLANTED") else secret[:12]
    yield secret[-6:]


def leaks(text: str) -> list[str]:
    return [form for secret in SECRETS for form in forms(secret) if form in text]


@dataclass
class Parrot:
    """Railway, as the fake plays it, but that it repeats the token wherever a text may stand."""

    fake: FakeRailway
    heard: list[str] = field(default_factory=list)
    """The tokens of all requests."""
    refuses: bool = False
    _turn: Iterator[int] = field(default_factory=itertools.count)

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.heard.append(token)
        if self.refuses:
            return self._refusal(token)
        async with httpx.AsyncClient() as client:
            real = {**self.fake.environment_variables()}
            asked = await client.post(
                real["RAILWAY_API_URL"],
                content=body,
                headers={"Content-Type": "application/json", "Authorization": f"Bearer {real['RAILWAY_API_TOKEN']}"},
            )
        return web.json_response(_parroted(asked.json(), token), status=asked.status_code)

    def _refusal(self, token: str) -> web.Response:
        errors = [
            {"message": f"Not Authorized: {token}"},
            {"message": f"{'x' * 187} {token}", "traceId": token},
            {"message": f"{'x' * 199}{token}"},
            {"message": f"no such user: {json.dumps({'token': token, 'url': f'https://u:{token}@h'})}"},
        ]
        turn = next(self._turn)
        if turn % 5 == 4:
            return web.Response(text=f"<h1>{token}</h1>", status=500, reason=token)
        return web.json_response({"errors": [errors[turn % 5]]})


def _parroted(value: Any, token: str, key: str = "") -> Any:
    """Names and words of a status repeat the token; what the controller goes by stays as it is."""
    if isinstance(value, dict):
        return {name: _parroted(child, token, name) for name, child in value.items()}
    if isinstance(value, list):
        return [_parroted(child, token, key) for child in value]
    return f"{'n' * 60}{token}" if key in {"serviceName", "name", "replacementRegion"} else value


@asynccontextmanager
async def parrot_of(fake: FakeRailway) -> AsyncIterator[tuple[Parrot, str]]:
    parrot = Parrot(fake)
    app = web.Application()
    app.add_routes([web.post("/graphql/v2", parrot.answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield parrot, f"http://127.0.0.1:{runner.addresses[0][1]}/graphql/v2"
    await runner.cleanup()


@dataclass
class Planted:
    scene: Scene
    parrot: Parrot
    environment: dict[str, str]
    policy: Path


@pytest.fixture
async def planted(scene: Scene, tmp_path: Path) -> AsyncIterator[Planted]:
    """Each secret in its place, and a Railway, a PostgreSQL and a policy that repeat them."""
    database, redis = urlsplit(scene.environment["DATABASE_URL"]), urlsplit(scene.environment["REDIS_URL"])
    host = database.netloc.rpartition("@")[2]
    name = database.path.lstrip("/")
    said = " ".join(SECRETS).replace("'", "''").replace("%", "%%")
    await scene.queue.execute(
        f"""
        CREATE FUNCTION told(text) RETURNS TABLE (pending bigint, processing bigint) LANGUAGE plpgsql AS
        $function$ BEGIN RAISE EXCEPTION '{"x" * 186} {said} %', $1; END $function$
    """.encode()
    )
    await scene.queue.execute(
        f"""
        CREATE FUNCTION told_first(text) RETURNS TABLE (pending bigint, processing bigint) LANGUAGE plpgsql AS
        $function$ BEGIN RAISE EXCEPTION 'password=% {said}', $1; END $function$
    """.encode()
    )
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        POLICY.read_text()
        + """\
  talkative:
    service: other
    queue:
      sql: SELECT pending, processing FROM told($$$$${MY_DB_PASSWORD}$$$$) WHERE 'password=PLANTED-dsn-90210' <> ''
    tiers: [{replicas: 1}]
    max_replicas: 2
  cut:
    service: third
    queue:
      sql: SELECT pending, processing FROM told_first('${SOME_DSN}')
    tiers: [{replicas: 1}]
    max_replicas: 2
  tenants:
    service: fourth
    queue: {table: generation_job, where: "status <> '${TENANT_KEY}' AND id::text = '${TENANT}'"}
    tiers: [{replicas: 1}]
    max_replicas: 2
notify:
  - {webhook: "http://127.0.0.1:9/${WEB}", secret: "${SIGNED_BY}", on: [takeover]}
"""
    )
    async with parrot_of(scene.fake) as (parrot, url):
        environment = {
            **scene.environment,
            "UNHURRIED_BUT": "controller.doctor.postgres_server._QUIET_S=0.05",
            **QUICK,
            "RAILWAY_API_URL": url,
            "RAILWAY_API_TOKEN": TOKEN,
            "HTTP_TOKEN": HTTP_TOKEN,
            "PGPASSWORD": PGPASSWORD,
            "DATABASE_URL": f"postgresql://postgres:{quote(DATABASE_PASSWORD, safe='')}@{host}/{name}",
            "DATABASE_DIRECT_URL": f"host={host.partition(':')[0]} port={host.partition(':')[2]} dbname={name} "
            rf"user=postgres password='{DIRECT_PASSWORD.replace(chr(39), chr(92) + chr(39))}'",
            "REDIS_URL": f"redis://default:{quote(REDIS_PASSWORD, safe='')}@{redis.netloc}{redis.path}",
            "MY_DB_PASSWORD": OF_THE_POLICY,
            "SOME_DSN": f"https://user:{UNNAMED}@example.com/?token={UNNAMED}",
            "TENANT_KEY": TENANT_KEY,
            "TENANT": "acme",
            "WEB": HOOK,
            "SIGNED_BY": SIGNING,
        }
        yield Planted(scene, parrot, environment, policy)


async def dump(redis: Redis) -> str:
    """Everything that Redis holds, names and values."""
    found: list[str] = []
    async for key in redis.scan_iter():
        kind = await redis.type(key)
        if kind == "hash":
            found.append(f"{key!r} {await redis.hgetall(key)!r}")
        elif kind == "stream":
            found.append(f"{key!r} {await redis.xrange(key)}")
        elif kind == "zset":
            found.append(f"{key!r} {await redis.zrange(key, 0, -1)}")
        else:
            found.append(f"{key!r} {await redis.get(key)!r}")
    return "\n".join(found)


async def pages(port: int) -> dict[str, str]:
    found: dict[str, str] = {}
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {HTTP_TOKEN}"}) as client:
        for path, accept in (
            ("status", "*/*"),
            ("health", "*/*"),
            ("metrics", "*/*"),
            ("metrics", "text/plain"),
            ("history", "*/*"),
        ):
            answer = await client.get(f"http://127.0.0.1:{port}/{path}", headers={"Accept": accept})
            assert answer.status_code == 200
            found[f"{path} {accept}"] = answer.text
        found["page"] = (await client.get(f"http://127.0.0.1:{port}/")).text
    return found


@pytest.mark.costly
@pytest.mark.parametrize(
    "refuses",
    some(
        [pytest.param(False, id="a Railway that answers"), pytest.param(True, id="a Railway that refuses")], 2, first=1
    ),
)
async def test_no_secret_leaves_by_a_running_controller_or_its_standby(planted: Planted, *, refuses: bool) -> None:
    planted.parrot.refuses = refuses
    scene = planted.scene
    scene.policy = planted.policy
    scene.environment = planted.environment
    await led_before(scene)
    worker = "talkative" if not refuses else "generation-worker"
    async with running(scene) as leader:
        port = (await leader.until(event="started"))["port"]
        await leader.until(event="lease_acquired")
        for name in ("talkative", "cut", "tenants", worker):
            await leader.until(event="reconcile", worker=name)
        await leader.until(event="notify_failed")
        async with running(scene) as standby:
            other = (await standby.until(event="started"))["port"]

            async def knows_of_the_leader() -> bool:
                return "x" * 100 in (await pages(other))["status */*"] or refuses

            await until(knows_of_the_leader, "the standby to show the leader's cycles")
            doors = {f"leader {name}": text for name, text in (await pages(port)).items()}
            doors |= {f"standby {name}": text for name, text in (await pages(other)).items()}
            doors["Redis"] = await dump(scene.redis)
            doors["log"] = json.dumps(leader.lines, ensure_ascii=False) + json.dumps(standby.lines, ensure_ascii=False)
    assert planted.parrot.heard
    assert set(planted.parrot.heard) == {TOKEN}
    assert {door: found for door, text in doors.items() if (found := leaks(text))} == {}
    policy = json.loads(doors["leader status */*"])["policy"]["workers"]
    assert "${MY_DB_PASSWORD}" in policy["talkative"]["queue"]["sql"]
    assert policy["tenants"]["queue"]["where"] == "status <> '${TENANT_KEY}' AND id::text = 'acme'"


async def test_a_refusal_that_repeats_the_token_is_cut_after_the_token_is_masked(planted: Planted) -> None:
    planted.parrot.refuses = True
    configuration = configure(planted.policy, planted.environment)
    said: list[str] = []
    async with opened(
        configuration, RunOptions(), stream=io.StringIO(), events=io.StringIO(), form="json"
    ) as controller:
        while len(planted.parrot.heard) < 12:
            with pytest.raises(Unavailable) as refusal:
                await controller.platforms.opened("service").observe(["other"])
            said.append(str(refusal.value))
    assert any("x" * 180 in text for text in said)
    assert leaks(" ".join(said)) == []


COMMANDS = (
    *("explain", "explain --json", "doctor", "doctor --json"),
    *("once", "once --json", "once --dry-run"),
)


@pytest.mark.costly
@pytest.mark.parametrize(
    ("arguments", "refuses"),
    [
        pytest.param(tuple(command.split()), refuses, id=f"{command}{', and Railway refuses' if refuses else ''}")
        for number, command in enumerate(COMMANDS)
        for refuses in some((False, True), every=2, first=number)
    ],
)
async def test_no_secret_leaves_by_a_command(planted: Planted, arguments: tuple[str, ...], *, refuses: bool) -> None:
    planted.parrot.refuses = refuses
    ran = await autoscaler(*arguments, "--policy", str(planted.policy), environment=planted.environment)
    assert "talkative" in ran.out
    assert leaks(ran.out + ran.err + await dump(planted.scene.redis)) == []


@pytest.mark.costly
async def test_the_log_in_text_holds_no_secret(planted: Planted) -> None:
    environment = {**planted.environment, "PORT": "0", "LOG_FORMAT": "text"}
    process = await begun("run", "--policy", str(planted.policy), environment=environment)
    lines: list[str] = []

    async def has_told() -> bool:
        lines.append((await process.stdout.readline()).decode())
        return all(re.search(f"failed +{name}", "".join(lines)) for name in ("talkative", "cut"))

    await until(has_told, "both workers' lines", shown=lambda: lines[-5:])
    process.terminate()
    lines += [text.decode() for text in await process.communicate()]
    assert leaks("".join(lines)) == []


@pytest.mark.parametrize("arguments", [("check",), ("check", "--json"), ("queue-trigger",)], ids=" ".join)
async def test_no_secret_leaves_by_what_looks_at_the_policy_alone(planted: Planted, arguments: tuple[str, ...]) -> None:
    if arguments[0] == "check":
        command = (arguments[0], str(planted.policy), *arguments[1:])
    else:
        command = (*arguments, "--policy", str(planted.policy))
    ran = await autoscaler(*command, environment=planted.environment)
    assert ran.code == 0
    assert leaks(ran.out + ran.err) == []
    if arguments == ("check",):
        assert "told($$${MY_DB_PASSWORD}$$)" in ran.out


async def test_what_the_database_repeats_of_a_policy_s_secrets_is_masked_where_a_policy_is_tried(
    scene: Scene, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    condition = "id::text::int = '${TENANT_KEYS}'::int OR id::text::int = '${TENANT_AUTH:-PLANTED-default-0451}'::int"
    policy.write_text(
        "interval: 5s\nworkers: {w: {service: s, max_replicas: 2, tiers: [{replicas: 1}], "
        f'queue: {{table: generation_job, where: "{condition}"}}}}}}\n'
    )
    environment = {**scene.environment, "TENANT_KEYS": TENANT_KEY}
    ran = await autoscaler("simulate", str(policy), "--from-database", "--drain", "1s", environment=environment)
    assert "invalid input syntax" in ran.err
    assert "${TENANT_" in ran.err
    assert leaks(ran.out + ran.err) == []


async def test_a_token_that_came_into_the_command_line_is_not_repeated() -> None:
    ran = await autoscaler("fake-railway", "--port", TOKEN, environment={"RAILWAY_API_TOKEN": TOKEN})
    assert (ran.code, leaks(ran.out + ran.err)) == (2, [])
    assert "argument --port: '•••' is not a port" in ran.err


def test_the_default_of_a_secret_is_left_out_of_a_policy_that_is_written() -> None:
    text = 'a: "${API_TOKEN:-PLANTED-default-0451}"\nb: ${MAX_KEYS:-5}\nc: ${NAME:-some-name-1}\nd: ${API_TOKEN}'
    written = text.replace(":-PLANTED-default-0451", "")
    assert without_secret_defaults(text) == (written, ["API_TOKEN"])


WRONG_STARTS: list[dict[str, str]] = [
    {"PORT": TOKEN},
    {"LOG_FORMAT": TOKEN},
    {"RAILWAY_API_TOKEN": f'"{TOKEN}"'},
    {"RAILWAY_API_TOKEN": f"{TOKEN} {TOKEN}"},
    {"RAILWAY_TOKEN": TOKEN},
    {"RAILWAY_API_URL": f"https://user:{TOKEN}@host"},
    {"DATABASE_URL": f"postgresql://u:{DATABASE_PASSWORD}@h/d"},
    {"DATABASE_URL": f"postgresql://u@h/d?passwort={PGPASSWORD}"},
    {"REDIS_URL": f"redis://:{REDIS_PASSWORD}@h/x"},
    {"REDIS_KEY_PREFIX": HTTP_TOKEN + "{"},
    {"LEASE_TTL_MS": PGPASSWORD},
    {"AUTOSCALER_POLICY": f"postgresql://u:{TOKEN}@h/policy.yaml"},
    {"MAX_WORKERS": TENANT_KEY, "TENANT_KEY": TENANT_KEY},
    {"POLL_INTERVAL_MS": TOKEN},
]


@pytest.mark.parametrize("changed", some(WRONG_STARTS, every=3), ids=lambda changed: next(iter(changed)))
async def test_what_is_wrong_at_the_start_is_said_without_a_secret(planted: Planted, changed: dict[str, str]) -> None:
    environment = {"AUTOSCALER_POLICY": str(planted.policy), **planted.environment, **changed}
    ran = await autoscaler("run", environment=environment)
    assert ran.code == 2
    assert next(iter(changed)).replace("AUTOSCALER_POLICY", "policy.yaml") in ran.err
    assert "Traceback" not in ran.err
    assert leaks(ran.out + ran.err) == []


CRASH = """
import logging, sys, threading
from controller.cli import main as cli
from controller.cli import explain as command
def crash(parsed):
    logging.getLogger("httpx").error("sent %s", {secret!r})
    thread = threading.Thread(target=lambda: {{}}[{secret!r}])
    thread.start()
    thread.join()
    raise ValueError({secret!r})
command.run = crash
cli.main(["explain"])
"""


@pytest.mark.costly
@pytest.mark.parametrize("secret", some(SECRETS, every=4))
async def test_the_traceback_of_a_bug_holds_no_secret(planted: Planted, secret: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CRASH.format(secret=secret)),
        env={**CLEAN, **planted.environment},
        cwd=POLICY.parent,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    text = said.decode()
    assert (process.returncode, text.count("Traceback")) == (1, 2)
    assert "sent •••" in text
    assert leaks(text) == []
