"""The fake judged by real kubectl: what it reads and scales in a cluster, it reads and scales here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

from controller.fake_kubernetes import FakeKubernetes
from controller.fake_kubernetes.kinds import CUSTOM
from tests.support.kubectl import KUBECTL, needs_kubectl

pytestmark = needs_kubectl


class Said(NamedTuple):
    code: int
    out: str
    error: str


class Kubectl(NamedTuple):
    fake: FakeKubernetes
    config: Path

    async def __call__(self, *arguments: str) -> Said:
        pipe = asyncio.subprocess.PIPE
        environment = {"KUBECONFIG": str(self.config), "HOME": str(self.config.parent), "PATH": "/usr/bin:/bin"}
        process = await asyncio.create_subprocess_exec(KUBECTL, *arguments, stdout=pipe, stderr=pipe, env=environment)
        out, error = await process.communicate()
        return Said(process.returncode or 0, out.decode(), error.decode())


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with FakeKubernetes() as fake:
        fake.cluster.add("worker", replicas=2)
        fake.cluster.add("own", kind=CUSTOM, replicas=1)
        yield Kubectl(fake, fake.write_kubeconfig(tmp_path / "config"))


@pytest.mark.costly
async def test_get_shows_what_there_is(kubectl: Kubectl) -> None:
    said = await kubectl("get", "deployments", "-o", "json")
    assert said.code == 0, said.error
    (found,) = json.loads(said.out)["items"]
    assert (found["metadata"]["name"], found["spec"]["replicas"]) == ("worker", 2)
    said = await kubectl("get", "pods", "-o", "name")
    assert len(said.out.split()) == 3


@pytest.mark.costly
@pytest.mark.parametrize("target", ["deployment/worker", "workers.example.com/own"])
async def test_scale_sets_a_count_also_zero_and_only_while_the_current_one_is_as_said(
    kubectl: Kubectl, target: str
) -> None:
    workload = next(one for one in kubectl.fake.cluster.workloads.values() if one.name == target.split("/")[1])
    for count in ("5", "0", "3"):
        said = await kubectl("scale", target, f"--replicas={count}")
        assert said.code == 0, said.error
        assert workload.replicas == int(count)
    assert (await kubectl("scale", target, "--replicas=4", "--current-replicas=3")).code == 0
    said = await kubectl("scale", target, "--replicas=9", "--current-replicas=3")
    assert (said.code, workload.replicas) == (1, 4)
    assert "Expected replicas to be 3, was 4" in said.error


@pytest.mark.costly
async def test_scale_with_a_resource_version_is_refused_once_somebody_wrote(kubectl: Kubectl) -> None:
    (workload,) = (one for one in kubectl.fake.cluster.workloads.values() if one.name == "worker")
    version = str(workload.version)
    assert (await kubectl("scale", "deploy/worker", "--replicas=3", f"--resource-version={version}")).code == 0
    said = await kubectl("scale", "deploy/worker", "--replicas=4", f"--resource-version={version}")
    assert (said.code, workload.replicas) == (1, 3)


@pytest.mark.costly
async def test_what_is_not_there_too_many_and_a_wrong_token_are_refused_in_the_api_s_own_words(
    kubectl: Kubectl,
) -> None:
    assert 'deployments.apps "none" not found' in (await kubectl("scale", "deploy/none", "--replicas=1")).error
    said = await kubectl("scale", "workers.example.com/own", "--replicas=21")
    assert "should be less than or equal to 20" in said.error
    kubectl.fake.api.faults.add({"fault": "401", "on": "/deployments"})
    assert "You must be logged in" in (await kubectl("get", "deployments")).error
