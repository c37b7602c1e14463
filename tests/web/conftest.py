"""A standby of which no cycle is known yet."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from controller.config.timing import Timing
from controller.loop.leadership import Leadership
from controller.loop.status import ControllerStatus
from controller.web.health import Shown
from tests.support.sources import SOURCES
from tests.web.stand_ins import POLICY, HandClock, NoLeases, silent

collect_ignore = [] if find_spec("opentelemetry") else ["test_otlp.py"]
"""`make test-lowest` installs no extra of OpenTelemetry's."""


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def shown(clock: HandClock) -> Shown:
    leadership = Leadership(NoLeases(), clock, timing=Timing.around(15), replica="a", report=silent)
    return Shown(ControllerStatus(clock, POLICY.interval, SOURCES.names), leadership, POLICY)
