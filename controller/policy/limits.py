"""The rate limit that all workers share, and the workers to run while the queue cannot be read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from controller.policy.document import Path
from controller.policy.types import Duration, IfUnset, Part, Positive, Word

_OURS = re.compile(
    r"\{[^{}]*:[^{}]*\}:(?:lease|epoch|leader|cycles|listening|records|history|notified|(?:worker|past|decided|minutes|tens):.*)",
    re.DOTALL,
)
"""Every key of the controller's own, whatever its prefix and environment; a test holds it against their list."""


class RateLimitKeys(Part):
    """The Redis keys shared with the workers: they write `usage`, and the controller writes the others."""

    usage: Word = "worker:rpm:<window>"
    """Redis key under which the workers count their requests; `<window>` is the minute's start in epoch seconds"""
    rpm_limit: Word = "worker:config:rpm_limit"
    """Redis key that holds `rpm`"""
    max_workers: Word = "worker:config:max_workers"
    """Redis key that holds `max_replicas`"""
    per_worker_rpm: Word = "worker:config:per_worker_rpm"
    """Redis key that holds each worker's share, see docs/redis.md#which-keys-are-shared-with-the-workers"""

    @field_validator("usage")
    @classmethod
    def _has_a_window(cls, usage: str) -> str:
        if "<window>" not in usage:
            raise PydanticCustomError("window", "must hold <window>, as in worker:rpm:<window>")
        return usage


class RateLimit(Part):
    """The budget of requests that all workers share, and where it is counted in Redis."""

    rpm: Positive
    """requests per minute that all workers together may make, at least `max_replicas`; no worker is added while those
    of the last 60 s are used up
    """
    keys: RateLimitKeys = RateLimitKeys()


class OnUnavailable(Part):
    """If the queue has been unreadable for `after`, scale up to at least `at_least`. Never scales down."""

    hints: ClassVar[Mapping[str, str]] = {
        "replicas": "write at_least",
        "workers": "write at_least",
        "for": "write after",
    }
    after: Annotated[Duration, IfUnset("hold")]
    """if the queue has been unreadable for this long, scale up to at least `at_least`"""
    at_least: Positive
    """number of workers; it never scales down"""

    @field_validator("after")
    @classmethod
    def _not_at_once(cls, after: float) -> float:
        if not after:
            raise PydanticCustomError(
                "after", "must be above 0 (for example 5m), so that one failed read does not scale up"
            )
        return after


def range_problems(at_least: int, known: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    minimum, maximum = known.get("min_replicas"), known.get("max_replicas")
    if maximum is None or minimum is None:
        return  # which is wrong by itself
    fix = f"write {max(1, minimum)} to {maximum}" if maximum else "leave on_unavailable out"
    if at_least > maximum:
        yield ("at_least",), f"is {at_least}, more than max_replicas, which is {maximum}; {fix}"
    if at_least < minimum:
        yield ("at_least",), f"is {at_least}, less than min_replicas, which is {minimum}; {fix}"


def share_problem(limit: RateLimit, maximum: int) -> str | None:
    """A share is rounded down: one of 0 would tell every worker to make no request at all."""
    if limit.rpm >= maximum:
        return None
    return (
        f"is {limit.rpm}, less than max_replicas, which is {maximum}, so that the share of each of {maximum} workers "
        f"would be 0 requests a minute; write {maximum} or more, or lower max_replicas to {limit.rpm}"
    )


def own_keys(limits: Mapping[str, RateLimit], prefix: str) -> Iterator[tuple[Path, str]]:
    """The controller's lease or journal under a key that it writes as a rate limit would be overwritten by itself.

    prefix: REDIS_KEY_PREFIX; what has the form of our keys under another one belongs to another controller.
    """
    for name, limit in limits.items():
        for field, key in limit.keys.model_dump().items():
            if key.startswith(f"{{{prefix}:") or _OURS.fullmatch(key):
                usual = RateLimitKeys.model_fields[field].default
                text = (
                    f"is {key}, which has the form of the controller's own keys ({{{prefix}:…}}:lease and others), so "
                    f"that the rate limit would overwrite them; choose another, such as {usual}"
                )
                yield ("workers", name, "rate_limit", "keys", field), text


def shared_keys(limits: Mapping[str, RateLimit]) -> Iterator[tuple[Path, str]]:
    """Two budgets under one key would overwrite each other. limits: by worker."""
    counted = Counter(key for limit in limits.values() for key in limit.keys.model_dump().values())
    for name, limit in limits.items():
        keys = limit.keys.model_dump()
        counts = re.compile(re.escape(limit.keys.usage).replace("<window>", "[0-9]+"))
        shared = [key for key in keys.values() if counted[key] > 1]
        for field, key in keys.items():
            if counts.fullmatch(key):
                text = f"is {key}, under which workers count the requests of one minute; choose another"
                yield ("workers", name, "rate_limit", "keys", field), text
        if shared:
            yield (
                ("workers", name, "rate_limit"),
                f"uses keys that another worker uses too ({', '.join(shared)}); give each its own rate_limit.keys",
            )
