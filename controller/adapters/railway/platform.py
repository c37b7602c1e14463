"""Railway as a Platform: one reading of the environment for all services, and an absolute number asked of one.

Railway refuses `numReplicas: 0`, so that zero is a stopped deployment: deploymentStop, and deploymentRestart on the way
back, or a new deployment where it cannot be restarted. Any other number goes out as the full multiRegionConfig map.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from controller.adapters.railway import reading
from controller.adapters.railway.client import NotAuthorized, RailwayClient
from controller.adapters.railway.reading import Regions, ServiceInstance
from controller.model import Intent, Replicas, ServiceState
from controller.ports import NotSent, Receipt, Refused, Source, Unavailable

_PAGE = 50
_MOST_PAGES = 20


class RailwayPlatform:
    """Reads and scales the services of one environment of one project."""

    def __init__(self, client: RailwayClient, *, project: str, environment: str) -> None:
        self._client = client
        self._project = project
        self._environment = environment
        # The environment's config is a request of its own; asked again only when a service looks different.
        self._config_seen: dict[str, tuple[object, Regions | None]] = {}

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        found = await self._instances(services)
        return {service: await self._reading(service, found) for service in services}

    async def scale(self, service: str, intent: Intent, observed: Replicas) -> Receipt:
        replicas = intent.after
        if replicas == 0:
            if observed.deployment is None:
                raise NotSent(Source.PLATFORM, "there is no deployment to stop")
            await self._client.mutate("DeploymentStop", {"id": observed.deployment})
            return Receipt.ACCEPTED
        if observed.state is ServiceState.STOPPED:
            await self._start(service, replicas, observed)
        elif observed.state in {ServiceState.SLEEPING, ServiceState.REMOVED}:
            await self._update(service, replicas, observed)
            await self._deploy(service)
        else:
            await self._update(service, replicas, observed)
        return Receipt.ACCEPTED

    async def _start(self, service: str, replicas: int, observed: Replicas) -> None:
        """From zero: the count first, while nothing runs, then the restart; a new deployment where that is refused."""
        updated = sum(observed.regions.values()) != replicas
        if updated:
            await self._update(service, replicas, observed)
        try:
            await self._client.mutate("DeploymentRestart", {"id": observed.deployment})
        except NotAuthorized:
            raise
        except Refused:
            if not updated:
                # A deployment is known to fall back to one replica where the count was not set just before it.
                await self._update(service, replicas, observed)
            await self._deploy(service)

    async def _update(self, service: str, replicas: int, observed: Replicas) -> None:
        named = {region: count for region, count in observed.regions.items() if region}
        # A service that never said where it runs can only be given the flat count.
        change = {"multiRegionConfig": reading.spread(replicas, named)} if named else {"numReplicas": replicas}
        variables = {"serviceId": service, "environmentId": self._environment, "input": change}
        await self._client.mutate("ServiceInstanceUpdate", variables)

    async def _deploy(self, service: str) -> None:
        variables = {"serviceId": service, "environmentId": self._environment}
        await self._client.mutate("ServiceInstanceDeployV2", variables)

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
        environment = (await self._client.query("EnvironmentState", variables)).get("environment")
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
        return reading.replicas(instance, state, await self._regions(instance, state))

    async def _regions(self, instance: ServiceInstance, state: ServiceState) -> Regions:
        """The deployment's own map; where it has none, or its instances belie it, the environment's config."""
        deployment = reading.speaker(instance)
        in_meta = reading.regions_in_meta(deployment)
        live = reading.live(deployment)
        if in_meta is not None and (state is not ServiceState.RUNNING or live == sum(in_meta.values())):
            return in_meta
        look = (deployment.id if deployment else None, in_meta and tuple(in_meta.items()), live)
        seen = self._config_seen.get(instance.serviceId)
        if seen is None or seen[0] != look:
            seen = (look, reading.regions_in_config(await self._config(), instance.serviceId))
            self._config_seen[instance.serviceId] = seen
        in_config = seen[1]
        if in_meta is not None:
            # An update may reach the config and the instances without being written into the deployment's map.
            return in_config if in_config is not None and sum(in_config.values()) == live else in_meta
        return in_config if in_config is not None else reading.regions_of_old(instance, deployment)

    async def _config(self) -> Any:
        environment = (await self._client.query("EnvironmentConfig", self._scope)).get("environment")
        return environment.get("config") if isinstance(environment, dict) else None

    async def _has_ever_been_deployed(self, service: str) -> bool:
        deployments = {"input": {"serviceId": service, "environmentId": self._environment}, "first": 1}
        answer = await self._client.query("PastDeployments", deployments)
        try:
            return [_text(edge["node"]["id"]) for edge in answer["deployments"]["edges"]] != []
        except (KeyError, TypeError):
            raise _not_understood("the list of past deployments") from None

    @property
    def _scope(self) -> dict[str, Any]:
        return {"environmentId": self._environment, "projectId": self._project}


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
