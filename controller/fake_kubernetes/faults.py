"""Faults on order: each is used up by the next requests that match it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from controller.fake_kubernetes.answers import Answer, status

KINDS = {
    "401": "Unauthorized: the token has expired",
    "403": "Forbidden",
    "404": "NotFound",
    "409": "Conflict, although nobody wrote",
    "422": "Invalid",
    "429": "TooManyRequests, with Retry-After (seconds)",
    "500": "InternalError",
    "503": "ServiceUnavailable, as while the API server restarts",
    "html": "HTTP 502 and a page of a load balancer in between",
    "hang": "no answer; the connection closes after some seconds (seconds)",
    "lost": "carried out, and the connection closes without an answer",
    "slow": "carried out at once, answered after some seconds (seconds)",
    "late": "carried out and answered after some seconds (seconds), even if the caller has gone",
}
REASONS = {
    "401": "Unauthorized",
    "403": "Forbidden",
    "404": "NotFound",
    "409": "Conflict",
    "422": "Invalid",
    "429": "TooManyRequests",
    "500": "InternalError",
    "503": "ServiceUnavailable",
}


class BadFaultError(ValueError):
    """The message says what is allowed."""


@dataclass
class Fault:
    """on: any, read (GET), change (PATCH, PUT), or a part of the path."""

    kind: str
    times: int = 1
    on: str = "any"
    seconds: float = 15.0

    def matches(self, method: str, path: str) -> bool:
        what = "change" if method in {"PATCH", "PUT"} else "read"
        return self.on in {"any", what} or ("/" in self.on and self.on in path)

    @property
    def answer(self) -> Answer | None:
        """What is sent instead of carrying the request out; None: another answer, or none, or the right one later."""
        if self.kind == "html":
            return Answer(502, b"<html><h1>502 Bad Gateway</h1></html>", {"Content-Type": "text/html"})
        if self.kind not in REASONS:
            return None
        headers = {"Retry-After": str(round(self.seconds))} if self.kind == "429" else {}
        return status(int(self.kind), REASONS[self.kind], f"a fault on order: {REASONS[self.kind]}", headers)


class Faults:
    def __init__(self) -> None:
        self.pending: list[Fault] = []

    def add(self, *wishes: Any) -> None:
        """Orders all faults, or none if one of them is invalid. Raises BadFaultError."""
        self.pending += [_fault(wish) for wish in wishes]

    def take(self, method: str, path: str) -> Fault | None:
        """The first that is meant for this request."""
        fault = next((one for one in self.pending if one.matches(method, path)), None)
        if fault is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.pending.remove(fault)
        return fault


def _fault(wish: Any) -> Fault:
    if not isinstance(wish, dict) or wish.get("fault") not in KINDS:
        known = "; ".join(f"{name} ({meaning})" for name, meaning in KINDS.items())
        raise BadFaultError(f'a fault is an object such as {{"fault": "503", "times": 1}}, with one of: {known}')
    kinds = {"times": int, "on": str, "seconds": (int, float)}
    for key, value in wish.items():
        if key != "fault" and (key not in kinds or isinstance(value, bool) or not isinstance(value, kinds[key])):  # type: ignore[arg-type]  # a tuple of types, or one
            raise BadFaultError(
                f"{key} of a fault can't be {value!r}; it may have: {', '.join(f.name for f in fields(Fault))}"
            )
    return Fault(wish["fault"], **{key: value for key, value in wish.items() if key != "fault"})
