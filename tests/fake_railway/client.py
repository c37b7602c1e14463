"""A client that knows nothing but HTTP, and the documents the tests send."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx

from controller.fake_railway import ACCOUNT_TOKEN, ENVIRONMENT_ID, WORKER_SERVICE_ID, FakeRailway, Timings
from tests.support.patience import PATIENCE_S, until_equal

QUICK = Timings().scaled(0.01)
VISIBLE = replace(Timings().scaled(0.1), forgotten=0.5)
"""Slow enough for a client to see every state go by."""
BEARER = {"Authorization": f"Bearer {ACCOUNT_TOKEN}"}
PLACE: dict[str, Any] = {"serviceId": WORKER_SERVICE_ID, "environmentId": ENVIRONMENT_ID}

STATE = """query ServiceState($serviceId: String!, $environmentId: String!) {
  serviceInstance(serviceId: $serviceId, environmentId: $environmentId) {
    serviceId serviceName numReplicas sleepApplication source { image }
    latestDeployment { id status deploymentStopped canRedeploy meta instances { id status } }
    activeDeployments { id status deploymentStopped instances { id status } }
  }
}"""
UPDATE = """mutation Update($serviceId: String!, $environmentId: String, $input: ServiceInstanceUpdateInput!) {
  serviceInstanceUpdate(serviceId: $serviceId, environmentId: $environmentId, input: $input)
}"""
DEPLOY = """mutation Deploy($serviceId: String!, $environmentId: String!) {
  serviceInstanceDeployV2(serviceId: $serviceId, environmentId: $environmentId)
}"""
COMMIT = """mutation Commit($environmentId: String!, $patch: EnvironmentConfig!) {
  environmentPatchCommit(environmentId: $environmentId, patch: $patch)
}"""
STOP = "mutation Stop($id: String!) { deploymentStop(id: $id) }"
RESTART = "mutation Restart($id: String!) { deploymentRestart(id: $id) }"


WEST, EUROPE = "us-west2", "europe-west4-drams3a"


def regions(**counts: int | None) -> dict[str, Any]:
    names = {"west": WEST, "europe": EUROPE}
    return {names[name]: None if count is None else {"numReplicas": count} for name, count in counts.items()}


class Client:
    def __init__(self, http: httpx.AsyncClient, fake: FakeRailway) -> None:
        self.http = http
        self.fake = fake

    async def ask(self, document: str, headers: Mapping[str, str] | None = None, **variables: Any) -> httpx.Response:
        body = {"query": document, "variables": variables}
        return await self.http.post(self.fake.url, json=body, headers=BEARER if headers is None else headers)

    async def data(self, document: str, **variables: Any) -> Any:
        """The only field of the answer's data."""
        answer = (await self.ask(document, **variables)).json()
        assert "errors" not in answer, answer["errors"]
        (only,) = answer["data"].values()
        return only

    async def refusal(
        self, document: str, headers: Mapping[str, str] | None = None, **variables: Any
    ) -> tuple[int, str, str]:
        response = await self.ask(document, headers, **variables)
        error = response.json()["errors"][0]
        return response.status_code, error["message"], error["extensions"]["code"]

    async def state(self) -> Any:
        return await self.data(STATE, **PLACE)

    async def latest(self) -> Any:
        return (await self.state())["latestDeployment"]

    async def statuses(self) -> list[str]:
        return [each["status"] for each in (await self.latest())["instances"]]

    async def summary(self) -> tuple[str, bool, list[str]]:
        latest = await self.latest()
        return latest["status"], latest["deploymentStopped"], [each["status"] for each in latest["instances"]]

    async def every_status(self) -> list[str]:
        """Of all deployments there ever were, newest first."""
        found = await self.data("{ deployments(input: {}) { edges { node { status } } } }")
        return [edge["node"]["status"] for edge in found["edges"]]

    async def shown_regions(self) -> Any:
        return (await self.latest())["meta"]["serviceManifest"]["deploy"]["multiRegionConfig"]

    async def running(self) -> int:
        return (await self.statuses()).count("RUNNING")

    async def scale(self, replicas: int | None, region: str = WEST) -> Any:
        wish = None if replicas is None else {"numReplicas": replicas}
        return await self.data(UPDATE, **PLACE, input={"multiRegionConfig": {region: wish}})


@asynccontextmanager
async def railway(
    replicas: int = 1, *, timings: Timings = QUICK, **options: Any
) -> AsyncIterator[tuple[FakeRailway, Client]]:
    async with (
        FakeRailway.create(replicas, timings=timings, **options) as fake,
        httpx.AsyncClient(timeout=PATIENCE_S, verify=False) as http,
    ):
        yield fake, Client(http, fake)


async def until(check: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    """Ask again until the answer is the wanted one."""
    await until_equal(check, wanted, pause=0.005)


async def seen_until(look: Callable[[], Awaitable[Any]], last: Any) -> list[Any]:
    """Every different answer on the way to the last one, in order."""
    seen: list[Any] = []

    async def note() -> Any:
        now = await look()
        if not seen or seen[-1] != now:
            seen.append(now)
        return now

    await until(note, last)
    return seen
