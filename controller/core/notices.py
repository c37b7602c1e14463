"""What people are told of: the kinds of notifications, one notification, and what is remembered of it. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Self

from controller.core.text import bounds
from controller.core.units import in_words

_MOST_NAMES = 1_000


class Kind(StrEnum):
    """What a target of `notify:` can be told of."""

    SCALED = "scaled"
    FAILING = "failing"
    RECOVERED = "recovered"
    AT_MAX = "at_max"
    NO_PROGRESS = "no_progress"
    CRASH_LOOP = "crash_loop"
    TAKEOVER = "takeover"
    OVERRIDE = "override"
    BUDGET = "budget"
    CONTENDED = "contended"


KINDS: Mapping[Kind, str] = {
    Kind.SCALED: "a count was changed",
    Kind.FAILING: "a dependency, or a worker's service, has failed for `failing_after`",
    Kind.RECOVERED: "what was told of as failing, at_max, no_progress or crash_loop is over",
    Kind.AT_MAX: "the jobs have asked for max_replicas, or more, for `at_max_after`",
    Kind.NO_PROGRESS: "jobs are ready, a worker is idle, and no job is taken",
    Kind.CRASH_LOOP: "workers crash and none runs",
    Kind.TAKEOVER: "another replica of the controller leads",
    Kind.OVERRIDE: "an operator's override began or ended",
    Kind.BUDGET: "80, 90 or 100 % of a budget are spent, or a new period has begun after that",
    Kind.CONTENDED: "something else changes the count, too",
}
BY_DEFAULT = (
    Kind.FAILING,
    Kind.RECOVERED,
    Kind.AT_MAX,
    Kind.NO_PROGRESS,
    Kind.CRASH_LOOP,
    Kind.OVERRIDE,
    Kind.BUDGET,
    Kind.CONTENDED,
)
"""Without `scaled` and `takeover`: they are the normal course, the one with each burst, the other with each deploy."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification. ident: the same for each attempt to send it, and for each replica that sends it.

    kind: a Kind, or `test`. worker: "" if it concerns no single one. at: epoch seconds. left_out: how many of its kind
    were not sent within the last `within_s` seconds.
    """

    ident: str
    kind: str
    message: str
    at: float
    worker: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)
    left_out: int = 0
    within_s: float = 0.0

    @property
    def text(self) -> str:
        """For people: with the worker, and with what was left out."""
        place = f"{self.worker}: " if self.worker else ""
        more = f" ({self.left_out} more in {in_words(self.within_s)})" if self.left_out else ""
        return f"{place}{self.message}{more}"


class Mark(NamedTuple):
    """What is remembered of something that is told of. since: epoch seconds; when it began, or happened.

    workers: those that it concerns. told: the targets that took the message.
    """

    since: float
    workers: tuple[str, ...] = ()
    told: tuple[str, ...] = ()

    def as_text(self) -> str:
        return json.dumps([round(self.since, 3), self.workers, self.told], separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Raises ValueError: it is no such text."""
        try:
            since, *names = json.loads(bounds.cut(text, bounds.PUBLISHED))
            workers, told = ([str(name) for name in every] for every in names)
            moment = float(since)
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise ValueError("is not a mark") from None
        if not math.isfinite(moment) or moment < 0:
            raise ValueError("is not a mark")
        return cls(moment, tuple(workers[:_MOST_NAMES]), tuple(told[:_MOST_NAMES]))
