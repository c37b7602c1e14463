"""The level of each line of the log. Railway's log view colours and filters by it (`@level:error`).

An event has the level of its name, a cycle that of its outcome, raised to warning while a condition degrades /health.
"""

from __future__ import annotations

from typing import Literal

Level = Literal["info", "warning", "error"]

EVENTS: dict[str, Level] = {
    "started": "info",
    "stopped": "info",
    "policy_loaded": "info",
    "lease_acquired": "info",
    "lease_released": "info",
    "lease_lost": "warning",
    "redis_unavailable": "error",
    "redis_warning": "warning",
    "recovered": "info",
    "pace_stretched": "warning",
    "pace_normal": "info",
    "woken": "info",
    "listening": "info",
    "wake_unavailable": "warning",
    "rate_unreadable": "warning",
    "service_time_unreadable": "warning",
    "setting_ignored": "warning",
    "setting_warning": "warning",
    "service_time_unmeasurable": "warning",
    "queue_warning": "warning",
    "intent_settled": "info",
    "external_change": "warning",
    "contended": "warning",
    "not_honoured": "warning",
    "workers_crash": "error",
    "workers_exited": "warning",
    "deployment_hangs": "warning",
    "no_progress": "error",
    "library": "warning",
    "lines_lost": "warning",
    "http_refused": "warning",
    "crashed": "error",
}
"""Every event that is reported anywhere; a test looks for those that are missing."""
_OUTCOMES: dict[str, Level] = {
    "standby": "info",
    "held": "info",
    "applied": "info",
    "failed": "error",
    "unknown": "warning",
    "fenced": "warning",
    "crashed": "error",
}


def of_event(event: str) -> Level:
    """Warning for an event that is not in EVENTS."""
    return EVENTS.get(event, "warning")


def of_cycle(outcome: str, *, degraded: bool) -> Level:
    """degraded: the worker's service has a fault, even if the cycle itself succeeded."""
    level = _OUTCOMES[outcome]
    return "warning" if degraded and level == "info" else level
