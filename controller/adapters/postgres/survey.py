"""What is worth knowing of a queue beside its depth: statuses that the policy does not name, claims of dead workers.

Looked at now and then, in few pages; it changes no reading, and may fail without failing one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from controller.adapters.postgres.columns import Ask
from controller.adapters.postgres.durations import finished_within
from controller.adapters.postgres.places import Located
from controller.adapters.postgres.statuses import Words, words_of
from controller.core.model import Remark
from controller.core.units import as_policy, in_words
from controller.policy import Queue as QueuePolicy

_TIMES_LONGER = 5.0
"""A claim that is so many times older than nearly all jobs take is most likely a dead worker's."""
_OLD_AT_LEAST_S = 900.0
_OLD_WHERE_UNKNOWN_S = 6 * 3600.0
_MOST_CLAIMS = 1000
_MARGIN = 3.0


class OldClaims(NamedTuple):
    """Claims that are far older than jobs take. jobs stops at 1000. job_s: 99 of 100 finished jobs took no longer."""

    jobs: int
    oldest_s: float
    job_s: float | None

    @property
    def stale_after_s(self) -> float:
        """What queue.stale_after may be: well above the longest jobs, below the age of these claims."""
        if self.job_s is None:
            return _OLD_WHERE_UNKNOWN_S
        least = max(300.0, _MARGIN * self.job_s)
        unit = 300.0 if least < 3600 else 3600.0
        return math.ceil(least / unit) * unit

    def warning(self, name: str) -> str:
        """`4 jobs of table jobs have been claimed for up to 10 h …; write stale_after: 5m`."""
        jobs = "1 job" if self.jobs == 1 else f"{self.jobs}{'+' if self.jobs >= _MOST_CLAIMS else ''} jobs"
        has = "has" if self.jobs == 1 else "have"
        theirs = "its worker is" if self.jobs == 1 else "their workers are"
        took = (
            f"of those that finished, 99 of 100 took {in_words(self.job_s)} at most"
            if self.job_s is not None
            else "no finished job says how long one takes"
        )
        return (
            f"{jobs} of {name} {has} been claimed for up to {in_words(self.oldest_s)}, and {took}: most likely "
            f"{theirs} dead, and each such claim keeps a worker running; "
            f"write stale_after: {as_policy(self.stale_after_s)}"
        )


class Survey(NamedTuple):
    """words: of an own table's status column; None of any other queue. job_s: as in OldClaims."""

    words: Words | None = None
    old: OldClaims | None = None
    job_s: float | None = None
    undated: int = 0
    """Claims that do not say when they were made, where queue.stale_after goes by that; it stops at 1000."""

    def remarks(self, queue: QueuePolicy) -> tuple[Remark, ...]:
        found = []
        words = self.words.warning(queue.table) if self.words is not None else ""
        if words:
            found.append(Remark("statuses", words))
        if self.old is not None:
            name = f"table {queue.table}" if queue.table is not None else f"preset {queue.preset}"
            found.append(Remark("claims", self.old.warning(name)))
        if self.undated:
            jobs = "1 claimed job" if self.undated == 1 else f"{self.undated} claimed jobs"
            words = "no time of their claim, so that queue.stale_after does not limit them; let workers write it"
            found.append(Remark("claims", f"{jobs} of table {queue.table} with {words}, or put them back by hand"))
        return tuple(found)


async def survey_of(queue: QueuePolicy, place: Located, ask: Ask) -> Survey:
    """Looks at the queue. `ask` bounds the time of each statement.

    Raises:
        psycopg.Error: it could not be asked.
    """
    own = place.own
    words = await words_of(own.shape, own.status, queue.statuses, own.condition, ask) if own is not None else None
    job_s = await finished_within(own, ask) if own is not None else None
    return Survey(words, await _old_claims(place, job_s, ask), job_s, await _undated_claims(queue, place, ask))


async def _undated_claims(queue: QueuePolicy, located: Located, ask: Ask) -> int:
    if located.own is None or queue.stale_after is None or "locked_at" not in located.own.times:
        return 0
    ((count,),) = await ask(located.place.claims_with_null(located.own.times["locked_at"].raw, _MOST_CLAIMS))
    return int(count)


async def _old_claims(located: Located, job_s: float | None, ask: Ask) -> OldClaims | None:
    """None: there are none, or a limit or a sign of life already tells the dead."""
    old_s = _OLD_WHERE_UNKNOWN_S if job_s is None else max(_OLD_AT_LEAST_S, _TIMES_LONGER * job_s)
    statement = located.place.old_claims(old_s, _MOST_CLAIMS)
    if statement is None:
        return None
    ((count, oldest_s),) = await ask(statement)
    return OldClaims(count, float(oldest_s), job_s) if count else None
