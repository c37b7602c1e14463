"""Platforms on which the contract is tested: each with two targets that run, and another hand that changes counts.

A real API server is one, too: CONTRACT_KUBECONFIG names its kubeconfig, CONTRACT_TARGETS two targets in it, such as
`default/workers.example.com/a default/workers.example.com/b`. What it does not do wrong by itself, a gateway before it
does. With CONTRACT_PODS=1, a count has to become running: there are nodes, and the image stays up.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast
from unittest.mock import patch

import httpx

from controller.adapters.kubernetes.access import KubernetesAccess
from controller.adapters.kubernetes.client import KubernetesClient
from controller.adapters.kubernetes.kubeconfig import read_kubeconfig
from controller.adapters.kubernetes.platform import KubernetesPlatform
from controller.adapters.own.platform import OwnPlatforms
from controller.adapters.own.settings import OwnAccess
from controller.adapters.railway.client import RailwayClient
from controller.adapters.railway.platform import RailwayPlatform
from controller.adapters.railway.settings import load_railway
from controller.config.platform import Opening, OpenPlatform
from controller.core.model import Change, Replicas
from controller.core.ports import Unavailable
from controller.core.text.masking import Masker
from controller.fake_kubernetes import FakeKubernetes
from controller.fake_kubernetes import Timings as ClusterTimings
from controller.fake_kubernetes.kinds import CUSTOM, DEPLOYMENT, Kind
from controller.fake_railway import FakeRailway, Timings
from controller.policy import Policy
from tests.contract.gateway import Gateway, order_of
from tests.support.patience import until
from tests.support.scene import intent_to
from tests.virtual.idle import LoopClock

_BY_COST = 22
"""The minor version of Kubernetes from which on ReplicaSets look at controller.kubernetes.io/pod-deletion-cost."""
Place = tuple[str, str, str]
"""Of a target in a cluster: its namespace, resource and name."""
ROOT = Path(__file__).parents[2]
WORKER: dict[str, Any] = {"queue": {"table": "jobs"}, "tiers": [{"replicas": 1}], "max_replicas": 1}


@dataclass
class Lead:
    """Whether this process leads."""

    is_ours: bool = True

    def may_act(self, _: int) -> bool:
        return self.is_ours


@dataclass
class Stage:
    """platform: under test. one, two, absent: keys of targets; the last is not there.

    by_hand: sets a count as somebody else would. order: a fault for the next request, by its kind, and on what: "read"
    or "change"; None: this platform cannot be told to fail. has_pods: whether a count becomes running by itself.
    heeds_chooser: whether pods go in the order that the chooser asks for, which Kubernetes does from 1.22 on. sent:
    how many changes have arrived; 0 where that is unknown.
    """

    platform: OpenPlatform
    one: str
    two: str
    absent: str
    lead: Lead
    by_hand: Callable[[int], Any]
    order: Callable[..., None] | None = None
    has_pods: bool = True
    heeds_chooser: bool = True
    sent: Callable[[], int] = field(default=lambda: 0)

    async def read(self, key: str = "") -> Replicas:
        key = key or self.one
        reading = (await self.platform.observe([key]))[key]
        assert isinstance(reading, Replicas), reading
        return reading

    async def scale(self, count: int, seen: Replicas | None = None) -> Change:
        change = intent_to(count)
        await self.platform.scale(self.one, change, seen or await self.read())
        return change

    async def shows(self, count: int) -> Replicas:
        """Until it is configured so, and runs so."""

        async def settled() -> Replicas | None:
            seen = await self.read()
            runs = not self.has_pods or seen.running == count
            return seen if seen.configured == count and runs else None

        return await until(settled, f"{count} configured and running")


@asynccontextmanager
async def on_railway() -> AsyncIterator[Stage]:
    lead = Lead()
    async with FakeRailway.create(2, timings=Timings().scaled(0.01)) as fake:
        other = fake.add_service("other", replicas=1)
        settings = load_railway(fake.environment_variables("account"))
        client = RailwayClient(settings.api_url, settings.token, LoopClock(), may_mutate=lead.may_act, timeout_s=2.0)
        platform = RailwayPlatform(
            client, project=settings.project_id, environment=settings.environment_id, shown_within_s=0.05
        )

        async def by_hand(count: int) -> None:
            async with httpx.AsyncClient() as http:
                await http.post(f"{fake.base_url}/services/{fake.worker.id}", json={"replicas": count})

        def order(kind: str, on: str) -> None:
            fake.inject(
                kind, times=9 if on == "read" else 1, on={"read": "query", "change": "mutation"}[on], seconds=60
            )

        yield Stage(
            platform,
            fake.worker.id,
            other.id,
            "no-such-service",
            lead,
            by_hand,
            order,
            sent=lambda: len(fake.mutations),
        )
        await platform.close()


@asynccontextmanager
async def on_fake(kind: Kind) -> AsyncIterator[Stage]:
    lead = Lead()
    async with FakeKubernetes(ClusterTimings().scaled(0.01)) as fake:
        worker = fake.cluster.add("one", kind=kind, replicas=2)
        fake.cluster.add("two", kind=kind, replicas=1)
        access = KubernetesAccess(fake.url, token=fake.api.token)
        platform = in_cluster(access, lead, [("default", kind.name, name) for name in ("one", "two", "absent")])

        async def by_hand(count: int) -> None:
            fake.cluster.scale(worker, count)

        def order(kind: str, on: str) -> None:
            order_of(fake.api.faults, kind, on)

        keys = [f"kubernetes:default/{kind.name}/{name}" for name in ("one", "two", "absent")]
        yield Stage(platform, keys[0], keys[1], keys[2], lead, by_hand, order, sent=lambda: len(fake.api.changes))
        await platform.close()


@asynccontextmanager
async def on_a_real_one() -> AsyncIterator[Stage]:
    access = read_kubeconfig(os.environ["CONTRACT_KUBECONFIG"])
    one, two = (cast("Place", tuple(place.split("/"))) for place in os.environ["CONTRACT_TARGETS"].split())
    async with behind_a_gateway(access, one, two) as stage:
        yield stage


@asynccontextmanager
async def on_a_fake_behind_a_gateway() -> AsyncIterator[Stage]:
    async with FakeKubernetes(ClusterTimings().scaled(0.01)) as fake:
        for name in ("one", "two"):
            fake.cluster.add(name, kind=DEPLOYMENT, replicas=1)
        access = KubernetesAccess(fake.url, token=fake.api.token)
        place = ("default", DEPLOYMENT.name)
        async with behind_a_gateway(access, (*place, "one"), (*place, "two"), has_pods=True) as stage:
            yield stage


@asynccontextmanager
async def behind_a_gateway(
    access: KubernetesAccess, one: Place, two: Place, *, has_pods: bool = os.environ.get("CONTRACT_PODS") == "1"
) -> AsyncIterator[Stage]:
    """What the cluster does not do wrong by itself is done on the way to it."""
    lead, absent = Lead(), (one[0], one[1], "absent")
    async with Gateway(access) as gateway:
        platform = in_cluster(gateway.access, lead, [one, two, absent])

        async def by_hand(count: int) -> None:
            path = f"{await platform.resources.path(one[0], one[1], one[2])}/scale"
            await platform.client.patch(path, {"spec": {"replicas": count}}, intent_to(count))

        minor = (await platform.client.get("/version"))["minor"].rstrip("+")
        await by_hand(2)
        keys = [f"kubernetes:{'/'.join(place)}" for place in (one, two, absent)]
        yield Stage(
            platform,
            keys[0],
            keys[1],
            keys[2],
            lead,
            by_hand,
            gateway.order,
            has_pods=has_pods,
            heeds_chooser=int(minor) >= _BY_COST,
            sent=lambda: gateway.changes,
        )
        lead.is_ours = True
        await platform.close()


def in_cluster(access: KubernetesAccess, lead: Lead, places: list[Place]) -> KubernetesPlatform:
    client = KubernetesClient(access, LoopClock(), may_change=lead.may_act, timeout_s=2.0)
    targets = [{"namespace": namespace, "resource": resource, "name": name} for namespace, resource, name in places]
    workers = {f"w{number}": {**WORKER, "kubernetes": target} for number, target in enumerate(targets)}
    for number, worker in enumerate(workers.values()):
        worker["queue"] = {"table": f"jobs{number}"}
    return KubernetesPlatform(client, Policy.model_validate({"workers": workers}))


@asynccontextmanager
async def on_an_own_one() -> AsyncIterator[Stage]:
    """docs/platform_example.py, as a policy names it."""
    lead = Lead()
    worker = {**WORKER, "platform": {"use": "platform_example:Folder", "target": "one"}}
    others = {name: {**worker, "platform": {**worker["platform"], "target": name}} for name in ("two", "absent")}
    policy = Policy.model_validate({"workers": {"one": worker, **others}})
    with TemporaryDirectory() as folder, patch.object(sys, "path", [*sys.path, str(ROOT / "docs")]):
        for name, count in (("one", 2), ("two", 1)):
            (Path(folder) / name).write_text(str(count))
        access = OwnAccess({"FOLDER": folder})
        platform = OwnPlatforms(Opening(access, policy, LoopClock(), lead.may_act, 2.0, Masker()))

        async def by_hand(count: int) -> None:
            (Path(folder) / "one").write_text(str(count))

        one, two, absent = (policy.workers[name].target.key for name in ("one", "two", "absent"))
        yield Stage(platform, one, two, absent, lead, by_hand)
        await platform.close()


STAGES: dict[str, Callable[[], AbstractAsyncContextManager[Stage]]] = {
    "Railway": on_railway,
    "a Deployment": lambda: on_fake(DEPLOYMENT),
    "a custom resource": lambda: on_fake(CUSTOM),
    "a cluster behind a gateway": on_a_fake_behind_a_gateway,
    "a platform in one file": on_an_own_one,
}
IS_REAL = "CONTRACT_KUBECONFIG" in os.environ
"""Then it alone is tested, and in real time: a server outside of this process knows no other."""
if IS_REAL:
    STAGES = {"a real API server": on_a_real_one}

__all__ = ["IS_REAL", "STAGES", "Stage", "Unavailable"]
