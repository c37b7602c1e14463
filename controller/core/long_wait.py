"""max_wait: the guard by the age of the oldest ready job, for what a formula by depth does not see.

While the oldest ready job has waited longer than max_wait, one worker more than configured is wanted, and none fewer
than there are. "More" is one step per pace: the cooldown of scale-up, or the time that a start takes if that is longer,
since the last scale-up. Otherwise each cycle would add a worker while the one before it still starts.

An unknown age is not 0, and it is not too long either: then the formula decides alone, and its message says so.
"""

from __future__ import annotations

import math

from controller.core.model import Decision, Direction, History, QueueDepth
from controller.core.reasons import Because, Reason
from controller.core.units import in_words
from controller.policy import UNMEASURED_START_UP_S, USABLE_START_UP_S, WorkerPolicy

UNKNOWN = "how long the oldest ready job has waited is unknown, so max_wait has no effect"


def is_unknown(policy: WorkerPolicy, queue: QueueDepth) -> bool:
    """Whether max_wait has no effect now, because jobs wait and the queue does not tell for how long."""
    return policy.max_wait is not None and queue.pending > 0 and queue.oldest_age_s is None


def is_too_long(policy: WorkerPolicy, queue: QueueDepth) -> bool:
    """Whether the oldest ready job has waited longer than max_wait."""
    age = queue.oldest_age_s if queue.pending else None
    return policy.max_wait is not None and age is not None and age > policy.max_wait


def pace(policy: WorkerPolicy, start_up_s: float | None) -> float:
    """Seconds from the last scale-up until max_wait may add a worker. start_up_s: None: not measured."""
    least, most = USABLE_START_UP_S
    start_up = UNMEASURED_START_UP_S if start_up_s is None else min(max(least, start_up_s), most)
    return max(policy.scale_up.cooldown, start_up)


def until_the_next(policy: WorkerPolicy, history: History, now: float) -> float:
    """Seconds until max_wait may add a worker; 0: now."""
    if history.last_up is None:
        return 0.0
    whole = pace(policy, history.start_up_s)
    # If the clock was set back, last_up may lie in the future: then the wait is one whole pace, and no longer.
    return min(whole, max(0.0, history.last_up + whole - now))


def guarded(
    policy: WorkerPolicy, queue: QueueDepth, history: History, now: float, decision: Decision
) -> tuple[int, Because] | None:
    """The count that a wait which is too long wants, and why; None: the wait is short enough, or workers are added."""
    if not is_too_long(policy, queue) or decision.direction is Direction.UP:
        return None
    # At max_replicas none will come, however long the pace; the rule of min and max says so.
    left = until_the_next(policy, history, now) if decision.current < policy.max_replicas else 0.0
    more = f"1 worker more in {in_words(math.ceil(left))}" if left else "1 worker more"
    so = f"no worker is removed, and {more}" if left and decision.direction is Direction.DOWN else more
    wanted = decision.current if left else decision.current + 1
    return wanted, Because(Reason.MAX_WAIT, f"{_too_long(policy, queue)}, so {so}")


def _too_long(policy: WorkerPolicy, queue: QueueDepth) -> str:
    assert queue.oldest_age_s is not None, "an unknown age is not too long"
    assert policy.max_wait is not None, "nothing is too long without a limit"
    which = "oldest counted job" if queue.is_at_limit else "oldest ready job"
    waited = f"the {which} has waited {in_words(queue.oldest_age_s)}"
    return f"{waited}, longer than max_wait ({in_words(policy.max_wait)})"
