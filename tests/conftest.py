"""The real PostgreSQL and the real Redis that the tests share, and a clean place in each for every test.

AUTOSCALER_TEST_REDIS=PATH runs them on another redis-server, or a valkey-server, than the one of the demo.
"""

import itertools
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from controller.demo import servers as demo_servers
from controller.demo.servers import Servers, start_servers
from tests.scene import Scene, set_scene

if "AUTOSCALER_TEST_REDIS" in os.environ:
    demo_servers.find_redis = lambda: Path(os.environ["AUTOSCALER_TEST_REDIS"])
_numbers = itertools.cycle(range(1, 16))


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Both servers, for the whole run; no test stops one of these."""
    with start_servers() as both:
        yield both


@pytest.fixture(scope="session")
def _second_pair() -> Iterator[Servers]:
    with start_servers() as both:
        yield both


@pytest.fixture
def stoppable_servers(_second_pair: Servers) -> Iterator[Servers]:
    """Another pair, for tests of outages: it may be left stopped, and comes without any data in Redis."""
    with redis.Redis.from_url(_second_pair.redis_url) as client:
        client.flushall()
    yield _second_pair
    _second_pair.start_postgres()
    _second_pair.start_redis()


@pytest.fixture
def stoppable_database_url(stoppable_servers: Servers) -> str:
    """An empty database on the pair that may be stopped; it goes with the pair."""
    with psycopg.connect(stoppable_servers.database_url, autocommit=True) as admin:
        return _create_database(admin, stoppable_servers)


@pytest.fixture
def database_url(servers: Servers) -> Iterator[str]:
    """An empty database of the test's own."""
    with psycopg.connect(servers.database_url, autocommit=True) as admin:
        url = _create_database(admin, servers)
        yield url
        admin.execute(f"DROP DATABASE {urlsplit(url).path[1:]} WITH (FORCE)".encode())


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """An empty numbered database; sixteen tests later it is emptied and used again."""
    url = urlsplit(servers.redis_url)._replace(path=f"/{next(_numbers)}").geturl()
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


def _create_database(admin: psycopg.Connection, on: Servers) -> str:
    name = f"test_{secrets.token_hex(4)}"
    admin.execute(f"CREATE DATABASE {name}".encode())
    return urlsplit(on.database_url)._replace(path=f"/{name}").geturl()


@pytest.fixture
async def scene(database_url: str, redis_url: str) -> AsyncIterator[Scene]:
    """The queue of the shipped policy, empty, and one worker service, deployed and stopped."""
    async with set_scene(database_url, redis_url) as one:
        yield one


@pytest.fixture
async def stoppable_scene(stoppable_servers: Servers, stoppable_database_url: str) -> AsyncIterator[Scene]:
    """The same on the servers that a test may stop."""
    async with set_scene(stoppable_database_url, stoppable_servers.redis_url) as one:
        yield one
