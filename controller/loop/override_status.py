"""An override as /status, the page, the metrics and `autoscaler overrides --json` show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from controller.core.override import Kind, Override
from controller.core.units import iso


@dataclass(frozen=True, slots=True)
class OverrideStatus:
    """override: the command's name. replicas: None for a pause; blocks: up, down or both, of a pause.

    since, until: dates as iso() writes them. left_s: seconds until it ends by itself, when the cycle read it.
    """

    override: str
    replicas: int | None
    blocks: str | None
    by: str
    why: str
    since: str
    until: str
    left_s: float
    forced: bool
    message: str

    @classmethod
    def of(cls, one: Override, now: float) -> Self:
        """now: by the journal's clock."""
        is_pause = one.kind is Kind.PAUSE
        return cls(
            override=one.kind.value,
            replicas=None if is_pause else one.replicas,
            blocks=one.blocks.value if is_pause else None,
            by=one.author,
            why=one.why,
            since=iso(one.at),
            until=iso(one.until),
            left_s=round(one.left_s(now), 1),
            forced=one.is_forced,
            message=one.words(now),
        )
