"""Whether the workers that there may be have enough connections."""

from __future__ import annotations

from typing import Any

import pytest

from controller.doctor.finding import Level
from controller.doctor.postgres_connections import judged, most_connections
from controller.policy import Policy


def policy(*workers: dict[str, Any], pool: int | None = None) -> Policy:
    data = {"queue": {"table": "job"}, "tiers": [{"replicas": 1}], "max_replicas": 10}
    pooled = {} if pool is None else {"pool": "p"}
    each = {f"w{place}": {"service": f"s{place}", **data, **pooled, **one} for place, one in enumerate(workers)}
    pools = {} if pool is None else {"pools": {"p": {"max_replicas": pool}}}
    return Policy.model_validate({"workers": each, **pools})


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        (policy({"connections": 5}, {"connections": 2}), 70),
        (policy({}, {"connections": 3}), 40),
        (policy({"connections": 2}, {"connections": 5}, pool=12), 54),
        (
            policy(
                {
                    "schedules": [{"cron": "0 8 * * *", "for": "1h", "timezone": "UTC", "max_replicas": 30}],
                    "connections": 2,
                }
            ),
            60,
        ),
    ],
    ids=["the sum over all workers", "one that says nothing has 1", "a pool at its worst", "the highest hour"],
)
def test_how_many_connections_all_workers_open_at_most(given: Policy, needed: int) -> None:
    assert most_connections(given) == needed


def test_too_few_connections_are_a_warning_and_what_is_assumed_is_said() -> None:
    found = judged(policy({"connections": 5}), 51)
    assert found.level is Level.WARNING
    assert "10 workers at most open up to 50 connections, if they use this database; it has 51" in found.says
    found = judged(policy({}), 97)
    assert (found.level, found.says.endswith("(1 each is assumed for w0: write connections)")) == (Level.OK, True)
