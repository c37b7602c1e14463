"""Turns what `read` printed, or what an address answered to GET, into Replicas. Pure.

Either a whole number, the configured count, or a JSON object of which only `configured` has to be there. Keys that are
not known are refused: a typing error in one, such as `runing`, would otherwise make workers vanish. So is a key that is
there twice: JSON's readers take the last one, and which of two counts is meant is unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import from_json

from controller.adapters.command import SOURCE
from controller.core.model import PlatformWords, Replicas, ServiceState
from controller.core.text import bounds
from controller.core.text.escaping import visible

MOST_BYTES = 64_000
"""Of an answer; the longest valid one has under 1,000."""
MOST_REPLICAS = 10_000
_LONGEST_DRAINING_S = 24 * 3600.0
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_LONGEST_EXCERPT = 80
VERSION = r"^[ -~]*$"
"""What can be handed back as a variable and as a header: ASCII without control characters."""

Count = Annotated[int, Field(ge=0, le=MOST_REPLICAS)]


class Answer(BaseModel):
    """running: instances that run; None: unknown. alive: those that may still take jobs, with those that start or end.

    crashed: instances that crashed and do not run. starting: a deployment is in progress. draining: seconds that a
    removed instance has to finish its job. deployment: changes when anything but the count does. version: changes when
    the count does, too; it is handed back with a change.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    configured: Count
    running: Count | None = None
    alive: Count | None = None
    crashed: Count = 0
    starting: bool = False
    draining: Annotated[float, Field(ge=0, le=_LONGEST_DRAINING_S, allow_inf_nan=False)] = 0.0
    deployment: Annotated[str, StringConstraints(max_length=bounds.NAME)] | None = None
    version: Annotated[str, StringConstraints(max_length=bounds.NAME, pattern=VERSION)] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The coordinates of a reading. version: as the reading said it; None: it said none."""

    version: str | None


def replicas(said: bytes, *, version: str | None = None) -> Replicas:
    """The reading. version: what came beside the answer, such as an ETag; the answer's own comes first.

    Where `running` is not said, it is unknown, and all that are configured are taken to run: 0 would be an alarm, and
    would let nothing be decided. What is never noticed then: workers that crash or are missing.

    Raises:
        ValueError: it is no count.
    """
    answer = _answer(said)
    configured = answer.configured
    running = configured if answer.running is None else answer.running
    return Replicas(
        configured=configured,
        running=running if configured else 0,
        alive=max(running, answer.alive or 0),
        state=_state(answer, running),
        deployment=answer.deployment,
        coordinates=Seen(answer.version or version),
        draining_s=answer.draining,
        leaving=max(0, (answer.alive or running) - running) if not configured else 0,
        crashed=answer.crashed,
        words=_WORDS,
    )


def excerpt(said: bytes) -> str:
    """The beginning of what was said, in one line, and nothing that a terminal obeys."""
    return visible(bounds.cut(said.strip()[:2_000].decode("utf-8", "replace").strip(), _LONGEST_EXCERPT))


def _answer(said: bytes) -> Answer:
    text = said.decode("utf-8", "replace").strip()
    if _NUMBER.fullmatch(text):
        text = f'{{"configured": {text}}}'
    elif not text:
        raise ValueError("nothing; a number, or JSON with configured, is needed")
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError:
        raise ValueError(f"{excerpt(said)!r}, which is neither a number nor JSON") from None
    if not isinstance(value, dict):
        words = f"which is neither a whole number from 0 to {MOST_REPLICAS} nor a JSON object with configured"
        raise ValueError(f"{excerpt(said)!r}, {words}")  # noqa: TRY004  # as every answer that is none
    if twice := _written_twice(text):
        raise ValueError(f"{excerpt(said)!r}, which has {twice!r} twice")
    try:
        return Answer.model_validate(value)
    except ValidationError as error:
        raise ValueError(f"{excerpt(said)!r}, which is no count ({_why(error)})") from None


def _written_twice(text: str) -> str:
    """The first key that an object has twice; "": none. text: JSON that from_json took, so it is not too deep."""
    found: list[str] = []

    def look(pairs: Sequence[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found.append(key)
            seen.add(key)

    json.loads(text, object_pairs_hook=look)
    return visible(bounds.cut(found[0], 40)) if found else ""


def _state(answer: Answer, running: int) -> ServiceState:
    if not answer.configured:
        return ServiceState.STOPPED
    if answer.starting:
        return ServiceState.STARTING
    return ServiceState.CRASHED if answer.crashed and not running else ServiceState.RUNNING


def _why(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = visible(bounds.cut(".".join(map(str, first["loc"])), 40))
    return f"{place}: {first['msg']}" if place else str(first["msg"])


_WORDS = PlatformWords(
    name=SOURCE.name,
    crashed="see the log of the workers",
    missing="see the log of the workers, and whether the platform has room for them",
)
