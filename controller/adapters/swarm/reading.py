"""Turns a service and its tasks, as the Engine's JSON has them, into Replicas. Pure.

A slot is one of the service's replicas; over time it has several tasks, each replacing one that ended. The manager says
what it wants of a task (`DesiredState`: ready, running, shutdown, remove) and what the task is (`Status.State`). What
each combination looks like was read off a real Engine, see docs/swarm.md#what-does-each-state-mean.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from controller.adapters.swarm import SOURCE
from controller.core.model import PlatformWords, Replicas, ServiceState, UnderWay
from controller.core.text import bounds
from controller.core.text.escaping import visible

_STARTS = frozenset({"new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting"})
_RUNS = "running"
_CRASHED = frozenset({"failed", "rejected"})
"""`rejected`: the node could not run it at all, for example because it has no such image."""
_EXITED = "complete"
_ENDED = frozenset({*_CRASHED, _EXITED, "shutdown", "remove", "orphaned"})
_LEAVES = frozenset({"shutdown", "remove", "complete", "failed", "rejected", "orphaned"})
"""Desired states of a task that has been told to end."""
SERVING = ("accepted", "ready", "running", "remove")
"""Desired states with which tasks are listed in every cycle: all but those of ended and replaced tasks."""
ENDING = ("shutdown",)
"""The desired state of ended and replaced tasks, which are listed where fewer run than are configured."""

_UPDATES = frozenset({"updating", "rollback_started"})
_PAUSED = frozenset({"paused", "rollback_paused"})
_AT_REST = frozenset({"completed", "rollback_completed", ""})

_RESTARTED_WITHIN_S = 10.0
"""A task that replaces a failed one is created in the moment when the manager hears of the failure. Both times are of
different clocks. An older failure in the same slot was before the service was scaled to fewer and up again."""
_SAME_INSTANT_S = 2.0
_STEADY_S = 5.0
"""A task that replaces a crashed one counts as running after this time: Swarm shows one that crashes at its start as
running for a second, and each of these seconds would end the alarm."""
DEFAULT_GRACE_S = 10.0
"""The Engine's, for a service without a StopGracePeriod."""
_LONGEST_GRACE_S = 24 * 3600.0
_MOST_REPLICAS = 10_000

Id = Annotated[str, StringConstraints(max_length=bounds.NAME)]
Word = Annotated[str, AfterValidator(lambda text: bounds.cut(text, bounds.NAME))]
Text = Annotated[str, AfterValidator(lambda text: visible(bounds.cut(text, bounds.WORDS)))]


class _Answer(BaseModel):
    # Strict: a field of another type makes the answer unreadable. The Engine leaves out fields that are empty.
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Version(_Answer):
    Index: Annotated[int, Field(ge=0)]


class Update(_Answer):
    State: Word = ""
    StartedAt: Any = None
    Message: Text = ""


class Service(_Answer):
    """The fields of a service that are used here, under the Engine's names. Spec is sent back as it is."""

    ID: Id
    Version: Version
    UpdatedAt: Any = None
    Spec: dict[str, Any]
    UpdateStatus: Update = Update()

    @property
    def name(self) -> str:
        return bounds.cut(str(self.Spec.get("Name")), bounds.NAME)


class Status(_Answer):
    State: Word
    Timestamp: Any = None
    Err: Text = ""


class Task(_Answer):
    ID: Id
    ServiceID: Id
    Slot: int = 0
    CreatedAt: Any = None
    DesiredState: Word
    Status: Status

    @property
    def lives(self) -> bool:
        """Raises ValueError: the state is unknown."""
        state = self.Status.State
        if state not in _STARTS and state != _RUNS and state not in _ENDED:
            raise ValueError(f"a task's state {state!r} is unknown")
        return state not in _ENDED


@dataclass(frozen=True, slots=True)
class Position:
    """The coordinates of a reading: what an update is made from.

    version: the manager refuses an update of any other one. paused: why the count must not change until a person has
    acted, or "". held: why it must not change now, or "".
    """

    service: str
    name: str
    version: int
    spec: Mapping[str, Any]
    paused: str = ""
    held: str = ""


def is_short(service: Service, tasks: Sequence[Task], now: float | None) -> bool:
    """Whether the ended tasks are needed, too: the service is updated, or fewer run steadily than are configured."""
    steady = {task.Slot for task in tasks if _runs(task) and not _is_young(task, now)}
    return service.UpdateStatus.State not in _AT_REST or len(steady) < configured(service)


def replicas(service: Service, tasks: Sequence[Task], now: float | None = None) -> Replicas:
    """The reading. tasks: those of the service with a desired state of SERVING, and of ENDING if it is_short().

    now: the manager's time; None: unknown.

    Raises:
        ValueError: it cannot be scaled, or something in it is unknown.
    """
    count, update = configured(service), service.UpdateStatus.State
    if update not in _AT_REST | _UPDATES | _PAUSED:
        raise ValueError(f"its update's state {update!r} is unknown")
    live = [task for task in tasks if task.lives]
    is_updated = update in _UPDATES
    crashed, exited = _ended_slots(service, tasks, count, now)
    running = len({task.Slot for task in tasks if _runs(task)} - {task.Slot for task in crashed})
    return Replicas(
        configured=count,
        running=running,
        alive=len(live),
        state=_state(count, running, crashed=bool(crashed), is_updated=is_updated),
        deployment=_deployment(service),
        coordinates=_position(service),
        draining_s=draining_s(service),
        leaving=0 if is_updated or update in _PAUSED else sum(task.DesiredState in _LEAVES for task in live),
        crashed=len(crashed),
        exited=len(exited),
        under_way=_under_way(service),
        words=_words(service, crashed, live),
    )


def configured(service: Service) -> int:
    """The count that is asked for.

    Raises:
        ValueError: the service is in another mode than replicated, or the count is not one.
    """
    mode = service.Spec.get("Mode")
    replicated = mode.get("Replicated") if isinstance(mode, dict) else None
    if isinstance(mode, dict) and not isinstance(replicated, dict):
        kinds = " and ".join(visible(bounds.cut(str(kind), bounds.NAME)) for kind in mode) or "no"
        # It is a value of the policy that leads to another kind of service, and no bug.
        raise ValueError(f"it is in {kinds} mode and has no replica count; make it a replicated service")  # noqa: TRY004
    count = replicated.get("Replicas") if isinstance(replicated, dict) else None
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= _MOST_REPLICAS:
        raise ValueError(f"{visible(bounds.cut(str(count), 40))!r} is not a replica count")
    return count


def draining_s(service: Service) -> float:
    """Seconds between SIGTERM and SIGKILL."""
    template = service.Spec.get("TaskTemplate")
    container = template.get("ContainerSpec") if isinstance(template, dict) else None
    grace = container.get("StopGracePeriod") if isinstance(container, dict) else None
    if isinstance(grace, bool) or not isinstance(grace, int) or grace < 0:
        return DEFAULT_GRACE_S
    return min(grace / 1e9, _LONGEST_GRACE_S)


def with_count(spec: Mapping[str, Any], count: int) -> dict[str, Any]:
    """The whole spec, in which only the count is another one."""
    mode = spec["Mode"]
    return {**spec, "Mode": {**mode, "Replicated": {**mode["Replicated"], "Replicas": count}}}


def position(observed: Replicas) -> Position:
    """The position in a reading of this adapter."""
    assert isinstance(observed.coordinates, Position), "a reading of another platform"
    return observed.coordinates


def _runs(task: Task) -> bool:
    return task.Status.State == _RUNS and task.DesiredState not in _LEAVES


def _is_young(task: Task, now: float | None) -> bool:
    since = _time(task.Status.Timestamp)
    return now is not None and since is not None and now - since < _STEADY_S


def _ended_slots(
    service: Service, tasks: Sequence[Task], count: int, now: float | None
) -> tuple[list[Task], list[Task]]:
    """The last tasks of slots that do not run: those that crashed, and those that are complete and not replaced.

    The history of a slot outlives it: what ended before the count was last changed says nothing of the workers of now.
    """
    next_in = {task.Slot: task for task in tasks if task.lives and task.DesiredState not in _LEAVES}
    steady = {slot for slot, task in next_in.items() if _runs(task) and not _is_young(task, now)}
    ended = [task for task in tasks if task.Status.State in _CRASHED or task.Status.State == _EXITED]
    last = {task.Slot: task for task in sorted(ended, key=_ended_at)}
    crashed = [
        task
        for slot, task in last.items()
        if slot in next_in and slot not in steady and task.Status.State in _CRASHED
        if _is_restart(task, next_in[slot])
    ]
    # A slot that is not replaced is one of those that are missing, if it ended since the service was last changed.
    alone = [task for slot, task in last.items() if slot not in next_in and _is_of_now(service, task)]
    alone = sorted(alone, key=_ended_at, reverse=True)[: max(0, count - len(next_in))]
    crashed += [task for task in alone if task.Status.State in _CRASHED]
    return sorted(crashed, key=_ended_at), [task for task in alone if task.Status.State == _EXITED]


def _ended_at(task: Task) -> float:
    return _time(task.Status.Timestamp) or 0.0


def _is_restart(ended: Task, following: Task) -> bool:
    at, created = _time(ended.Status.Timestamp), _time(following.CreatedAt)
    return at is None or created is None or abs(created - at) <= _RESTARTED_WITHIN_S


def _is_of_now(service: Service, ended: Task) -> bool:
    at, changed = _time(ended.Status.Timestamp), _time(service.UpdatedAt)
    return at is None or changed is None or at >= changed - _SAME_INSTANT_S


def _state(count: int, running: int, *, crashed: bool, is_updated: bool) -> ServiceState:
    if not count:
        return ServiceState.STOPPED
    if is_updated:
        return ServiceState.STARTING
    return ServiceState.CRASHED if crashed and not running else ServiceState.RUNNING


def _deployment(service: Service) -> str:
    """Another one whenever anything but the count changes, so that what was seen of the workers begins anew."""
    template = json.dumps(service.Spec.get("TaskTemplate"), sort_keys=True)
    return f"{service.ID}-{hashlib.sha256(template.encode()).hexdigest()[:16]}"


def _position(service: Service) -> Position:
    state, paused, held = service.UpdateStatus.State, "", ""
    if state in _PAUSED:
        paused = (
            f"the update of service {service.name} is {state.replace('_', ' ')} after a failure, and a change of the "
            f"count would resume it, and make the failing version the one that a rollback goes back to; {_fix(service)}"
        )
    elif state == "updating" and _rolls_back(service):
        held = (
            f"service {service.name} is being updated, and if that fails it rolls back by itself; a change of the "
            "count now would take the version away that it rolls back to, so it waits for the end of the update"
        )
    return Position(service.ID, service.name, service.Version.Index, service.Spec, paused, held)


def _rolls_back(service: Service) -> bool:
    config = service.Spec.get("UpdateConfig")
    return isinstance(config, dict) and config.get("FailureAction") == "rollback"


def _fix(service: Service) -> str:
    return f"update it with a version that works, or run `docker service rollback {service.name}`"


def _under_way(service: Service) -> UnderWay | None:
    """An update until it is complete. One that pauses by itself, because tasks failed, waits for a person."""
    update = service.UpdateStatus
    if update.State in _AT_REST:
        return None
    since, is_paused = _time(update.StartedAt), update.State in _PAUSED
    fix = f"{update.Message}; {_fix(service)}" if is_paused else f"see `docker service ps {service.name}`"
    status = update.State.replace("_", " ")
    return UnderWay(_deployment(service), status, since, may_take_long=not is_paused, fix=fix)


def _words(service: Service, crashed: Sequence[Task], live: Sequence[Task]) -> PlatformWords:
    name = service.name
    look = f"see `docker service ps --no-trunc {name}` and `docker service logs {name}`"
    said = next((task.Status.Err for task in reversed(crashed) if task.Status.Err), "")
    words = replace(_OF_ALL, crashed=f"{said}; {look}" if said else look)
    waiting = next((task for task in live if task.Status.State in _STARTS and task.DesiredState not in _LEAVES), None)
    if waiting is None:
        return replace(words, missing=look)
    why = f" ({waiting.Status.Err})" if waiting.Status.Err else ""
    return replace(words, missing=f"a task is {waiting.Status.State}{why}; {look}")


_OF_ALL = PlatformWords(
    name=SOURCE.name,
    exited="Swarm does not restart them under their restart condition; set it to `any`, or keep the process running",
    also_set_in="`replicas` in the stack's file, which `docker stack deploy` sets again",
)


def _time(text: Any) -> float | None:
    """Seconds since the epoch; None if it is not a valid time."""
    try:
        at = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
