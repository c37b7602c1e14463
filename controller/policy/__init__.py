"""policy.yaml: read, checked, and made into frozen models, or refused with place, line and fix.

This is the only door: no other room imports a module of this one. It holds what the user wishes, and decides nothing.
"""

from controller.policy.document import Document, Path, dotted
from controller.policy.in_force import as_shown, effective
from controller.policy.limits import OnUnavailable, RateLimit, RateLimitKeys, own_keys
from controller.policy.load import json_schema, load_policy
from controller.policy.models import Policy, WorkerPolicy
from controller.policy.queue import NAME_BYTES, PRESETS, Columns, Queue, Statuses, TimeColumn, split_name
from controller.policy.scaling import UNMEASURED_START_UP_S, USABLE_START_UP_S, ScaleDown, ScaleUp, Tier
from controller.policy.shared_jobs import overlaps

__all__ = [
    "NAME_BYTES",
    "PRESETS",
    "UNMEASURED_START_UP_S",
    "USABLE_START_UP_S",
    "Columns",
    "Document",
    "OnUnavailable",
    "Path",
    "Policy",
    "Queue",
    "RateLimit",
    "RateLimitKeys",
    "ScaleDown",
    "ScaleUp",
    "Statuses",
    "Tier",
    "TimeColumn",
    "WorkerPolicy",
    "as_shown",
    "dotted",
    "effective",
    "json_schema",
    "load_policy",
    "overlaps",
    "own_keys",
    "split_name",
]
