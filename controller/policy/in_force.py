"""What of a policy is in force, and where each value comes from: for `autoscaler check` and /status.

In force is not the same as written. A default holds without a line, a table's columns mean nothing to a preset, with
target_wait two keys of scale_down are replaced by idle_off, and beside per_worker two more keys have defaults. What is
shown is what holds, so that a person need not know these rules. The value of a variable that is a secret is shown as
${NAME}, wherever in the policy it ended up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from controller.core.units import as_policy
from controller.policy.document import Document, Path
from controller.policy.models import Policy
from controller.policy.notify import Target
from controller.policy.queue import Queue, TimeColumn
from controller.policy.scaling import IDLE_OFF_TEXT
from controller.policy.types import Quantity, keys_of

# A library's tables have columns of their own, and a query has its own of everything.
_NOT_OF = {"table": (), "preset": ("columns", "statuses"), "sql": ("columns", "statuses", "count_limit", "ahead")}
_NOT_OF_A_WAIT: tuple[Path, ...] = (("scale_down", "cooldown"), ("scale_down", "stabilization_window"))


def effective(policy: Policy, document: Document) -> Iterator[tuple[Path, str, str]]:
    """Every value in force: its path, the value as text, and where it comes from.

    In the order of the models, and not of the file: two policies can be compared line by line.
    """
    for path, value in _values(policy, ()):
        origin = document.origin(path)
        shown = origin.shown if origin is not None and origin.holds_a_secret else _as_text(value)
        if path[-1:] == ("ahead",) and value == 0:
            shown = "off"
        row = path, document.masked(shown), str(origin) if origin else "built in"
        yield from _in_force(policy, row)


def as_shown(policy: Policy, document: Document) -> dict[str, Any]:
    """The whole policy for /status, with `${NAME}` in the place of what a secret variable brought."""
    values = policy.model_dump(mode="json", exclude_none=True, by_alias=True)
    for worker in values["workers"].values():
        if "slo" in worker:
            worker.pop("target_wait")  # which the promise moves
    shown: dict[str, Any] = _with_references(values, (), document)
    return shown


def _with_references(value: Any, path: Path, document: Document) -> Any:
    if isinstance(value, dict):
        return {key: _with_references(child, (*path, key), document) for key, child in value.items()}
    if isinstance(value, list):
        return [_with_references(child, (*path, index), document) for index, child in enumerate(value)]
    # A column may be written as its name alone, without the key `name`.
    origin = document.origin(path) or (document.origin(path[:-1]) if path[-1:] == ("name",) else None)
    if origin is not None and origin.holds_a_secret:
        return document.masked(origin.shown)
    return document.masked(value) if isinstance(value, str) else value


def _values(value: object, path: Path) -> Iterator[tuple[Path, object]]:
    if isinstance(value, TimeColumn) and value.unit is None:
        yield path, value.name
    elif isinstance(value, BaseModel):
        for key, name in keys_of(type(value)).items():
            if name not in _without_effect(value):
                yield from _values(getattr(value, name), (*path, key))
    elif isinstance(value, dict):
        for name, child in value.items():
            yield from _values(child, (*path, name))
    elif isinstance(value, tuple) and any(isinstance(child, BaseModel) for child in value):
        for index, child in enumerate(value):
            yield from _values(child, (*path, index))
    elif value is not None and value != ():
        yield path, value


def _without_effect(part: BaseModel) -> tuple[str, ...]:
    if isinstance(part, Queue):
        return _NOT_OF[part.kind]
    return part.without_effect if isinstance(part, Target) else ()


def _in_force(policy: Policy, row: tuple[Path, str, str]) -> Iterator[tuple[Path, str, str]]:
    """With a target_wait, what stands in the place of two keys; and the one job of a worker that says nothing.

    Beside per_worker, its two keys that have a default only there.
    """
    path = row[0]
    worker = policy.workers[str(path[1])] if path[0] == "workers" else None
    if worker is not None and path[2:] == ("per_worker",):
        yield row
        if worker.activation is None:
            yield (*path[:-1], "activation"), "1", "built in"
        if worker.tolerance is None:
            yield (*path[:-1], "tolerance"), "0%", "built in"
        return
    if worker is not None and worker.target_wait is not None and path[2] == "queues" and path[-1] == "weight":
        return  # which a target_wait does not go by
    if worker is not None and worker.slo is not None and path[2:] == ("target_wait",):
        return  # which the promise moves
    if worker is None or worker.target_wait is None or path[2:] not in _NOT_OF_A_WAIT:
        yield row
        return
    if path[2:] == _NOT_OF_A_WAIT[0]:
        if worker.scale_down.idle_off is None:
            yield (*path[:-1], "idle_off"), IDLE_OFF_TEXT, "built in"
        if worker.jobs_per_worker is None:
            yield (*path[:2], "jobs_per_worker"), str(worker.concurrency), "built in"


def _as_text(value: object) -> str:
    if isinstance(value, float) and not isinstance(value, Quantity):
        return as_policy(value)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
