"""Faults on order: each is used up by the next requests that match it.

Each kind is something that Railway did, or that a network does to any request. They differ in the two facts that matter
to a controller: whether the change was applied, and whether it got an answer that says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

KINDS = {
    "429": "Railway's own rate limit, with Retry-After (retry_after)",
    "cloudflare": "HTTP 429 and Cloudflare's page 1015",
    "502": "HTTP 502 and a page of HTML",
    "problem": "Problem processing request",
    "not_authorized": "Not Authorized",
    "null": "data: null and no errors",
    "hang": "no answer; the connection closes after some seconds (seconds)",
    "lost": "applied, and the connection closes without an answer",
    "slow": "applied at once, answered after some seconds (seconds)",
    "late": "applied and answered after some seconds (seconds), even if the caller has gone",
    "not_honoured": "a mutation answers as usual and changes nothing",
    "plan_clamp": "a change of replicas is clamped silently (limit, default 1)",
}
MUTATION_ONLY = frozenset({"not_honoured", "plan_clamp"})
"""A query changes nothing that could be left out."""
APPLIED = frozenset({"lost", "slow", "late"})
"""Carried out, whatever happens to the answer; of the others, `applied` in the order says so."""
_DEFAULTS: dict[str, Any] = {"times": 1, "on": "any", "retry_after": 2, "seconds": 15.0, "limit": 1, "applied": False}
# bool is checked apart: to Python it is an int as well.
_TYPES: dict[str, tuple[type, ...]] = {
    "times": (int,),
    "on": (str,),
    "retry_after": (int,),
    "seconds": (int, float),
    "limit": (int,),
    "applied": (bool,),
}


class BadFaultError(ValueError):
    """The message says what is allowed."""


@dataclass
class Fault:
    kind: str
    times: int
    on: str
    """any, query, mutation, an operation's name or a root field."""
    retry_after: int
    seconds: float
    limit: int
    applied: bool
    """The request is carried out, although the answer is an error."""

    def matches(self, kind: str, names: Collection[str]) -> bool:
        if self.kind in MUTATION_ONLY and kind != "mutation":
            return False
        return self.on in {"any", kind} or self.on in names

    def as_json(self) -> dict[str, Any]:
        return {"fault": self.kind, **{name: getattr(self, name) for name in _DEFAULTS}}


class Faults:
    def __init__(self) -> None:
        self.pending: list[Fault] = []

    def add(self, *wishes: Any) -> list[Fault]:
        """Orders all faults, or none if one of them is invalid."""
        new = [_fault(wish) for wish in wishes]
        self.pending += new
        return new

    def take(self, kind: str, names: Collection[str]) -> Fault | None:
        """The first that is meant for this request; kind is query or mutation."""
        fault = next((each for each in self.pending if each.matches(kind, names)), None)
        if fault is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.pending.remove(fault)
        return fault


def _fault(wish: Any) -> Fault:
    if not isinstance(wish, dict):
        raise BadFaultError(f'a fault is an object such as {{"fault": "429", "times": 1}}, not {wish!r}')
    kind = str(wish.get("fault"))
    if kind not in KINDS:
        known = "; ".join(f"{name} ({meaning})" for name, meaning in KINDS.items())
        raise BadFaultError(f"there is no fault {kind!r}; there are: {known}")
    options = {key: value for key, value in wish.items() if key != "fault"}
    for key, value in options.items():
        _check(key, value)
    return Fault(kind=kind, **{**_DEFAULTS, "applied": kind in APPLIED, **options})


def _check(key: str, value: Any) -> None:
    if key not in _TYPES:
        raise BadFaultError(f"a fault has no {key!r}; it may have: {', '.join(_TYPES)}")
    is_bool = isinstance(value, bool)
    if not isinstance(value, _TYPES[key]) or is_bool != (key == "applied"):
        raise BadFaultError(f"{key} of a fault can't be {value!r}")
    if isinstance(value, int | float) and value < 0:
        raise BadFaultError(f"{key} of a fault can't be negative")
