"""Workers whose queues count the same jobs, so that both services are scaled for each of them. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from controller.policy import Policy, Queue, split_name
from controller.policy_queue import Statuses

_DEFAULT_SCHEMA = "public"


def overlaps(policy: Policy) -> Iterator[str]:
    """For each pair of workers, what both count and what to do about it."""
    for (name, one), (other_name, other) in itertools.combinations(policy.workers.items(), 2):
        shared = _shared(one.queue, other.queue)
        if shared is not None:
            what, fix = shared
            yield (
                f"workers.{other_name}.queue counts the same jobs as workers.{name}.queue ({what}): both services are "
                f"scaled for each of them; {fix}"
            )


def _shared(one: Queue, other: Queue) -> tuple[str, str] | None:
    """What both count, and how to tell them apart; None where no job is counted for both, as far as can be told."""
    if one.kind != other.kind:
        return None
    if one.table is not None and other.table is not None:
        if _place(one.table) != _place(other.table) or not _same_filter(one, other) or not _same_statuses(one, other):
            return None
        return f"table {other.table}", "give each a part of the table of its own (where:), or one worker the whole"
    if one.preset is not None:
        if (one.preset, one.schema_name, one.prefix) != (other.preset, other.schema_name, other.prefix):
            return None
        both = [queue for queue in one.queues if queue in other.queues] if one.queues and other.queues else None
        if both == []:
            return None
        what = (
            f"queues {', '.join(both)} of {one.preset}" if both else f"{one.preset}, and one of the two names no queues"
        )
        return what, "give each worker queues: of its own"
    same = one.sql is not None and other.sql is not None and _normal(one.sql) == _normal(other.sql)
    return ("the same sql", "let each query count the jobs of its own service") if same else None


def _place(table: str) -> tuple[str, str]:
    schema, name = split_name(table)
    return schema or _DEFAULT_SCHEMA, name


def _same_filter(one: Queue, other: Queue) -> bool:
    """A queue without a condition counts the jobs of every condition, too."""
    conditions = {_normal(queue.where or "") for queue in (one, other)}
    return "" in conditions or len(conditions) == 1


def _same_statuses(one: Queue, other: Queue) -> bool:
    def counted(statuses: Statuses) -> set[str]:
        return {*statuses.pending, *statuses.processing}

    same_column = one.columns.status == other.columns.status
    return not same_column or not counted(one.statuses).isdisjoint(counted(other.statuses))


def _normal(text: str) -> str:
    return " ".join(text.split()).rstrip("; ")
