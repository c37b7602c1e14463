from __future__ import annotations

from typing import Any

import pytest

from controller.fake_railway import (
    OTHER_PROJECT_TOKEN,
    PROJECT_TOKEN,
    WORKER_SERVICE_ID,
    WORKSPACE_TOKEN,
    Switches,
)
from tests.fake_railway.client import BEARER, PLACE, RESTART, STATE, STOP, UPDATE, railway

pytestmark = pytest.mark.virtual_time

UNKNOWN = "00000000-0000-4000-8000-000000000000"
PROJECT = {"Project-Access-Token": PROJECT_TOKEN}
WORKSPACE = {"Authorization": f"Bearer {WORKSPACE_TOKEN}"}
INTERNAL, BAD_INPUT = "INTERNAL_SERVER_ERROR", "BAD_USER_INPUT"


async def test_zero_replicas_are_refused_word_for_word() -> None:
    head = "mutation($s: String!, $i: ServiceInstanceUpdateInput!) {"
    document = f"{head:<64}serviceInstanceUpdate(serviceId: $s, input: $i) }}"
    async with railway(switches=Switches(bad_input_code=INTERNAL)) as (_, client):
        response = await client.ask(document, s=WORKER_SERVICE_ID, i={"numReplicas": 0})
        trace = response.json()["errors"][0]["traceId"]
        assert trace.isdigit()
        assert response.text == (
            '{"errors":[{"message":"Error in numReplicas - Invalid input","locations":[{"line":1,"column":65}],'
            '"path":["serviceInstanceUpdate"],"extensions":{"code":"INTERNAL_SERVER_ERROR"},'
            f'"traceId":"{trace}"}}],"data":null}}'
        )


async def test_a_stranger_is_refused_word_for_word() -> None:
    async with railway() as (_, client):
        response = await client.ask("query { me { id } }", {})
        trace = response.json()["errors"][0]["traceId"]
        assert response.status_code == 200
        assert response.text == (
            '{"errors":[{"message":"Not Authorized","locations":[{"line":1,"column":9}],"path":["me"],'
            f'"extensions":{{"code":"INTERNAL_SERVER_ERROR"}},"traceId":"{trace}"}}],"data":null}}'
        )


async def test_an_unknown_field_is_refused_word_for_word() -> None:
    async with railway() as (_, client):
        response = await client.ask("{ nope }")
        trace = response.json()["errors"][0]["traceId"]
        assert response.status_code == 200
        assert response.text == (
            '{"errors":[{"message":"Cannot query field \\"nope\\" on type \\"Query\\".",'
            f'"extensions":{{"code":"GRAPHQL_VALIDATION_FAILED"}},"traceId":"{trace}"}}]}}'
        )


async def test_a_restart_says_true_word_for_word() -> None:
    async with railway(0) as (fake, client):
        response = await client.ask(RESTART, id=fake.worker.deployments[0].id)
        assert response.text == '{"data":{"deploymentRestart":true}}'


@pytest.mark.parametrize(
    ("document", "variables", "headers", "message"),
    [
        pytest.param(STATE, PLACE, {}, "Not Authorized", id="no token"),
        pytest.param(STATE, PLACE, {"Authorization": "Bearer nonsense"}, "Not Authorized", id="an unknown token"),
        pytest.param(
            STATE, PLACE, {"Authorization": f"Bearer {PROJECT_TOKEN}"}, "Project Token not found", id="a misplaced one"
        ),
        pytest.param(
            STATE, PLACE, {"Project-Access-Token": OTHER_PROJECT_TOKEN}, "Not Authorized", id="another environment's"
        ),
        pytest.param("{ me { id } }", {}, PROJECT, "Not Authorized", id="me with a project token"),
        pytest.param("{ me { id } }", {}, WORKSPACE, "Not Authorized", id="me with a workspace token"),
        pytest.param("{ projectToken { id } }", {}, BEARER, "Not Authorized", id="projectToken with another token"),
        pytest.param("{ apiToken { workspaces { id } } }", {}, PROJECT, "Not Authorized", id="apiToken for a project"),
        pytest.param(STATE, {**PLACE, "serviceId": UNKNOWN}, BEARER, "Not Authorized", id="an unknown service"),
        pytest.param(STATE, {**PLACE, "environmentId": UNKNOWN}, BEARER, "Not Authorized", id="an unknown environment"),
        pytest.param(
            "query($id: String!) { project(id: $id) { id } }", {"id": UNKNOWN}, BEARER, "Not Authorized",
            id="an unknown project",
        ),
        pytest.param(STOP, {"id": UNKNOWN}, BEARER, "Deployment not found", id="a stop of an unknown deployment"),
        pytest.param(RESTART, {"id": UNKNOWN}, BEARER, "Deployment not found", id="a restart of an unknown deployment"),
        pytest.param(STOP, {"id": UNKNOWN}, {}, "Not Authorized", id="a stranger learns nothing about deployments"),
    ],
)  # fmt: skip
async def test_refuses_who_may_not(
    document: str, variables: dict[str, Any], headers: dict[str, str], message: str
) -> None:
    async with railway() as (_, client):
        assert await client.refusal(document, headers, **variables) == (200, message, INTERNAL)


@pytest.mark.parametrize("headers", [PROJECT, WORKSPACE, BEARER], ids=["project", "workspace", "account"])
async def test_every_kind_of_token_reads_and_scales(headers: dict[str, str]) -> None:
    async with railway() as (fake, client):
        assert (await client.ask(STATE, headers, **PLACE)).json()["data"]["serviceInstance"]
        answer = await client.ask(
            UPDATE, headers, **PLACE, input={"multiRegionConfig": {"us-west2": {"numReplicas": 2}}}
        )
        assert answer.json() == {"data": {"serviceInstanceUpdate": True}}
        assert fake.worker.configured == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"numReplicas": 0}, "numReplicas"),
        ({"numReplicas": -1}, "numReplicas"),
        ({"multiRegionConfig": {"us-west2": {"numReplicas": 0}}}, "multiRegionConfig"),
        ({"multiRegionConfig": {"us-west2": {"numReplicas": "2"}}}, "multiRegionConfig"),
        ({"multiRegionConfig": {"us-west2": None}}, "multiRegionConfig"),
        ({"multiRegionConfig": 3}, "multiRegionConfig"),
    ],
)
async def test_refuses_a_count_that_is_none(change: dict[str, Any], field: str) -> None:
    async with railway(2) as (fake, client):
        refusal = await client.refusal(UPDATE, **PLACE, input=change)
        assert refusal == (200, f"Error in {field} - Invalid input", BAD_INPUT)
        assert fake.worker.configured == 2
        assert fake.mutations[0]["effect"] == f"refused: Error in {field} - Invalid input"
        assert not fake.mutations[0]["applied"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{not json", BAD_INPUT),
        (b'{"variables": {}}', BAD_INPUT),
        (b'{"query": "{ me { id }"}', "GRAPHQL_PARSE_FAILED"),
        (b'{"query": "query($m: ServiceMultiRegionConfigInput) { me { id } }"}', "GRAPHQL_VALIDATION_FAILED"),
        (b'{"query": "query($id: String!) { deployment(id: $id) { id } }"}', BAD_INPUT),
        (b'{"query": "query($id: Int!) { deployment(id: $id) { id } }"}', "GRAPHQL_VALIDATION_FAILED"),
    ],
    ids=["not JSON", "no document", "a broken document", "a made-up type", "a missing variable", "a wrong type"],
)
async def test_a_malformed_request_is_a_400_with_errors(body: bytes, code: str) -> None:
    async with railway() as (fake, client):
        response = await client.http.post(fake.url, content=body, headers=BEARER)
        assert response.status_code == 400
        assert response.json()["errors"][0]["extensions"]["code"] == code
