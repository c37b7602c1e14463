"""Turns a service instance's JSON from Railway into Replicas. Pure.

It finds the deployment that counts, its state, and the configured replicas. The order of the checks matters: a stopped
deployment still has status SUCCESS, and a starting one already has deploymentStopped: true.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, FailFast, Field, StringConstraints

from controller.core.model import PlatformLimit, PlatformWords, Replicas, ServiceState, UnderWay
from controller.core.price import Price
from controller.core.reasons import Reason
from controller.core.text import bounds

_HANGING = frozenset({"WAITING", "NEEDS_APPROVAL"})
"""A deployment that waits for a person or another service, perhaps forever."""
_STARTING = frozenset({"INITIALIZING", "QUEUED", "WAITING", "NEEDS_APPROVAL", "BUILDING", "DEPLOYING"})
_STATES = {
    "CRASHED": ServiceState.CRASHED,
    "SLEEPING": ServiceState.SLEEPING,
    "REMOVING": ServiceState.REMOVED,
    "REMOVED": ServiceState.REMOVED,
    "FAILED": ServiceState.FAILED,
    "SKIPPED": ServiceState.FAILED,
}
_GONE = frozenset({"REMOVED", "EXITED", "STOPPED", "SKIPPED"})
_OVER = frozenset({"REMOVING", "REMOVED", "FAILED", "SKIPPED"})
"""A deployment that does not serve and will not."""
_AT_REST = frozenset({ServiceState.STOPPED, ServiceState.SLEEPING, ServiceState.REMOVED, ServiceState.NEVER_DEPLOYED})

_MAY_TAKE_LONG = frozenset({"QUEUED", "WAITING", "BUILDING"})
"""States before the image exists: waiting for other builds, for checks of the repository, or for its own build."""
_WAITS_FOR = {"NEEDS_APPROVAL": "approve it", "WAITING": "check what it waits for"}

NAME = "Railway"
WORDS = PlatformWords(
    name=NAME,
    crashed="see the deployment's log on Railway",
    exited="Railway does not restart them; keep the process running, or set its restart policy to ALWAYS",
    missing="check the deployment's log and the plan's limits on Railway",
    also_set_in="replicas in .railway/railway.py (or .ts)",
)
WITH_A_VOLUME = PlatformLimit(1, Reason.VOLUME, "a service with a volume can have 1 worker", "detach the volume")

_MOST_REPLICAS = 1000
"""In all regions together. Railway's own limit is 50; a number above 1000 is not a replica count."""
_MOST_REGIONS = 50
_MOST_INSTANCES, _MOST_DEPLOYMENTS = 1000, 50
_LARGEST_PART = 20_000
"""Characters kept of a part of a deployment's meta; 50 regions have about 5,000."""
_TOO_LARGE = "more than is read"
_LONGEST_DRAINING_S = 24 * 3600
_GB, _LARGEST_LIMIT = 1e9, 1e15
"""Railway counts in decimal gigabytes. In bytes, or in vCPUs."""
_FIRST_STAMP = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
"""No deployment on Railway is older, so an earlier time is not valid."""

Regions = dict[str, int]
Id = Annotated[str, StringConstraints(max_length=bounds.NAME)]
"""A text that is sent back to Railway or compared, so it is never cut: a part of it would be another id."""
Word = Annotated[str, AfterValidator(lambda text: bounds.cut(text, bounds.NAME))]
"""A text that is only shown, or compared with a few known words, so it may be cut."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The coordinates of a reading: replicas by region.

    regions: where a change would put them. deployed: where the serving deployment has them. They differ after a change
    of the regions that is not deployed yet, or whose deployment failed.
    """

    regions: Mapping[str, int]
    deployed: Mapping[str, int]


class _Answer(BaseModel):
    # Strict, without defaults: a requested field that is missing or has another type makes the answer unreadable.
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Instance(_Answer):
    id: Id
    status: Word


def _kept(meta: Any) -> Any:
    """Only the parts of a deployment's meta that are read here; with its build and commit it may be large."""
    if not isinstance(meta, dict):
        return meta
    kept = {"volumeMounts": bool(meta.get("volumeMounts"))}
    for manifest in ("serviceManifest", "fileServiceManifest"):
        part = meta.get(manifest)
        deploy = part.get("deploy") if isinstance(part, dict) else None
        if isinstance(deploy, dict):
            part = {"deploy": {name: _small(deploy[name]) for name in _DEPLOY_PARTS if name in deploy}}
        kept[manifest] = _small(part)
    return kept


_DEPLOY_PARTS = ("multiRegionConfig", "numReplicas", "region", "drainingSeconds", "limitOverride")


def _small(value: Any) -> Any:
    return value if len(repr(value)) <= _LARGEST_PART else _TOO_LARGE


class Deployment(_Answer):
    id: Id
    status: Word
    deploymentStopped: bool  # noqa: N815  # Railway's name
    meta: Annotated[dict[str, Any] | None, BeforeValidator(_kept)]
    instances: Annotated[list[Instance], FailFast(), Field(max_length=_MOST_INSTANCES)]
    # Only used for the newest one, to show its age. Without a valid time, a cycle uses the time it first saw it.
    statusUpdatedAt: Any = None  # noqa: N815  # Railway's name
    createdAt: Any = None  # noqa: N815  # Railway's name


class ServiceInstance(_Answer):
    """The fields of Railway's ServiceInstance that are used here, under Railway's names."""

    serviceId: Id  # noqa: N815  # Railway's name
    serviceName: Word  # noqa: N815  # Railway's name
    numReplicas: int | None  # noqa: N815  # Railway's name
    region: Id | None
    cronSchedule: Word | None  # noqa: N815  # Railway's name
    # Any value is accepted, because a wrong one is no reason to stop scaling; see draining_s().
    drainingSeconds: Any  # noqa: N815  # Railway's name
    latestDeployment: Deployment | None  # noqa: N815  # Railway's name
    # fmt: off
    activeDeployments: Annotated[list[Deployment], FailFast(), Field(max_length=_MOST_DEPLOYMENTS)]  # noqa: N815  # Railway's name
    # fmt: on


@dataclass(frozen=True, slots=True)
class Stored:
    """One service in the environment's config, which a deployment may not have yet, or may never get.

    regions: its map; None if it has none. region, count: of an older service without a map. volume: one is attached.
    """

    regions: Regions | None = None
    region: str | None = None
    count: int | None = None
    volume: bool = False


def current_deployment(instance: ServiceInstance) -> Deployment | None:
    """The deployment that counts: the newest, unless it failed, was skipped, crashed, was removed, or waits.

    Then an older one that still serves counts, if there is one.
    """
    latest = instance.latestDeployment
    serving = next((one for one in instance.activeDeployments if one.status == "SUCCESS"), None)
    if latest is None:
        return serving
    if latest.status in {"SUCCESS", "SLEEPING"} or latest.status in _STARTING - _HANGING:
        return latest
    if serving is None and latest.status in {"FAILED", "SKIPPED"}:
        # The failed deployment did not replace an older one that crashes; that one can still be scaled down.
        return next((one for one in instance.activeDeployments if one.status == "CRASHED"), latest)
    return serving or latest


def state_of(deployment: Deployment | None) -> ServiceState:
    """The state by the deployment that counts. None means NEVER_DEPLOYED; the caller checks for a removed one.

    Raises:
        ValueError: the status is unknown.
    """
    if deployment is None:
        return ServiceState.NEVER_DEPLOYED
    if deployment.status in _STARTING:
        return ServiceState.STARTING  # deploymentStopped is true while starting, and means nothing yet
    if deployment.status == "SUCCESS":
        return ServiceState.STOPPED if deployment.deploymentStopped else ServiceState.RUNNING
    if deployment.status == "CRASHED" and deployment.deploymentStopped and _all_ended(deployment):
        return ServiceState.STOPPED  # it crashed and was stopped later: the status still says CRASHED
    if deployment.status not in _STATES:
        raise ValueError(f"the deployment's status {deployment.status!r} is unknown")
    return _STATES[deployment.status]


def regions_in_meta(deployment: Deployment | None) -> Regions | None:
    """The deployment's own map, which Railway also updates when it scales without a new deployment."""
    return _regions(_deploy_part(deployment).get("multiRegionConfig"))


def stored(config: Any, service: str) -> Stored:
    """The service's part of the environment's config.

    Raises:
        TypeError, ValueError: the config has an unknown format.
    """
    if not isinstance(config, Mapping):
        raise TypeError(f"the environment's config is {type(config).__name__}")
    deploy = _below(config, "services", service, "deploy")
    region, count = deploy.get("region"), deploy.get("numReplicas")
    return Stored(
        regions=_regions(deploy.get("multiRegionConfig")),
        region=_region(region) if region else None,
        count=None if count is None else _checked(count),
        volume=any(mount is not None for mount in _below(config, "services", service, "volumeMounts").values()),
    )


def shape(stored: Stored | None, deployed: Regions, deployment: Deployment | None) -> Regions:
    """The regions of a change: those of the stored map.

    The deployment's own if the stored configuration names none or was not read, and if a file in the service's
    repository names them, because the file overrides the stored ones in each new deployment.
    """
    if stored is None or _below(_meta(deployment), "fileServiceManifest", "deploy").get("multiRegionConfig"):
        return deployed
    if stored.regions is not None:
        return stored.regions
    # The flat field is a leftover of services before the map, unless it was changed after the deployment.
    if stored.region in {None, _deploy_part(deployment).get("region"), *deployed}:
        return deployed
    return {str(stored.region): sum(deployed.values()) if stored.count is None else stored.count}


def dropped(shape: Regions, deployed: Regions, stored: Stored) -> list[str]:
    """The regions that a change must set to null, so that only those of `shape` remain."""
    others = [*deployed, *(stored.regions or {}), *([stored.region] if stored.region else [])]
    return [region for region in dict.fromkeys(others) if region and region not in shape]


def matching_map(instances: int | None, *candidates: Regions | None) -> Regions:
    """The first map whose sum is the number of instances; the first map if none fits.

    instances: None while their number means nothing, because the service is not running steadily.
    """
    known = [regions for regions in candidates if regions is not None]
    return next((regions for regions in known if instances in (None, sum(regions.values()))), known[0])


def may_have_volume(deployment: Deployment | None) -> bool:
    """Whether the deployment names mount paths; those declared by its image are among them, even without a volume."""
    return bool(deployment and deployment.meta and deployment.meta.get("volumeMounts"))


def regions_of_old(instance: ServiceInstance, deployment: Deployment | None, stored: Regions | None = None) -> Regions:
    """The map of an older service without one: one region and a flat count, which is null until it is first set.

    Raises:
        ValueError: several instances run, and no count is set.
    """
    deploy = _deploy_part(deployment)
    count = deploy.get("numReplicas")
    count = instance.numReplicas if count is None else count
    if count is None and stored:
        count = sum(stored.values())
    if count is None and live(deployment) > 1:
        raise ValueError(f"{live(deployment)} instances run, but no configured count is known")
    region = deploy.get("region") or instance.region or ""
    return {_region(region): 1 if count is None else _checked(count)}


def live(deployment: Deployment | None) -> int:
    """Instances that belong to a configured replica, running or starting."""
    if deployment is None:
        return 0
    return sum(instance.status not in _GONE and instance.status != "REMOVING" for instance in deployment.instances)


def leaving(instance: ServiceInstance) -> int:
    """Instances that are shutting down with a draining time, while no other deployment serves or starts.

    During a rollout it is 0: instances of the old deployment may have no job, and the jobs in progress would be
    attributed to them although they are those of workers that stay.
    """
    alive = {one.id: _alive(one) for one in _deployments(instance)}
    deployments = [one for one in _deployments(instance) if alive[one.id] or one.status not in _OVER]
    if len(deployments) != 1 or deployments[0].status in _STARTING:
        return 0
    (deployment,) = deployments
    told = [one for one in alive[deployment.id] if deployment.status in _OVER or one.status == "REMOVING"]
    return len(told) if _draining_in_meta(deployment) else 0


def draining_s(instance: ServiceInstance) -> float:
    """Seconds that a removed worker has to finish: the deployment's value, else the service's, which applies next.

    At most a day. 0 if neither is a number; 0 is Railway's default and means that the worker is killed at once.
    """
    in_meta = _draining_in_meta(current_deployment(instance))
    return float((_draining(instance.drainingSeconds) or 0) if in_meta is None else in_meta)


def limits(deployment: Deployment | None) -> Price | None:
    """The limits that were set for the service, which its deployment has; None: not both are set, or have that form.

    Those of the plan, which hold otherwise, are not in a reading.
    """
    override = _deploy_part(deployment).get("limitOverride")
    containers = override.get("containers") if isinstance(override, Mapping) else None
    found = containers if isinstance(containers, Mapping) else {}
    memory, cpu = (_limit(found.get(name)) for name in ("memoryBytes", "cpu"))
    return None if memory is None or cpu is None else Price(memory / _GB, cpu)


def _limit(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < _LARGEST_LIMIT else None


def replicas(
    instance: ServiceInstance,
    state: ServiceState,
    counted: Regions,
    *,
    regions: Regions | None = None,
    deployed: Regions | None = None,
    volume: bool = False,
) -> Replicas:
    """Builds the reading. counted: the map with the configured count. regions: the regions of a change, if different.

    While the stored configuration and the deployment differ, the count is that of the deployment, but a change uses the
    stored regions: so the smallest possible count is one replica in each of these.
    """
    deployment = current_deployment(instance)
    instances = _instances(instance)
    stopped = state in _AT_REST
    regions = counted if regions is None else regions
    return Replicas(
        configured=0 if stopped else sum(counted.values()),
        running=0 if stopped else sum(one.status == "RUNNING" for one in instances),
        alive=sum(one.status not in _GONE for one in instances),
        state=state,
        deployment=deployment.id if deployment else None,
        coordinates=Placement(regions, regions if deployed is None else deployed),
        draining_s=draining_s(instance),
        smallest=one_in_each(regions),
        largest=WITH_A_VOLUME if volume else None,
        leaving=leaving(instance),
        crashed=_crashed(deployment),
        exited=_with_status(deployment, "EXITED"),
        under_way=under_way(instance.latestDeployment),
        limits=limits(deployment),
        words=WORDS,
    )


def one_in_each(regions: Regions) -> PlatformLimit | None:
    """The smallest count: Railway refuses a region with 0 replicas. None with fewer than two regions."""
    if len(regions) < 2:
        return None
    words = f"the service is configured for {len(regions)} regions, at least 1 worker in each"
    return PlatformLimit(len(regions), Reason.REGIONS, words, "remove a region from the service")


def placement(replicas: Replicas) -> Placement:
    """The placement in a reading of this adapter."""
    assert isinstance(replicas.coordinates, Placement), "a reading of another platform"
    return replicas.coordinates


def under_way(newest: Deployment | None) -> UnderWay | None:
    """The newest deployment while it is queued, built, deployed, or waiting."""
    if newest is None or newest.status not in _STARTING:
        return None
    since = _time(newest.statusUpdatedAt)
    return coming(newest.id, newest.status, _time(newest.createdAt) if since is None else since)


def coming(deployment: str, status: str, since: float | None = None) -> UnderWay:
    """A deployment in progress, and what a person does if it hangs in this status. since: epoch seconds."""
    fix = f"{_WAITS_FOR.get(status, 'check its build log')} on Railway, or cancel it"
    return UnderWay(deployment, status, since, may_take_long=status in _MAY_TAKE_LONG, fix=fix)


def _crashed(deployment: Deployment | None) -> int:
    """Crashed instances; at least 1 if the deployment's own status is CRASHED, even if its instances are gone."""
    count = _with_status(deployment, "CRASHED")
    return max(1, count) if deployment is not None and deployment.status == "CRASHED" else count


def _with_status(deployment: Deployment | None, status: str) -> int:
    return sum(one.status == status for one in deployment.instances) if deployment is not None else 0


def _time(text: Any) -> float | None:
    """Seconds since the epoch; None if it is not a valid time."""
    try:
        at = datetime.fromisoformat(text)
        stamp = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return None
    return stamp if stamp >= _FIRST_STAMP else None


def spread(total: int, regions: Mapping[str, int]) -> Regions:
    """Spreads `total` replicas over the regions in proportion to `regions`, with at least one in each.

    Railway refuses a count of 0, and a region that is left out or null is lost: nothing shows later that it belonged to
    the service. So a smaller total is rounded up to one per region. The method is highest averages (Sainte-Laguë), not
    largest remainders, because then a larger total never takes a replica from any region.
    """
    weights = regions if any(regions.values()) else dict.fromkeys(regions, 1)
    counts = dict.fromkeys(sorted(weights), 1)
    for _ in range(total - len(counts)):
        counts[max(counts, key=lambda region: weights[region] / (2 * counts[region] + 1))] += 1
    return {region: counts[region] for region in regions}


def proportions(regions: Mapping[str, int], known: Mapping[str, int]) -> Mapping[str, int]:
    """The proportions for spread(): the known ones, as long as the present map is a result of them.

    A small total loses the proportions by rounding; a larger total later should restore them.
    """
    same = regions.keys() == known.keys() and spread(sum(regions.values()), known) == regions
    return known if same else regions


def _all_ended(deployment: Deployment) -> bool:
    """Whether every instance was ended on purpose; a crashed one has status CRASHED."""
    return deployment.instances != [] and all(one.status in _GONE for one in deployment.instances)


def _deployments(instance: ServiceInstance) -> Sequence[Deployment]:
    """All deployments that may have instances, each once; a new one overlaps with the old one."""
    deployments = {one.id: one for one in instance.activeDeployments}
    if instance.latestDeployment is not None:
        deployments[instance.latestDeployment.id] = instance.latestDeployment
    return list(deployments.values())


def _instances(instance: ServiceInstance) -> Sequence[Instance]:
    return [one for deployment in _deployments(instance) for one in deployment.instances]


def _alive(deployment: Deployment) -> Sequence[Instance]:
    return [one for one in deployment.instances if one.status not in _GONE]


def _meta(deployment: Deployment | None) -> Mapping[str, Any] | None:
    return deployment.meta if deployment else None


def _deploy_part(deployment: Deployment | None) -> Mapping[str, Any]:
    return _below(_meta(deployment), "serviceManifest", "deploy")


def _draining_in_meta(deployment: Deployment | None) -> int | None:
    """Seconds; None if the deployment does not have it."""
    return _draining(_deploy_part(deployment).get("drainingSeconds"))


def _draining(value: Any) -> int | None:
    """Seconds, from a number or a text of digits (as in a file of the repository); None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= bounds.NAME:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    return int(min(value, _LONGEST_DRAINING_S))


def _below(value: Any, *keys: str) -> Mapping[str, Any]:
    """The mapping at that path; empty if there is none.

    Raises:
        TypeError: something else is there.
    """
    for key in keys:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise TypeError(f"there is no {key} in {type(value).__name__}")
        value = value.get(key)
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{keys[-1]} is {type(value).__name__}")
    return value or {}


def _regions(value: Any) -> Regions | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise TypeError(f"multiRegionConfig is {type(value).__name__}")
    regions: Regions = {}
    for region, entry in value.items():
        if entry is None:
            continue
        if not isinstance(entry, Mapping):
            raise TypeError(f"the region {bounds.cut(str(region), bounds.NAME)!r} has no count")
        regions[_region(region)] = _checked(entry.get("numReplicas"))
    if len(regions) > _MOST_REGIONS:
        raise ValueError(f"there are {len(regions)} regions; the limit is {_MOST_REGIONS}")
    if sum(regions.values()) > _MOST_REPLICAS:
        raise ValueError(f"{sum(regions.values())} replicas; the limit is {_MOST_REPLICAS}")
    return regions or None


def _region(name: Any) -> str:
    """A region's name; it is sent back to Railway unchanged."""
    if not isinstance(name, str):
        raise TypeError(f"region is {type(name).__name__}")
    if len(name) > bounds.NAME:
        raise ValueError(f"a region's name has {len(name)} characters; the limit is {bounds.NAME}")
    return name


def _checked(count: Any) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= _MOST_REPLICAS:
        shown = bounds.cut(str(count), 40) if isinstance(count, int | float | str) else type(count).__name__
        raise ValueError(f"{shown!r} is not a replica count")
    return count
