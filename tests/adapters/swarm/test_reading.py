"""What each state of a service and its tasks means: a table, whose rows were read off a real Engine."""

from __future__ import annotations

from typing import Any

import pytest

from controller.adapters.swarm.reading import Service, Task, is_short, position, replicas, with_count
from controller.core.model import Replicas, ServiceState

T0 = "2026-11-30T04:00:00.123456789Z"
NOW = 1_796_011_260.0
"""A minute after T0."""


def at(second: float) -> str:
    """That many seconds after T0."""
    return f"2026-11-30T04:00:{second:09.6f}Z"


def service(count: Any = 2, update: str = "", *, on_failure: str = "pause", **more: Any) -> Service:
    spec = {
        "Name": "jobs",
        "TaskTemplate": {"ContainerSpec": {"Image": "worker:1", "StopGracePeriod": 3_000_000_000}},
        "Mode": {"Replicated": {"Replicas": count}},
        "UpdateConfig": {"FailureAction": on_failure},
    }
    status = {"UpdateStatus": {"State": update, "StartedAt": T0, "Message": "why"}} if update else {}
    return Service.model_validate(
        {"ID": "s1", "Version": {"Index": 7}, "UpdatedAt": T0, "Spec": spec, **status, **more}
    )


def task(
    slot: int, state: str, desired: str = "running", *, since: float = 1, created: float = 0, err: str = ""
) -> Task:
    return Task.model_validate(
        {
            "ID": f"t{slot}-{since}",
            "ServiceID": "s1",
            "Slot": slot,
            "CreatedAt": at(created),
            "DesiredState": desired,
            "Status": {"State": state, "Timestamp": at(since), "Err": err},
        }
    )


RUNS = [task(1, "running"), task(2, "running")]
READINGS: dict[str, tuple[Service, list[Task], dict[str, Any]]] = {
    "all run": (service(), RUNS, {"running": 2, "alive": 2, "state": ServiceState.RUNNING}),
    "a task that starts is alive and does not run": (
        service(3),
        [*RUNS, task(3, "preparing")],
        {"running": 2, "alive": 3, "crashed": 0},
    ),
    "a task that was told to end still works": (
        service(1),
        [RUNS[0], task(2, "running", "remove")],
        {"configured": 1, "running": 1, "alive": 2, "leaving": 1},
    ),
    "at zero the last workers finish": (
        service(0),
        [task(1, "running", "remove")],
        {"configured": 0, "running": 0, "alive": 1, "leaving": 1, "state": ServiceState.STOPPED},
    ),
    "a task that failed and is replaced after a delay has crashed": (
        service(1),
        [task(1, "failed", "shutdown", since=30, err="exit (3)"), task(1, "ready", "ready", created=30.3)],
        {"running": 0, "crashed": 1, "state": ServiceState.CRASHED},
    ),
    "one that replaced it a second ago does not count as running yet": (
        service(1),
        [task(1, "failed", "shutdown", since=56), task(1, "running", since=59, created=56.1)],
        {"running": 0, "crashed": 1},
    ),
    "one that replaced it and has run for 5 seconds does": (
        service(1),
        [task(1, "failed", "shutdown", since=40), task(1, "running", since=46, created=40.1)],
        {"running": 1, "crashed": 0},
    ),
    "a failure from before the slot was given up and used again says nothing": (
        service(1, UpdatedAt=at(50)),
        [task(1, "failed", "shutdown", since=20), task(1, "starting", created=50.1)],
        {"running": 0, "crashed": 0, "state": ServiceState.RUNNING},
    ),
    "a task that failed and is not replaced has crashed": (
        service(1),
        [task(1, "failed", "shutdown", since=30)],
        {"running": 0, "crashed": 1, "alive": 0},
    ),
    "a task that failed before the count was last changed has not": (
        service(1, UpdatedAt=at(50)),
        [task(1, "failed", "shutdown", since=30)],
        {"crashed": 0},
    ),
    "an image that no node has is a crash": (
        service(1),
        [task(1, "rejected", "ready", since=30, err="No such image")],
        {"crashed": 1},
    ),
    "a task that ended with exit code 0 and is not replaced has exited": (
        service(1),
        [task(1, "complete", "shutdown", since=30)],
        {"exited": 1, "crashed": 0},
    ),
    "one that is replaced has not": (
        service(1),
        [task(1, "complete", "shutdown", since=30), task(1, "ready", "ready", created=30)],
        {"exited": 0},
    ),
    "the history of slots that are no longer wanted does not count": (
        service(1),
        [RUNS[0], task(2, "failed", "shutdown", since=30)],
        {"running": 1, "crashed": 0},
    ),
    "an update in progress is a start": (
        service(2, "updating"),
        [RUNS[0], task(2, "running", "shutdown"), task(2, "ready", "ready")],
        {"running": 1, "alive": 3, "leaving": 0, "state": ServiceState.STARTING},
    ),
    "an update that is paused is none": (service(2, "paused"), RUNS, {"running": 2, "state": ServiceState.RUNNING}),
    "an update that is complete is none": (service(2, "completed"), RUNS, {"under_way": None}),
}


@pytest.mark.parametrize(("one", "tasks", "expected"), READINGS.values(), ids=READINGS)
def test_what_a_service_and_its_tasks_mean(one: Service, tasks: list[Task], expected: dict[str, Any]) -> None:
    seen = replicas(one, tasks, NOW)
    assert {name: getattr(seen, name) for name in expected} == expected


def test_the_ended_tasks_are_needed_only_where_fewer_run_steadily_than_are_configured() -> None:
    assert not is_short(service(), RUNS, NOW)
    assert is_short(service(3), RUNS, NOW)
    assert is_short(service(2, "updating"), RUNS, NOW)
    assert is_short(service(1), [task(1, "running", since=58)], NOW)
    assert not is_short(service(1), [task(1, "running", since=58)], None)


def test_the_deployment_is_another_one_after_an_update_and_the_same_after_a_change_of_the_count() -> None:
    def deployment(one: Service) -> str | None:
        return replicas(one, []).deployment

    updated = service(2)
    updated.Spec["TaskTemplate"]["ContainerSpec"]["Image"] = "worker:2"
    assert deployment(service(2)) == deployment(service(0)) != deployment(updated)


@pytest.mark.parametrize("grace", [None, 10_000_000_000])
def test_without_a_grace_period_a_worker_has_the_ten_seconds_of_the_engine(grace: int | None) -> None:
    one = service()
    one.Spec["TaskTemplate"]["ContainerSpec"]["StopGracePeriod"] = grace
    assert replicas(one, RUNS).draining_s == 10.0


@pytest.mark.parametrize(
    ("update", "on_failure", "waits"),
    [
        pytest.param("updating", "rollback", "held", id="an update that rolls back by itself"),
        pytest.param("updating", "pause", "", id="an update that pauses"),
        pytest.param("rollback_started", "rollback", "", id="a rollback"),
        pytest.param("paused", "pause", "paused", id="an update that is paused"),
        pytest.param("rollback_paused", "rollback", "paused", id="a rollback that is paused"),
        pytest.param("completed", "rollback", "", id="an update that is complete"),
    ],
)
def test_a_change_waits_where_it_would_resume_a_failing_update_or_take_a_rollback_away(
    update: str, on_failure: str, waits: str
) -> None:
    at_it = position(replicas(service(2, update, on_failure=on_failure), RUNS))
    assert [name for name in ("held", "paused") if getattr(at_it, name)] == ([waits] if waits else [])


def test_only_the_count_of_the_spec_changes() -> None:
    one = service()
    changed = with_count(one.Spec, 5)
    assert changed["Mode"] == {"Replicated": {"Replicas": 5}}
    assert {**changed, "Mode": one.Spec["Mode"]} == one.Spec
    assert one.Spec["Mode"] == {"Replicated": {"Replicas": 2}}


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        pytest.param({"Global": {}}, "Global mode", id="global"),
        pytest.param({"ReplicatedJob": {"MaxConcurrent": 1}}, "ReplicatedJob mode", id="a job"),
        pytest.param({"Replicated": {}}, "'None' is not a replica count", id="no count is not 0"),
        pytest.param({"Replicated": {"Replicas": -1}}, "'-1' is not", id="negative"),
        pytest.param({"Replicated": {"Replicas": True}}, "'True' is not", id="a truth value"),
        pytest.param({"Replicated": {"Replicas": 10**9}}, "is not a replica count", id="too large"),
        pytest.param(None, "'None' is not", id="no mode"),
    ],
)
def test_what_has_no_count_cannot_be_read(mode: Any, says: str) -> None:
    one = service()
    one.Spec["Mode"] = mode
    with pytest.raises(ValueError, match=says):
        replicas(one, [])


@pytest.mark.parametrize("wrong", ["update", "task"])
def test_an_unknown_state_is_no_reading(wrong: str) -> None:
    with pytest.raises(ValueError, match="unknown"):
        replicas(
            service(2, "hovering" if wrong == "update" else ""), [task(1, "hovering" if wrong == "task" else "new")]
        )


def test_the_engine_s_own_words_say_what_is_missing_without_what_a_terminal_obeys() -> None:
    words = replicas(service(1), [task(1, "pending", err="no suitable node\x1b[2J")]).words
    assert words.missing.startswith(r"a task is pending (no suitable node\x1b[2J)")
    seen: Replicas = replicas(service(1), [task(1, "failed", "shutdown", since=30, err="exit (3)")], NOW)
    assert seen.words.crashed.startswith("exit (3); see `docker service ps --no-trunc jobs`")
