"""What the fake sends back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

_JSON = {"Content-Type": "application/json; charset=utf-8"}


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: Mapping[str, str] = _JSON


def status(code: int, reason: str, message: str, headers: Mapping[str, str] | None = None, name: str = "") -> Answer:
    """A failure, as the API says it. name: of the object that it is about."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": {"name": name} if name else {},
        "code": code,
    }
    return Answer(code, json.dumps(body).encode(), {**_JSON, **(headers or {})})
