"""A leader that was stopped between its reading and its change: after its last look at the lease, the worst moment."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from controller.fake_kubernetes import FakeKubernetes, Timings

LEADER = """
import asyncio, sys
from controller.adapters.clock import SystemClock
from controller.adapters.kubernetes.access import KubernetesAccess
from controller.adapters.kubernetes.client import KubernetesClient
from controller.adapters.kubernetes.platform import KubernetesPlatform
from controller.core.model import Change
from controller.policy import Policy

async def lead(url, token):
    policy = Policy.model_validate({"workers": {"w": {
        "kubernetes": {"name": "worker"}, "queue": {"table": "t"}, "tiers": [{"replicas": 1}], "max_replicas": 1}}})
    platform = KubernetesPlatform(KubernetesClient(KubernetesAccess(url, token=token), SystemClock()), policy)
    (key,) = policy.target_ids.values()
    seen = (await platform.observe([key]))[key]
    print("read", seen.configured, flush=True)
    sys.stdin.readline()
    try:
        await platform.scale(key, Change("a", 1, before=2, after=5, at=0.0), seen)
        print("scaled", flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)

asyncio.run(lead(*sys.argv[1:]))
"""


@pytest.mark.costly
async def test_the_api_refuses_what_a_leader_sends_that_slept_through_its_successor_s_change() -> None:
    async with FakeKubernetes(Timings()) as fake:
        fake.begin(2)
        pipe = asyncio.subprocess.PIPE
        leader = await asyncio.create_subprocess_exec(
            sys.executable, "-c", LEADER, fake.url, fake.api.token, stdin=pipe, stdout=pipe
        )
        assert leader.stdout is not None
        assert leader.stdin is not None
        assert await leader.stdout.readline() == b"read 2\n"
        leader.send_signal(signal.SIGSTOP)
        (workload,) = fake.cluster.workloads.values()
        fake.cluster.scale(workload, 1)  # the successor's
        leader.stdin.write(b"\n")
        await leader.stdin.drain()
        leader.send_signal(signal.SIGCONT)
        assert await leader.stdout.readline() == b"Outdated\n"
        await leader.wait()
        assert (workload.replicas, fake.api.changes) == (1, [])
