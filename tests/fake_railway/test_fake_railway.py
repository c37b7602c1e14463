from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from controller.fake_railway import (
    ACCOUNT_TOKEN,
    ENVIRONMENT_ID,
    PROJECT_ID,
    PROJECT_TOKEN,
    WORKER_SERVICE_ID,
    WORKSPACE_TOKEN,
    FakeRailway,
    TokenKind,
)
from tests.fake_railway.client import BEARER, PLACE, QUICK, RESTART, STATE, STOP, UPDATE, railway, until

pytestmark = pytest.mark.virtual_time

UNKNOWN = "00000000-0000-4000-8000-000000000000"
PROJECT = {"Project-Access-Token": PROJECT_TOKEN}
WORKSPACE = {"Authorization": f"Bearer {WORKSPACE_TOKEN}"}
INTERNAL, BAD_INPUT = "INTERNAL_SERVER_ERROR", "BAD_USER_INPUT"
ENVIRONMENT = {"environmentId": ENVIRONMENT_ID}
DEPLOYMENT_FIELDS = "id status createdAt deploymentStopped canRedeploy meta statusUpdatedAt instances { id status }"

DOCUMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "who am I": ("query { me { id name email apiTokenRateLimit { remainingPoints resetsAt } } }", {}),
    "what can this token reach": ("query { apiToken { workspaces { id name } } }", {}),
    "a project by id": (
        """query($id: String!) { project(id: $id) { id name
             environments { edges { node { id name } } } services { edges { node { id name } } } } }""",
        {"id": PROJECT_ID},
    ),
    "the regions": (
        """query($projectId: String) { regions(projectId: $projectId) { name region country location workspaceId
             deploymentConstraints { deprecationInfo { isDeprecated replacementRegion } } } }""",
        {"projectId": PROJECT_ID},
    ),
    "a service instance": (STATE, PLACE),
    "a service": ("query($id: String!) { service(id: $id) { id name projectId } }", {"id": WORKER_SERVICE_ID}),
    "an environment with its services": (
        f"""query($environmentId: String!, $projectId: String!, $first: Int, $after: String) {{
             environment(id: $environmentId, projectId: $projectId) {{ id name
               serviceInstances(first: $first, after: $after) {{
                 edges {{ cursor node {{ id serviceId serviceName environmentId numReplicas region
                   latestDeployment {{ {DEPLOYMENT_FIELDS} }} activeDeployments {{ {DEPLOYMENT_FIELDS} }} }} }}
                 pageInfo {{ hasNextPage endCursor }} }} }} }}""",
        {**ENVIRONMENT, "projectId": PROJECT_ID, "first": 10},
    ),
    "an environment's configuration": (
        """query($id: String!, $decryptVariables: Boolean) {
             environment(id: $id) { id name config(decryptVariables: $decryptVariables) } }""",
        {"id": ENVIRONMENT_ID, "decryptVariables": False},
    ),
    "staged changes": (
        "query($id: String!) { environmentStagedChanges(environmentId: $id) { id status patch } }",
        {"id": ENVIRONMENT_ID},
    ),
    "deployments": (
        """query($input: DeploymentListInput!, $first: Int) {
             deployments(input: $input, first: $first) { edges { node { id createdAt status meta } } } }""",
        {"input": {"serviceId": WORKER_SERVICE_ID, "status": {"in": ["SUCCESS"]}}, "first": 1},
    ),
    "a flat update": (UPDATE, {**PLACE, "input": {"numReplicas": 2}}),
    "an update without an environment": (UPDATE, {"serviceId": WORKER_SERVICE_ID, "input": {"numReplicas": 2}}),
    "the update of the older command line": (
        """mutation($environmentId: String!, $serviceId: String!, $multiRegionConfig: JSON!) {
             serviceInstanceUpdate(environmentId: $environmentId, serviceId: $serviceId,
                                   input: { multiRegionConfig: $multiRegionConfig }) }""",
        {**PLACE, "multiRegionConfig": {"us-west2": {"numReplicas": 2}}},
    ),
    "a patch": (
        """mutation($environmentId: String!, $patch: EnvironmentConfig!, $commitMessage: String) {
             environmentPatchCommit(environmentId: $environmentId, patch: $patch, commitMessage: $commitMessage) }""",
        {**ENVIRONMENT, "patch": {"services": {WORKER_SERVICE_ID: {"deploy": {"drainingSeconds": 1}}}}},
    ),
    "a staged patch": (
        """mutation($environmentId: String!, $input: EnvironmentConfig!, $merge: Boolean) {
             environmentStageChanges(environmentId: $environmentId, input: $input, merge: $merge) { id status } }""",
        {**ENVIRONMENT, "input": {"services": {}}, "merge": True},
    ),
    "a commit of what is staged": (
        """mutation($environmentId: String!, $commitMessage: String, $skipDeploys: Boolean) {
             environmentPatchCommitStaged(environmentId: $environmentId, commitMessage: $commitMessage,
                                          skipDeploys: $skipDeploys) }""",
        ENVIRONMENT,
    ),
    "a deploy": (
        """mutation($environmentId: String!, $serviceId: String!) {
             serviceInstanceDeployV2(environmentId: $environmentId, serviceId: $serviceId) }""",
        PLACE,
    ),
    "a deploy of the latest commit": (
        """mutation($environmentId: String!, $serviceId: String!) {
             serviceInstanceDeploy(environmentId: $environmentId, serviceId: $serviceId, latestCommit: true) }""",
        PLACE,
    ),
    "a redeploy": (
        """mutation($environmentId: String!, $serviceId: String!) {
             serviceInstanceRedeploy(environmentId: $environmentId, serviceId: $serviceId) }""",
        PLACE,
    ),
    "one deployment": (f"query($id: String!) {{ deployment(id: $id) {{ {DEPLOYMENT_FIELDS} }} }}", {"id": ""}),
    "a stop": (STOP, {"id": ""}),
    "a restart": (RESTART, {"id": ""}),
    "a removal": ("mutation($id: String!) { deploymentRemove(id: $id) }", {"id": ""}),
    "a new one like it": (
        "mutation($id: String!) { deploymentRedeploy(id: $id) { id status } }",
        {"id": ""},
    ),
}


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_answers_every_document_a_client_may_send(name: str) -> None:
    document, variables = DOCUMENTS[name]
    async with railway() as (fake, client):
        known = {"id": fake.worker.deployments[0].id} if variables.get("id") == "" else {}
        response = await client.ask(document, **{**variables, **known})
        assert response.status_code == 200
        assert "errors" not in response.json(), response.text
        assert response.json()["data"]


async def test_a_project_token_knows_where_it_belongs() -> None:
    async with railway() as (_, client):
        response = await client.ask("query { projectToken { projectId environmentId } }", PROJECT)
        assert response.json() == {"data": {"projectToken": {"projectId": PROJECT_ID, "environmentId": ENVIRONMENT_ID}}}


async def test_every_answer_names_the_quota_and_none_what_is_left_of_it() -> None:
    async with railway(quota=100) as (fake, client):
        fake.inject("502", on="me")
        for document in ("{ regions { name } }", "{ nope }", "{ me { id } }"):
            headers = (await client.ask(document)).headers
            assert headers["ratelimit-policy"] == '"default";q=100;w=3600'
            assert not [name for name in headers if name.startswith("x-ratelimit")]


async def test_a_used_up_quota_is_a_429_where_it_is_enforced() -> None:
    async with railway(quota=2, enforce_quota=True) as (_, client):
        answers = [await client.ask("{ me { id } }") for _ in range(3)]
        assert [each.status_code for each in answers] == [200, 200, 429]
        assert 3500 < int(answers[-1].headers["retry-after"]) <= 3600


async def test_ignores_the_query_string() -> None:
    async with railway() as (fake, client):
        response = await client.http.post(f"{fake.url}?source=test", json={"query": "{ me { id } }"}, headers=BEARER)
        assert response.json()["data"]["me"]["id"]


PAGE = """query($id: String!, $first: Int, $after: String) { environment(id: $id) {
  serviceInstances(first: $first, after: $after) {
    edges { cursor node { serviceName } } pageInfo { hasNextPage endCursor } } } }"""


async def test_pages_through_the_services_of_an_environment() -> None:
    async with railway() as (fake, client):
        for name in ("mailer", "resizer"):
            fake.add_service(name)
        names, after = [], None
        for more in (True, False):
            page = (await client.data(PAGE, id=ENVIRONMENT_ID, first=2, after=after))["serviceInstances"]
            names += [edge["node"]["serviceName"] for edge in page["edges"]]
            assert page["pageInfo"]["hasNextPage"] is more
            assert page["pageInfo"]["endCursor"] == page["edges"][-1]["cursor"]
            after = page["pageInfo"]["endCursor"]
        assert names == ["worker", "mailer", "resizer"]


async def test_a_service_that_was_never_deployed_has_nothing_to_show() -> None:
    async with railway() as (fake, client):
        fake.by_hand(never_deployed=True)
        state = await client.state()
        assert state["latestDeployment"] is None
        assert state["activeDeployments"] == []
        assert state["numReplicas"] is None


async def test_the_record_tells_every_mutation_and_never_the_token() -> None:
    async with railway(0) as (fake, client):
        await client.scale(3)
        await client.ask(RESTART, {**BEARER, "User-Agent": "autoscaler/1"}, id=fake.worker.deployments[0].id)
        await client.ask(STOP, id=UNKNOWN)
        await client.ask("mutation Broken { nope }")
        listed = (await client.http.get(f"{fake.base_url}/mutations")).json()
        assert listed == fake.mutations
        assert ACCOUNT_TOKEN not in str(listed)
        assert [(each["n"], each["mutation"], each["effect"], each["applied"]) for each in listed] == [
            (1, "serviceInstanceUpdate", "worker: 0, stored 3", True),
            (2, "deploymentRestart", "worker: 0 → 3", True),
            (3, "deploymentStop", "refused: Deployment not found", False),
            (4, "nope", 'refused: Cannot query field "nope" on type "Mutation".', False),
        ]
        restart = listed[1]
        assert (restart["operation"], restart["caller"]) == ("Restart", "account token, autoscaler/1")
        assert (restart["service"], restart["from"], restart["to"]) == ("worker", 0, 3)
        assert restart["deployment"] == fake.worker.deployments[0].id
        assert restart["at"].endswith("Z")
        assert restart["at_s"] >= listed[0]["at_s"]


async def test_counts_every_request() -> None:
    async with railway() as (fake, client):
        await client.state()
        await client.state()
        await client.ask("{ me { id } }")
        counted = (await client.http.get(f"{fake.base_url}/requests")).json()
        assert (counted["total"], counted["by_operation"]["ServiceState"], counted["by_status"]) == (3, 2, {"200": 3})
        assert [each["operationName"] for each in counted["latest"]] == ["ServiceState", "ServiceState", None]


async def test_shows_its_world() -> None:
    async with railway(2) as (fake, client):
        state = (await client.http.get(f"{fake.base_url}/state")).json()
        worker = state["services"][0]
        assert (worker["name"], worker["configured"], worker["running"]) == ("worker", 2, 2)
        assert [each["status"] for each in worker["deployments"][0]["instances"]] == ["RUNNING", "RUNNING"]


async def test_a_change_in_the_dashboard_is_recorded_apart() -> None:
    async with railway(1) as (fake, client):
        response = await client.http.post(f"{fake.base_url}/services/worker", json={"replicas": 3})
        assert response.json()["configured"] == 3
        await until(client.running, 3)
        await client.http.post(f"{fake.base_url}/services/{WORKER_SERVICE_ID}", json={"replicas": 0})
        await until(client.statuses, ["EXITED"] * 3)
        assert fake.mutations == []
        by_hand = (await client.http.get(f"{fake.base_url}/state")).json()["by_hand"]
        assert [each["change"] for each in by_hand] == [{"replicas": 3}, {"replicas": 0}]


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"replica": 1}, "there are: replicas, stopped"),
        ({"replicas": -1}, "can't be -1"),
        ({"mode": "magic"}, "accepted-not-honoured"),
        ({"plan_limit": "many"}, "can't be 'many'"),
        ({"over_limit": "shout"}, "clamp or ignore"),
        ({"on_start": "sing"}, "run, crash or exit"),
        ({"hangs_in": "SUCCESS"}, "hangs_in is one of BUILDING"),
        ({"multiRegionConfig": {"us-west2": {"numReplicas": 0}}}, "Invalid input"),
        ([], "an object"),
    ],
)
async def test_the_dashboard_says_what_it_does_not_understand(change: Any, hint: str) -> None:
    async with railway() as (fake, client):
        response = await client.http.post(f"{fake.base_url}/services/worker", json=change)
        assert response.status_code == 400
        assert hint in response.json()["error"]


@pytest.mark.parametrize(
    ("kind", "name", "token"),
    [
        ("account", "RAILWAY_API_TOKEN", "fake-account-token"),
        ("workspace", "RAILWAY_API_TOKEN", "fake-workspace-token"),
        ("project", "RAILWAY_TOKEN", "fake-project-token"),
    ],
)
async def test_tells_a_client_how_to_find_it(kind: TokenKind, name: str, token: str) -> None:
    async with railway() as (fake, _):
        variables = fake.environment_variables(kind)
        assert variables.pop(name) == token
        assert variables == {
            "RAILWAY_API_URL": fake.url,
            "RAILWAY_PROJECT_ID": PROJECT_ID,
            "RAILWAY_ENVIRONMENT_ID": ENVIRONMENT_ID,
            "RAILWAY_WORKER_SERVICE_ID": WORKER_SERVICE_ID,
        }


async def test_a_taken_port_is_an_os_error() -> None:
    async with railway() as (fake, _):
        with pytest.raises(OSError, match="address already in use"):
            await FakeRailway.create(timings=QUICK).start(port=int(fake.base_url.rpartition(":")[2]))


async def test_closes_while_a_client_waits_for_an_answer() -> None:
    async with httpx.AsyncClient() as http:
        async with FakeRailway.create(1, timings=QUICK) as fake:
            fake.inject("hang", seconds=60)
            waiting = asyncio.create_task(http.post(fake.url, json={"query": "{ me { id } }"}, headers=BEARER))

            async def asked() -> int:
                return fake.record.total

            await until(asked, 1)
        with pytest.raises(httpx.TransportError):
            await asyncio.wait_for(waiting, 5)
