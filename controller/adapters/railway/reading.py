"""What Railway's answers mean: from a service instance's JSON to Replicas. Pure.

Which deployment speaks for the service, what it is doing, and how many replicas were last asked for; the order of the
questions matters, since a stopped deployment still says SUCCESS and a starting one already says that it has stopped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, FailFast, Field, StringConstraints

from controller.core.model import PlatformLimit, PlatformWords, Reason, Replicas, ServiceState, UnderWay
from controller.core.text import bounds

_HANGING = frozenset({"WAITING", "NEEDS_APPROVAL"})
"""A deployment that waits for somebody, perhaps for ever."""
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
"""A deployment that neither serves nor is about to."""
_AT_REST = frozenset({ServiceState.STOPPED, ServiceState.SLEEPING, ServiceState.REMOVED, ServiceState.NEVER_DEPLOYED})

_MAY_TAKE_LONG = frozenset({"QUEUED", "WAITING", "BUILDING"})
"""Before the image is there: others' builds, checks of the repository and the build itself."""
_WAITS_FOR = {"NEEDS_APPROVAL": "approve it", "WAITING": "see what it waits for"}

NAME = "Railway"
WORDS = PlatformWords(
    name=NAME,
    crashed="see the deployment's log on Railway",
    exited="Railway does not restart those; let the process go on, or set its restart policy to ALWAYS",
    missing="look at the deployment's log and the plan's limits on Railway",
    also_set_in="replicas in .railway/railway.py (or .ts)",
)
WITH_A_VOLUME = PlatformLimit(1, Reason.VOLUME, "a service with a volume can have 1 worker", "detach the volume")

_MOST_REPLICAS = 1000
"""In all regions together. Railway's own limit is 50; beyond this a number is something else."""
_MOST_REGIONS = 50
_MOST_INSTANCES, _MOST_DEPLOYMENTS = 1000, 50
_LARGEST_PART = 20_000
"""Characters of what is kept of a deployment's meta; 50 regions have some 5,000."""
_TOO_LARGE = "more than is read"
_LONGEST_DRAINING_S = 24 * 3600
_FIRST_STAMP = datetime(2020, 1, 1, tzinfo=UTC).timestamp()
"""No deployment of Railway's is older; an earlier stamp is none."""

Regions = dict[str, int]
Id = Annotated[str, StringConstraints(max_length=bounds.NAME)]
"""What is handed back to Railway, or compared: a part of it would be another one."""
Word = Annotated[str, AfterValidator(lambda text: bounds.cut(text, bounds.NAME))]
"""What is only shown, or is one of a few words that are known here."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The coordinates of a reading: replicas by region.

    regions: where a change puts them; deployed: where the deployment that serves has them. The two differ after a
    change of the regions that was not deployed, or whose deployment failed.
    """

    regions: Mapping[str, int]
    deployed: Mapping[str, int]


class _Answer(BaseModel):
    # Strict, and without defaults: what our own query asks for and is not there, or is something else, is no reading.
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Instance(_Answer):
    id: Id
    status: Word


def _kept(meta: Any) -> Any:
    """Of a deployment's meta only what is read here: the whole of it, with its build and its commit, may be large."""
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


_DEPLOY_PARTS = ("multiRegionConfig", "numReplicas", "region", "drainingSeconds")


def _small(value: Any) -> Any:
    return value if len(repr(value)) <= _LARGEST_PART else _TOO_LARGE


class Deployment(_Answer):
    id: Id
    status: Word
    deploymentStopped: bool  # noqa: N815  # Railway's name
    meta: Annotated[dict[str, Any] | None, BeforeValidator(_kept)]
    instances: Annotated[list[Instance], FailFast(), Field(max_length=_MOST_INSTANCES)]
    # Only of the newest one, and only shown: without a time that is understood, a cycle goes by when it saw it first.
    statusUpdatedAt: Any = None  # noqa: N815  # Railway's name
    createdAt: Any = None  # noqa: N815  # Railway's name


class ServiceInstance(_Answer):
    """The fields of Railway's ServiceInstance that decide something here, by their own names."""

    serviceId: Id  # noqa: N815  # Railway's name
    serviceName: Word  # noqa: N815  # Railway's name
    numReplicas: int | None  # noqa: N815  # Railway's name
    region: Id | None
    cronSchedule: Word | None  # noqa: N815  # Railway's name
    # No reason not to scale the service, whatever stands there; see draining_s().
    drainingSeconds: Any  # noqa: N815  # Railway's name
    latestDeployment: Deployment | None  # noqa: N815  # Railway's name
    # fmt: off
    activeDeployments: Annotated[list[Deployment], FailFast(), Field(max_length=_MOST_DEPLOYMENTS)]  # noqa: N815  # Railway's name
    # fmt: on


@dataclass(frozen=True, slots=True)
class Stored:
    """What the environment's config has of one service: a deployment may not have it yet, or never get it.

    regions: its map; None: it has none. region: the single one of a service from before the map. volume: whether one is
    attached.
    """

    regions: Regions | None = None
    region: str | None = None
    count: int | None = None
    volume: bool = False


def speaker(instance: ServiceInstance) -> Deployment | None:
    """The deployment that tells what the service was asked for: the newest, unless it came to nothing.

    A deployment that failed, was skipped, crashed or was removed leaves an older one serving, if there is one; so does
    one that waits for a person or for other services.
    """
    latest = instance.latestDeployment
    serving = next((one for one in instance.activeDeployments if one.status == "SUCCESS"), None)
    if latest is None:
        return serving
    if latest.status in {"SUCCESS", "SLEEPING"} or latest.status in _STARTING - _HANGING:
        return latest
    if serving is None and latest.status in {"FAILED", "SKIPPED"}:
        # What came to nothing leaves one that crashes where it was: it can be scaled down.
        return next((one for one in instance.activeDeployments if one.status == "CRASHED"), latest)
    return serving or latest


def state_of(deployment: Deployment | None) -> ServiceState:
    """Without any deployment: never deployed, or removed; only the list of past deployments tells these two apart."""
    if deployment is None:
        return ServiceState.NEVER_DEPLOYED
    if deployment.status in _STARTING:
        return ServiceState.STARTING  # deploymentStopped is true here, and means nothing yet
    if deployment.status == "SUCCESS":
        return ServiceState.STOPPED if deployment.deploymentStopped else ServiceState.RUNNING
    if deployment.status == "CRASHED" and deployment.deploymentStopped and _all_ended(deployment):
        return ServiceState.STOPPED  # it crashed once, and was stopped since: the status goes on telling of the crash
    if deployment.status not in _STATES:
        raise ValueError(f"the deployment's status {deployment.status!r} is not known here")
    return _STATES[deployment.status]


def regions_in_meta(deployment: Deployment | None) -> Regions | None:
    """The map that the deployment was made with, and that a deployless scale keeps up to date."""
    return _regions(_deploy_part(deployment).get("multiRegionConfig"))


def stored(config: Any, service: str) -> Stored:
    """What the environment's config has of the service."""
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
    """Where a change puts the replicas: the stored map, into which it is merged, or which it replaces.

    The deployment's own where the stored configuration names no region, or was not asked; and where a file of the
    service's repository names them, which wins over the stored ones in each new deployment.
    """
    if stored is None or _below(_meta(deployment), "fileServiceManifest", "deploy").get("multiRegionConfig"):
        return deployed
    if stored.regions is not None:
        return stored.regions
    # The flat field is left over from before the map, unless it was changed since the deployment was made.
    if stored.region in {None, _deploy_part(deployment).get("region"), *deployed}:
        return deployed
    return {str(stored.region): sum(deployed.values()) if stored.count is None else stored.count}


def dropped(shape: Regions, deployed: Regions, stored: Stored) -> list[str]:
    """The regions that a change has to name with null, so that none is left over beside those of the shape."""
    others = [*deployed, *(stored.regions or {}), *([stored.region] if stored.region else [])]
    return [region for region in dict.fromkeys(others) if region and region not in shape]


def borne_out(instances: int | None, *candidates: Regions | None) -> Regions:
    """The first map that adds up to as many as there are instances; the first of all where none does.

    instances: None while they say nothing of what was asked for, since they come and go.
    """
    known = [regions for regions in candidates if regions is not None]
    return next((regions for regions in known if instances in (None, sum(regions.values()))), known[0])


def may_have_volume(deployment: Deployment | None) -> bool:
    """Whether the deployment names places to mount at: those that its image declares are there too."""
    return bool(deployment and deployment.meta and deployment.meta.get("volumeMounts"))


def regions_of_old(instance: ServiceInstance, deployment: Deployment | None, stored: Regions | None = None) -> Regions:
    """Services from before the map: one region with a flat count, which reads null until it is first set."""
    deploy = _deploy_part(deployment)
    count = deploy.get("numReplicas")
    count = instance.numReplicas if count is None else count
    if count is None and stored:
        count = sum(stored.values())
    if count is None and live(deployment) > 1:
        raise ValueError(f"{live(deployment)} instances, and nothing says how many there should be")
    region = deploy.get("region") or instance.region or ""
    return {_region(region): 1 if count is None else _checked(count)}


def live(deployment: Deployment | None) -> int:
    """Instances that stand for a configured replica, whether they run yet or not."""
    if deployment is None:
        return 0
    return sum(instance.status not in _GONE and instance.status != "REMOVING" for instance in deployment.instances)


def leaving(instance: ServiceInstance) -> int:
    """Instances that were told to go, in a way that leaves them some time, while nothing else serves or starts.

    During a rollout none counts: of the instances that overlap, those of the old deployment may have no job at all, and
    what is taken for a job of theirs would be one of a worker that stays.
    """
    alive = {one.id: _alive(one) for one in _deployments(instance)}
    deployments = [one for one in _deployments(instance) if alive[one.id] or one.status not in _OVER]
    if len(deployments) != 1 or deployments[0].status in _STARTING:
        return 0
    (deployment,) = deployments
    told = [one for one in alive[deployment.id] if deployment.status in _OVER or one.status == "REMOVING"]
    return len(told) if _draining_in_meta(deployment) else 0


def draining_s(instance: ServiceInstance) -> float:
    """What the deployment was made with: the service's own value takes effect with the next one.

    At most a day. Where neither is a number of seconds, it is 0, which is Railway's default: the worker dies at once.
    """
    in_meta = _draining_in_meta(speaker(instance))
    return float((_draining(instance.drainingSeconds) or 0) if in_meta is None else in_meta)


def replicas(
    instance: ServiceInstance,
    state: ServiceState,
    counted: Regions,
    *,
    regions: Regions | None = None,
    deployed: Regions | None = None,
    volume: bool = False,
) -> Replicas:
    """Puts the reading together. counted: the map that says how many; regions: where a change puts them, if not there.

    While the stored configuration and the deployment differ, the count is that of what runs, and a change goes by the
    stored regions: so the smallest count that can be asked for is one in each of these.
    """
    deployment = speaker(instance)
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
        words=WORDS,
    )


def one_in_each(regions: Regions) -> PlatformLimit | None:
    """Railway refuses a region with 0 replicas; None where one region or none is named."""
    if len(regions) < 2:
        return None
    words = f"the service is configured for {len(regions)} regions, at least 1 worker in each"
    return PlatformLimit(len(regions), Reason.REGIONS, words, "remove a region from the service")


def placement(replicas: Replicas) -> Placement:
    """Where a reading of this adapter's has its replicas."""
    assert isinstance(replicas.coordinates, Placement), "a reading of another platform"
    return replicas.coordinates


def under_way(newest: Deployment | None) -> UnderWay | None:
    """The newest deployment while it is queued, built, deployed, or waits for somebody."""
    if newest is None or newest.status not in _STARTING:
        return None
    since = _time(newest.statusUpdatedAt)
    return coming(newest.id, newest.status, _time(newest.createdAt) if since is None else since)


def coming(deployment: str, status: str, since: float | None = None) -> UnderWay:
    """A deployment in a status that Railway knows, and what a person does about one that hangs there."""
    fix = f"{_WAITS_FOR.get(status, 'see its build log')} on Railway, or cancel it"
    return UnderWay(deployment, status, since, may_take_long=status in _MAY_TAKE_LONG, fix=fix)


def _crashed(deployment: Deployment | None) -> int:
    """A deployment that says so itself has crashed, whatever became of its instances since."""
    count = _with_status(deployment, "CRASHED")
    return max(1, count) if deployment is not None and deployment.status == "CRASHED" else count


def _with_status(deployment: Deployment | None, status: str) -> int:
    return sum(one.status == status for one in deployment.instances) if deployment is not None else 0


def _time(text: Any) -> float | None:
    """Seconds since the epoch; None for what is no time."""
    try:
        at = datetime.fromisoformat(text)
        stamp = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return None
    return stamp if stamp >= _FIRST_STAMP else None


def spread(total: int, regions: Mapping[str, int]) -> Regions:
    """`total` replicas over the same regions, in proportion to `regions`, and at least one in each.

    Railway refuses a count of 0, and a region that is left out or null is gone for good, with nothing to say later that
    it belonged there: so the smallest total is one per region, and less is rounded up to it. By highest averages
    (Sainte-Laguë) and not by largest remainders, since a larger total then never takes a replica from any region.
    """
    weights = regions if any(regions.values()) else dict.fromkeys(regions, 1)
    counts = dict.fromkeys(sorted(weights), 1)
    for _ in range(total - len(counts)):
        counts[max(counts, key=lambda region: weights[region] / (2 * counts[region] + 1))] += 1
    return {region: counts[region] for region in regions}


def proportions(regions: Mapping[str, int], known: Mapping[str, int]) -> Mapping[str, int]:
    """What to spread by: those known before, as long as what is there now is what became of them.

    A small total rounds the proportions away; a larger one after it shall have them back.
    """
    same = regions.keys() == known.keys() and spread(sum(regions.values()), known) == regions
    return known if same else regions


def _all_ended(deployment: Deployment) -> bool:
    """Every instance was ended on purpose; one that crashed reads CRASHED."""
    return deployment.instances != [] and all(one.status in _GONE for one in deployment.instances)


def _deployments(instance: ServiceInstance) -> Sequence[Deployment]:
    """All that may still have instances, each once: a new deployment overlaps with the old one."""
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
    """Seconds; None where the deployment does not say it."""
    return _draining(_deploy_part(deployment).get("drainingSeconds"))


def _draining(value: Any) -> int | None:
    """Seconds, as a number or as a file of the repository writes it; None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= bounds.NAME:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    return int(min(value, _LONGEST_DRAINING_S))


def _below(value: Any, *keys: str) -> Mapping[str, Any]:
    """The mapping that stands there; empty where nothing does. Anything else there is not understood."""
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
        raise ValueError(f"there are {len(regions)} regions; up to {_MOST_REGIONS} are read")
    if sum(regions.values()) > _MOST_REPLICAS:
        raise ValueError(f"{sum(regions.values())} replicas are more than there can be")
    return regions or None


def _region(name: Any) -> str:
    """A region's name, as it is handed back to Railway."""
    if not isinstance(name, str):
        raise TypeError(f"region is {type(name).__name__}")
    if len(name) > bounds.NAME:
        raise ValueError(f"a region's name has {len(name)} characters; up to {bounds.NAME} are read")
    return name


def _checked(count: Any) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= _MOST_REPLICAS:
        shown = bounds.cut(str(count), 40) if isinstance(count, int | float | str) else type(count).__name__
        raise ValueError(f"{shown!r} is not a number of replicas")
    return count
