"""policy.yaml: parsed within limits, checked, and turned into frozen models, or refused with place, line and fix.

This is the only door: no other room imports a module of this one. It holds what the user wishes, and decides nothing.
A new key of the policy belongs here: its model, its default, its check and its sentence in the JSON Schema. Pure: it
reads no file and no environment; both arrive as arguments.
"""

from controller.policy.budget import Budget, WorkerSize
from controller.policy.command import CommandTarget
from controller.policy.document import Document, Path, dotted
from controller.policy.in_force import as_shown, effective
from controller.policy.limits import OnUnavailable, RateLimit, RateLimitKeys, own_keys
from controller.policy.little_effect import little_effects
from controller.policy.load import json_schema, load_policy, shadow_named, with_presets
from controller.policy.meanings import described_keys
from controller.policy.models import Policy, WorkerPolicy
from controller.policy.names import NAME_BYTES, split_name
from controller.policy.notify import Target, notify_warnings
from controller.policy.notify import names as target_names
from controller.policy.preset import (
    ARMS,
    Form,
    Preset,
    Presets,
    is_own,
    read_preset,
)
from controller.policy.queue import Columns, Queue, Statuses, TimeColumn, unknown_preset
from controller.policy.queues import NamedQueue
from controller.policy.scaling import (
    BASE_OF_SLO,
    MULTIPLES_OF_SLO,
    UNMEASURED_START_UP_S,
    USABLE_START_UP_S,
    ScaleDown,
    ScaleUp,
    Slo,
    Tier,
)
from controller.policy.schedules import Schedule, zone_of
from controller.policy.shared_jobs import overlaps
from controller.policy.targets import KEYS as TARGET_KEYS
from controller.policy.targets import Given, KubernetesTarget, OwnTarget, ScaleTarget, SwarmTarget, plural_of
from controller.policy.types import Quantity, Share, is_near, web_address

__all__ = [
    "ARMS",
    "BASE_OF_SLO",
    "MULTIPLES_OF_SLO",
    "NAME_BYTES",
    "TARGET_KEYS",
    "UNMEASURED_START_UP_S",
    "USABLE_START_UP_S",
    "Budget",
    "Columns",
    "CommandTarget",
    "Document",
    "Form",
    "Given",
    "KubernetesTarget",
    "NamedQueue",
    "OnUnavailable",
    "OwnTarget",
    "Path",
    "Policy",
    "Preset",
    "Presets",
    "Quantity",
    "Queue",
    "RateLimit",
    "RateLimitKeys",
    "ScaleDown",
    "ScaleTarget",
    "ScaleUp",
    "Schedule",
    "Share",
    "Slo",
    "Statuses",
    "SwarmTarget",
    "Target",
    "Tier",
    "TimeColumn",
    "WorkerPolicy",
    "WorkerSize",
    "as_shown",
    "described_keys",
    "dotted",
    "effective",
    "is_near",
    "is_own",
    "json_schema",
    "little_effects",
    "load_policy",
    "notify_warnings",
    "overlaps",
    "own_keys",
    "plural_of",
    "read_preset",
    "shadow_named",
    "split_name",
    "target_names",
    "unknown_preset",
    "web_address",
    "with_presets",
    "zone_of",
]
