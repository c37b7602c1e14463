"""What the leader last said of being woken, kept for `autoscaler doctor`, which sees a few seconds only.

It decides nothing: where it cannot be written, or is lost, nothing else is.
"""

from __future__ import annotations

import contextlib
import json
import math
from typing import NamedTuple

from redis.exceptions import ResponseError

from controller.adapters.redis.connection import FAULTS, Client, connect

_KEPT_S = 7 * 24 * 3600


class Said(NamedTuple):
    """at: epoch seconds."""

    event: str
    message: str
    at: float


async def leave(url: str, key: str, said: Said) -> None:
    with contextlib.suppress(*FAULTS):
        async with connect(url) as client:
            await client.set(key, json.dumps(said._asdict()), ex=_KEPT_S)


async def left(client: Client, key: str) -> Said | None:
    """None: nothing was said, or not in a form that is known here.

    Raises:
        one of redis_connection.FAULTS: Redis could not be asked.
    """
    try:
        text = await client.get(key)
    except ResponseError:
        return None  # something of another kind stands there
    try:
        said = Said(**json.loads(text or "null"))
        at = float(said.at)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    is_known = isinstance(said.event, str) and isinstance(said.message, str) and math.isfinite(at)
    return Said(said.event, said.message, at) if is_known else None
