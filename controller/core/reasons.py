"""Why a worker service has the count that it has: the closed list of reasons, and what each means to a person.

A new reason is one line in Reason and one in REASONS; `make docs` writes its row in docs/reasons.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a worker service has its count. The log, /status, docs/reasons.md and the tests use the same words."""

    TIER = "Tier"
    PER_WORKER = "PerWorker"
    TARGET_WAIT = "TargetWait"
    SERVICE_TIME_UNKNOWN = "ServiceTimeUnknown"
    ACTIVATION = "Activation"
    TOLERANCE = "Tolerance"
    MAX_WAIT = "MaxWait"
    HELD = "Held"
    PAUSED = "Paused"
    AT_LEAST = "AtLeast"
    SCHEDULE = "Schedule"
    BELOW_MINIMUM = "BelowMinimum"
    ABOVE_MAXIMUM = "AboveMaximum"
    BUSY = "WorkersBusy"
    STABILIZATION_WINDOW = "StabilizationWindow"
    IDLE_OFF = "IdleOff"
    MEMORY_TOO_SHORT = "MemoryTooShort"
    SCALE_UP_COOLDOWN = "ScaleUpCooldown"
    SCALE_DOWN_COOLDOWN = "ScaleDownCooldown"
    RATE_LIMIT = "RateLimit"
    RATE_UNKNOWN = "RateUnknown"
    SCALE_UP_STEP = "ScaleUpStep"
    SCALE_DOWN_STEP = "ScaleDownStep"
    MINIMUM = "Minimum"
    MAXIMUM = "Maximum"
    NEAR_BUDGET = "NearBudget"
    OVER_BUDGET = "OverBudget"
    POOL = "Pool"
    REGIONS = "Regions"
    VOLUME = "Volume"
    DEPLOYING = "Deploying"
    INTENT_OPEN = "IntentOpen"
    BACKING_OFF = "BackingOff"
    WORKERS_CRASH = "WorkersCrash"
    WORKERS_EXITED = "WorkersExited"
    WORKERS_MISSING = "WorkersMissing"
    DEPLOYMENT_HANGS = "DeploymentHangs"
    NO_PROGRESS = "NoProgress"
    CONTENDED = "Contended"
    NOT_HONOURED = "NotHonoured"
    DRY_RUN = "DryRun"
    STANDBY = "Standby"
    LEASE_LOST = "LeaseLost"
    QUEUE_UNAVAILABLE = "QueueUnavailable"
    PLATFORM_UNAVAILABLE = "PlatformUnavailable"
    JOURNAL_UNAVAILABLE = "JournalUnavailable"
    FALLBACK = "Fallback"
    SCALE_FAILED = "ScaleFailed"
    OUTCOME_UNKNOWN = "OutcomeUnknown"
    TIMED_OUT = "TimedOut"
    CRASHED = "Crashed"


REASONS: Mapping[Reason, tuple[str, str]] = {
    Reason.TIER: (
        "the tier of the depth wants this many workers",
        "nothing; or edit `tiers`",
    ),
    Reason.PER_WORKER: (
        "there is one worker for each `per_worker` jobs",
        "nothing; or edit `per_worker`",
    ),
    Reason.TARGET_WAIT: (
        "this many workers begin the waiting jobs within `target_wait`, or are busy",
        "nothing; or edit `target_wait`, or `slo`",
    ),
    Reason.SERVICE_TIME_UNKNOWN: (
        "no job is done yet, or how long one takes is unknown: the count stays, at least one worker",
        "wait for the first jobs; or write `service_time`, see `autoscaler doctor`",
    ),
    Reason.ACTIVATION: (
        "no worker runs, and there are fewer jobs than the first one needs",
        "wait for more jobs; or lower `activation`, or set `max_wait`",
    ),
    Reason.TOLERANCE: (
        "the depth differs too little from what the workers are for",
        "nothing; or lower `tolerance`",
    ),
    Reason.MAX_WAIT: (
        (
            "the oldest ready job has waited longer than `max_wait`: one worker more at a time, whatever the depth "
            "wants, and none fewer"
        ),
        "nothing; if the job waits although workers are idle, read their log: does any of them take it?",
    ),
    Reason.HELD: (
        "an operator holds the count (`autoscaler hold`), see [overrides](overrides.md)",
        "wait until the time is over; or `autoscaler resume`",
    ),
    Reason.PAUSED: (
        "an operator paused scaling, or one direction of it (`autoscaler pause`), see [overrides](overrides.md)",
        "wait until the time is over; or `autoscaler resume`",
    ),
    Reason.AT_LEAST: (
        "an operator set a lower limit for a time (`autoscaler at-least`), see [overrides](overrides.md)",
        "wait until the time is over; or `autoscaler resume`",
    ),
    Reason.SCHEDULE: (
        "min_replicas or max_replicas of the schedule that is on is the limit, see [schedules](schedules.md)",
        "wait until it ends; or edit `schedules`",
    ),
    Reason.BELOW_MINIMUM: (
        "fewer than min_replicas were found",
        "nothing: corrected at once, and further if the queue wants more",
    ),
    Reason.ABOVE_MAXIMUM: (
        "more than max_replicas were found",
        "nothing: corrected as soon as the queue can be read",
    ),
    Reason.BUSY: (
        "the jobs in progress need this many workers, by `jobs_per_worker`, or by the names of those who hold them",
        "wait until they are done; if one worker runs more jobs at once, raise `jobs_per_worker`",
    ),
    Reason.STABILIZATION_WINDOW: (
        "more workers were wanted within the window",
        "wait, or shorten `stabilization_window`",
    ),
    Reason.IDLE_OFF: (
        "more workers were needed within `idle_off`, or within the time that was learned for these workers",
        "wait, or shorten `scale_down.idle_off`",
    ),
    Reason.MEMORY_TOO_SHORT: (
        "the history does not cover the whole window yet, as after a pause of the controller",
        "wait one window",
    ),
    Reason.SCALE_UP_COOLDOWN: (
        "the last scale-up is too recent",
        "wait, or shorten `scale_up.cooldown`",
    ),
    Reason.SCALE_DOWN_COOLDOWN: (
        "the last scale in either direction is too recent, or the journal has just begun",
        "wait, or shorten `scale_down.cooldown`",
    ),
    Reason.RATE_LIMIT: (
        (
            "the request budget of the last 60 s is used up, so more workers could not go faster; requests are counted "
            "per clock minute: of the minute before, the share of its count that still falls within the 60 s is added"
        ),
        "wait a minute; or raise `rate_limit.rpm`",
    ),
    Reason.RATE_UNKNOWN: (
        "the requests used in this minute could not be read, and unknown is not 0: no worker is added",
        (
            "the message says what to do; workers count requests with INCR, see "
            "docs/redis.md#which-keys-are-shared-with-the-workers"
        ),
    ),
    Reason.SCALE_UP_STEP: (
        "`scale_up.max_step` allows no more at once",
        "the next cycle after the cooldown goes on",
    ),
    Reason.SCALE_DOWN_STEP: (
        "`scale_down.max_step` allows no fewer at once",
        "the next cycle after the cooldown goes on",
    ),
    Reason.MINIMUM: (
        "min_replicas is the limit",
        "lower `min_replicas`",
    ),
    Reason.MAXIMUM: (
        "max_replicas is the limit",
        "raise `max_replicas`",
    ),
    Reason.NEAR_BUDGET: (
        "80 or 90 % of a `budget` are spent, so max is lower until the period ends, see [budget](budget.md)",
        "wait for the next period; or raise `budget.amount`, or `autoscaler at-least … --force`",
    ),
    Reason.OVER_BUDGET: (
        "a `budget` is spent, so max is `at_budget` until the period ends, see [budget](budget.md)",
        "wait for the next period; or raise `budget.amount`, or `autoscaler at-least … --force`",
    ),
    Reason.POOL: (
        "the workers of a `pool` have its total, or this one gives way to one that comes first, see [pools](pools.md)",
        "wait until another has fewer; or raise the pool's `max_replicas`, or this worker's `priority`",
    ),
    Reason.REGIONS: (
        (
            "the service is configured for several regions, and each keeps at least one worker, even if max_replicas "
            "is lower"
        ),
        "nothing; or remove a region, or raise max_replicas to their number",
    ),
    Reason.VOLUME: (
        "a service with a volume can have only one replica",
        "set `max_replicas` to 1, or detach the volume",
    ),
    Reason.DEPLOYING: (
        "a deployment is in progress, which cannot be stopped",
        "wait: the stop is sent once the deployment runs",
    ),
    Reason.WORKERS_CRASH: (
        (
            "workers crashed and none runs: none is added, except up to min_replicas; scale-down works as usual; it "
            "ends as soon as one runs, and not with a new deployment, whose build may hang"
        ),
        "read the deployment's log",
    ),
    Reason.WORKERS_EXITED: (
        (
            "workers ended by themselves with exit code 0, or were stopped from outside; the platform restarts only "
            "failed ones"
        ),
        "keep the process running when it finds no job, or set the restart policy to ALWAYS",
    ),
    Reason.WORKERS_MISSING: (
        (
            "fewer run than are configured, and no further one came for the landing bound, or twice the usual start if "
            "that is longer"
        ),
        "look at the deployment's log and at the plan's limits",
    ),
    Reason.DEPLOYMENT_HANGS: (
        (
            "the newest deployment has been in one status for too long: for the landing bound, or twice the usual "
            "start if that is longer, by the platform's own time; a wait or a build may take 15 minutes while an older "
            "one serves or no worker is wanted"
        ),
        "read its build log, approve it, or cancel it",
    ),
    Reason.NO_PROGRESS: (
        "jobs are ready, a worker is idle, and no job was taken for `no_progress_after`; it changes no count",
        "read the workers' log: do they take jobs of this queue?",
    ),
    Reason.CONTENDED: (
        "the platform has something else that sets the count of this service; it changes no count by itself",
        "delete it, or take the worker out of the policy; `autoscaler doctor` names it, too",
    ),
    Reason.BACKING_OFF: (
        (
            "the platform refused the last change or did not make it: asked again after 30 s, and for the same count "
            "after 60 s, then every 120 s"
        ),
        "read the refusal in the `ScaleFailed` line before",
    ),
    Reason.INTENT_OPEN: (
        "the last change was sent and is not visible yet",
        "wait: it settles, or becomes `NotHonoured` after 60 s (and the draining time)",
    ),
    Reason.NOT_HONOURED: (
        "the platform accepted a change and did not make it (an event in the log)",
        "look at the plan's replica limit and the deployments",
    ),
    Reason.DRY_RUN: (
        "this is what would have been done",
        "leave out `--dry-run`",
    ),
    Reason.STANDBY: (
        "another replica leads",
        "look at that one's log",
    ),
    Reason.LEASE_LOST: (
        "another replica took over in mid-cycle, or the lease would have ended before the request",
        "nothing",
    ),
    Reason.QUEUE_UNAVAILABLE: (
        "the queue's database could not be read",
        "the message says what to do",
    ),
    Reason.PLATFORM_UNAVAILABLE: (
        "the platform could not be read",
        "the message says what to do, and names the variable",
    ),
    Reason.FALLBACK: (
        "the queue could not be read for `on_unavailable.after`",
        "fix the queue's database; no worker is removed meanwhile",
    ),
    Reason.JOURNAL_UNAVAILABLE: (
        "the journal could not be read or written",
        "the message says what to do",
    ),
    Reason.SCALE_FAILED: (
        "the platform refused the change, or it could not be sent",
        "the message has the platform's words",
    ),
    Reason.OUTCOME_UNKNOWN: (
        "the change was sent and the answer was lost",
        "nothing: the next readings show the result",
    ),
    Reason.TIMED_OUT: (
        "the cycle took longer than 90 s",
        "look at what was slow",
    ),
    Reason.CRASHED: (
        "a bug",
        "report the traceback",
    ),
}
"""What each reason means, and what to do about it; in the order of docs/reasons.md."""


@dataclass(frozen=True, slots=True)
class Because:
    """One reason with its message, such as (ScaleDownCooldown, "scale-down cools down for 74 s more")."""

    reason: Reason
    words: str
