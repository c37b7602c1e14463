"""What Railway's answers mean, as a table: which state, how many configured, how many running."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from controller.adapters.railway import reading
from controller.adapters.railway.reading import ServiceInstance, Stored
from controller.core.model import ServiceState, UnderWay
from controller.core.price import Price


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
    current_deployment = reading.current_deployment(what)
    assert reading.state_of(current_deployment) is state
    replicas = reading.replicas(what, state, reading.regions_in_meta(current_deployment) or {})
    assert (replicas.configured, replicas.running) == (configured, running)


@pytest.mark.parametrize(
    ("latest", "crashed", "exited"),
    [
        (deployment("SUCCESS", "RUNNING", "CRASHED", "CRASHED"), 2, 0),
        (deployment("SUCCESS", "RUNNING", "EXITED", "REMOVED"), 0, 1),
        (deployment("CRASHED", "CRASHED", "CRASHED"), 2, 0),
        (deployment("CRASHED", "RESTARTING"), 1, 0),
        (deployment("CRASHED"), 1, 0),
        (deployment("SUCCESS", "RESTARTING", "CREATED"), 0, 0),
        (deployment("DEPLOYING", "CRASHED", stopped=True), 1, 0),
        (deployment("BUILDING", stopped=True), 0, 0),
    ],
)
def test_what_has_crashed_and_what_has_exited_is_counted_of_the_deployment_that_speaks(
    latest: Any, crashed: int, exited: int
) -> None:
    what = instance(latest, latest, deployment("REMOVING", "CRASHED", "EXITED", ident="old"))
    replicas = reading.replicas(what, reading.state_of(reading.current_deployment(what)), {"us": 3})
    assert (replicas.crashed, replicas.exited) == (crashed, exited)


NOON, ONE_O_CLOCK = "2026-11-23T12:00:00.000Z", "2026-11-23T13:00:00.500+00:00"


@pytest.mark.parametrize(
    ("changed", "created", "since"),
    [
        (ONE_O_CLOCK, NOON, 1_795_438_800.5),
        (None, NOON, 1_795_435_200.0),
        ("soon", NOON, 1_795_435_200.0),
        (None, None, None),
        (7, ["x"], None),
        ("9999-99-99", "", None),
    ],
)
def test_a_deployment_on_its_way_is_known_with_its_status_and_since_when(
    changed: Any, created: Any, since: float | None
) -> None:
    coming = {**deployment("BUILDING", stopped=True, ident="d2"), "statusUpdatedAt": changed, "createdAt": created}
    what = instance(coming, OLD)
    assert reading.under_way(what.latestDeployment) == UnderWay("d2", "BUILDING", since)


@pytest.mark.parametrize("status", ["SUCCESS", "CRASHED", "SLEEPING", "FAILED", "REMOVED"])
def test_a_deployment_that_has_ended_or_serves_is_not_on_its_way(status: str) -> None:
    assert reading.under_way(instance(deployment(status)).latestDeployment) is None


def test_an_older_deployment_serves_while_the_newest_waits_for_somebody() -> None:
    what = instance(deployment("NEEDS_APPROVAL", stopped=True, ident="d2"), OLD)
    replicas = reading.replicas(what, ServiceState.RUNNING, {"us": 1})
    assert (replicas.deployment, replicas.under_way) == ("d0", UnderWay("d2", "NEEDS_APPROVAL"))


def test_an_instance_that_drains_is_alive_and_no_longer_counts_for_the_configured() -> None:
    what = instance(deployment("SUCCESS", "RUNNING", "REMOVING", "REMOVED", "EXITED"))
    assert reading.live(what.latestDeployment) == 1
    assert reading.replicas(what, ServiceState.RUNNING, {"us": 1}).alive == 2


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ({"containers": {"cpu": 2, "memoryBytes": 4_000_000_000}}, Price(4.0, 2.0)),
        ({"containers": {"cpu": 0.5, "memoryBytes": 512_000_000, "diskBytes": 1}}, Price(0.512, 0.5)),
        ({"containers": {"memoryBytes": 3_000_000_000}}, None),
        ({"containers": {"cpu": 0, "memoryBytes": 3_000_000_000}}, None),
        ({"containers": {"cpu": "2", "memoryBytes": True}}, None),
        ({"containers": []}, None),
        ("none", None),
        (None, None),
    ],
    ids=str,
)
def test_the_limits_of_a_service_are_read_where_both_are_set(override: object, found: Price | None) -> None:
    deploy = {"multiRegionConfig": {"us": {"numReplicas": 3}}, "limitOverride": override}
    what = instance(deployment("SUCCESS", "EXITED", stopped=True, deploy=deploy))
    assert reading.replicas(what, ServiceState.STOPPED, {"us": 3}).limits == found


def drained(status: str, *instances: str, seconds: Any = 30, ident: str = "d1", stopped: bool = False) -> Any:
    """A deployment that was made with a time to drain."""
    deploy = {"multiRegionConfig": {"us": {"numReplicas": 3}}, "drainingSeconds": seconds}
    return deployment(status, *instances, ident=ident, stopped=stopped, deploy=deploy)


SERVES = drained("SUCCESS", "RUNNING", "RUNNING", "REMOVING", "REMOVING", "REMOVED", ident="d0")


@pytest.mark.parametrize(
    ("what", "leaving"),
    [
        pytest.param(instance(SERVES, SERVES), 2, id="two of one deployment are told to go"),
        pytest.param(instance(drained("SUCCESS", *["RUNNING"] * 9)), 0, id="more run than there should be"),
        pytest.param(instance(drained("SUCCESS", "RUNNING", "REMOVING", seconds=0)), 0, id="no time to drain"),
        pytest.param(instance(drained("SUCCESS", "RUNNING", "REMOVING", seconds=None)), 0, id="none that is known"),
        pytest.param(instance(drained("SUCCESS", "RUNNING", "REMOVING", seconds="20")), 1, id="a time written as text"),
        pytest.param(
            instance(drained("SUCCESS", "RUNNING", "REMOVING", seconds=None), drainingSeconds=600),
            0,
            id="a time that only the next deployment has",
        ),
        pytest.param(instance(drained("SUCCESS", "RUNNING", ident="d2"), SERVES), 0, id="a new one serves beside it"),
        *[
            pytest.param(instance(drained(status, ident="d2", stopped=True), SERVES), 0, id=f"a new one is {status}")
            for status in ("INITIALIZING", "QUEUED", "WAITING", "NEEDS_APPROVAL", "BUILDING", "DEPLOYING")
        ],
        pytest.param(
            instance(drained("DEPLOYING", "RUNNING", "REMOVING", stopped=True)), 0, id="the only one still starts"
        ),
        pytest.param(
            instance(drained("DEPLOYING", "RUNNING", ident="d2", stopped=True), drained("SUCCESS", *["RUNNING"] * 5)),
            0,
            id="instances of a new one start while the old one serves",
        ),
        pytest.param(instance(drained("FAILED", "REMOVED", ident="d2"), SERVES), 2, id="a new one failed and is gone"),
        pytest.param(instance(drained("FAILED", "RUNNING", ident="d2"), SERVES), 0, id="a failed one still has some"),
        pytest.param(instance(drained("SKIPPED", ident="d2"), SERVES), 2, id="a new one was skipped"),
        pytest.param(instance(drained("CRASHED", "CRASHED", ident="d2"), SERVES), 0, id="a new one crashed"),
        pytest.param(
            instance(drained("SUCCESS", "RUNNING"), drained("REMOVING", "RUNNING", ident="d0", stopped=True)),
            0,
            id="the old one is removed while a new one serves",
        ),
        pytest.param(
            instance(drained("REMOVING", "RUNNING", "RUNNING", "REMOVED", stopped=True)),
            2,
            id="the whole deployment is removed, and there is no other",
        ),
        pytest.param(instance(drained("REMOVED", "REMOVED", stopped=True)), 0, id="the deployment is gone"),
        pytest.param(instance(drained("SUCCESS", "EXITED", stopped=True)), 0, id="the deployment was stopped"),
        pytest.param(instance(None), 0, id="never deployed"),
    ],
)
def test_only_instances_that_were_told_to_go_are_leaving_and_none_during_a_rollout(
    what: ServiceInstance, leaving: int
) -> None:
    assert reading.leaving(what) == leaving


NO_SECONDS: list[Any] = [
    *(-1, -(10**30), -1.5, float("inf"), float("nan"), True, "²", "soon", "-5", "9" * 101, [], {}),
]


@pytest.mark.parametrize(
    ("what", "seconds"),
    [
        pytest.param(
            instance(drained("SUCCESS", seconds=30), drainingSeconds=600), 30, id="draining of the deployment itself"
        ),
        pytest.param(
            instance(drained("SUCCESS", seconds=0), drainingSeconds=600), 0, id="draining of the deployment is 0"
        ),
        pytest.param(
            instance(drained("SUCCESS", seconds=None), drainingSeconds=60),
            60,
            id="draining of the service where the deployment has none",
        ),
        pytest.param(
            instance(drained("SUCCESS", seconds=None)), 0, id="neither deployment nor service says a draining time"
        ),
        pytest.param(instance(None, drainingSeconds=60), 60, id="draining of the service without a deployment"),
        pytest.param(
            instance(drained("SUCCESS", seconds=["?"]), drainingSeconds=60),
            60,
            id="draining of the deployment is not understood",
        ),
        pytest.param(instance(drained("SUCCESS", seconds="30")), 30, id="draining as a text of digits"),
        pytest.param(instance(None, drainingSeconds=30.0), 30, id="draining as 30.0"),
        *(
            pytest.param(
                instance(drained("SUCCESS", seconds=odd), drainingSeconds=odd), 0, id=f"draining is no number: {odd!r}"
            )
            for odd in NO_SECONDS
        ),
        *(
            pytest.param(instance(drained("SUCCESS", seconds=much)), 86_400, id=f"draining is a day at most: {much}")
            for much in (86_401, 10**30, 1e300, "9" * 50)
        ),
    ],
)
def test_the_time_to_drain_is_the_one_that_the_deployment_was_made_with(what: ServiceInstance, seconds: float) -> None:
    assert reading.draining_s(what) == seconds


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
    assert reading.stored(config, "s").regions == counts


@pytest.mark.parametrize("regions", ["us", [4], 3, {"us": "x"}, {"us": 4}])
def test_a_map_that_is_none_is_not_taken_for_an_absent_one(regions: Any) -> None:
    with pytest.raises(TypeError):
        reading.stored({"services": {"s": {"deploy": {"multiRegionConfig": regions}}}}, "s")


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
    with pytest.raises(ValueError, match="not a replica count"):
        reading.stored({"services": {"s": {"deploy": {"multiRegionConfig": {"us": {"numReplicas": count}}}}}}, "s")


@pytest.mark.parametrize(
    ("what", "regions"),
    [
        (instance(deployment("SUCCESS", deploy={"region": "us", "numReplicas": 4})), {"us": 4}),
        (instance(deployment("SUCCESS", deploy={"region": "us"}), numReplicas=2), {"us": 2}),
        (instance(deployment("SUCCESS", deploy={"x": 1}), numReplicas=2, region="eu"), {"eu": 2}),
        (instance(deployment("SUCCESS", deploy={"x": 1})), {"": 1}),
    ],
    ids=["region and count in the meta", "the flat count", "the service's own region", "neither region nor count"],
)
def test_services_from_before_the_map(what: ServiceInstance, regions: dict[str, int]) -> None:
    assert reading.regions_of_old(what, what.latestDeployment) == regions


def test_a_count_from_before_the_map_that_nothing_says_is_the_stored_one() -> None:
    what = instance(deployment("SUCCESS", "RUNNING", "RUNNING", deploy={"region": "us"}))
    assert reading.regions_of_old(what, what.latestDeployment, {"eu": 2}) == {"us": 2}


FILE = {"fileServiceManifest": {"deploy": {"multiRegionConfig": {"us": {"numReplicas": 3}}}}}
PLAIN = reading.Deployment.model_validate(deployment("SUCCESS"))
OLD_REGION = reading.Deployment.model_validate(deployment("SUCCESS", deploy={"region": "us-west1"}))


@pytest.mark.parametrize(
    ("stored", "made_as", "shape", "dropped"),
    [
        pytest.param(Stored({"us": 3}), PLAIN, {"us": 3}, [], id="stored as it is deployed"),
        pytest.param(Stored({"us": 5}), PLAIN, {"us": 5}, [], id="stored with another count"),
        pytest.param(Stored({"eu": 2}), PLAIN, {"eu": 2}, ["us"], id="stored in another region"),
        pytest.param(Stored({"us": 1, "eu": 2}), PLAIN, {"us": 1, "eu": 2}, [], id="stored with a region more"),
        pytest.param(Stored(), PLAIN, {"us": 3}, [], id="no region stored"),
        pytest.param(None, PLAIN, {"us": 3}, [], id="stored regions not read"),
        pytest.param(Stored(region="us"), PLAIN, {"us": 3}, [], id="stored as one region"),
        pytest.param(
            Stored(region="eu", count=2), PLAIN, {"eu": 2}, ["us"], id="stored as one other region with a count"
        ),
        pytest.param(Stored(region="eu"), PLAIN, {"eu": 3}, ["us"], id="stored as one other region without a count"),
        pytest.param(
            Stored(region="us-west1"),
            OLD_REGION,
            {"us": 3},
            ["us-west1"],
            id="stored under the region's old name",
        ),
        pytest.param(
            Stored({"eu": 2}),
            PLAIN.model_copy(update={"meta": {**(PLAIN.meta or {}), **FILE}}),
            {"us": 3},
            ["eu"],
            id="a file of the repository sets the regions",
        ),
    ],
)
def test_a_change_goes_by_the_stored_regions_and_nulls_all_others(
    stored: Stored | None, made_as: reading.Deployment, shape: dict[str, int], dropped: list[str]
) -> None:
    deployed = {"us": 3}
    assert reading.shape(stored, deployed, made_as) == shape
    assert reading.dropped(shape, deployed, stored or Stored()) == dropped


@pytest.mark.parametrize(
    ("instances", "candidates", "counted"),
    [
        (2, [{"us": 2}, {"eu": 2}], {"us": 2}),
        (3, [{"us": 2}, {"eu": 3}], {"eu": 3}),
        (4, [{"us": 2}, {"eu": 3}], {"us": 2}),
        (None, [{"us": 2}, {"eu": 3}], {"us": 2}),
        (3, [None, {"eu": 2}], {"eu": 2}),
    ],
)
def test_the_count_is_the_one_that_the_instances_bear_out(
    instances: int | None, candidates: list[dict[str, int] | None], counted: dict[str, int]
) -> None:
    assert reading.matching_map(instances, *candidates) == counted


@pytest.mark.parametrize("config", [None, [], "x", 5])
def test_a_config_that_is_none_is_not_taken_for_one_without_regions(config: Any) -> None:
    with pytest.raises(TypeError):
        reading.stored(config, "s")


def test_several_instances_of_which_nothing_says_how_many_there_should_be_are_not_taken_for_one() -> None:
    what = instance(deployment("SUCCESS", "RUNNING", "RUNNING", deploy={"x": 1}))
    with pytest.raises(ValueError, match="2 instances"):
        reading.regions_of_old(what, what.latestDeployment)


def test_a_deployment_that_waits_for_a_person_does_not_hide_the_stopped_one() -> None:
    stopped = deployment("SUCCESS", "EXITED", stopped=True, ident="d0")
    what = instance(deployment("NEEDS_APPROVAL", stopped=True), stopped)
    assert reading.state_of(reading.current_deployment(what)) is ServiceState.STOPPED


def test_an_unknown_status_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="'DREAMING' is unknown"):
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
    assert reading.stored({"services": {"s": {"volumeMounts": mounts}}}, "s").volume is attached


@pytest.mark.parametrize(
    "regions",
    [
        pytest.param({f"r{number}": {"numReplicas": 1} for number in range(51)}, id="too many regions"),
        pytest.param({f"r{number}": {"numReplicas": 501} for number in range(2)}, id="too many replicas together"),
        pytest.param({"r": {"numReplicas": 1001}}, id="too many replicas of one"),
        pytest.param({"r": {"numReplicas": 10**30}}, id="a number beyond all"),
        pytest.param({"r" * 101: {"numReplicas": 1}}, id="a name that is too long"),
    ],
)
def test_a_map_that_no_service_can_have_is_no_reading(regions: Any) -> None:
    with pytest.raises(
        ValueError, match=r"regions; the limit is 50|replicas; the limit is 1000|not a replica count|the limit is 100"
    ):
        reading.regions_in_meta(instance(deployment("SUCCESS", regions=regions)).latestDeployment)
