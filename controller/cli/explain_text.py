"""What `autoscaler explain` prints: what was seen, each rule's turn, and what comes of it, for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from controller.core.model import Rest, ServiceTime
from controller.core.rules import Step
from controller.loop.cycle import Cycle


def as_object(cycle: Cycle, rest: Rest | None) -> dict[str, Any]:
    """The log line's keys, and what else the queue holds; null where nobody can tell."""
    besides = {"scheduled": rest.scheduled if rest else None, "failed": rest.failed if rest else None}
    return {**cycle.line(), **besides, "event": "explain"}


def as_lines(cycle: Cycle, steps: Sequence[Step], rest: Rest | None) -> Iterator[str]:
    yield cycle.worker
    yield from _seen(cycle)
    if rest is not None:
        yield f"  besides    {rest.sentence}"
    if steps:
        yield ""
        yield from _turns(steps)
    yield ""
    yield f"  → {cycle.message}"
    yield ""


def _seen(cycle: Cycle) -> Iterator[str]:
    queue, replicas, rate, cooldowns = cycle.queue, cycle.replicas, cycle.rate, cycle.cooldowns
    if queue is not None:
        age = f"; the oldest ready one has waited {queue.oldest_age_s:.1f} s" if queue.oldest_age_s is not None else ""
        yield f"  queue      {queue.sentence}{age}"
        yield from (f"  note       {remark.text}" for remark in queue.remarks)
    if replicas is not None:
        yield f"  Railway    configured {replicas.configured}, running {replicas.running} ({replicas.state.value})"
    if cycle.target_wait_s is not None:
        yield f"  aim        {_aim(cycle.service, cycle.target_wait_s)}"
    if cooldowns is not None:
        yield f"  cooldowns  {_left('scale-up', cooldowns.up)}, {_left('scale-down', cooldowns.down)}"
    if rate is not None:
        yield f"  rate       {rate.used} of {rate.limit} requests used in this minute"


def _aim(service: ServiceTime | None, target_wait_s: float) -> str:
    wait = f"a wait of {target_wait_s:g} s"
    if service is None:
        return f"{wait}; how long a job takes is not known yet"
    by = f"the newest {service.jobs} (median {service.median_s:.3g} s)" if service.jobs else "the policy"
    return f"{wait}; a job takes {service.mean_s:.3g} s, by {by}"


def _left(name: str, seconds: float) -> str:
    return f"{name} in {seconds:.0f} s" if seconds > 0 else f"{name} open"


def _turns(steps: Sequence[Step]) -> Iterator[str]:
    yield "  rule                     wants"
    for step in steps:
        said = step.because.words if step.because else "nothing to object"
        yield f"  {step.rule:<24} {step.desired:>5}  {said}"
