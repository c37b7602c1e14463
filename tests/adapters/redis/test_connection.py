"""Every kind of Redis that is supported, for real; and in which words it is said when something is in the way."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.asyncio import RedisCluster
from redis.exceptions import TimeoutError as RedisTimeoutError

from controller.adapters.clock import SystemClock
from controller.adapters.redis.connection import Client, connect, in_words
from controller.adapters.redis.journal import RedisJournal
from controller.adapters.redis.keys import Keys
from controller.adapters.redis.leases import RedisLeases
from controller.adapters.redis.rate_limit import RedisRateLimit
from controller.adapters.redis.timeline import RedisTimeline
from controller.core.model import Lease, RateUsage, Shares
from controller.core.ports import Batch, Bid, NotAcquired, Settled, Unavailable
from controller.core.timeline import Happening
from controller.policy import RateLimit
from tests.support.journal_steps import accept, change_from_outside, note, record, settle, take
from tests.support.patience import until, until_equal
from tests.support.redis_servers import IN_MEMORY, RedisServer, redis_cluster, redis_server

KEYS = Keys("autoscaler", "env")
LIMIT = RateLimit(rpm=60)
PAGE = (Path(__file__).parents[3] / "docs" / "redis.md").read_text()
ON_THE_PAGE = re.search(r"^ACL SETUSER autoscaler (on >PASSWORD .*?)\n```", PAGE, re.MULTILINE | re.DOTALL)
assert ON_THE_PAGE is not None
RIGHTS = ON_THE_PAGE[1].replace("PASSWORD", "hunter2").split()
ON_A_CLUSTER = re.search(r"on a Cluster also `([^`]+)`", PAGE)
assert ON_A_CLUSTER is not None


async def live(client: Client, keys: Keys = KEYS) -> None:
    """Everything that a controller does with Redis between its start and its end."""
    leases, journal = RedisLeases(client, keys), RedisJournal(client, keys, SystemClock(), {"w": "service"})
    rate_limit = RedisRateLimit(client, SystemClock())
    lease = await acquired(leases, "me")
    assert isinstance(await leases.acquire(Bid("you"), 60), NotAcquired)
    assert await leases.renew(lease, 60)
    await take(journal, lease, note(), record(), settle(Settled.REFUSED, 1))
    assert await rate_limit.used(LIMIT) == RateUsage(0, 60)
    await rate_limit.share(LIMIT, Shares(60, 20, 5))
    await take(journal, lease, record(), accept(), settle(), change_from_outside(2))
    await client.hdel(keys.worker("w"), "last_up")
    await take(journal, lease, note(working=True))
    history = (await journal.recall("w")).history
    assert (history.count, history.last_up is not None) == (2, True)
    await journal.publish({"w": "{}"}, lease)
    assert (await journal.watch(["w"])).published == {"w": "{}"}
    timeline = RedisTimeline(client, keys)
    await timeline.append(Batch([Happening("scaled", ident="scaled 1")]), lease)
    assert len((await timeline.happenings(0.0, float("inf"), most=9)).happenings) == 1
    await leases.release(lease)


async def acquired(leases: RedisLeases, holder: str) -> Lease:
    answer = await leases.acquire(Bid(holder), 60)
    assert isinstance(answer, Lease)
    return answer


async def refusal(url: str) -> str:
    """The error of acquiring the lease there."""
    async with aclosing(connect(url, timeout_s=5)) as client:
        with pytest.raises(Unavailable) as error:
            await RedisLeases(client, KEYS).acquire(Bid("me"), 60)
    assert "hunter2" not in str(error.value)
    return str(error.value)


# --- a Redis Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RedisServer]]:
    with redis_cluster(tmp_path_factory.mktemp("cluster"), nodes=3) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def one_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes[0]


@pytest.mark.costly
async def test_a_cluster_of_one_node_serves_a_controller(one_node: RedisServer) -> None:
    async with connect(f"{one_node.url}/0?cluster=true") as client:
        await live(client)


@pytest.mark.costly
async def test_a_cluster_of_three_serves_a_controller_whichever_node_the_address_names(
    cluster: list[RedisServer],
) -> None:
    for number, node in enumerate(cluster):
        async with connect(f"{node.url}?cluster=true") as client:
            await live(client, Keys("autoscaler", f"env-{number}"))


async def test_on_a_cluster_the_shares_reach_the_nodes_of_their_keys_and_the_share_goes_first(
    cluster: list[RedisServer],
) -> None:
    written: list[str] = []
    async with connect(f"{cluster[0].url}?cluster=true") as client:
        plain = client.set

        async def noted(key: str, value: str) -> object:
            written.append(key)
            return await plain(key, value)

        client.set = noted  # type: ignore[method-assign,assignment]
        await RedisRateLimit(client, SystemClock()).share(LIMIT, Shares(60, 20, 5))
        assert await client.get("worker:config:per_worker_rpm") == "20"
    assert written[0] == "worker:config:per_worker_rpm"
    homes = {node.port for node in cluster if node.ask("CLUSTER", "COUNTKEYSINSLOT", slot(node, written[0]))}
    assert len(homes) == 1


def slot(node: RedisServer, key: str) -> int:
    return int(str(node.ask("CLUSTER", "KEYSLOT", key)))


async def test_a_plain_address_of_a_cluster_s_node_without_our_keys_is_told_what_to_add(
    cluster: list[RedisServer],
) -> None:
    async with connect(f"{cluster[0].url}?cluster=true") as client:
        assert isinstance(client, RedisCluster)
        home = client.get_node_from_key(KEYS.lease)
    assert home is not None
    for node in (node for node in cluster if node.port != home.port):
        assert "add ?cluster=true to REDIS_URL" in await refusal(node.url)


async def test_a_plain_redis_that_is_called_a_cluster_is_told_what_to_take_out(redis_url: str) -> None:
    url = urlsplit(redis_url)._replace(path="", query="cluster=true").geturl()
    assert "is not a Redis Cluster; remove cluster=true from REDIS_URL" in await refusal(url)


async def test_a_cluster_that_is_away_is_unavailable_and_no_bug() -> None:
    assert "is it running" in await refusal("redis://:hunter2@127.0.0.1:1?cluster=true")


@pytest.mark.costly
@pytest.mark.parametrize("kind", ["plain", "cluster"])
async def test_a_command_whose_answer_is_lost_is_never_sent_again(tmp_path: Path, kind: str) -> None:
    options = ("--cluster-enabled", "yes") if kind == "cluster" else ()
    with redis_server(tmp_path, *options, *IN_MEMORY) as server:
        if options:
            server.ask("CLUSTER", "ADDSLOTS", *range(16384))
            server.until("cluster", "cluster_state:ok")
        url = server.url + ("?cluster=true" if options else "")
        async with connect(url, timeout_s=0.5) as client, connect(url) as other:

            async def is_connected() -> bool:
                with contextlib.suppress(RedisTimeoutError):
                    await client.get("n")
                    return True
                return False

            await until(is_connected, "an answer in half a second")
            os.kill(server.process.pid, signal.SIGSTOP)
            with pytest.raises(Exception) as error:  # noqa: PT011 - either client's own, and its words are looked at
                await client.incr("n")
            assert in_words(error.value) == "did not answer in time"
            os.kill(server.process.pid, signal.SIGCONT)
            await until_equal(lambda: other.get("n"), "1")
            await asyncio.sleep(0.5)  # in which a second one would come
            assert await other.get("n") == "1"


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For the name localhost, and for no address; its key stands beside it."""
    place = tmp_path_factory.mktemp("tls") / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=DNS:localhost"
    files = ["-out", str(place), "-keyout", str(place.with_name("key.pem"))]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return place


@asynccontextmanager
async def in_tls(port: int, certificate: Path) -> AsyncIterator[int]:
    """A port that speaks TLS and hands on to the other; the Redis of the tests was built without."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pipe(reader, ours), pipe(theirs, writer), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def tls_port(redis_url: str, certificate: Path) -> AsyncIterator[int]:
    async with in_tls(urlsplit(redis_url).port or 0, certificate) as port:
        yield port


@pytest.mark.costly
async def test_tls_with_a_ca_of_one_s_own_serves_a_controller(tls_port: int, certificate: Path, redis_url: str) -> None:
    database = urlsplit(redis_url).path
    async with connect(f"rediss://localhost:{tls_port}{database}?ssl_ca_certs={certificate}") as client:
        await live(client)


@pytest.mark.costly
async def test_a_certificate_without_a_known_authority_is_refused(tls_port: int) -> None:
    said = await refusal(f"rediss://:hunter2@localhost:{tls_port}")
    assert "certificate that is not trusted (self" in said
    assert "ssl_ca_certs=PATH" in said


async def test_a_certificate_for_another_name_is_refused(tls_port: int, certificate: Path) -> None:
    said = await refusal(f"rediss://:hunter2@127.0.0.1:{tls_port}?ssl_ca_certs={certificate}")
    assert "certificate that is not trusted (IP address mismatch" in said


async def test_the_certificate_is_not_checked_only_if_the_address_says_so(tls_port: int) -> None:
    async with connect(f"rediss://127.0.0.1:{tls_port}?ssl_cert_reqs=none") as client:
        assert await client.get("nothing") is None


@pytest.mark.costly
async def test_tls_to_a_port_that_speaks_none_is_said(redis_url: str) -> None:
    assert "TLS on one side only?" in await refusal(redis_url.replace("redis://", "rediss://"))


async def test_a_ca_file_that_is_not_there_is_said(tls_port: int) -> None:
    said = await refusal(f"rediss://localhost:{tls_port}?ssl_ca_certs=/nowhere.pem")
    assert "a file named by an ssl_ option in REDIS_URL does not exist" in said


async def test_a_host_without_an_address_is_said() -> None:
    assert "the host in REDIS_URL does not exist, or only in a private network" in await refusal(
        "redis://:hunter2@nobody.invalid"
    )


# --- users and their rights


@pytest.fixture
def acl_server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path, *IN_MEMORY) as server:
        yield server


def with_user(url: str) -> str:
    return url.replace("redis://", "redis://autoscaler:hunter2@")


async def test_the_rights_in_the_readme_are_enough(acl_server: RedisServer) -> None:
    acl_server.ask("ACL", "SETUSER", "autoscaler", *RIGHTS)
    for _ in range(2):  # with the scripts still unknown to the server, and known
        acl_server.ask("FLUSHALL")
        async with connect(with_user(acl_server.url)) as client:
            await live(client)


async def test_with_one_more_right_they_are_enough_for_another_database_number(acl_server: RedisServer) -> None:
    acl_server.ask("ACL", "SETUSER", "autoscaler", *RIGHTS, "+select")
    async with connect(f"{with_user(acl_server.url)}/3") as client:
        await live(client)
    assert "db3" in acl_server.process_says("keyspace")


async def test_with_two_more_rights_they_are_enough_on_a_cluster(one_node: RedisServer) -> None:
    assert ON_A_CLUSTER is not None
    one_node.ask("FLUSHALL")
    one_node.ask("ACL", "SETUSER", "autoscaler", *RIGHTS, *ON_A_CLUSTER[1].split())
    async with connect(f"{with_user(one_node.url)}?cluster=true") as client:
        await live(client)


@pytest.mark.parametrize("right", [right for right in RIGHTS if right.startswith("+") and right != "+info"])
async def test_no_right_in_the_readme_is_one_too_many(right: str, rights_server: RedisServer) -> None:
    rights_server.ask("FLUSHALL")
    rights_server.ask("ACL", "SETUSER", "autoscaler", "reset", *(one for one in RIGHTS if one != right))
    rights_server.ask("SCRIPT", "FLUSH")
    with pytest.raises(Unavailable, match="denies the user of REDIS_URL a right") as error:
        async with connect(with_user(rights_server.url)) as client:
            await live(client)
    assert "hunter2" not in str(error.value)


@pytest.fixture(scope="module")
def rights_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("rights"), *IN_MEMORY) as server:
        yield server


@pytest.mark.parametrize("command", ["KEYS *", "FLUSHALL", "CONFIG GET *", "GET other", "SET worker:x 1", "EVAL 1 0"])
async def test_the_rights_in_the_readme_allow_nothing_else(command: str, rights_server: RedisServer) -> None:
    rights_server.ask("ACL", "SETUSER", "autoscaler", "reset", *RIGHTS)
    async with connect(with_user(rights_server.url)) as client:
        with pytest.raises(Exception, match=r"(?i)no permissions|NOPERM") as error:
            await client.execute_command(*command.split())
    assert in_words(error.value).startswith("denies the user")


# --- whose keys are whose


async def test_the_number_in_the_address_is_the_database(acl_server: RedisServer) -> None:
    async with connect(f"{acl_server.url}/5") as client:
        await live(client)
    assert re.findall(r"db\d+", acl_server.process_says("keyspace")) == ["db5"]


@pytest.mark.parametrize(
    "others", [Keys("other", "env"), Keys("autoscaler", "staging")], ids=["another prefix", "another environment"]
)
async def test_groups_with_another_prefix_or_environment_do_not_see_each_other(redis_url: str, others: Keys) -> None:
    async with connect(redis_url) as client:
        ours, theirs = RedisLeases(client, KEYS), RedisLeases(client, others)
        lease = await acquired(ours, "me")
        await acquired(theirs, "you")
        await take(RedisJournal(client, KEYS, SystemClock()), lease, change_from_outside(3))
        history = (await RedisJournal(client, others, SystemClock()).recall("w")).history
        assert (history.count, history.last_up) == (None, None)


# --- what is no Redis to lead with


async def test_a_sentinel_is_refused_in_words(tmp_path: Path) -> None:
    configuration = tmp_path / "sentinel.conf"
    configuration.touch()
    with redis_server(tmp_path, str(configuration), "--sentinel") as server:
        assert "REDIS_URL must name Redis or Valkey itself, not a Sentinel" in await refusal(server.url)


async def test_a_replica_is_refused_in_words(tmp_path: Path) -> None:
    with (
        redis_server(tmp_path, *IN_MEMORY) as primary,
        redis_server(tmp_path, "--replicaof", "127.0.0.1", str(primary.port), *IN_MEMORY) as replica,
    ):
        replica.until("replication", "master_link_status:up")
        assert "read-only replica; REDIS_URL must name the primary" in await refusal(replica.url)


async def test_too_few_replicas_are_said(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--min-replicas-to-write", "1", *IN_MEMORY) as server:
        assert "has too few connected replicas to accept writes" in await refusal(server.url)


@pytest.mark.costly
async def test_a_redis_that_is_full_says_so(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--maxmemory", "1", *IN_MEMORY) as server:
        assert "is out of memory; raise maxmemory" in await refusal(server.url)
