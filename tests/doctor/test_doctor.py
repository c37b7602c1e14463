"""The whole command: everything at once, in order, by worker; exit codes, JSON, and no secret whatever happens."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from controller.adapters.postgres import listener as postgres_listener
from controller.adapters.redis import connection as redis_connection
from controller.configuration import configure
from controller.demo.jobs import create_queue
from controller.demo.servers import Servers
from controller.doctor import postgres_server as postgres_reach
from controller.doctor.finding import Finding, Level
from controller.doctor.report import clocks, examine
from controller.fake_kubernetes import FakeKubernetes
from controller.fake_kubernetes import Timings as ClusterTimings
from tests.support.pooler import pooler, through
from tests.support.processes import autoscaler
from tests.support.scene import WORKER, Scene

EVERYWHERE = {"PostgreSQL", "connections", "pooler", "listening", "Redis", "clocks", "token", "Railway", "requests"}
OF_A_WORKER = {
    *("queue", "rights", "plan", "bloat", "wake-up", "ahead"),
    *("service", "regions", "max_replicas", "draining", "config-as-code"),
}


async def findings(scene: Scene, **environment: str) -> dict[str, Finding]:
    report = await examine(configure(scene.policy, {**scene.environment, **environment}))
    return {finding.about: finding for _, finding in report.rows()}


async def test_everything_is_looked_at_and_each_worker_by_itself(scene: Scene) -> None:
    report = await examine(configure(scene.policy, scene.environment))
    assert {finding.about for finding in report.everywhere} == EVERYWHERE
    assert {finding.about for finding in report.workers[WORKER]} == OF_A_WORKER
    assert report.is_well
    assert scene.sent == []
    assert await scene.redis.dbsize() == 0


async def test_who_holds_jobs_is_read_for_a_platform_that_can_use_it(scene: Scene, tmp_path: Path) -> None:
    scene.policy = tmp_path / "policy.yaml"
    scene.policy.write_text(
        """
workers:
  w: {kubernetes: {name: worker}, queue: {table: generation_job}, max_replicas: 2, tiers: [{replicas: 2}]}
"""
    )
    await scene.jobs(0, processing=1)
    await scene.queue.execute("UPDATE generation_job SET locked_by = 'worker-1-00001'")
    async with FakeKubernetes(ClusterTimings()) as fake:
        fake.begin(1)
        found = await findings(scene, KUBECONFIG=str(fake.write_kubeconfig(tmp_path / "kubeconfig")))
    assert found["idle first"].says == "each of the 1 that hold jobs is a pod, so these stay"


async def test_two_workers_have_their_own_findings(scene: Scene, tmp_path: Path) -> None:
    scene.policy = tmp_path / "policy.yaml"
    scene.policy.write_text(
        """
workers:
  good:
    service: ${RAILWAY_WORKER_SERVICE_ID}
    queue: {table: generation_job}
    max_replicas: 2
    tiers: [{replicas: 2}]
  bad: {service: nowhere, queue: {table: nothing}, max_replicas: 2, tiers: [{replicas: 2}]}
"""
    )
    report = await examine(configure(scene.policy, scene.environment))
    wrong = {name: {one.about for one in found if one.level is Level.ERROR} for name, found in report.workers.items()}
    assert wrong == {"good": set(), "bad": {"queue", "service"}}


THREE = """
workers:
  first: {service: "${RAILWAY_WORKER_SERVICE_ID}", queue: FIRST, max_replicas: 2, tiers: [{replicas: 2}]}
  second: {service: other, queue: {table: generation_job}, max_replicas: 2, tiers: [{replicas: 2}]}
  third: {service: another, queue: {table: nothing}, max_replicas: 2, tiers: [{replicas: 2}]}
"""


@pytest.mark.parametrize(
    ("queue", "says"),
    [
        ("{table: locked}", "PostgreSQL: locked is locked by another session"),
        (
            '{sql: "SELECT pg_terminate_backend(pg_backend_pid())::int AS pending, 0 AS processing"}',
            "the checks stopped here: PostgreSQL: ",
        ),
    ],
    ids=["a lock", "the connection lost"],
)
async def test_whatever_happens_to_one_worker_the_next_ones_get_their_findings(
    scene: Scene, tmp_path: Path, queue: str, says: str
) -> None:
    scene.policy = tmp_path / "policy.yaml"
    scene.policy.write_text(THREE.replace("FIRST", queue))
    await create_queue(scene.queue, "locked")
    async with (
        await psycopg.AsyncConnection.connect(scene.environment["DATABASE_URL"]) as other,
        other.transaction(),
    ):
        await other.execute("LOCK TABLE locked IN ACCESS EXCLUSIVE MODE")
        report = await examine(configure(scene.policy, scene.environment))
    first, second, third = ({one.about: one for one in found} for found in report.workers.values())
    assert first["queue"].level is Level.ERROR
    assert says in first["queue"].says
    assert {about: second[about].level for about in ("queue", "plan", "bloat", "wake-up")} == dict.fromkeys(
        ("queue", "plan", "bloat", "wake-up"), Level.OK
    )
    assert "this user can see no table" in third["queue"].says
    assert not [one for one in report.everywhere if one.level is Level.ERROR]


@pytest.mark.costly
async def test_the_command_prints_it_for_people_and_for_programs(scene: Scene) -> None:
    scene.environment["UNHURRIED_BUT"] = "controller.doctor.postgres_server._QUIET_S=0.05"
    ran = await autoscaler("doctor", environment=scene.environment)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("everywhere\n  ok       PostgreSQL")
    assert f"\n{WORKER}\n" in ran.out
    ran = await autoscaler("doctor", "--json", environment=scene.environment)
    said = json.loads(ran.out)
    assert (ran.code, said["well"]) == (0, True)
    assert {(row["worker"], row["level"]) for row in said["findings"] if row["about"] == "queue"} == {(WORKER, "ok")}


async def test_what_cannot_be_reached_is_an_error_and_the_rest_is_looked_at_all_the_same(scene: Scene) -> None:
    nowhere = {
        "DATABASE_URL": "postgresql://u:secret-one@127.0.0.1:1/d",
        "REDIS_URL": "redis://:secret-two@127.0.0.1:1",
        "RAILWAY_API_URL": "http://127.0.0.1:1/graphql",
    }
    ran = await autoscaler("doctor", "--json", environment={**scene.environment, **nowhere})
    wrong = {row["about"] for row in json.loads(ran.out)["findings"] if row["level"] == "error"}
    assert ran.code == 1
    assert wrong == {"PostgreSQL", "queue", "Redis", "token", "Railway", "service"}
    assert "secret" not in ran.out + ran.err
    assert "Traceback" not in ran.err


async def test_bad_input_is_exit_2_and_looks_at_nothing(tmp_path: Path) -> None:
    ran = await autoscaler("doctor", "--policy", str(tmp_path / "none.yaml"))
    assert ran.code == 2
    assert "there is no such file" in ran.err


@pytest.fixture
def deaf_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent never arrives, which need not be waited for."""
    monkeypatch.setattr(postgres_listener, "_SELF_TEST_S", 0.2)


@pytest.mark.costly
@pytest.mark.parametrize("direct", [False, True])
async def test_a_pooler_is_named_and_whether_anything_wakes_us_past_it(
    scene: Scene, servers: Servers, monkeypatch: pytest.MonkeyPatch, *, direct: bool
) -> None:
    straight = scene.environment["DATABASE_URL"]
    if not direct:
        monkeypatch.setattr(postgres_listener, "_SELF_TEST_S", 0.2)
    with pooler(servers, sessions=3) as port:
        past = {"DATABASE_DIRECT_URL": straight} if direct else {}
        found = await findings(scene, DATABASE_URL=through(port, straight), **past)
    assert found["pooler"].says == "the connection goes through a pooler"
    assert found["listening"].level is (Level.OK if direct else Level.WARNING)
    assert direct or found["listening"].fix.startswith("set DATABASE_DIRECT_URL to")
    assert found["queue"].level is Level.OK


@pytest.mark.usefixtures("deaf_soon")
@pytest.mark.parametrize("other", ["database", "server"])
async def test_a_direct_address_of_another_database_is_told_from_a_pooler(
    scene: Scene, servers: Servers, stoppable_servers: Servers, other: str
) -> None:
    here = scene.environment["DATABASE_URL"]
    name = urlsplit(here).path
    address = urlsplit((servers if other == "database" else stoppable_servers).database_url)
    if other == "server":
        with psycopg.connect(address.geturl(), autocommit=True) as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {name[1:]}".encode())
            admin.execute(f"CREATE DATABASE {name[1:]}".encode())
        address = address._replace(path=name)
    found = (await findings(scene, DATABASE_DIRECT_URL=address.geturl()))["listening"]
    assert found.level is Level.ERROR
    assert "DATABASE_DIRECT_URL leads to a different database than DATABASE_URL" in found.says
    assert ("on another server" in found.says) is (other == "server")


@pytest.mark.usefixtures("deaf_soon")
async def test_a_direct_address_that_leads_through_a_pooler_too_is_called_that(scene: Scene, servers: Servers) -> None:
    straight = scene.environment["DATABASE_URL"]
    with pooler(servers, sessions=3) as port:
        found = (await findings(scene, DATABASE_DIRECT_URL=through(port, straight)))["listening"]
    assert (found.level, found.says) == (
        Level.WARNING,
        "NOTIFY does not arrive at DATABASE_DIRECT_URL: it leads through a pooler",
    )


def test_clocks_are_held_against_each_other() -> None:
    assert clocks({"PostgreSQL": 0.1, "Redis": -0.2}).level is Level.OK
    assert clocks({"PostgreSQL": 1.5, "Redis": -1.5}).level is Level.WARNING
    assert clocks({"PostgreSQL": -30.0}).says.startswith("against the local clock: PostgreSQL 30 s behind")


async def test_a_connection_that_is_cut_while_it_listens_is_seen(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_reach, "_QUIET_S", 6.0)
    address = urlsplit(scene.environment["DATABASE_URL"])
    name = address.path[1:]
    await scene.queue.execute(f"ALTER DATABASE {name} SET idle_session_timeout = '1s'".encode())
    found = (await findings(scene))["listening"]
    await scene.queue.execute(f"ALTER DATABASE {name} RESET idle_session_timeout".encode())
    assert found.level is Level.WARNING
    assert re.match(
        r"the listening connection was cut after [\d.]+ m?s: PostgreSQL ended the connection because", found.says
    )
    assert "find what ends idle connections" in found.fix


@pytest.mark.costly
async def test_a_port_that_speaks_tls_or_none_is_told_and_what_to_write(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A client that speaks the other way than the port may never get an answer.
    monkeypatch.setattr(redis_connection, "TIMEOUT_S", 5.0)
    certificate = tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test"
    files = ["-out", str(certificate), "-keyout", str(certificate.with_name("key.pem"))]
    await asyncio.to_thread(subprocess.run, [*command.split(), *files], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))

    async def nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.close()

    async with await asyncio.start_server(nothing, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        found = (await findings(scene, REDIS_URL=f"redis://:hunter2@127.0.0.1:{port}"))["Redis"]
    assert (found.level, found.fix) == (
        Level.ERROR,
        "that port speaks TLS: write rediss:// instead of redis:// in REDIS_URL",
    )
    plain = scene.environment["REDIS_URL"]
    found = (await findings(scene, REDIS_URL=plain.replace("redis://", "rediss://")))["Redis"]
    assert found.fix == "that port speaks no TLS: write redis:// instead of rediss:// in REDIS_URL"
    found = (await findings(scene, REDIS_URL=plain.rpartition("/")[0] + "/99"))["Redis"]
    assert "does not have the database number in REDIS_URL; most have 0 to 15" in found.says
