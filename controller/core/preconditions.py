"""What a change that is right waits for, and what is believed of a reading that cannot be right. Pure.

Beside decide(): that says how many workers should run, this whether asking for them now is any use.
"""

from __future__ import annotations

from dataclasses import replace

from controller.core.model import Because, Decision, History, Intent, Observation, Reason, Replicas, ServiceState
from controller.core.ports import Recalled
from controller.core.units import in_words

_STOP_AGAIN_S = 600.0
"""A stop that was accepted and is not shown has most likely happened: it is asked for again only so often."""


def blocked_by(decision: Decision, replicas: Replicas, recalled: Recalled, landing_bound: float) -> Because | None:
    """Why a change that is right would only be refused now; it costs no request and no cooldown to wait."""
    history, now = recalled.history, recalled.now
    if decision.desired == 0 and replicas.state is ServiceState.STARTING:
        words = f"a deployment is in progress; {decision.current} → 0 waits until it runs"
        return Because(Reason.DEPLOYING, words)
    pause = _pause(history, decision, landing_bound)
    left = 0.0 if history.refused_at is None else history.refused_at + pause - now
    if left > 0:
        words = (
            f"{decision.sentence}; {replicas.words.name} refused the last change or did not make it, "
            f"so that it is asked again in {in_words(left)}"
        )
        return Because(Reason.BACKING_OFF, words)
    if decision.desired == 0 and _stop_is_unseen(history, replicas):
        left = (history.last_down or 0.0) + _STOP_AGAIN_S - now
        name = replicas.words.name
        words = f"the stop was accepted and {name} does not show it; it is asked for again in {in_words(left)}"
        return Because(Reason.NOT_HONOURED, words) if left > 0 else None
    return None


def still_open(intent: Intent, now: float) -> Because:
    """What to say of a change that was asked for and that the platform does not show yet."""
    age = in_words(max(0.0, now - intent.at))
    words = f"{intent.before} → {intent.after} was asked for {age} ago and is not visible yet"
    return Because(Reason.INTENT_OPEN, words)


def assume_stopped(observed: Observation, recalled: Recalled, landing_bound: float) -> Observation:
    """A stop that was accepted and is never shown: where jobs wait and none is worked on, nobody runs.

    Jobs would otherwise wait for ever for workers that are only said to run. Not while a restart may still be on its
    way.
    """
    queue, replicas, history = observed.queue, observed.replicas, recalled.history
    on_its_way = history.last_up is not None and recalled.now - history.last_up < landing_bound
    if not _stop_is_unseen(history, replicas) or on_its_way or queue.processing or not queue.pending:
        return observed
    return replace(observed, replicas=replace(replicas, configured=0, running=0, state=ServiceState.STOPPED))


def _stop_is_unseen(history: History, replicas: Replicas) -> bool:
    return history.unconfirmed_stop is not None and history.unconfirmed_stop == replicas.deployment


def _pause(history: History, decision: Decision, landing_bound: float) -> float:
    """Twice as long with each setback in a row, for the count that met them; the platform counts requests.

    Not longer than two landing bounds: what was refused all night shall be done soon after somebody mended it.
    """
    doubled = 2 ** min(history.setbacks - 1, 2) if history.refused_to == decision.desired else 1
    return landing_bound / 2 * doubled
