"""What the file of a shadow policy says beside the one in force: its workers, and what of it has no effect. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from controller.policy import TARGET_KEYS, Policy, WorkerPolicy


class Beside(NamedTuple):
    """workers: by name, the shadow's policy of each worker that both files have. notes: what of it has no effect."""

    workers: Mapping[str, WorkerPolicy]
    notes: tuple[str, ...]


def beside(in_force: Policy, shadow: Policy, name: str) -> Beside:
    """name: of the shadow's file."""
    notes, found = [], {}
    for worker, policy in shadow.workers.items():
        real = in_force.workers.get(worker)
        if real is None:
            notes.append(f"workers.{worker} of {name} has no effect: the policy in force has no worker of that name")
            continue
        changes: dict[str, object] = {}
        if policy.target != real.target:
            notes.append(f"workers.{worker} of {name} names another target; that of the policy in force counts")
            changes |= {key: getattr(real, key) for key in TARGET_KEYS}
        if policy.rate_limit is not None and real.rate_limit is None:
            notes.append(
                f"workers.{worker}.rate_limit of {name} has no effect: the policy in force has none, so the requests "
                "are not read"
            )
            changes["rate_limit"] = None
        found[worker] = policy.model_copy(update=changes)
    notes += [
        f"workers.{worker} has no shadow: {name} has no worker of that name"
        for worker in in_force.workers
        if worker not in shadow.workers
    ]
    return Beside(found, tuple(notes))


_READ_BY_THE_REAL_ONE = ("count_limit", "wake_on", "timeout")
"""Keys of a queue that say how the one reading is made, and not of which jobs."""


def differing_queue(in_force: WorkerPolicy, shadow: WorkerPolicy) -> str:
    """Which queue of the two is not the same, as a key of the policy; "" if all are."""
    if (in_force.queues is None) != (shadow.queues is None) or in_force.each_queue.keys() != shadow.each_queue.keys():
        return "queue" if shadow.queues is None else "queues"
    for name, queue in shadow.each_queue.items():
        real = in_force.each_queue[name]
        alike = {key: getattr(real, key) for key in _READ_BY_THE_REAL_ONE}
        if queue.model_copy(update=alike) != real:
            return f"queues.{name}" if name else "queue"
    return ""


def policies_key(in_force: WorkerPolicy, shadow: WorkerPolicy) -> str:
    """12 characters that change with either policy, so that no sum mixes two of them."""
    texts = (one.model_dump_json(exclude_none=True, by_alias=True) for one in (in_force, shadow))
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
