"""A survey of a queue beside its depth: statuses that the policy does not name, due times, claims of dead workers.

It is made now and then and reads few pages. It changes no count; if it fails, the reading is still valid.
"""

from __future__ import annotations

import contextlib
import math
from typing import NamedTuple

from psycopg import errors

from controller.adapters.postgres.columns import Ask
from controller.adapters.postgres.due_columns import due_columns
from controller.adapters.postgres.due_columns import warning as due_warning
from controller.adapters.postgres.durations import finished_within
from controller.adapters.postgres.own_table import OwnTable
from controller.adapters.postgres.places import Located
from controller.adapters.postgres.statuses import Words, words_of
from controller.core.model import Remark
from controller.core.units import as_policy, in_words
from controller.policy import Queue as QueuePolicy

_TIMES_LONGER = 5.0
"""A claim older than 5 times the 99th percentile of job durations is probably a dead worker's."""
_OLD_AT_LEAST_S = 900.0
_OLD_WHERE_UNKNOWN_S = 6 * 3600.0
_MOST_CLAIMS = 1000
_MARGIN = 3.0


class OldClaims(NamedTuple):
    """Claims much older than jobs take. jobs: their number, up to 1000. job_s: 99th percentile of job durations.

    known_by: for claims without a time, the key of the time that they were judged by; None for claims with one. column:
    the name of its column.
    """

    jobs: int
    oldest_s: float
    job_s: float | None
    known_by: str | None = None
    column: str = ""

    @property
    def stale_after_s(self) -> float:
        """A value for queue.stale_after: 3 times job_s, at least 300 s; 6 h if job durations are unknown."""
        if self.job_s is None:
            return _OLD_WHERE_UNKNOWN_S
        least = max(300.0, _MARGIN * self.job_s)
        unit = 300.0 if least < 3600 else 3600.0
        return math.ceil(least / unit) * unit

    def warning(self, name: str) -> str:
        """`4 jobs of table jobs have been claimed for up to 10 h …; write stale_after: 5m`."""
        jobs = "1 job" if self.jobs == 1 else f"{self.jobs}{'+' if self.jobs >= _MOST_CLAIMS else ''} jobs"
        theirs = "its worker is" if self.jobs == 1 else "their workers are"
        probably = "if" if self.known_by == "created_at" else "probably"
        took = (
            f"99 of 100 finished jobs took at most {in_words(self.job_s)}"
            if self.job_s is not None
            else "how long jobs take is unknown"
        )
        so = "each such claim keeps a worker running"
        return (
            f"{jobs} of {name} {self._since}, but {took}: {probably} {theirs} "
            f"dead, {'' if probably == 'if' else 'and '}{so}; {self._fix}"
        )

    @property
    def _since(self) -> str:
        age, one = in_words(self.oldest_s), self.jobs == 1
        if self.known_by is None:
            return f"{'has' if one else 'have'} been claimed for up to {age}"
        was, done = "was" if one else "were", "last changed" if self.known_by == "updated_at" else "created"
        return f"{'is' if one else 'are'} claimed, without a time of the claim, and {was} {done} up to {age} ago"

    @property
    def _fix(self) -> str:
        limit = f"stale_after: {as_policy(self.stale_after_s)}"
        if self.known_by is None:
            return f"write {limit}"
        if self.known_by == "updated_at":
            return f"write columns: {{locked_at: {self.column}}} and {limit}"
        return f"let workers write that time in a column (columns.locked_at), and write {limit}"


class Survey(NamedTuple):
    """words: the status values of the user's table; None for a preset or a query. job_s: as in OldClaims.

    due: the warning about a due time that the policy does not name; "" if there is none.
    """

    words: Words | None = None
    old: OldClaims | None = None
    job_s: float | None = None
    undated: int = 0
    """Claims without a time, which queue.stale_after needs; counted up to 1000."""
    due: str = ""

    def remarks(self, queue: QueuePolicy) -> tuple[Remark, ...]:
        found = []
        words = self.words.warning(queue.table) if self.words is not None else _unseen(queue)
        if words:
            found.append(Remark("statuses", words))
        if self.due:
            found.append(Remark("due", self.due))
        if self.old is not None:
            name = f"table {queue.table}" if queue.table is not None else f"preset {queue.preset}"
            found.append(Remark("claims", self.old.warning(name)))
        if self.undated:
            jobs = "1 claimed job" if self.undated == 1 else f"{self.undated} claimed jobs"
            has = "has" if self.undated == 1 else "have"
            words = "no time of the claim, so queue.stale_after does not apply; let workers write it"
            found.append(Remark("claims", f"{jobs} of table {queue.table} {has} {words}, or requeue them by hand"))
        return tuple(found)


def _unseen(queue: QueuePolicy) -> str:
    if queue.table is None:
        return ""
    return (
        f"the statuses in table {queue.table} could not be looked at in time, so jobs whose status queue.statuses does "
        "not name would not be noticed; an index on the status makes it quick"
    )


async def survey_of(queue: QueuePolicy, place: Located, ask: Ask) -> Survey:
    """Makes the survey. `ask` limits the time of each statement; after the statuses, one that takes too long ends it.

    Raises:
        psycopg.Error: a statement failed in another way, or the statuses took too long.
    """
    own = place.own
    survey = Survey(await words_in(queue, own, ask) if own is not None else None)
    # In a large table without an index on the status, claims are not found in time. And a user may read only
    # the columns that a reading needs. It matters most that such a table is not read as empty.
    with contextlib.suppress(errors.QueryCanceled):
        if own is not None:
            with contextlib.suppress(errors.InsufficientPrivilege):
                survey = survey._replace(job_s=await finished_within(own, ask))
            survey = survey._replace(due=due_warning(await due_columns(own, ask), own))
        with contextlib.suppress(errors.InsufficientPrivilege):
            survey = survey._replace(old=await _old_claims(place, survey.job_s, ask))
        survey = survey._replace(undated=await _undated_claims(queue, place, ask))
    return survey


async def words_in(queue: QueuePolicy, own: OwnTable, ask: Ask) -> Words:
    """The part of the survey that tells whether a table without any job of the policy's is what it seems.

    Raises:
        psycopg.Error: a statement failed.
    """
    return await words_of(own.shape, own.status, queue.statuses, own.condition, ask)


async def _undated_claims(queue: QueuePolicy, located: Located, ask: Ask) -> int:
    if located.own is None or queue.stale_after is None or "locked_at" not in located.own.times:
        return 0
    ((count,),) = await ask(located.place.claims_with_null(located.own.times["locked_at"].raw, _MOST_CLAIMS))
    return int(count)


async def _old_claims(located: Located, job_s: float | None, ask: Ask) -> OldClaims | None:
    """None if there are none, or if a heartbeat or stale_after already detects dead workers."""
    old_s = _OLD_WHERE_UNKNOWN_S if job_s is None else max(_OLD_AT_LEAST_S, _TIMES_LONGER * job_s)
    statement = located.place.old_claims(old_s, _MOST_CLAIMS)
    if statement is not None:
        ((count, oldest_s),) = await ask(statement)
        if count:
            return OldClaims(count, float(oldest_s), job_s)
    if located.own is None or (evidence := located.own.claim_evidence) is None:
        return None
    key, time = evidence
    if key == "created_at":  # the job may have waited since
        old_s = max(old_s, _OLD_WHERE_UNKNOWN_S)
    statement = located.place.old_claims(old_s, _MOST_CLAIMS, instead=time)
    if statement is None:
        return None
    ((count, oldest_s),) = await ask(statement)
    return OldClaims(count, float(oldest_s), job_s, key, located.own.times[key].name) if count else None
