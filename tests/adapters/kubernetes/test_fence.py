"""A leader that was stopped between its reading and its change: after its last look at the lease, the worst moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.fake_kubernetes import FakeKubernetes, Timings
from tests.contract.frozen import said_after_a_freeze


@pytest.mark.costly
async def test_the_api_refuses_what_a_leader_sends_that_slept_through_its_successor_s_change(tmp_path: Path) -> None:
    async with FakeKubernetes(Timings()) as fake:
        fake.begin(2)
        kubeconfig = fake.write_kubeconfig(tmp_path / "kubeconfig")
        said = await said_after_a_freeze("kubernetes", str(kubeconfig), "default/deployments.apps/worker")
        assert said.startswith("Outdated Kubernetes: ")
        assert "(HTTP 409)" in said
        (workload,) = fake.cluster.workloads.values()
        assert (workload.replicas, len(fake.api.changes)) == (3, 1)
