"""Doctor's checks of Docker Swarm: the Engine, and of each service its state, its draining time and its rollbacks.

It sends only what a cycle sends. What it looks for is what Swarm does silently: a worker is killed 10 s after SIGTERM
unless the service says otherwise, and a change of the count is what `docker service rollback` takes back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from controller.adapters.swarm import SOURCE
from controller.adapters.swarm.platform import SwarmPlatform
from controller.adapters.swarm.reading import position
from controller.adapters.swarm.settings import SwarmSettings
from controller.core.model import Replicas
from controller.core.ports import Unavailable
from controller.core.units import as_policy, in_words
from controller.doctor.any_platform import PlatformAsked, PlatformFindings, state
from controller.doctor.finding import Finding, error, ok, warning


async def check_swarm(asked: PlatformAsked) -> PlatformFindings:
    """The Engine, and then each service."""
    platform, access = cast("SwarmPlatform", asked.platform), cast("SwarmSettings", asked.access)
    try:
        readings = await platform.observe([worker.target.key for worker in asked.workers.values()])
        engine = ok(SOURCE.name, f"{access.shown} is a manager, with API {await platform.client.api()}")
    except Unavailable as unavailable:
        return PlatformFindings([error(SOURCE.name, str(unavailable))])
    found = PlatformFindings([engine])
    for name, worker in asked.workers.items():
        reading = readings[worker.target.key]
        if isinstance(reading, Unavailable):
            found.workers[name] = [error("service", str(reading))]
            continue
        now = asked.clock.wall()
        found.workers[name] = [
            *state(reading, worker, now, "service"),
            draining(reading, asked.jobs.get(name)),
            *rollback(reading),
        ]
    return found


def draining(reading: Replicas, longest_job_s: float | None) -> Finding:
    """longest_job_s: seconds that the longest jobs take; None: unknown."""
    says = f"a worker has {in_words(reading.draining_s)} to finish (StopGracePeriod)"
    if longest_job_s is None or reading.draining_s >= longest_job_s:
        return ok("draining", says)
    return warning(
        "draining",
        f"{says}, but jobs take up to {in_words(longest_job_s)}, so a scale-down kills a job in the middle",
        f"set stop_grace_period: {as_policy(longest_job_s)} or longer on the service",
    )


def rollback(reading: Replicas) -> Iterator[Finding]:
    """What a change of the count would do to an update that is under way."""
    at = position(reading)
    if at.paused:
        yield error("update", at.paused)
    elif at.held:
        yield warning("update", at.held)
