"""Two workers that count the same jobs are both scaled for each of them: `check` says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controller.policy import Policy, overlaps
from tests.support.processes import autoscaler


def both(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    workers = {
        name: {"service": name, "queue": queue, "tiers": [{"replicas": 1}], "max_replicas": 1}
        for name, queue in (("a", one), ("b", other))
    }
    return list(overlaps(Policy.model_validate({"workers": workers})))


TABLE = {"table": "jobs"}
MAIL = {"preset": "procrastinate", "queues": ["mail"]}
SQL = {"sql": "SELECT 1 AS pending, 0 AS processing"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(TABLE, TABLE, id="the same table"),
        pytest.param(TABLE, {"table": "public.jobs"}, id="the same table with its schema"),
        pytest.param(TABLE, {"table": '"jobs"'}, id="the same table, quoted"),
        pytest.param(
            {**TABLE, "statuses": {"pending": ["new"]}},
            {**TABLE, "statuses": {"pending": ["old"]}},
            id="the same table with one status in common",
        ),
        pytest.param({**TABLE, "where": "kind = 'a'"}, {**TABLE, "where": "kind  =  'a'"}, id="the same condition"),
        pytest.param(TABLE, {**TABLE, "where": "kind = 'a'"}, id="one counts the whole table"),
        pytest.param(MAIL, MAIL, id="the same queues"),
        pytest.param(MAIL, {**MAIL, "queues": ["render", "mail"]}, id="one queue of several in common"),
        pytest.param(MAIL, {"preset": "procrastinate"}, id="one counts all queues"),
        pytest.param(SQL, SQL, id="the same query"),
        pytest.param(SQL, {"sql": "SELECT 1 AS pending,\n  0 AS processing;"}, id="the same query in other lines"),
    ],
)
def test_workers_that_count_the_same_jobs_are_named(one: dict[str, Any], other: dict[str, Any]) -> None:
    (warning,) = both(one, other)
    assert warning.startswith("workers.b.queue counts the same jobs as workers.a.queue (")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(TABLE, {"table": "other"}, id="another table"),
        pytest.param(TABLE, {"table": "tenant.jobs"}, id="another schema"),
        pytest.param({**TABLE, "where": "kind = 'a'"}, {**TABLE, "where": "kind = 'b'"}, id="other conditions"),
        pytest.param(TABLE, MAIL, id="a table and a library"),
        pytest.param(MAIL, {**MAIL, "queues": ["render"]}, id="other queues"),
        pytest.param(MAIL, {"preset": "que", "queues": ["mail"]}, id="another library"),
        pytest.param(MAIL, {**MAIL, "schema": "jobs"}, id="another schema of the library's"),
        pytest.param(SQL, {"sql": "SELECT 2 AS pending, 0 AS processing"}, id="another query"),
        pytest.param(
            {**TABLE, "statuses": {"pending": ["new"], "processing": ["taken"]}}, TABLE, id="no status in common"
        ),
    ],
)
def test_workers_with_jobs_of_their_own_are_not(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert both(one, other) == []


def test_the_queues_that_both_count_are_named() -> None:
    (warning,) = both(MAIL, {**MAIL, "queues": ["render", "mail"]})
    assert "(queues mail of procrastinate)" in warning


POLICY = """
workers:
  a: {service: one, queue: {table: jobs}, tiers: [{replicas: 1}], max_replicas: 1}
  b: {service: two, queue: {table: jobs}, tiers: [{replicas: 1}], max_replicas: 1}
"""


async def test_check_warns_and_accepts_the_policy(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    ran = await autoscaler("check", str(tmp_path / "policy.yaml"))
    assert ran.code == 0
    assert "warning: workers.b.queue counts the same jobs as workers.a.queue (table jobs)" in ran.out
    as_json = json.loads((await autoscaler("check", "--json", str(tmp_path / "policy.yaml"))).out)
    assert as_json["valid"]
    assert sum("counts the same jobs" in warning for warning in as_json["warnings"]) == 1
