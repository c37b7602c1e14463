"""The level of each line of the log, by which a platform's log view colours and filters.

An event has the level of its name, a cycle that of its outcome, raised to warning while a condition degrades /health.

error: something does not work now, and a person should look. warning: it works, and something should be changed or
watched. info: the normal course. What repeats is logged once a minute at most (faults.py), so a filter by level shows
few lines. A new event is one row here, and `make docs` writes its row in docs/log.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Level = Literal["info", "warning", "error"]

_ROWS: tuple[tuple[str, Level, str], ...] = (
    ("started", "info", "the process has started"),
    (
        "policy_loaded",
        "info",
        (
            "at the start: each worker of the policy, and each that only an earlier policy had; "
            "later: each change of an edit"
        ),
    ),
    ("policy_refused", "error", "the policy's file was changed and cannot be used: why; the one in force stays"),
    (
        "policies_differ",
        "warning",
        "this replica stands by with another policy than the leader's, for a minute; then once an hour",
    ),
    ("stopped", "info", "the process ends"),
    ("lease_acquired", "info", "this replica leads"),
    ("lease_released", "info", "this replica gave the lease back"),
    ("lease_lost", "warning", "another replica leads, or it is unknown which one"),
    ("redis_unavailable", "error", "it is unknown which replica leads"),
    (
        "redis_warning",
        "warning",
        (
            "once after each start: what in Redis' settings may lose the lease or the journal (maxmemory-policy, save "
            "and appendonly, min-replicas-to-write, its clock), and the fix; once a minute: which of the controller's "
            "own keys, such as `…:cycles`, holds what cannot be read"
        ),
    ),
    (
        "recovered",
        "info",
        "a dependency answers again, cycles succeed again, or a fault of a service is over; and how long it lasted",
    ),
    (
        "pace_stretched",
        "warning",
        (
            "the requests that the platform allows run out, so that cycles come less often than `interval`: at once, "
            "each time they become twice as rare, and once an hour"
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
        (
            "a variable that works and should be changed: blanks around a token, `http://` to the platform, once at "
            "the start"
        ),
    ),
    ("rate_unreadable", "warning", "the requests of this minute could not be read, and are not needed for a decision"),
    ("service_time_unreadable", "warning", "how long a job takes could not be read, and is not needed for a decision"),
    (
        "service_time_unmeasurable",
        "warning",
        "with `target_wait`: the service time cannot be measured, and why; write `service_time`",
    ),
    (
        "slo_unmeasurable",
        "warning",
        "with `slo`: it cannot be measured how long jobs waited, and why; the target is the promised wait meanwhile",
    ),
    (
        "queue_warning",
        "warning",
        (
            "what may be misread in a queue, once each: `about` is `statuses`, `timezone`, `claims`, `due`, "
            "`standby` or `oldest_age_s`"
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
        "override_set",
        "info",
        "an operator set an override, see docs/overrides.md; the leader tells it with its next cycle",
    ),
    (
        "budget",
        "warning",
        "the spend has reached 80, 90 or 100 % of a budget, or max is back, see docs/budget.md; `scope`: worker or all",
    ),
    ("override_ended", "info", "an override is over: its time was up, or somebody ended or replaced it"),
    (
        "schedule_on",
        "info",
        "a schedule has begun, or another one took its place: its limits and its end, see docs/schedules.md",
    ),
    ("schedule_off", "info", "a schedule is over, or no longer in the policy"),
    (
        "shadow_begun",
        "info",
        "a shadow policy decides beside the one in force from now on, or anew, see docs/shadow.md",
    ),
    ("shadow_scaled", "info", "what the shadow policy would have changed now; nothing was changed"),
    ("shadow_warning", "warning", "what of a shadow policy has no effect, or cannot be kept in Redis"),
    (
        "contended",
        "warning",
        (
            "something else sets the count, too: the platform shows what (`reason`: Contended), or for the third time "
            "within an hour the count was changed from outside right after the controller had changed it; then at most "
            "once a minute"
        ),
    ),
    (
        "busy_unknown",
        "warning",
        (
            "which instances hold jobs could not be read, or not be told to the platform, so a scale-down went by how "
            "many jobs run, see docs/queues.md#how-is-it-known-who-holds-a-job; once a minute at most"
        ),
    ),
    ("workers_crash", "error", "workers crash and none runs, see docs/reasons.md#which-faults-can-a-service-have"),
    ("no_progress", "error", "jobs are ready, a worker is idle, and no job was taken for `no_progress_after`"),
    ("workers_exited", "warning", "workers ended by themselves with exit code 0, or were stopped from outside"),
    ("deployment_hangs", "warning", "the newest deployment has been in one status for too long"),
    (
        "library",
        "warning",
        "a message of a library, with the library's own level; the same message once a minute at most",
    ),
    (
        "lines_lost",
        "warning",
        "the number of lines (`lost`) that are missing here because the output did not take them",
    ),
    (
        "notify_failed",
        "warning",
        "a target of `notify` did not take a notification, by target, once a minute at most, see docs/notifications.md",
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
"""Every event of the controller, in the order of docs/log.md; a test fails if one is missing."""
MEANINGS: Mapping[str, str] = {name: meaning for name, _, meaning in _ROWS}
"""What each event says."""
REMEMBERED = frozenset(
    {
        *("started", "stopped", "policy_loaded", "policy_refused", "lease_acquired", "pace_stretched", "pace_normal"),
        *("intent_settled", "not_honoured", "external_change", "contended", "override_set", "override_ended"),
        *("schedule_on", "schedule_off", "shadow_begun", "shadow_scaled"),
        "budget",
        *("workers_crash", "workers_exited", "no_progress", "deployment_hangs", "queue_warning", "crashed"),
        *("wake_unavailable", "service_time_unmeasurable"),
    }
)
"""Events that the history keeps, besides changes and the begin and the end of each fault."""
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
