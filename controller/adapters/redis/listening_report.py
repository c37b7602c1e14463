"""The leader's last report about its LISTEN connection, kept in Redis for `autoscaler doctor`.

Doctor watches such a connection for a few seconds only; the leader may have seen it cut hours ago. No decision uses the
report, so a failed write or a lost report is ignored.
"""

from __future__ import annotations

import contextlib
import json
import math
from typing import NamedTuple

from redis.exceptions import ResponseError

from controller.adapters.redis.connection import FAULTS, Client, connect

_KEPT_S = 7 * 24 * 3600


class ListeningReport(NamedTuple):
    """event: the log event, `listening` or `wake_unavailable`. at: epoch seconds."""

    event: str
    message: str
    at: float


async def save_report(url: str, key: str, report: ListeningReport) -> None:
    """Writes the report, which expires after 7 days. A Redis that cannot be reached is ignored."""
    with contextlib.suppress(*FAULTS):
        async with connect(url) as client:
            await client.set(key, json.dumps(report._asdict()), ex=_KEPT_S)


async def load_report(client: Client, key: str) -> ListeningReport | None:
    """None if there is no report, or none that can be parsed.

    Raises:
        one of connection.FAULTS: Redis could not be asked.
    """
    try:
        text = await client.get(key)
    except ResponseError:
        return None  # the key holds another type
    try:
        report = ListeningReport(**json.loads(text or "null"))
        at = float(report.at)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    is_known = isinstance(report.event, str) and isinstance(report.message, str) and math.isfinite(at)
    return ListeningReport(report.event, report.message, at) if is_known else None
