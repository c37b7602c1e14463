"""What Railway's answers mean, as a table: which state, how many configured, how many running."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from controller.adapters.railway import reading
from controller.adapters.railway.reading import ServiceInstance
from controller.model import ServiceState


def deployment(
    status: str, *instances: str, stopped: bool = False, regions: Any = None, ident: str = "d1", deploy: Any = None
) -> dict[str, Any]:
    return {
        "id": ident,
        "status": status,
        "deploymentStopped": stopped,
        "instances": [{"id": str(number), "status": one} for number, one in enumerate(instances)],
        "meta": {"serviceManifest": {"deploy": deploy or {"multiRegionConfig": regions or {"us": {"numReplicas": 3}}}}},
    }


def instance(latest: Any, *active: Any, **more: Any) -> ServiceInstance:
    absent = dict.fromkeys(("numReplicas", "region", "cronSchedule", "drainingSeconds"))
    fields = {"serviceId": "s", "serviceName": "worker", "latestDeployment": latest, "activeDeployments": list(active)}
    return ServiceInstance.model_validate({**absent, **fields, **more})


RUNNING = deployment("SUCCESS", "RUNNING", "RUNNING", "RUNNING")
OLD = deployment("SUCCESS", "RUNNING", ident="d0")


@pytest.mark.parametrize(
    ("what", "state", "configured", "running"),
    [
        (instance(None), ServiceState.NEVER_DEPLOYED, 0, 0),
        (instance(RUNNING, RUNNING), ServiceState.RUNNING, 3, 3),
        (instance(deployment("SUCCESS", "RUNNING", "CREATED", "INITIALIZING")), ServiceState.RUNNING, 3, 1),
        (instance(deployment("SUCCESS", "EXITED", stopped=True)), ServiceState.STOPPED, 0, 0),
        (instance(deployment("DEPLOYING", "INITIALIZING", stopped=True)), ServiceState.STARTING, 3, 0),
        (instance(deployment("BUILDING", stopped=True), OLD), ServiceState.STARTING, 3, 1),
        (instance(deployment("SLEEPING", "RUNNING", stopped=True)), ServiceState.SLEEPING, 0, 0),
        (instance(deployment("CRASHED", "CRASHED", "RUNNING")), ServiceState.CRASHED, 3, 1),
        (instance(deployment("CRASHED", "CRASHED", stopped=True)), ServiceState.CRASHED, 3, 0),
        (instance(deployment("CRASHED", "EXITED", stopped=True)), ServiceState.STOPPED, 0, 0),
        (instance(deployment("REMOVED", "REMOVED", stopped=True)), ServiceState.REMOVED, 0, 0),
        (instance(deployment("FAILED"), OLD), ServiceState.RUNNING, 3, 1),
        (instance(deployment("SKIPPED"), OLD), ServiceState.RUNNING, 3, 1),
        (instance(deployment("FAILED")), ServiceState.FAILED, 3, 0),
        (instance(RUNNING, RUNNING, OLD), ServiceState.RUNNING, 3, 4),
    ],
    ids=[
        *("never deployed", "running", "some still starting", "stopped though it says SUCCESS"),
        *("starting though it says stopped", "a new one is built while the old one serves", "sleeping"),
        *(
            "crashed in part",
            "crashed altogether",
            "crashed, and stopped since",
            "removed",
            "a failed deploy leaves the old one",
            "a skipped deploy too",
        ),
        *("failed with nothing left", "old and new overlap"),
    ],
)
def test_the_table(what: ServiceInstance, state: ServiceState, configured: int, running: int) -> None:
    speaker = reading.speaker(what)
    assert reading.state_of(speaker) is state
    replicas = reading.replicas(what, state, reading.regions_in_meta(speaker) or {})
    assert (replicas.configured, replicas.running) == (configured, running)


def test_an_instance_that_drains_is_alive_and_no_longer_counts_for_the_configured() -> None:
    what = instance(deployment("SUCCESS", "RUNNING", "REMOVING", "REMOVED", "EXITED"))
    assert reading.live(what.latestDeployment) == 1
    assert reading.replicas(what, ServiceState.RUNNING, {"us": 1}).alive == 2


@pytest.mark.parametrize(
    ("regions", "counts"),
    [
        ({"us": {"numReplicas": 2}, "eu": {"numReplicas": 1}}, {"us": 2, "eu": 1}),
        ({"us": {"numReplicas": 2}, "eu": None}, {"us": 2}),
        ({}, None),
        (None, None),
    ],
)
def test_the_map_of_regions(regions: Any, counts: dict[str, int] | None) -> None:
    config = {"services": {"s": {"deploy": {"multiRegionConfig": regions}}}}
    assert reading.regions_in_config(config, "s") == counts


@pytest.mark.parametrize("regions", ["us", [4], 3, {"us": "x"}, {"us": 4}])
def test_a_map_that_is_none_is_not_taken_for_an_absent_one(regions: Any) -> None:
    with pytest.raises(TypeError):
        reading.regions_in_config({"services": {"s": {"deploy": {"multiRegionConfig": regions}}}}, "s")


@pytest.mark.parametrize("meta", [{"serviceManifest": "x"}, {"serviceManifest": {"deploy": [1]}}])
def test_a_meta_of_another_shape_is_not_taken_for_an_empty_one(meta: Any) -> None:
    what = instance({**RUNNING, "meta": meta})
    with pytest.raises(TypeError):
        reading.regions_in_meta(what.latestDeployment)


@pytest.mark.parametrize("key", ["latestDeployment", "activeDeployments", "numReplicas", "cronSchedule"])
def test_a_field_that_was_asked_for_and_is_not_there_is_no_reading(key: str) -> None:
    fields = instance(RUNNING).model_dump()
    del fields[key]
    with pytest.raises(ValidationError):
        ServiceInstance.model_validate(fields)


@pytest.mark.parametrize("count", [-1, "3", True, 2.5, [1], None, 10**9])
def test_a_count_that_is_none_is_never_taken_for_one(count: Any) -> None:
    with pytest.raises(ValueError, match="not a number of replicas"):
        reading.regions_in_config(
            {"services": {"s": {"deploy": {"multiRegionConfig": {"us": {"numReplicas": count}}}}}}, "s"
        )


@pytest.mark.parametrize(
    ("what", "regions"),
    [
        (instance(deployment("SUCCESS", deploy={"region": "us", "numReplicas": 4})), {"us": 4}),
        (instance(deployment("SUCCESS", deploy={"region": "us"}), numReplicas=2), {"us": 2}),
        (instance(deployment("SUCCESS", deploy={"x": 1}), numReplicas=2, region="eu"), {"eu": 2}),
        (instance(deployment("SUCCESS", deploy={"x": 1})), {"": 1}),
    ],
    ids=["both in the meta", "the flat count", "the service's own region", "nothing at all"],
)
def test_services_from_before_the_map(what: ServiceInstance, regions: dict[str, int]) -> None:
    assert reading.regions_of_old(what, what.latestDeployment) == regions


def test_several_instances_of_which_nothing_says_how_many_there_should_be_are_not_taken_for_one() -> None:
    what = instance(deployment("SUCCESS", "RUNNING", "RUNNING", deploy={"x": 1}))
    with pytest.raises(ValueError, match="2 instances"):
        reading.regions_of_old(what, what.latestDeployment)


def test_a_deployment_that_waits_for_a_person_does_not_hide_the_stopped_one() -> None:
    stopped = deployment("SUCCESS", "EXITED", stopped=True, ident="d0")
    what = instance(deployment("NEEDS_APPROVAL", stopped=True), stopped)
    assert reading.state_of(reading.speaker(what)) is ServiceState.STOPPED


def test_a_status_nobody_has_heard_of_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="'DREAMING' is not known here"):
        reading.state_of(instance(deployment("DREAMING")).latestDeployment)


@pytest.mark.parametrize(
    ("total", "regions", "spread"),
    [
        (3, {"us": 1}, {"us": 3}),
        (6, {"us": 2, "eu": 1}, {"us": 4, "eu": 2}),
        (5, {"us": 2, "eu": 2}, {"eu": 3, "us": 2}),
        (1, {"us": 2, "eu": 1}, {"us": 1, "eu": 1}),
        (4, {"us": 0, "eu": 0}, {"us": 2, "eu": 2}),
        (4, {"us": 10, "eu": 1, "asia": 1}, {"us": 2, "eu": 1, "asia": 1}),
        (5, {"us": 0, "eu": 2}, {"us": 1, "eu": 4}),
    ],
)
def test_a_total_is_spread_in_proportion(total: int, regions: dict[str, int], spread: dict[str, int]) -> None:
    assert reading.spread(total, regions) == spread


REGIONS = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 20), min_size=1)


@given(st.integers(1, 50), REGIONS)
def test_a_spread_keeps_every_region_and_adds_up_to_the_total_or_to_one_each(
    total: int, regions: dict[str, int]
) -> None:
    spread = reading.spread(total, regions)
    assert spread.keys() == regions.keys()
    assert all(count >= 1 for count in spread.values())
    assert sum(spread.values()) == max(total, len(regions))


@given(st.integers(1, 50), REGIONS)
def test_one_more_in_all_takes_none_from_any_region(total: int, regions: dict[str, int]) -> None:
    fewer, more = reading.spread(total, regions), reading.spread(total + 1, regions)
    assert all(more[region] >= fewer[region] for region in regions)


@given(st.integers(1, 5), st.dictionaries(st.sampled_from("abcde"), st.integers(1, 10), min_size=1))
def test_what_can_be_in_exact_proportion_is(times: int, regions: dict[str, int]) -> None:
    total = times * sum(regions.values())
    assert reading.spread(total, regions) == {region: times * count for region, count in regions.items()}


@given(st.integers(1, 50), REGIONS)
def test_a_larger_weight_never_gets_fewer(total: int, regions: dict[str, int]) -> None:
    spread = reading.spread(total, regions)
    for one, weight in regions.items():
        assert all(spread[one] >= spread[other] for other, lighter in regions.items() if weight > lighter)


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=8),
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=1),
)
def test_proportions_survive_every_way_down_and_up_again(totals: list[int], regions: dict[str, int]) -> None:
    known, there = regions, regions
    for total in totals:
        known = dict(reading.proportions(there, known))
        there = reading.spread(total, known)
    assert known == regions


def test_proportions_that_somebody_else_has_set_are_the_new_ones() -> None:
    assert reading.proportions({"us": 2, "eu": 2}, {"us": 3, "eu": 1}) == {"us": 2, "eu": 2}
    assert reading.proportions({"us": 3}, {"us": 3, "eu": 1}) == {"us": 3}
    assert reading.proportions({"us": 1, "eu": 1}, {"us": 3, "eu": 1}) == {"us": 3, "eu": 1}


@pytest.mark.parametrize(
    ("mounts", "attached"), [(None, False), ({}, False), ({"v": None}, False), ({"v": {"mountPath": "/data"}}, True)]
)
def test_a_volume_is_what_the_config_has_attached(mounts: Any, attached: bool) -> None:  # noqa: FBT001  # a table
    assert reading.volume_in_config({"services": {"s": {"volumeMounts": mounts}}}, "s") is attached
