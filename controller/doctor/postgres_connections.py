"""Doctor's check of connections: whether PostgreSQL has enough of them for all workers that there may be."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from controller.adapters.postgres.connection import Reader
from controller.core.model import workers
from controller.doctor.finding import Finding, ok, warning
from controller.policy import Policy

_LIMITS = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
  - coalesce(nullif(current_setting('reserved_connections', true), '')::int, 0),
  (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database())
"""
_OURS = 2
"""Of one replica of the controller: one that reads, and one that listens."""


async def connections(reader: Reader, policy: Policy, timeout_s: float) -> Finding:
    """Asks the server for its limits.

    Raises:
        psycopg.Error: the query failed.
    """
    (answer,) = await reader.read([sql.SQL(_LIMITS).format()], timeout_s)
    of_server, of_database = answer.rows[0]
    return judged(policy, of_server if of_database is None else min(of_server, of_database))


def judged(policy: Policy, limit: int) -> Finding:
    """limit: connections that the server leaves for users without special rights."""
    needed, count = most_connections(policy), sum(most for _, most, _ in _groups(policy))
    words = f"{workers(count)} at most open up to {needed} connections, if they use this database; it has {limit}"
    assumed = [name for name, one in policy.workers.items() if one.connections is None]
    if assumed:
        words += f" (1 each is assumed for {', '.join(assumed)}: write connections)"
    if needed + _OURS > limit:
        fix = "lower max_replicas, share a pool, put a pooler in between, or raise max_connections"
        return warning("connections", f"{words}, and each replica of the controller needs {_OURS}", fix)
    return ok("connections", words)


def most_connections(policy: Policy) -> int:
    """With all workers at their highest max_replicas; in a pool, those that open most come first."""
    return sum(most * each for _, most, each in _groups(policy))


def _groups(policy: Policy) -> Iterator[tuple[str, int, int]]:
    """By worker: how many there may be, in the worst case of its pool, and how many connections each opens."""
    left = {name: pool.max_replicas for name, pool in policy.pools.items()}
    for name, worker in sorted(policy.workers.items(), key=lambda one: -(one[1].connections or 1)):
        most = worker.highest_max
        if worker.pool is not None:
            most = min(most, left[worker.pool])
            left[worker.pool] -= most
        yield name, most, worker.connections or 1
