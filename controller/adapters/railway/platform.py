"""Railway as a Platform: one reading of the environment for all services, and an absolute count set for one.

Railway refuses `numReplicas: 0`, so 0 is a stopped deployment: deploymentStop, and on the way back deploymentRestart,
or a new deployment if the restart is refused. Any other count is sent as the full multiRegionConfig map.

Railway's documentation does not say whether that map is merged into the environment's stored configuration or replaces
it. And the stored one is not always what runs: a move to another region may wait for a deployment, or that may have
failed. So both are read again right before each change. If the count is no longer the one that the decision was based
on, nothing is sent. Otherwise the map has the stored regions, and null for each other region.
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
from controller.core.model import Change, Replicas, ServiceState
from controller.core.ports import LeaseLost, NotSent, Outdated, Receipt, Refused, Requests, Unavailable
from controller.core.text import bounds
from controller.core.units import in_words
from controller.policy import Policy

_PAGE = 50
_MOST_PAGES = 20
_LONGEST_LOOK_S = 45.0
"""Timeout for all pages and the queries for single services; well within the longest cycle."""
_REST_OF_A_CYCLE_S = 2.0
"""Time for the rest of a cycle."""
_MORE_THAN_A_QUERY_S = 0.5
"""Margin above a query's timeout, so that a slow query reports its own timeout, with its operation's name."""
_LONGEST_CURSOR = 1000
_SHOWN_SERVICES = 10
_SHOWN_WITHIN_S = 3.0
"""A stored change shows in the deployment within this time, unless it needs a new deployment."""


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
        """interval_s: between two cycles; a reading ends before the next one, but has time for at least one query.

        shown_within_s: seconds until a stored change shows in the deployment.
        """
        self.client = client
        self.set_interval(interval_s)
        self._shown_within_s = shown_within_s
        self._project = project
        self._environment = environment
        # The environment's config needs its own request; a reading sends it only when a service has changed.
        self._stored: dict[str, tuple[object, Stored]] = {}
        self._shown: dict[str, int] = {}
        self._asked: dict[str, Regions] = {}
        # Known in this process only; another replica starts from the map that it reads.
        self._proportions: dict[str, Mapping[str, int]] = {}
        self._pages: dict[str, int] = {}
        self._deployed_once: dict[str, bool] = {}

    @property
    def sent(self) -> Mapping[tuple[str, str], int]:
        return self.client.sent

    def serve(self, policy: Policy) -> None:
        self.set_interval(policy.interval)

    async def close(self) -> None:
        await self.client.close()

    def set_interval(self, interval_s: float) -> None:
        """See __init__; for the readings from now on."""
        least_s = queries.LONGEST_S + _MORE_THAN_A_QUERY_S
        self._longest_look_s = min(_LONGEST_LOOK_S, max(least_s, interval_s - _REST_OF_A_CYCLE_S))

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        try:
            async with asyncio.timeout(self._longest_look_s):
                readings = await self._readings(frozenset(services))
        except TimeoutError:
            raise Unavailable(SOURCE, f"could not be read within {in_words(self._longest_look_s)}") from None
        self._shown |= {service: one.configured for service, one in readings.items() if isinstance(one, Replicas)}
        return readings

    async def services(self) -> Mapping[str, str]:
        """The names of the environment's services, by id.

        Raises:
            Unavailable: they could not be read.
        """
        names: dict[str, str] = {}
        after: str | None = None
        for _ in range(_MOST_PAGES):
            page = await self._page(after, frozenset())
            names |= page.names
            after = page.next
            if after is None:
                break
        return names

    @property
    def queries_per_cycle(self) -> int:
        """One per page up to the last scaled service, and one per service that was never deployed."""
        return max(self._pages.values(), default=1) + sum(not once for once in self._deployed_once.values())

    def requests(self) -> Requests:
        return self.client.budget.requests(per_cycle=self.queries_per_cycle)

    def chooser(self, service: str) -> None:
        """Railway chooses the replicas that go."""

    async def scale(self, service: str, change: Change, observed: Replicas) -> Receipt:
        steps = _Steps(self.client, change)
        if change.after == 0:
            if observed.deployment is None:
                raise NotSent(SOURCE, "there is no deployment to stop")
            await steps.take("DeploymentStop", {"id": observed.deployment})
            return Receipt.ACCEPTED
        now, stored = await self._still_as_it_was(service)
        update = self._update_for(
            service, change.after, now, stored, known=observed.smallest.count if observed.smallest else 1
        )
        self._asked[service] = update.counts
        if observed.state is ServiceState.STOPPED:
            await self._start(steps, service, update, observed)
        elif observed.state in {ServiceState.SLEEPING, ServiceState.REMOVED}:
            await self._update(steps, service, update.input)
            await self._deploy(steps, service)
        else:
            await self._update(steps, service, update.input)
        return Receipt.ACCEPTED

    def _update_for(self, service: str, replicas: int, now: Replicas, stored: Stored, *, known: int) -> _Update:
        """The update to send. Refuses a count that Railway would silently clamp or cannot set.

        known: the smallest possible count that the decision was based on.
        """
        if now.largest is not None and replicas > now.largest.count:
            raise Refused(
                SOURCE,
                f"service {service} has a volume, so Railway allows only 1 replica: set max_replicas to 1, or detach "
                "the volume",
            )
        place = reading.placement(now)
        named = {region: count for region, count in place.regions.items() if region}
        if not named:
            return _Update({"": replicas}, {"numReplicas": replicas}, nothing_new=place.deployed == {"": replicas})
        weights = reading.proportions(named, self._proportions.get(service, named))
        self._proportions[service] = weights
        counts = reading.spread(replicas, weights)
        if replicas < len(counts):
            raise self._too_few(service, replicas, counts, known)
        others = reading.dropped(counts, dict(place.deployed), stored)
        wanted = {region: {"numReplicas": count} for region, count in counts.items()}
        return _Update(
            counts,
            {"multiRegionConfig": {**wanted, **dict.fromkeys(others)}},
            nothing_new=not others and counts == place.deployed and stored.regions in (None, counts),
        )

    @staticmethod
    def _too_few(service: str, replicas: int, counts: Regions, known: int) -> NotSent:
        if known >= len(counts):
            return Refused(
                SOURCE,
                f"service {service} runs in {len(counts)} regions, and each keeps at least 1 replica: it cannot have "
                f"{replicas}",
            )
        return Outdated(
            SOURCE,
            f"service {service} is now configured for {len(counts)} regions, and each keeps at least 1 replica; "
            f"{replicas} was not sent, and the next cycle decides again",
        )

    async def _start(self, steps: _Steps, service: str, update: _Update, observed: Replicas) -> None:
        """From 0: sets the count first, while nothing runs, then restarts; a new deployment if that is refused."""
        if not update.nothing_new:
            await self._update(steps, service, update.input)
        try:
            await steps.take("DeploymentRestart", {"id": observed.deployment})
        except NotAuthorized:
            raise
        except (Refused, Unclear):
            # If the restart did happen, the deployment replaces it. Jobs would wait longer for the next cycle.
            if update.nothing_new:
                # A deployment may fall back to 1 replica if the count is not set right before it.
                await self._update(steps, service, update.input)
            await self._deploy(steps, service)

    async def _update(self, steps: _Steps, service: str, update: dict[str, Any]) -> None:
        variables = {"serviceId": service, "environmentId": self._environment, "input": update}
        await steps.take("ServiceInstanceUpdate", variables)

    async def _deploy(self, steps: _Steps, service: str) -> None:
        variables = {"serviceId": service, "environmentId": self._environment}
        await steps.take("ServiceInstanceDeployV2", variables)

    async def _readings(self, services: frozenset[str]) -> dict[str, Replicas | Unavailable]:
        """Reads page by page until all services are found; only one page is in memory at a time."""
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
            raise _not_understood("the environment; check RAILWAY_ENVIRONMENT_ID")
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
        """fresh: the stored configuration, if it was just read."""
        name = instance.serviceName
        if instance.cronSchedule:
            raise Unavailable(SOURCE, f"service {name} is a cron service and cannot be scaled")
        deployment = reading.current_deployment(instance)
        state = reading.state_of(deployment)
        if state is ServiceState.NEVER_DEPLOYED and await self._has_ever_been_deployed(instance.serviceId):
            state = ServiceState.REMOVED
        if state is ServiceState.NEVER_DEPLOYED:
            raise Unavailable(SOURCE, f"service {name} was never deployed; deploy it once before it can be scaled")
        self._deployed_once[instance.serviceId] = True
        if state is ServiceState.FAILED:
            raise Unavailable(
                SOURCE, f"the last deployment of service {name} failed and none runs; fix it and deploy again"
            )
        in_meta = reading.regions_in_meta(deployment)
        instances = reading.live(deployment) if state is ServiceState.RUNNING else None
        stored = await self._stored_for_reading(instance, in_meta, instances, fresh)
        in_config = stored.regions if stored is not None else None
        if in_meta is not None:
            # An update may reach the config and the instances without changing the deployment's map.
            deployed, counted = in_meta, reading.matching_map(instances, in_meta, in_config)
        else:
            deployed = reading.regions_of_old(instance, deployment, in_config)
            counted = reading.matching_map(instances, in_config, deployed)
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
        """The stored configuration if the deployment alone is not enough; None if it is.

        It is not enough if it has no map or its instances contradict the map; if it is not the latest, because a newer
        one failed or waits; and if it names mount paths, which may be a volume's or only declared by the image.
        """
        service, deployment = instance.serviceId, reading.current_deployment(instance)
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
        """Current replicas and stored configuration, in one request from the budget for changes.

        Raises:
            NotSent: they cannot be read. A change without them could move or drop regions.
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
        """What a change starts from. A newly stored count may show soon or wait for a deployment: 3 s tell which.

        Raises:
            Outdated: the count was changed from outside since the decision.
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
                f"service {service} changed from {shown} to {now.configured} replicas since the decision; the next "
                "cycle decides again",
            )
        return now, stored

    async def _configured(self, service: str, *, for_change: bool = False) -> tuple[Any, Stored]:
        """The service's instance, not validated yet, and its stored configuration."""
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
    """instances: the requested services on this page. names: all services on it, by id. next: cursor; None: the end."""

    instances: dict[str, ServiceInstance | Unavailable]
    names: dict[str, str]
    next: str | None


class _Update(NamedTuple):
    """An update of a service. counts: replicas by region. input: the same as sent to Railway.

    nothing_new: the service is already configured and deployed like that.
    """

    counts: Regions
    input: dict[str, Any]
    nothing_new: bool


class _Steps:
    """The mutations of one change, in order."""

    def __init__(self, client: RailwayClient, change: Change) -> None:
        self._client = client
        self._of = change
        self._taken = 0

    async def take(self, operation: str, variables: dict[str, Any]) -> None:
        try:
            await self._client.mutate(operation, variables, self._of)
        except LeaseLost as lost:
            if not self._taken:
                raise
            raise Unavailable(SOURCE, f"received only a part of the change: {lost}") from None
        self._taken += 1


def _text(value: Any) -> str:
    """An id; refuses one that is longer than an id can be."""
    if not isinstance(value, str) or len(value) > bounds.NAME:
        raise TypeError("is not an id")
    return value


def _cursor(value: Any) -> str:
    """The cursor of the next page, which is sent back unchanged."""
    if not isinstance(value, str) or len(value) > _LONGEST_CURSOR:
        raise TypeError("is not a cursor")
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
    """Which field is wrong, without its value."""
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
        f"service {service} does not exist in this environment; set `service:` in the policy "
        f"(RAILWAY_WORKER_SERVICE_ID) to one of its ids: {', '.join([*shown, *more]) or 'it has none'}",
    )


def _not_understood(what: str) -> Unavailable:
    return Unavailable(SOURCE, f"answered in an unknown format: {what}")
