"""The real PostgreSQL and the real Redis that the tests share, and a clean place in each for every test.

Here it is chosen, once for all, that no test depends on how fast the machine is: the product has deadlines that no
loaded machine reaches, and hypothesis has none. AUTOSCALER_TEST_LONG=1 (`make test-long`) draws more examples.

AUTOSCALER_TEST_REDIS=PATH runs them on another redis-server, or a valkey-server, than the one of the demo.
"""

import asyncio
import gc
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, settings

from controller.demo import servers as demo_servers
from controller.demo.servers import Servers, start_servers
from tests.support.case_ids import pytest_make_parametrize_id
from tests.support.clean_places import empty_database, empty_redis, lay_out_queue
from tests.support.examples import LONG, examples
from tests.support.processes import CLEAN
from tests.support.rendering import pytest_runtest_makereport
from tests.support.reports import pytest_runtest_protocol
from tests.support.scene import Scene, set_scene
from tests.support.shares import pytest_sessionstart
from tests.support.tuning import as_many_steps_as_promised, look_for_flaps_in_few_steps
from tests.support.unhurried import unhurried
from tests.virtual.idle import IdleLoop

__all__ = [
    "as_many_steps_as_promised",
    "pytest_make_parametrize_id",
    "pytest_runtest_makereport",
    "pytest_runtest_protocol",
    "pytest_sessionstart",
]
"""What pytest calls or finds besides the fixtures below."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--without-servers", action="store_true", help="leave out what needs a PostgreSQL or a Redis")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not LONG:
        again = [item for item in items if item.get_closest_marker("long") is not None]
        config.hook.pytest_deselected(items=again)
        items[:] = [item for item in items if item not in set(again)]
    if config.getoption("--without-servers"):
        items[:] = [item for item in items if not {"servers", "_second_pair"} & set(_fixtures(item))]


def _fixtures(item: pytest.Item) -> list[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else []


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The event loop of a test, by its mark."""
    if item.get_closest_marker("virtual_time") is not None:
        return {"virtual": IdleLoop}
    return {"real": asyncio.new_event_loop}


_MEMORY = Path("/dev/shm")
_ROOM = 4 * 1024**3


def _has_room_in_memory() -> bool:
    """Programs may have to be copied there, for a user who cannot read the installed ones."""
    if not os.access(_MEMORY, os.W_OK | os.X_OK):
        return False
    there = os.statvfs(_MEMORY)
    return there.f_bavail * there.f_frsize >= _ROOM and not there.f_flag & os.ST_NOEXEC


def pytest_collection_finish() -> None:
    """What was collected stays to the end: looking for garbage in it again and again costs each process seconds."""
    gc.freeze()
    gc.set_threshold(20_000)  # as the command does
    gc.enable()


gc.disable()
unhurried()
look_for_flaps_in_few_steps()
# redis-py looks it up on the disk for each connection, and the tests make thousands.
redis.utils.get_lib_version = cache(redis.utils.get_lib_version)
settings.register_profile(
    "no hurry",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    max_examples=examples(12, 1000),
    # What decides whether a change lands draws the same each time; `make test-long` draws new ones.
    derandomize=not LONG,
)
settings.load_profile("no hurry")
if _has_room_in_memory():
    # Each test makes and removes tables: on a disk a tenth of the suite's time goes into finding free inodes.
    demo_servers._temporary = lambda: _MEMORY
if "AUTOSCALER_TEST_REDIS" in os.environ:
    demo_servers.find_redis = lambda: Path(os.environ["AUTOSCALER_TEST_REDIS"])
os.environ["SSL_CERT_FILE"] = CLEAN["SSL_CERT_FILE"]


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
    """An empty database on the pair that may be stopped."""
    return empty_database(stoppable_servers)


@pytest.fixture
def database_url(servers: Servers) -> str:
    return empty_database(servers)


@pytest.fixture
def redis_url(servers: Servers) -> str:
    return empty_redis(servers)


@pytest.fixture
async def scene(database_url: str, redis_url: str) -> AsyncIterator[Scene]:
    """The queue of the shipped policy, empty, and one worker service, deployed and stopped."""
    lay_out_queue(database_url)
    async with set_scene(database_url, redis_url, has_queue=True) as one:
        yield one


@pytest.fixture
async def stoppable_scene(stoppable_servers: Servers, stoppable_database_url: str) -> AsyncIterator[Scene]:
    """The same on the servers that a test may stop."""
    async with set_scene(stoppable_database_url, stoppable_servers.redis_url) as one:
        yield one
