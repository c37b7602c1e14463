"""How long before they are due jobs count for scale-up: a start-up time, so that a worker runs once they are due.

Here belongs the length of that time; what the jobs do to a decision is in rules.py.
"""

from __future__ import annotations

import math

from controller.core.units import in_words
from controller.policy import UNMEASURED_START_UP_S, USABLE_START_UP_S, WorkerPolicy

_STEP_S = 5.0
"""A start-up time is measured again at each start. In steps, it makes no new SQL statement each time."""


def ahead_s(policy: WorkerPolicy, start_up_s: float | None) -> float:
    """Seconds ahead of its due time at which a job begins to count; 0: no job counts before it is due.

    start_up_s: as measured; None: not yet. It is rounded up to a multiple of 5 s, so that a worker is rather early.
    """
    if policy.only_queue.ahead is not None:
        return policy.only_queue.ahead
    if policy.only_queue.sql is not None:
        return 0.0  # the query says what it counts
    least, most = USABLE_START_UP_S
    start_up_s = UNMEASURED_START_UP_S if start_up_s is None else min(max(least, start_up_s), most)
    return math.ceil(start_up_s / _STEP_S) * _STEP_S


def ahead_words(policy: WorkerPolicy, column: str) -> str:
    """How far ahead of their time scheduled jobs count, and by what. column: what says when a job is due; may be ""."""
    if policy.only_queue.ahead == 0:
        return "scheduled jobs count once they are due, and not before (ahead: off)"
    if not column:
        return "nothing here says when a job falls due, so no worker is started ahead of a scheduled job"
    if policy.only_queue.ahead is None:
        unmeasured = in_words(ahead_s(policy, None))
        return f"scheduled jobs count one start-up time before {column} ({unmeasured} until it is measured)"
    return f"scheduled jobs count {in_words(policy.only_queue.ahead)} before {column}"
