"""What an operator has asked for until a given time: no scaling, one count, or a lower limit. Pure.

Overrides belong to a worker's service, as its history does, and stand in the same record. At most one of each kind is
in force; a new one replaces the one before. An override that has ended stays in the record until a leader has reported
its end, so that it is reported once, whichever replica leads by then.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from controller.core.text import bounds
from controller.core.units import in_words

LONGEST_S = 168 * 3600.0
"""An override is for a time; what is to stay belongs into the policy."""
LONGEST_AUTHOR = 64
LONGEST_WHY = 200
MOST_KEPT = 12
"""Overrides in a record: three in force, and ends that no leader has reported yet. Older ends are dropped."""


class Kind(StrEnum):
    """The command's name, which is also what log and /status call it."""

    PAUSE = "pause"
    HOLD = "hold"
    AT_LEAST = "at-least"


class Blocks(StrEnum):
    """The direction in which a paused worker does not scale."""

    BOTH = "both"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Override:
    """ident: unique. at, until: by the journal's clock. replicas: of a hold, or the lower limit. blocks: of a pause.

    is_forced: min_replicas and max_replicas do not limit it. is_told: a leader has reported its beginning. ended_at and
    ended_by: when somebody ended it before `until`, and who; replaced: by a new override of the same kind.
    """

    ident: str
    kind: Kind
    author: str
    at: float
    until: float
    why: str = ""
    replicas: int = 0
    blocks: Blocks = Blocks.BOTH
    is_forced: bool = False
    is_told: bool = False
    ended_at: float | None = None
    ended_by: str = ""
    replaced: bool = False

    def in_force(self, now: float) -> bool:
        return self.ended_at is None and now < self.until

    def left_s(self, now: float) -> float:
        return max(0.0, self.until - now)

    @property
    def what(self) -> str:
        """`scaling is paused`, `held at 3`, `at least 2`."""
        if self.kind is Kind.PAUSE:
            return f"{'scaling' if self.blocks is Blocks.BOTH else f'scale-{self.blocks.value}'} is paused"
        return f"held at {self.replicas}" if self.kind is Kind.HOLD else f"at least {self.replicas}"

    def words(self, now: float) -> str:
        """`held at 3 by ann for 28 min more: load test`."""
        left = in_words(math.ceil(self.left_s(now)))
        return f"{self.what} by {self.author} for {left} more{f': {self.why}' if self.why else ''}"

    @property
    def end_words(self) -> str:
        """`held at 3 by ann is over: the time is up`."""
        if self.ended_at is None:
            end = "its time is up"
        else:
            end = f"{self.ended_by} {'replaced' if self.replaced else 'ended'} it"
        return f"{self.what} by {self.author} is over: {end}"

    def as_object(self) -> dict[str, Any]:
        """For the record; only what differs from the defaults."""
        values: dict[str, Any] = {
            "id": self.ident,
            "kind": self.kind.value,
            "by": self.author,
            "at": self.at,
            "until": self.until,
            "why": self.why,
            "replicas": self.replicas,
            "blocks": "" if self.blocks is Blocks.BOTH else self.blocks.value,
            "forced": self.is_forced,
            "told": self.is_told,
            "ended_at": self.ended_at,
            "ended_by": self.ended_by,
            "replaced": self.replaced,
        }
        return {name: value for name, value in values.items() if value not in ("", 0, None, False)}

    @classmethod
    def from_object(cls, values: Mapping[str, Any]) -> Self:
        """Raises ValueError, KeyError, TypeError: it is no override."""
        ended_at = values.get("ended_at")
        return cls(
            ident=bounds.cut(str(values["id"]), LONGEST_AUTHOR),
            kind=Kind(values["kind"]),
            author=bounds.cut(str(values["by"]), LONGEST_AUTHOR),
            at=_stamp(values["at"]),
            until=_stamp(values["until"]),
            why=bounds.cut(str(values.get("why", "")), LONGEST_WHY),
            replicas=_count(values.get("replicas", 0)),
            blocks=Blocks(values.get("blocks") or Blocks.BOTH),
            is_forced=values.get("forced") is True,
            is_told=values.get("told") is True,
            ended_at=None if ended_at is None else _stamp(ended_at),
            ended_by=bounds.cut(str(values.get("ended_by", "")), LONGEST_AUTHOR),
            replaced=values.get("replaced") is True,
        )


@dataclass(frozen=True, slots=True)
class Overrides:
    """Of one worker's service. changed_at: when somebody last set or ended one; 0: never.

    Where a record and a process that remembers it differ, the later changed_at has the truth.
    """

    changed_at: float = 0.0
    each: tuple[Override, ...] = ()

    def in_force(self, kind: Kind, now: float) -> Override | None:
        return next((one for one in self.each if one.kind is kind and one.in_force(now)), None)

    def all_in_force(self, now: float) -> tuple[Override, ...]:
        return tuple(one for one in self.each if one.in_force(now))

    def with_new(self, override: Override) -> Overrides:
        """With this one in force, in the place of one of its kind."""
        before = tuple(
            replace(one, ended_at=override.at, ended_by=override.author, replaced=True)
            if one.kind is override.kind and one.in_force(override.at)
            else one
            for one in self.each
        )
        ended = [one for one in before if not one.in_force(override.at)]
        dropped = ended[: max(0, len(before) + 1 - MOST_KEPT)]
        return Overrides(override.at, (*(one for one in before if one not in dropped), override))

    def resumed(self, author: str, now: float) -> Overrides:
        """With none in force, as of now: also one that the record lost counts no more when a process gives it back."""
        return Overrides(
            now, tuple(replace(one, ended_at=now, ended_by=author) if one.in_force(now) else one for one in self.each)
        )

    def not_after(self, now: float) -> Overrides:
        """No override begins in the future: if a clock was set back since, it begins now and lasts as long as asked."""
        if self.changed_at <= now and all(one.at <= now for one in self.each):
            return self
        each = tuple(
            one if one.at <= now else replace(one, at=now, until=min(one.until, now + (one.until - one.at)))
            for one in self.each
        )
        return Overrides(min(self.changed_at, now), each)

    def told(self, now: float) -> tuple[Overrides, tuple[Override, ...], tuple[Override, ...]]:
        """What is left after a report: the rest, those that began, and those that ended, each since the last report."""
        began = tuple(one for one in self.each if not one.is_told)
        ended = tuple(one for one in self.each if not one.in_force(now))
        rest = tuple(replace(one, is_told=True) for one in self.each if one.in_force(now))
        return Overrides(self.changed_at, rest), began, ended

    def as_text(self) -> str:
        """For the record; "" if there never was one."""
        if not self.changed_at and not self.each:
            return ""
        return json.dumps([self.changed_at, [one.as_object() for one in self.each]], separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str | None) -> Self:
        """Of as_text().

        Raises:
            ValueError, KeyError, TypeError: it is no such text.
        """
        if not text:
            return cls()
        changed_at, each = json.loads(text)
        if not isinstance(each, list) or len(each) > MOST_KEPT:
            raise ValueError("is not a list of overrides")
        return cls(_stamp(changed_at), tuple(map(Override.from_object, each)))


def _stamp(value: Any) -> float:
    if type(value) not in {int, float} or not 0 <= value < 1e12:
        raise ValueError("is not a time")
    return float(value)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1e6:
        raise ValueError("is not a count")
    return value
