"""Doctor's checks of a target of programs or of an address: it is read once, and doctor says what it saw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast
from urllib.parse import urlsplit

from controller.core.model import Replicas
from controller.core.ports import Unavailable
from controller.core.units import in_words
from controller.doctor.any_platform import PlatformAsked, PlatformFindings, state
from controller.doctor.finding import Finding, error, ok, warning
from controller.loop.platforms import read
from controller.policy import CommandTarget, WorkerPolicy, is_near


async def check_command(asked: PlatformAsked) -> PlatformFindings:
    """Each target by itself. `scale` is not run: nothing is changed."""
    found = PlatformFindings()
    for name, worker in asked.workers.items():
        began = asked.clock.monotonic()
        (reading,) = (await read(asked.platform, [worker.target.key])).values()
        took_s = asked.clock.monotonic() - began
        if isinstance(reading, Unavailable):
            found.workers[name] = [error("read", str(reading))]
            continue
        found.workers[name] = [
            *state(reading, worker, asked.clock.wall(), "read"),
            *remarks(worker, reading, took_s, asked.interval_s),
        ]
    return found


def remarks(worker: WorkerPolicy, reading: Replicas, took_s: float, interval_s: float) -> Iterator[Finding]:
    """took_s, interval_s: seconds of this reading, and between two cycles."""
    given = cast("CommandTarget", worker.target.given)
    took = f"a reading took {in_words(took_s)}"
    if took_s > interval_s / 2:
        fix = "make it quicker, or the interval longer: a cycle waits for it"
        yield warning("time", f"{took}, and a cycle comes every {in_words(interval_s)}", fix)
    else:
        yield ok("time", took)
    if reading.draining_s == 0:
        says = "it says nothing of how long a removed worker has to finish its job (draining)"
        yield warning("draining", says, "print it in seconds, unless a worker is killed at once")
    parts = urlsplit(given.url or "")
    if given.bearer is not None and parts.scheme == "http" and not is_near(parts.hostname or ""):
        yield warning("address", "is http://, so that the token crosses the network unencrypted", "write https://")
