"""Railway as a Platform: one reading of the environment for all services, and an absolute number asked of one.

Railway refuses `numReplicas: 0`, so that zero is a stopped deployment: deploymentStop, and deploymentRestart on the way
back, or a new deployment where it cannot be restarted. Any other number goes out as the full multiRegionConfig map.

That map is merged into the environment's stored configuration, or replaces it; nobody has published which. And the
stored one is not always what runs: a move to another region may wait for its deployment, or that may have failed. So
both are read again right before each change. Where the count is not the one any more that was decided on, nothing is
sent; otherwise the map has the stored regions, and names with null those that are not among them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from controller.adapters.railway import SOURCE, reading
from controller.adapters.railway import client as queries
from controller.adapters.railway.client import NotAuthorized, RailwayClient, Unclear
from controller.adapters.railway.reading import Regions, ServiceInstance, Stored
from controller.core.model import Intent, Replicas, ServiceState
from controller.core.ports import LeaseLost, NotSent, Outdated, Receipt, Refused, Requests, Unavailable
from controller.core.text import bounds
from controller.core.units import in_words

_PAGE = 50
_MOST_PAGES = 20
_LONGEST_LOOK_S = 45.0
"""For all pages, and what has to be asked of single services; well within the longest cycle."""
_REST_OF_A_CYCLE_S = 2.0
"""What a cycle takes besides."""
_MORE_THAN_A_QUERY_S = 0.5
"""So that a single query that takes too long is named by its operation."""
_LONGEST_CURSOR = 1000
_SHOWN_SERVICES = 10
_SHOWN_WITHIN_S = 3.0
"""What is stored shows in the deployment by then, if it ever does without a new one."""


class RailwayPlatform:
    """Reads and scales the services of one environment of one project."""

    source = SOURCE

    def __init__(
        self,
        client: RailwayClient,
        *,
        project: str,
        environment: str,
        shown_within_s: float = _SHOWN_WITHIN_S,
        interval_s: float = math.inf,
    ) -> None:
        """interval_s: between two cycles; a reading ends before the next one is due, if a single query fits in."""
        self.client = client
        least_s = queries.LONGEST_S + _MORE_THAN_A_QUERY_S
        self._longest_look_s = min(_LONGEST_LOOK_S, max(least_s, interval_s - _REST_OF_A_CYCLE_S))
        self._shown_within_s = shown_within_s
        self._project = project
        self._environment = environment
        # The environment's config is a request of its own; for a reading, only when a service looks different.
        self._stored: dict[str, tuple[object, Stored]] = {}
        self._shown: dict[str, int] = {}
        self._asked: dict[str, Regions] = {}
        # Of this process only: a successor starts from the map that it finds.
        self._proportions: dict[str, Mapping[str, int]] = {}
        self._pages: dict[str, int] = {}
        self._deployed_once: dict[str, bool] = {}

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        try:
            async with asyncio.timeout(self._longest_look_s):
                readings = await self._readings(frozenset(services))
        except TimeoutError:
            raise Unavailable(SOURCE, f"could not be read within {in_words(self._longest_look_s)}") from None
        self._shown |= {service: one.configured for service, one in readings.items() if isinstance(one, Replicas)}
        return readings

    @property
    def queries_per_cycle(self) -> int:
        """The pages that it takes to see every service that is scaled; and one for each that was never deployed."""
        return max(self._pages.values(), default=1) + sum(not once for once in self._deployed_once.values())

    def requests(self) -> Requests:
        return self.client.budget.requests(per_cycle=self.queries_per_cycle)

    async def scale(self, service: str, intent: Intent, observed: Replicas) -> Receipt:
        steps = _Steps(self.client, intent)
        if intent.after == 0:
            if observed.deployment is None:
                raise NotSent(SOURCE, "there is no deployment to stop")
            await steps.take("DeploymentStop", {"id": observed.deployment})
            return Receipt.ACCEPTED
        now, stored = await self._still_as_it_was(service)
        change = self._change(
            service, intent.after, now, stored, known=observed.smallest.count if observed.smallest else 1
        )
        self._asked[service] = change.counts
        if observed.state is ServiceState.STOPPED:
            await self._start(steps, service, change, observed)
        elif observed.state in {ServiceState.SLEEPING, ServiceState.REMOVED}:
            await self._update(steps, service, change.input)
            await self._deploy(steps, service)
        else:
            await self._update(steps, service, change.input)
        return Receipt.ACCEPTED

    def _change(self, service: str, replicas: int, now: Replicas, stored: Stored, *, known: int) -> _Change:
        """What to ask for. Refuses here what Railway would clamp without a word, or can't be asked for.

        known: the smallest count that whoever decided on it took to be possible.
        """
        if now.largest is not None and replicas > now.largest.count:
            raise Refused(
                SOURCE,
                f"service {service} has a volume, with which Railway allows no more than 1 replica: set max_replicas "
                "to 1, or detach the volume",
            )
        place = reading.placement(now)
        named = {region: count for region, count in place.regions.items() if region}
        if not named:
            return _Change({"": replicas}, {"numReplicas": replicas}, nothing_new=place.deployed == {"": replicas})
        weights = reading.proportions(named, self._proportions.get(service, named))
        self._proportions[service] = weights
        counts = reading.spread(replicas, weights)
        if replicas < len(counts):
            raise self._too_few(service, replicas, counts, known)
        others = reading.dropped(counts, dict(place.deployed), stored)
        wanted = {region: {"numReplicas": count} for region, count in counts.items()}
        return _Change(
            counts,
            {"multiRegionConfig": {**wanted, **dict.fromkeys(others)}},
            nothing_new=not others and counts == place.deployed and stored.regions in (None, counts),
        )

    @staticmethod
    def _too_few(service: str, replicas: int, counts: Regions, known: int) -> NotSent:
        if known >= len(counts):
            return Refused(
                SOURCE,
                f"service {service} runs in {len(counts)} regions, and each keeps at least 1 replica: "
                f"{replicas} cannot be asked for",
            )
        return Outdated(
            SOURCE,
            f"service {service} is configured for {len(counts)} regions by now, and each keeps at least 1 replica; the "
            f"next cycle decides with them in mind, and {replicas} was not asked for",
        )

    async def _start(self, steps: _Steps, service: str, change: _Change, observed: Replicas) -> None:
        """From zero: the count first, while nothing runs, then the restart; a new deployment where that is refused."""
        if not change.nothing_new:
            await self._update(steps, service, change.input)
        try:
            await steps.take("DeploymentRestart", {"id": observed.deployment})
        except NotAuthorized:
            raise
        except (Refused, Unclear):
            # A restart that did happen after all gives way to the deployment; jobs that wait for a minute do not.
            if change.nothing_new:
                # A deployment is known to fall back to one replica where the count was not set just before it.
                await self._update(steps, service, change.input)
            await self._deploy(steps, service)

    async def _update(self, steps: _Steps, service: str, change: dict[str, Any]) -> None:
        variables = {"serviceId": service, "environmentId": self._environment, "input": change}
        await steps.take("ServiceInstanceUpdate", variables)

    async def _deploy(self, steps: _Steps, service: str) -> None:
        variables = {"serviceId": service, "environmentId": self._environment}
        await steps.take("ServiceInstanceDeployV2", variables)

    async def _readings(self, services: frozenset[str]) -> dict[str, Replicas | Unavailable]:
        """Page by page until all are found, so that no more than one page is held at a time."""
        readings: dict[str, Replicas | Unavailable] = {}
        names: dict[str, str] = {}
        pages: dict[str, int] = {}
        after: str | None = None
        for number in range(1, _MOST_PAGES + 1):
            pages |= dict.fromkeys(services - readings.keys(), number)
            page = await self._page(after, services)
            for service, instance in page.instances.items():
                readings[service] = await self._reading(service, instance)
            names |= page.names
            after = page.next
            if after is None or len(readings) == len(services):
                break
        self._pages |= pages
        return readings | {service: _unknown_service(service, names) for service in services - readings.keys()}

    async def _page(self, after: str | None, services: frozenset[str]) -> _Page:
        variables = {**self._scope, "first": _PAGE, "after": after}
        environment = (await self.client.query("EnvironmentState", variables)).get("environment")
        page = environment.get("serviceInstances") if isinstance(environment, dict) else None
        if not isinstance(page, dict):
            raise _not_understood("the environment; look at RAILWAY_ENVIRONMENT_ID")
        try:
            nodes = {_text(edge["node"]["serviceId"]): edge["node"] for edge in page["edges"]}
            following = _cursor(page["pageInfo"]["endCursor"]) if page["pageInfo"]["hasNextPage"] else None
        except (KeyError, TypeError):
            raise _not_understood("the list of services") from None
        instances = {service: _instance(service, nodes[service]) for service in services & nodes.keys()}
        return _Page(instances, {ident: _name(node) for ident, node in list(nodes.items())[:_PAGE]}, following)

    async def _reading(self, service: str, instance: ServiceInstance | Unavailable) -> Replicas | Unavailable:
        if isinstance(instance, Unavailable):
            return instance
        try:
            return await self._replicas(instance)
        except (ValidationError, ValueError, TypeError) as error:
            return _not_understood(f"service {service} ({_why(error)})")
        except Unavailable as unavailable:
            return unavailable

    async def _replicas(self, instance: ServiceInstance, fresh: Stored | None = None) -> Replicas:
        """`fresh`: the stored configuration, if it has just been read."""
        name = instance.serviceName
        if instance.cronSchedule:
            raise Unavailable(SOURCE, f"service {name} is a cron service, which cannot have replicas")
        deployment = reading.speaker(instance)
        state = reading.state_of(deployment)
        if state is ServiceState.NEVER_DEPLOYED and await self._has_ever_been_deployed(instance.serviceId):
            state = ServiceState.REMOVED
        if state is ServiceState.NEVER_DEPLOYED:
            raise Unavailable(SOURCE, f"service {name} was never deployed; deploy it once, then it can be scaled")
        self._deployed_once[instance.serviceId] = True
        if state is ServiceState.FAILED:
            raise Unavailable(
                SOURCE, f"the last deployment of service {name} failed and none runs; mend it and deploy again"
            )
        in_meta = reading.regions_in_meta(deployment)
        instances = reading.live(deployment) if state is ServiceState.RUNNING else None
        stored = await self._stored_for_reading(instance, in_meta, instances, fresh)
        in_config = stored.regions if stored is not None else None
        if in_meta is not None:
            # An update may reach the config and the instances without being written into the deployment's map.
            deployed, counted = in_meta, reading.borne_out(instances, in_meta, in_config)
        else:
            deployed = reading.regions_of_old(instance, deployment, in_config)
            counted = reading.borne_out(instances, in_config, deployed)
        return reading.replicas(
            instance,
            state,
            counted,
            regions=reading.shape(stored, deployed, deployment),
            deployed=deployed,
            volume=stored is not None and stored.volume,
        )

    async def _stored_for_reading(
        self, instance: ServiceInstance, in_meta: Regions | None, instances: int | None, fresh: Stored | None
    ) -> Stored | None:
        """The stored configuration, where the deployment alone does not tell; None where it does.

        It does not where it has no map, or its instances belie it; where it is not the latest, so that something that
        came after it failed or waits; and where it names places to mount at, which its image declares, too.
        """
        service, deployment = instance.serviceId, reading.speaker(instance)
        latest = instance.latestDeployment
        belied = in_meta is None or instances not in (None, sum(in_meta.values()))
        mounts = reading.may_have_volume(deployment)
        others = None if latest is deployment or latest is None else (latest.id, latest.status)
        shown = in_meta and tuple(in_meta.items())
        look = (deployment and deployment.id, others, shown, instances if belied else None, mounts)
        seen = self._stored.get(service)
        if fresh is None and seen is not None and seen[0] == look:
            return seen[1]
        if fresh is None and not belied and not mounts and latest is deployment:
            return None
        found = (await self._configured(service))[1] if fresh is None else fresh
        self._stored[service] = look, found
        return found

    async def read_before_change(self, service: str) -> tuple[Replicas, Stored]:
        """Replicas and stored configuration as they are right now, in one request that is paid as a change is.

        Raises:
            NotSent: they cannot be read, so that nobody knows what a map would be merged into.
        """
        try:
            instance, stored = await self._configured(service, for_change=True)
            return await self._replicas(ServiceInstance.model_validate(instance), stored), stored
        except Refused:
            raise
        except Unavailable as unavailable:
            why = str(unavailable)
        except (ValidationError, ValueError, TypeError) as error:
            why = _why(error)
        raise NotSent(SOURCE, f"service {service} could not be read right before the change ({why})")

    async def _still_as_it_was(self, service: str) -> tuple[Replicas, Stored]:
        """What a change starts from, unless somebody else has changed the count since it was decided on.

        A stored count that is new may be about to show, or wait for a deployment: a few seconds tell these apart.
        """
        _, known = self._stored.get(service, (None, None))
        now, stored = await self.read_before_change(service)
        deployed = reading.placement(now).deployed
        ours = stored.regions in (None, known and known.regions, self._asked.get(service))
        if not ours and sum((stored.regions or {}).values()) != sum(deployed.values()):
            await asyncio.sleep(self._shown_within_s)
            now, stored = await self.read_before_change(service)
        shown = self._shown.get(service, now.configured)
        if now.configured != shown:
            raise Outdated(
                SOURCE,
                f"service {service} went from {shown} to {now.configured} replicas since it was decided on; the next "
                "cycle decides anew",
            )
        return now, stored

    async def _configured(self, service: str, *, for_change: bool = False) -> tuple[Any, Stored]:
        """The service's instance, not looked at yet, and what is stored of it."""
        variables = {**self._scope, "serviceId": service}
        answer = await self.client.query("EnvironmentConfig", variables, for_change=for_change)
        environment = answer.get("environment")
        return answer.get("serviceInstance"), reading.stored(
            environment.get("config") if isinstance(environment, dict) else None, service
        )

    async def _has_ever_been_deployed(self, service: str) -> bool:
        if self._deployed_once.get(service):
            return True
        deployments = {"input": {"serviceId": service, "environmentId": self._environment}, "first": 1}
        answer = await self.client.query("PastDeployments", deployments)
        try:
            once = [_text(edge["node"]["id"]) for edge in answer["deployments"]["edges"]] != []
        except (KeyError, TypeError):
            raise _not_understood("the list of past deployments") from None
        self._deployed_once[service] = once
        return once

    @property
    def _scope(self) -> dict[str, Any]:
        return {"environmentId": self._environment, "projectId": self._project}


class _Page(NamedTuple):
    """Of one page: the services that were asked for, the names of all by id, and where the next one begins."""

    instances: dict[str, ServiceInstance | Unavailable]
    names: dict[str, str]
    next: str | None


class _Change(NamedTuple):
    """An update of a service: how many replicas in which region, and in which form that is asked for.

    nothing_new: the service is configured and deployed like that already.
    """

    counts: Regions
    input: dict[str, Any]
    nothing_new: bool


class _Steps:
    """One change, in as many requests as it takes."""

    def __init__(self, client: RailwayClient, intent: Intent) -> None:
        self._client = client
        self._intent = intent
        self._taken = 0

    async def take(self, operation: str, variables: dict[str, Any]) -> None:
        try:
            await self._client.mutate(operation, variables, self._intent)
        except LeaseLost as lost:
            if not self._taken:
                raise
            raise Unavailable(SOURCE, f"was asked for a part of the change only: {lost}") from None
        self._taken += 1


def _text(value: Any) -> str:
    """An id, of a length that an id can have."""
    if not isinstance(value, str) or len(value) > bounds.NAME:
        raise TypeError("is no id")
    return value


def _cursor(value: Any) -> str:
    """Where the next page begins; it is sent back as it came."""
    if not isinstance(value, str) or len(value) > _LONGEST_CURSOR:
        raise TypeError("is no cursor")
    return value


def _instance(service: str, node: Any) -> ServiceInstance | Unavailable:
    try:
        return ServiceInstance.model_validate(node)
    except (ValidationError, ValueError, TypeError) as error:
        return _not_understood(f"service {service} ({_why(error)})")


def _name(node: Any) -> str:
    name = node.get("serviceName") if isinstance(node, Mapping) else None
    return bounds.cut(name, bounds.NAME) if isinstance(name, str) else "a service without a name"


def _why(error: ValidationError | ValueError | TypeError) -> str:
    """Which field is not as it should be, without what stands there."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        return bounds.cut(f"{place}: {first['msg']}", bounds.WORDS)
    return bounds.cut(str(error).split("\n", 1)[0], bounds.WORDS)


def _unknown_service(service: str, known: Mapping[str, str]) -> Unavailable:
    shown = [f"{name} is {ident}" for ident, name in sorted(known.items())[:_SHOWN_SERVICES]]
    more = [f"and {len(known) - len(shown)} more"] if len(known) > len(shown) else []
    return Unavailable(
        SOURCE,
        f"there is no service {service} in this environment; set `service:` in the policy (RAILWAY_WORKER_SERVICE_ID) "
        f"to one of its ids: {', '.join([*shown, *more]) or 'none at all'}",
    )


def _not_understood(what: str) -> Unavailable:
    return Unavailable(SOURCE, f"answered in a form that is not understood: {what}")
