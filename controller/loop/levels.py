"""How loud a line of the log is. Railway's log view colours and filters by it (`@level:error`).

One place for all: each event by its name, each cycle by its outcome, and louder where a condition degrades /health.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Level = Literal["info", "warning", "error"]

_ROWS: tuple[tuple[str, Level, str], ...] = (
    ("started", "info", "the process has started"),
    ("policy_loaded", "info", "the policy of a worker at the start; a worker that an earlier policy left behind"),
    ("stopped", "info", "the process ends"),
    ("lease_acquired", "info", "this replica leads"),
    ("lease_released", "info", "this replica gave the lease back"),
    ("lease_lost", "warning", "another replica leads, or it is unknown which one"),
    ("redis_unavailable", "error", "it is unknown which replica leads"),
    (
        "redis_warning",
        "warning",
        "what endangers the lease, once after each start; which data under the controller's own keys cannot be read",
    ),
    ("recovered", "info", "what had failed answers again"),
    (
        "pace_stretched",
        "warning",
        (
            "Railway's requests run out, so that cycles come less often than `interval`: at once, each time they "
            "become twice as rare, and once an hour"
        ),
    ),
    ("pace_normal", "info", "no cycle was stretched for 10 min"),
    ("woken", "info", "a notification of the queue started a cycle"),
    ("listening", "info", "the queue's notifications arrive"),
    ("wake_unavailable", "warning", "there are no notifications: the controller polls"),
    (
        "setting_ignored",
        "warning",
        (
            "a part of DATABASE_URL or REDIS_URL that has no effect here, or an HTTP_TOKEN that protects little or "
            "nothing, once at the start"
        ),
    ),
    (
        "setting_warning",
        "warning",
        "a variable that works and should be changed: blanks around a token, `http://` to Railway, once at the start",
    ),
    ("rate_unreadable", "warning", "the requests of this minute could not be read, and are not needed for a decision"),
    ("service_time_unreadable", "warning", "how long a job takes could not be read, and is not needed for a decision"),
    (
        "service_time_unmeasurable",
        "warning",
        "with `target_wait`: the service time cannot be measured, and why; write `service_time`",
    ),
    (
        "queue_warning",
        "warning",
        (
            "what may be misread in a queue, once each: `about` is `statuses`, `timezone`, `claims`, `standby` or "
            "`oldest_age_s`"
        ),
    ),
    (
        "intent_settled",
        "info",
        "the result of a change whose outcome was unknown, or that an earlier leader left open",
    ),
    ("not_honoured", "warning", "an accepted change was not made, or its instances do not run"),
    (
        "external_change",
        "warning",
        "the count was changed outside the controller, see docs/log.md#who-else-changes-the-count",
    ),
    (
        "contended",
        "warning",
        "the count was changed outside the controller, see docs/log.md#who-else-changes-the-count",
    ),
    ("workers_crash", "error", "faults of a service, see docs/reasons.md#which-faults-can-a-service-have"),
    ("no_progress", "error", "faults of a service, see docs/reasons.md#which-faults-can-a-service-have"),
    ("workers_exited", "warning", "faults of a service, see docs/reasons.md#which-faults-can-a-service-have"),
    ("deployment_hangs", "warning", "faults of a service, see docs/reasons.md#which-faults-can-a-service-have"),
    ("library", "warning", "a message of a library; the same message once a minute at most"),
    (
        "lines_lost",
        "warning",
        "the number of lines (`lost`) that are missing here because the output did not take them",
    ),
    (
        "http_refused",
        "warning",
        (
            "counts of refused requests, once a minute at most: `malformed`, `wrong_token`, `slow`, `crowded_out`, "
            "`not_accepted`, see docs/http-and-metrics.md#what-protects-the-controller-from-its-clients"
        ),
    ),
    ("crashed", "error", "a bug, with its traceback"),
)
EVENTS: Mapping[str, Level] = {name: level for name, level, _ in _ROWS}
"""Every event that is reported anywhere, in the order of docs/log.md; a test looks for those that are missing."""
MEANINGS: Mapping[str, str] = {name: meaning for name, _, meaning in _ROWS}
"""What each event says."""
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
    """What is not known here is worth a look."""
    return EVENTS.get(event, "warning")


def of_cycle(outcome: str, *, degraded: bool) -> Level:
    """degraded: the service is not as it should be, however well the cycle itself went."""
    level = _OUTCOMES[outcome]
    return "warning" if degraded and level == "info" else level
