"""Railway as a Platform: one reading of the environment for all services, and an absolute number asked of one.

Railway refuses `numReplicas: 0`, so that zero is a stopped deployment: deploymentStop, and deploymentRestart on the way
back, or a new deployment where it cannot be restarted. Any other number goes out as the full multiRegionConfig map.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from controller.adapters.railway import reading
from controller.adapters.railway.client import NotAuthorized, RailwayClient, Unclear
from controller.adapters.railway.reading import Regions, ServiceInstance
from controller.model import Intent, Replicas, ServiceState
from controller.ports import LeaseLost, NotSent, Receipt, Refused, Requests, Source, Unavailable

_PAGE = 50
_MOST_PAGES = 20


class RailwayPlatform:
    """Reads and scales the services of one environment of one project."""

    def __init__(self, client: RailwayClient, *, project: str, environment: str) -> None:
        self.client = client
        self._project = project
        self._environment = environment
        # The environment's config is a request of its own; asked again only when a service looks different.
        self._config_seen: dict[str, tuple[object, Regions | None, bool]] = {}
        # Of this process only: a successor starts from the map that it finds.
        self._proportions: dict[str, Mapping[str, int]] = {}
        self._queries_per_look = 1

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        before = self.client.budget.queries
        try:
            found = await self._instances(services)
            return {service: await self._reading(service, found) for service in services}
        finally:
            self._queries_per_look = max(1, self.client.budget.queries - before)

    def requests(self) -> Requests:
        return self.client.budget.requests(per_cycle=self._queries_per_look)

    async def scale(self, service: str, intent: Intent, observed: Replicas) -> Receipt:
        steps = _Steps(self.client, intent)
        if intent.after == 0:
            if observed.deployment is None:
                raise NotSent(Source.PLATFORM, "there is no deployment to stop")
            await steps.take("DeploymentStop", {"id": observed.deployment})
            return Receipt.ACCEPTED
        change = self._change(service, intent.after, observed)
        if observed.state is ServiceState.STOPPED:
            await self._start(steps, service, change, observed)
        elif observed.state in {ServiceState.SLEEPING, ServiceState.REMOVED}:
            await self._update(steps, service, change)
            await self._deploy(steps, service)
        else:
            await self._update(steps, service, change)
        return Receipt.ACCEPTED

    def _change(self, service: str, replicas: int, observed: Replicas) -> dict[str, Any]:
        """The input of an update. Refuses here what Railway would clamp without a word, or can't be asked for."""
        if observed.largest is not None and replicas > observed.largest:
            raise Refused(
                Source.PLATFORM,
                f"service {service} has a volume, with which Railway allows no more than 1 replica: set max_replicas "
                "to 1, or detach the volume",
            )
        named = {region: count for region, count in observed.regions.items() if region}
        if not named:
            return {"numReplicas": replicas}  # a service that never said where it runs
        weights = reading.proportions(named, self._proportions.get(service, named))
        self._proportions[service] = weights
        counts = reading.spread(replicas, weights)
        if replicas < sum(counts.values()) == observed.configured:
            raise Refused(
                Source.PLATFORM,
                f"service {service} runs in {len(counts)} regions, and each keeps at least 1 replica: "
                f"{replicas} cannot be asked for",
            )
        return {"multiRegionConfig": {region: {"numReplicas": count} for region, count in counts.items()}}

    async def _start(self, steps: _Steps, service: str, change: dict[str, Any], observed: Replicas) -> None:
        """From zero: the count first, while nothing runs, then the restart; a new deployment where that is refused."""
        updated = change != _as_it_is(observed)
        if updated:
            await self._update(steps, service, change)
        try:
            await steps.take("DeploymentRestart", {"id": observed.deployment})
        except NotAuthorized:
            raise
        except (Refused, Unclear):
            # A restart that did happen after all gives way to the deployment; jobs that wait for a minute do not.
            if not updated:
                # A deployment is known to fall back to one replica where the count was not set just before it.
                await self._update(steps, service, change)
            await self._deploy(steps, service)

    async def _update(self, steps: _Steps, service: str, change: dict[str, Any]) -> None:
        variables = {"serviceId": service, "environmentId": self._environment, "input": change}
        await steps.take("ServiceInstanceUpdate", variables)

    async def _deploy(self, steps: _Steps, service: str) -> None:
        variables = {"serviceId": service, "environmentId": self._environment}
        await steps.take("ServiceInstanceDeployV2", variables)

    async def _instances(self, services: Collection[str]) -> dict[str, dict[str, Any]]:
        """The environment's services by id, until all that were asked for are found."""
        found: dict[str, dict[str, Any]] = {}
        after: str | None = None
        for _ in range(_MOST_PAGES):
            page = await self._page(after)
            try:
                found |= {_text(edge["node"]["serviceId"]): edge["node"] for edge in page["edges"]}
                after = page["pageInfo"]["endCursor"] if page["pageInfo"]["hasNextPage"] else None
            except (KeyError, TypeError):
                raise _not_understood("the list of services") from None
            if after is None or all(service in found for service in services):
                break
        return found

    async def _page(self, after: str | None) -> dict[str, Any]:
        variables = {**self._scope, "first": _PAGE, "after": after}
        environment = (await self.client.query("EnvironmentState", variables)).get("environment")
        page = environment.get("serviceInstances") if isinstance(environment, dict) else None
        if not isinstance(page, dict):
            raise _not_understood("the environment; look at RAILWAY_ENVIRONMENT_ID")
        return page

    async def _reading(self, service: str, found: Mapping[str, dict[str, Any]]) -> Replicas | Unavailable:
        if service not in found:
            return _unknown_service(service, found)
        try:
            return await self._replicas(ServiceInstance.model_validate(found[service]))
        except (ValidationError, ValueError, TypeError) as error:
            return _not_understood(f"service {service} ({str(error).splitlines()[0]})")
        except Unavailable as unavailable:
            return unavailable

    async def _replicas(self, instance: ServiceInstance) -> Replicas:
        name = instance.serviceName
        if instance.cronSchedule:
            raise Unavailable(Source.PLATFORM, f"service {name} is a cron service, which cannot have replicas")
        deployment = reading.speaker(instance)
        state = reading.state_of(deployment)
        if state is ServiceState.NEVER_DEPLOYED and await self._has_ever_been_deployed(instance.serviceId):
            state = ServiceState.REMOVED
        if state is ServiceState.NEVER_DEPLOYED:
            raise Unavailable(
                Source.PLATFORM, f"service {name} was never deployed; deploy it once, then it can be scaled"
            )
        if state is ServiceState.FAILED:
            raise Unavailable(
                Source.PLATFORM, f"the last deployment of service {name} failed and none runs; mend it and deploy again"
            )
        regions, volume = await self._regions_and_volume(instance, state)
        return reading.replicas(instance, state, regions, volume=volume)

    async def _regions_and_volume(self, instance: ServiceInstance, state: ServiceState) -> tuple[Regions, bool]:
        """The deployment's own map; where it has none, or its instances belie it, the environment's config.

        A volume only by the config: what the deployment says of its mounts is what its image declares, too.
        """
        deployment = reading.speaker(instance)
        in_meta = reading.regions_in_meta(deployment)
        live = reading.live(deployment)
        mounts = reading.may_have_volume(deployment)
        believed = in_meta is not None and (state is not ServiceState.RUNNING or live == sum(in_meta.values()))
        if in_meta is not None and believed and not mounts:
            return in_meta, False
        look = (deployment and deployment.id, in_meta and tuple(in_meta.items()), None if believed else live, mounts)
        seen = self._config_seen.get(instance.serviceId)
        if seen is None or seen[0] != look:
            config, service = await self._config(), instance.serviceId
            seen = (look, reading.regions_in_config(config, service), reading.volume_in_config(config, service))
            self._config_seen[service] = seen
        _, in_config, volume = seen
        if in_meta is not None:
            # An update may reach the config and the instances without being written into the deployment's map.
            belied = not believed and in_config is not None and sum(in_config.values()) == live
            return (in_config if belied and in_config is not None else in_meta), volume
        return (in_config if in_config is not None else reading.regions_of_old(instance, deployment)), volume

    async def _config(self) -> Any:
        environment = (await self.client.query("EnvironmentConfig", self._scope)).get("environment")
        return environment.get("config") if isinstance(environment, dict) else None

    async def _has_ever_been_deployed(self, service: str) -> bool:
        deployments = {"input": {"serviceId": service, "environmentId": self._environment}, "first": 1}
        answer = await self.client.query("PastDeployments", deployments)
        try:
            return [_text(edge["node"]["id"]) for edge in answer["deployments"]["edges"]] != []
        except (KeyError, TypeError):
            raise _not_understood("the list of past deployments") from None

    @property
    def _scope(self) -> dict[str, Any]:
        return {"environmentId": self._environment, "projectId": self._project}


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
            raise Unavailable(Source.PLATFORM, f"was asked for a part of the change only: {lost}") from None
        self._taken += 1


def _as_it_is(observed: Replicas) -> dict[str, Any]:
    """The change that would change nothing."""
    if "" in observed.regions:
        return {"numReplicas": observed.regions[""]}
    return {"multiRegionConfig": {region: {"numReplicas": count} for region, count in observed.regions.items()}}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no id")
    return value


def _unknown_service(service: str, found: Mapping[str, dict[str, Any]]) -> Unavailable:
    known = ", ".join(f"{node.get('serviceName')} is {ident}" for ident, node in sorted(found.items())) or "none at all"
    return Unavailable(
        Source.PLATFORM,
        f"there is no service {service} in this environment; set `service:` in the policy (RAILWAY_WORKER_SERVICE_ID) "
        f"to one of its ids: {known}",
    )


def _not_understood(what: str) -> Unavailable:
    return Unavailable(Source.PLATFORM, f"answered in a form that is not understood: {what}")
