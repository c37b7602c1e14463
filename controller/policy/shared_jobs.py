"""Workers whose queues count the same jobs, so that both services are scaled for each of them. Pure.

Each of the two policies looks right by itself: both see the whole depth, and a burst gets twice the workers that it
needs. It is a warning and no error, because two services may work on one queue on purpose.

Only what is certain is said: the same table with the same condition or with none, the same queue of a library, the same
SQL. Two different conditions count as different jobs, since whether one row meets both cannot be read from their text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator

from controller.policy.models import Policy, WorkerPolicy
from controller.policy.names import split_name
from controller.policy.queue import Queue, Statuses

MOST_SAID = 100
_DEFAULT_SCHEMA = "public"
_ANY, _ALL = ("any",), ("all",)
"""Of whichever condition or queue; and of a worker that counts all queues. No name is a tuple."""


def overlaps(policy: Policy) -> Iterator[str]:
    """For each pair of workers, what both count and what to do about it; of very many pairs, the first ones."""
    met = _Met()
    said = 0
    queues = {place: (name, queue) for name, worker in policy.workers.items() for place, queue in _places(name, worker)}
    for place, (name, queue) in queues.items():
        for other_place in met.before(queue):
            other_name, other = queues[other_place]
            shared = _shared(other, queue, "queue" if name == other_name else "worker")
            if shared is None:
                continue
            if said == MOST_SAID:
                yield f"more than {MOST_SAID} pairs of workers count the same jobs; fix these and check again"
                return
            said += 1
            what, fix = shared
            effect = "each of them counts twice" if name == other_name else "both services are scaled for each of them"
            yield f"{place} counts the same jobs as {other_place} ({what}): {effect}; {fix}"
        met.add(place, queue)


def _places(name: str, worker: WorkerPolicy) -> Iterator[tuple[str, Queue]]:
    """Each queue of a worker with its place in the policy."""
    for queue_name, queue in worker.each_queue.items():
        yield f"workers.{name}.queues.{queue_name}" if queue_name else f"workers.{name}.queue", queue


class _Met:
    """The queues so far, by what they count: each one asks for those that it shares something with.

    Comparing each with each takes half a million comparisons for a thousand workers.
    """

    def __init__(self) -> None:
        self._order: dict[str, int] = {}
        self._by_part: dict[Hashable, list[str]] = defaultdict(list)
        self._columns: dict[Hashable, set[str]] = defaultdict(set)

    def add(self, name: str, queue: Queue) -> None:
        self._order[name] = len(self._order)
        for part in _parts(queue):
            self._by_part[part].append(name)
        if queue.table is not None:
            for condition in (_normal(queue.where or ""), _ANY):
                self._columns[_place(queue.table), condition].add(queue.columns.status)

    def before(self, queue: Queue) -> list[str]:
        # Those that share nothing are never looked at; _shared() decides about the rest, since a part may be equal and
        # the jobs still different.
        names = {name for part in self._asked(queue) for name in self._by_part.get(part, ())}
        return sorted(names, key=self._order.__getitem__)

    def _asked(self, queue: Queue) -> Iterator[Hashable]:
        if queue.table is not None:
            place, column = _place(queue.table), queue.columns.status
            own = _normal(queue.where or "")
            # A queue without a condition counts the jobs of every condition, too.
            for condition in (own, "") if own else (_ANY,):
                yield from ((place, condition, column, status) for status in _counted(queue.statuses))
                others = self._columns.get((place, condition), set()) - {column}
                yield from ((place, condition, other) for other in others)
        elif queue.preset is not None:
            library = (queue.preset, queue.schema_name, queue.prefix)
            yield from ((library, name) for name in (*queue.queues, _ALL)) if queue.queues else ((library, _ANY),)
        else:
            yield _normal(queue.sql or "")


def _parts(queue: Queue) -> Iterator[Hashable]:
    """The parts of a queue that another worker may count too."""
    if queue.table is not None:
        place, column = _place(queue.table), queue.columns.status
        for condition in (_normal(queue.where or ""), _ANY):
            yield (place, condition, column)
            yield from ((place, condition, column, status) for status in _counted(queue.statuses))
    elif queue.preset is not None:
        library = (queue.preset, queue.schema_name, queue.prefix)
        yield from ((library, name) for name in (*(queue.queues or (_ALL,)), _ANY))
    else:
        yield _normal(queue.sql or "")


def _shared(one: Queue, other: Queue, each: str) -> tuple[str, str] | None:
    """What both count, and how to separate them; None if no job is known to be counted twice.

    each: what has one of the two queues: a worker, or, within one worker, only the queue.
    """
    if one.kind != other.kind:
        return None
    if one.table is not None and other.table is not None:
        if _place(one.table) != _place(other.table) or not _same_filter(one, other) or not _same_statuses(one, other):
            return None
        return (
            f"table {other.table}",
            f"limit each {each} to its own rows with where:, or count this table for one {each} only",
        )
    if one.preset is not None:
        if (one.preset, one.schema_name, one.prefix) != (other.preset, other.schema_name, other.prefix):
            return None
        both = [queue for queue in one.queues if queue in other.queues] if one.queues and other.queues else None
        if both == []:
            return None
        what = (
            f"queues {', '.join(both)} of {one.preset}" if both else f"{one.preset}, and one of the two names no queues"
        )
        return what, f"list different queues under queues: of each {each}"
    same = one.sql is not None and other.sql is not None and _normal(one.sql) == _normal(other.sql)
    own = "service" if each == "worker" else each
    return ("the same sql", f"change each query, so that it counts only the jobs of its own {own}") if same else None


def _place(table: str) -> tuple[str, str]:
    schema, name = split_name(table)
    return schema or _DEFAULT_SCHEMA, name


def _same_filter(one: Queue, other: Queue) -> bool:
    """A queue without a condition counts the jobs of every condition, too."""
    conditions = {_normal(queue.where or "") for queue in (one, other)}
    return "" in conditions or len(conditions) == 1


def _same_statuses(one: Queue, other: Queue) -> bool:
    same_column = one.columns.status == other.columns.status
    return not same_column or not _counted(one.statuses).isdisjoint(_counted(other.statuses))


def _counted(statuses: Statuses) -> set[str]:
    return {*statuses.pending, *statuses.processing}


def _normal(text: str) -> str:
    return " ".join(text.split()).rstrip("; ")
