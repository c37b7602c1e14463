"""What the status of a pod says of its containers."""

from __future__ import annotations

from typing import Any

import pytest

from controller.adapters.kubernetes.reading import Pods, pods_of

WAITS = {"ready": False, "state": {"waiting": {"reason": "PodInitializing"}}}


def ended(code: int) -> dict[str, Any]:
    return {"state": {"terminated": {"exitCode": code}}}


def again(code: int, reason: str = "CrashLoopBackOff") -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason}}, "lastState": {"terminated": {"exitCode": code}}}


@pytest.mark.parametrize(
    ("init", "containers", "crashed", "exited"),
    [
        pytest.param([], [ended(1)], 1, 0, id="it crashed"),
        pytest.param([], [ended(0)], 0, 1, id="it exited"),
        pytest.param([], [again(137)], 1, 0, id="it waits after a crash"),
        pytest.param([], [again(0)], 0, 1, id="it waits after an exit"),
        pytest.param([], [again(128, "RunContainerError")], 1, 0, id="its command is not there"),
        pytest.param([ended(0)], [WAITS], 0, 0, id="an init container has done its work"),
        pytest.param([ended(1)], [WAITS], 1, 0, id="an init container crashed"),
        pytest.param([ended(0), again(2)], [WAITS], 1, 0, id="the second one waits after a crash"),
        pytest.param([ended(0)], [ended(0)], 0, 1, id="it exited after an init container"),
        pytest.param([], [{"state": {"running": {}}}, ended(3)], 1, 0, id="a second container crashed"),
        pytest.param([], [again(1, "ContainerCreating")], 0, 0, id="it is being created anew"),
    ],
)
def test_a_crash_is_told_from_an_exit_and_from_an_init_container_that_ended_well(
    init: list[object], containers: list[object], crashed: int, exited: int
) -> None:
    status = {"phase": "Pending", "initContainerStatuses": init, "containerStatuses": containers}
    pod = {"metadata": {"name": "p", "labels": {"app": "w"}}, "status": status}
    assert pods_of("app=w", [pod]) == Pods(every=1, crashed=crashed, exited=exited)
