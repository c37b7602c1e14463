"""A place for each library's day, and a bare one for tables without a library."""

from collections.abc import Iterator

import pytest

from controller.demo.servers import Servers
from tests.queues.scenario import Stage, stage


@pytest.fixture(scope="module")
def place(servers: Servers) -> Iterator[Stage]:
    with stage(servers) as one:
        yield one


@pytest.fixture
def bare_place(servers: Servers) -> Iterator[Stage]:
    with stage(servers) as one:
        yield one
