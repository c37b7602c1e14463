"""Which pods go first, over real HTTP: what is listed, what is patched, and what makes it give up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from controller.adapters.kubernetes.access import KubernetesAccess
from controller.adapters.kubernetes.chooser import BUSY, COST, PodChooser
from controller.adapters.kubernetes.reading import Pod, in_order
from controller.core.model import Change, Instances
from controller.core.ports import Chooser, LeaseLost, Unavailable
from controller.fake_kubernetes import FakeKubernetes, Timings, Workload
from controller.fake_kubernetes.kinds import CUSTOM, DEPLOYMENT, STATEFUL_SET, Kind
from tests.contract.stages import Lead, in_cluster

pytestmark = pytest.mark.virtual_time
DOWN = Change("a", 7, before=5, after=2, at=0.0)
PODS = "/api/v1/namespaces/default/pods"


@asynccontextmanager
async def chosen(
    replicas: int = 5, lead: Lead | None = None
) -> AsyncIterator[tuple[FakeKubernetes, Workload, PodChooser]]:
    async with FakeKubernetes(Timings()) as fake:
        workload = fake.cluster.add("worker", replicas=replicas)
        fake.cluster.add("other", replicas=1)
        access = KubernetesAccess(fake.url, token=fake.api.token)
        platform = in_cluster(access, lead or Lead(), [("default", "deployments.apps", "worker")])
        chooser = platform.chooser("kubernetes:default/deployments.apps/worker")
        assert isinstance(chooser, PodChooser)
        yield fake, workload, chooser
        await platform.close()


def costs(workload: Workload) -> list[str | None]:
    return [pod.annotations.get(COST) for pod in workload.pods]


def patches(fake: FakeKubernetes) -> list[str]:
    return [path.rpartition("/")[2] for method, path in fake.api.requests if method == "PATCH"]


@pytest.mark.parametrize(("kind", "can"), [(DEPLOYMENT, True), (STATEFUL_SET, True), (CUSTOM, False)])
async def test_only_where_it_is_known_which_pods_go_is_there_a_chooser(kind: Kind, *, can: bool) -> None:
    platform = in_cluster(KubernetesAccess("http://nowhere"), Lead(), [("default", kind.name, "worker")])
    assert (platform.chooser(f"kubernetes:default/{kind.name}/worker") is not None) is can
    await platform.close()


async def test_the_pods_of_the_target_alone_are_told_by_what_can_be_done_about_them() -> None:
    async with chosen(3) as (fake, workload, chooser):
        first, *others = [pod.name for pod in workload.pods]
        for count in (2, 3):  # one more is created, while one still ends
            fake.cluster.scale(workload, count)
            fake.cluster.advance(asyncio.get_running_loop().time())
        found = await chooser.instances()
        new = workload.pods[-1].name
    assert found == Instances(tuple(others), (new,), (first,))
    scale = "/apis/apps/v1/namespaces/default/deployments/worker/scale"
    assert fake.api.requests == [("GET", scale), ("GET", PODS)]


@pytest.mark.costly
async def test_pods_are_read_in_pages_and_not_without_end() -> None:
    async with chosen(1200) as (fake, _, chooser):
        assert len((await chooser.instances()).staying) == 1200
        assert [path for _, path in fake.api.requests].count(PODS) == 3
    async with chosen(5001) as (_, _, chooser):
        with pytest.raises(Unavailable, match="more than 10 pages, 5,000 objects"):
            await chooser.instances()


async def test_before_a_scale_down_busy_pods_get_a_cost_and_those_that_were_busy_lose_it() -> None:
    async with chosen() as (fake, workload, chooser):
        names = [pod.name for pod in workload.pods]
        workload.pods[0].annotations[COST] = "7"  # somebody else's, of an idle pod
        await chooser.instances()
        await chooser.keep(names[1:3], DOWN)
        assert costs(workload) == ["7", str(BUSY), str(BUSY), None, None]
        await chooser.instances()
        await chooser.keep(names[2:4], DOWN)
        assert costs(workload) == ["7", None, str(BUSY), str(BUSY), None]
        assert sorted(patches(fake)) == sorted([names[1], names[2], names[1], names[3]]), "only what differs"


async def test_a_cost_of_somebody_else_that_keeps_a_busy_pod_anyway_is_left_as_it_is() -> None:
    async with chosen() as (fake, workload, chooser):
        workload.pods[0].annotations[COST] = "2000000000"
        await chooser.instances()
        await chooser.keep([workload.pods[0].name], DOWN)
        assert patches(fake) == []


async def test_the_pods_with_a_cost_are_those_that_stay() -> None:
    async with chosen() as (fake, workload, chooser):
        busy = [workload.pods[0].name, workload.pods[4].name]
        await chooser.instances()
        await chooser.keep(busy, DOWN)
        fake.cluster.scale(workload, 2)
        fake.cluster.advance(fake.cluster.now)
        assert [pod.name for pod in workload.living] == busy


@pytest.mark.parametrize(("fault", "says"), [("403", "rbac.yaml"), ("500", "HTTP 500"), ("429", "HTTP 429")])
async def test_a_pod_that_cannot_be_patched_is_said(fault: str, says: str) -> None:
    async with chosen() as (fake, workload, chooser):
        await chooser.instances()
        fake.api.faults.add({"fault": fault, "on": "change", "seconds": 5})
        with pytest.raises(Unavailable, match=says):
            await chooser.keep([workload.pods[0].name], DOWN)


async def test_a_pod_that_is_gone_by_then_needs_no_cost() -> None:
    async with chosen() as (_, workload, chooser):
        await chooser.instances()
        gone = workload.pods.pop(0).name
        await chooser.keep([gone, workload.pods[0].name], DOWN)
        assert costs(workload)[0] == str(BUSY)


async def test_who_no_longer_leads_patches_nothing() -> None:
    lead = Lead()
    async with chosen(lead=lead) as (_, workload, chooser):
        await chooser.instances()
        lead.is_ours = False
        with pytest.raises(LeaseLost):
            await chooser.keep([workload.pods[0].name], DOWN)
        assert costs(workload) == [None] * 5


async def test_more_than_200_patches_are_not_made_for_one_change() -> None:
    async with chosen(300) as (fake, workload, chooser):
        await chooser.instances()
        with pytest.raises(Unavailable, match="201 patches of pods before this change, and 200 are the limit"):
            await chooser.keep([pod.name for pod in workload.pods[:201]], DOWN)
        assert patches(fake) == []


def ends(workload: Workload, pods: Sequence[int]) -> list[int]:
    return [place for place in pods if workload.pods[place].ends is not None]


async def test_a_stateful_set_of_the_fake_goes_by_its_ordinals_whatever_a_pod_costs() -> None:
    async with FakeKubernetes(Timings()) as fake:
        workload = fake.cluster.add("db", kind=STATEFUL_SET, replicas=3)
        workload.pods[2].annotations[COST] = str(BUSY)
        fake.cluster.scale(workload, 2)
        fake.cluster.advance(fake.cluster.now)
        assert (ends(workload, range(3)), [pod.name for pod in workload.living]) == ([2], ["db-0", "db-1"])


@asynccontextmanager
async def of_a_stateful_set(replicas: int) -> AsyncIterator[tuple[FakeKubernetes, Workload, Chooser]]:
    async with FakeKubernetes(Timings()) as fake:
        workload = fake.cluster.add("db", kind=STATEFUL_SET, replicas=replicas)
        access = KubernetesAccess(fake.url, token=fake.api.token)
        platform = in_cluster(access, Lead(), [("default", "statefulsets.apps", "db")])
        chooser = platform.chooser("kubernetes:default/statefulsets.apps/db")
        assert chooser is not None
        yield fake, workload, chooser
        await platform.close()


async def test_of_a_stateful_set_each_ordinal_up_to_the_highest_counts_and_nothing_is_patched() -> None:
    async with of_a_stateful_set(4) as (fake, workload, chooser):
        del workload.pods[1]  # it is being made anew
        found = await chooser.instances()
        await chooser.keep(["db-3"], DOWN)
        assert found == Instances(("db-0", "db-1", "db-2", "db-3"), in_order=True)
        fake.cluster.scale(workload, 3)
        fake.cluster.advance(fake.cluster.now)
        found = await chooser.instances()
    assert (found.staying[-1], found.leaving) == ("db-2", ("db-3",))
    assert patches(fake) == []


POD = Pod("db-7", is_ready=True, is_leaving=False, cost=0)


@pytest.mark.parametrize(
    ("spec", "names", "staying"),
    [
        pytest.param({}, [], (), id="no pod"),
        pytest.param({"ordinals": {"start": 5}}, ["db-5", "db-6"], ("db-5", "db-6"), id="it does not begin at 0"),
        pytest.param({}, ["db-0", "db-x", "other-3", "db-1-1"], ("db-0",), id="a pod of somebody else"),
        pytest.param({}, ["db-0", "db-9999999999"], ("db-0",), id="an ordinal that no StatefulSet has"),
    ],
)
def test_the_ordinals_of_a_stateful_set(spec: dict[str, object], names: list[str], staying: tuple[str, ...]) -> None:
    found = in_order({"metadata": {"name": "db"}, "spec": spec}, [POD._replace(name=name) for name in names])
    assert found.staying == staying
