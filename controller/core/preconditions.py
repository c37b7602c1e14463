"""Whether a change can be requested now, and how a reading is corrected that cannot be true. Pure.

decide() says how many workers should run; this module says whether a request for them would be accepted now.
"""

from __future__ import annotations

from dataclasses import replace

from controller.core.model import Change, Decision, History, Observation, Replicas, ServiceState
from controller.core.reasons import Because, Reason
from controller.core.units import in_words

_STOP_AGAIN_S = 600.0
"""Seconds between two requests for the same stop: one that was accepted has most likely happened, though not shown."""


def blocked_by(
    decision: Decision, replicas: Replicas, history: History, now: float, landing_bound: float
) -> Because | None:
    """Why the platform would refuse this change now; None: nothing blocks it.

    Waiting uses no request and starts no cooldown. `landing_bound` in seconds.
    """
    if decision.desired == 0 and replicas.state is ServiceState.STARTING:
        words = f"a deployment is in progress; {decision.current} → 0 waits until it runs"
        return Because(Reason.DEPLOYING, words)
    pause = _pause(history, decision, landing_bound)
    left = 0.0 if history.refused_at is None else history.refused_at + pause - now
    if left > 0:
        words = (
            f"{decision.sentence}; {replicas.words.name} refused the last change or did not make it; "
            f"the next request is sent in {in_words(left)}"
        )
        return Because(Reason.BACKING_OFF, words)
    if decision.desired == 0 and _stop_is_unseen(history, replicas):
        left = (history.last_down or 0.0) + _STOP_AGAIN_S - now
        name = replicas.words.name
        words = f"{name} accepted the stop but does not show it; the stop is requested again in {in_words(left)}"
        return Because(Reason.NOT_HONOURED, words) if left > 0 else None
    return None


def still_open(change: Change, now: float) -> Because:
    """The reason to wait for a change that was requested and that the platform does not show yet."""
    age = in_words(max(0.0, now - change.at))
    words = f"{change.before} → {change.after} was requested {age} ago and is not visible yet"
    return Because(Reason.INTENT_OPEN, words)


def assume_stopped(observed: Observation, history: History, now: float, landing_bound: float) -> Observation:
    """The observation with 0 workers, if an accepted stop is not shown, jobs wait and none is in progress.

    The platform may go on showing workers as running after it stopped them. Without this correction the jobs would wait
    forever. Not applied within `landing_bound` seconds after a scale-up, because a restart may still be under way.
    """
    queue, replicas = observed.queue, observed.replicas
    on_its_way = history.last_up is not None and now - history.last_up < landing_bound
    if not _stop_is_unseen(history, replicas) or on_its_way or queue.processing or not queue.pending:
        return observed
    return replace(observed, replicas=replace(replicas, configured=0, running=0, state=ServiceState.STOPPED))


def _stop_is_unseen(history: History, replicas: Replicas) -> bool:
    return history.unconfirmed_stop is not None and history.unconfirmed_stop == replicas.deployment


def _pause(history: History, decision: Decision, landing_bound: float) -> float:
    """Seconds to wait after a refused change: doubled with each refusal in a row of the same count.

    The platform limits requests, so retries must not use them up. The wait ends at two landing bounds, so that a change
    that was refused for hours is made soon after the cause is fixed.
    """
    doubled = 2 ** min(history.setbacks - 1, 2) if history.refused_to == decision.desired else 1
    return landing_bound / 2 * doubled
