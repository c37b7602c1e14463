"""One worker's last cycle as /status, the page and the metrics show it, ours or another replica's. Pure.

What a leader of another version published may have other keys, and what stands in Redis may be anything. Here it
becomes a value whose fields have the types that everybody who shows it relies on, or it is refused. A field that is of
another type is left out, and named.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from controller.loop.cycle import Outcome

_LARGEST = 1e15


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What is missing is None (or empty), which is shown as not known. more: keys that only other versions know."""

    outcome: str
    at: str | None = None
    message: str = ""
    reason: str | None = None
    reasons: tuple[str, ...] = ()
    direction: str | None = None
    epoch: int | None = None
    pending: int | None = None
    processing: int | None = None
    depth: int | None = None
    oldest_age_s: float | None = None
    configured: int | None = None
    running: int | None = None
    recommended: int | None = None
    desired: int | None = None
    rpm_used: int | None = None
    rpm_limit: int | None = None
    took_ms: int | None = None
    state: str | None = None
    stale: int | None = None
    depth_shown: str | None = None
    pending_shown: str | None = None
    processing_shown: str | None = None
    stale_shown: str | None = None
    max_workers: int | None = None
    scale_up_cooldown_left_s: float | None = None
    scale_down_cooldown_left_s: float | None = None
    last_scale_up: str | None = None
    last_scale_down: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, published: Any) -> Self | None:
        """What was published, with nothing in the place of what is missing or malformed; None where it is no status."""
        if not isinstance(published, dict) or published.get("outcome") not in list(Outcome):
            return None
        known = {name: published[name] for name in _IS if name in published and _IS[name](published[name])}
        if "reasons" in known:
            known["reasons"] = tuple(known["reasons"])
        others = {name: value for name, value in published.items() if name not in _IS}
        return cls(**known, more={name: value for name, value in others.items() if _is_text(name) and _is_plain(value)})

    @staticmethod
    def malformed(published: Any) -> list[str]:
        """The keys of a status whose values are not what stands there."""
        return [name for name in _IS if name in published and not _IS[name](published[name])]

    def as_object(self) -> dict[str, Any]:
        """For /status, and to be published."""
        known = {name: getattr(self, name) for name in _IS}
        return {**known, "reasons": list(self.reasons), **self.more}

    def figures(self) -> Iterator[tuple[str, float]]:
        """The numbers that are known, by key."""
        for name in _IS:
            value = getattr(self, name)
            if isinstance(value, int | float):
                yield name, value

    def with_old(self, before: Self | None) -> Self:
        """What could not be read this time as it was last known; the outcome says that it is old."""
        if before is None:
            return self
        known = {name: getattr(before, name) if getattr(self, name) is None else getattr(self, name) for name in _IS}
        more = {name: before.more.get(name) if value is None else value for name, value in self.more.items()}
        return type(self)(**known, more=more)


def _is_text(value: Any) -> bool:
    """That can be sent: JSON knows halves of characters which no encoding does."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _is_count(value: Any) -> bool:
    return type(value) is int and abs(value) < _LARGEST


def _is_number(value: Any) -> bool:
    return type(value) in {int, float} and abs(value) < _LARGEST


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_plain(value: Any) -> bool:
    try:
        return _is_text(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except (ValueError, TypeError, RecursionError):
        return False


def _of(annotation: str) -> Any:
    kinds = {"str": _is_text, "int": _is_count, "float": _is_number, "tuple[str, ...]": _is_list_of_texts}
    kind, _, rest = annotation.partition(" | ")
    check = kinds[kind]
    return (lambda value: value is None or check(value)) if rest == "None" else check


_IS = {one.name: _of(str(one.type)) for one in fields(WorkerStatus) if one.name != "more"}
"""By key, whether a value may stand there."""
