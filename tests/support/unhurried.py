"""`python -m tests.support.unhurried …` is `autoscaler …` with deadlines that no loaded machine reaches.

A test that is not about a deadline must not run into one because the machine is busy. A test that is about one sets it
itself. `python -m tests.support.unhurried worker` is the demo's worker.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import httpx

from controller.adapters.postgres.queue import PostgresQueue
from controller.loop import signals

PATIENT_S = 60
PROMISED: dict[str, Any] = {}
"""Each deadline by its name as the product has it, for tests that are about it."""
DEADLINES: tuple[tuple[str, str, object], ...] = (
    ("controller.app", "_SHORTEST_QUERY_S", float(PATIENT_S)),
    ("controller.app", "_SLOWEST_QUERY_S", float(PATIENT_S)),
    ("controller.cli.run", "_RELEASE_S", float(PATIENT_S)),
    ("controller.cli.run", "_LEAVE_S", float(PATIENT_S)),
    ("controller.cli.run", "_LAST_LINES_S", float(PATIENT_S)),
    ("controller.loop.signals", "_LEAVES_S", float(PATIENT_S)),
    ("controller.web.server", "_CHEAP_S", float(PATIENT_S)),
    ("controller.adapters.postgres.connection", "CONNECT_TIMEOUT_S", PATIENT_S),
    ("controller.adapters.postgres.connection", "_SLACK_S", float(PATIENT_S)),
    ("controller.adapters.postgres.listener", "_ANSWER_S", float(PATIENT_S)),
    ("controller.adapters.postgres.listener", "_SELF_TEST_S", float(PATIENT_S)),
    ("controller.doctor.postgres_server", "_ANSWER_S", float(PATIENT_S)),
    ("controller.doctor.redis", "_LONGEST_LOOK_S", float(PATIENT_S)),
    ("controller.adapters.redis.connection", "TIMEOUT_S", float(PATIENT_S)),
    ("controller.adapters.railway.client", "TIMEOUT", httpx.Timeout(PATIENT_S)),
    ("controller.adapters.railway.client", "LONGEST_S", float(PATIENT_S)),
    ("controller.adapters.railway.client", "_LONGEST_CONNECT_S", float(PATIENT_S)),
    ("controller.adapters.railway.platform", "_LONGEST_LOOK_S", 3.0 * PATIENT_S),
)
OF_A_WORKER: tuple[tuple[str, str, object], ...] = (
    ("controller.demo.worker", "CLAIM_S", float(PATIENT_S)),
    ("controller.demo.worker", "GIVE_BACK_S", float(PATIENT_S)),
)


def unhurried(deadlines: tuple[tuple[str, str, object], ...] = DEADLINES) -> None:
    """Sets them in this process, for good, and what UNHURRIED_BUT="controller.module.NAME=0.5 …" says besides."""
    for module, name, value in deadlines:
        there = import_module(module)
        assert hasattr(there, name), f"{module} has no {name} any more; tests/support/unhurried.py has to follow"
        PROMISED.setdefault(f"{module}.{name}", getattr(there, name))
        setattr(there, name, value)
    unhurried_but(os.environ.get("UNHURRIED_BUT", ""))


def unhurried_but(said: str) -> None:
    """Sets these of them as it is said."""
    for pair in said.split():
        place, _, text = pair.partition("=")
        module, _, name = place.rpartition(".")
        setattr(import_module(module), name, float(text))


@contextmanager
def as_promised() -> Iterator[None]:
    """With the product's own deadlines, for virtual time, which no loaded machine slows down."""
    places = [(import_module(place.rpartition(".")[0]), place.rpartition(".")[2]) for place in PROMISED]
    patient = [getattr(module, name) for module, name in places]
    for (module, name), value in zip(places, PROMISED.values(), strict=True):
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name), value in zip(places, patient, strict=True):
            setattr(module, name, value)


@contextmanager
def impatient(queue: PostgresQueue, timeout_s: float) -> Iterator[None]:
    """For the reading that has to take too long; whatever comes before and after it has time enough."""
    patient, queue._lanes.timeout_s = queue._lanes.timeout_s, timeout_s
    try:
        yield
    finally:
        queue._lanes.timeout_s = patient


def main() -> None:
    if sys.argv[1:2] == ["worker"]:
        from controller.demo.worker import main as work

        unhurried(OF_A_WORKER)
        work()
        return
    signals.take_over(exit_code=0 if sys.argv[1:2] == ["run"] else None)
    gc.set_threshold(20_000)  # as controller/__main__.py does
    from controller.cli.main import main as command

    unhurried()
    command()


if __name__ == "__main__":
    main()
