"""GET /history: what the leader wrote, with the filters of `autoscaler history`, paged.

Unlike most paths it asks a dependency, Redis: a few readings at once, the others wait, and each has its deadline.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from aiohttp import web

from controller.core.moments import moment_of
from controller.core.ports import Clock, Timeline, Unavailable
from controller.core.reasons import Reason
from controller.core.text.escaping import as_json
from controller.core.text.masking import Masker
from controller.core.timeline import matching
from controller.loop.levels import IN_HISTORY
from controller.web.readings import Readings

MOST = 500
"""Entries of one page."""
_USUAL = 100
_DAY_S = 24 * 3600.0
_KEPT_S = 1.0
"""Seconds that an answer is shared by those who ask the same."""
_MOST_LOOKED_AT = 5_000
"""Entries that one request looks through for those that its filters match."""
_MOST_TEXT = 100
_PLACE = re.compile(r"[0-9]{1,15}-[0-9]{1,15}")


class Asked(NamedTuple):
    """since, until: seconds since the epoch. after: where the page before ended; "" for the first."""

    since: float
    until: float
    worker: str = ""
    reason: str = ""
    event: str = ""
    limit: int = _USUAL
    after: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str], now: float) -> Asked:
        """Raises ValueError: a parameter is wrong, in a sentence."""
        known = set(cls._fields)
        unknown = sorted(query.keys() - known)
        if unknown:
            raise ValueError(f"{unknown[0][:_MOST_TEXT]!r} is no parameter; there is {', '.join(sorted(known))}")
        if any(len(value) > _MOST_TEXT for value in query.values()):
            raise ValueError(f"a parameter is longer than {_MOST_TEXT} characters")
        after, limit = query.get("after", ""), query.get("limit", str(_USUAL))
        if after and not _PLACE.fullmatch(after):
            raise ValueError("after is not the `more` of an answer")
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= MOST):
            raise ValueError(f"limit is not from 1 to {MOST}")
        since, until = moment_of(query.get("since", "24h"), now), moment_of(query.get("until", "now"), now)
        worker, reason, event = (query.get(name, "") for name in ("worker", "reason", "event"))
        if reason and reason not in set(Reason):
            raise ValueError(f"{reason!r} is no reason")
        if event and event not in IN_HISTORY:
            raise ValueError(f"{event!r} is no event of the history; there is {', '.join(sorted(IN_HISTORY))}")
        return cls(since, until, worker, reason, event, int(limit), after)


class HistoryPage:
    """The route."""

    def __init__(self, timeline: Timeline, mask: Masker, readings: Readings, clock: Clock) -> None:
        self._timeline, self._clock = timeline, clock
        self._mask = mask
        self._readings = readings

    async def answer(self, request: web.Request) -> web.Response:
        try:
            asked = Asked.of(request.query, self._clock.wall())
        except ValueError as error:
            return _answer({"error": str(error)}, HTTPStatus.BAD_REQUEST)
        question = f"history {sorted(request.query.items())}"
        try:
            body = await self._readings.answer(question, _KEPT_S, lambda: self._body(asked))
        except Unavailable as unavailable:
            return _answer({"error": self._mask.text(str(unavailable))}, HTTPStatus.SERVICE_UNAVAILABLE)
        return web.Response(body=body, content_type="application/json", charset="utf-8")

    async def _body(self, asked: Asked) -> bytes:
        return as_json(self._mask.value(await self._entries(asked))).encode()

    async def _entries(self, asked: Asked) -> dict[str, Any]:
        entries: list[dict[str, Any]] = []
        after, looked_at = asked.after, 0
        while True:
            page = await self._timeline.happenings(asked.since, asked.until, most=asked.limit, after=after)
            found = matching(page.happenings, worker=asked.worker, reason=asked.reason, event=asked.event)
            entries += [one.as_object() for one in found]
            after, looked_at = page.more, looked_at + asked.limit
            if not after or len(entries) >= asked.limit or looked_at >= _MOST_LOOKED_AT:
                return {"entries": entries, "more": after or None}


def _answer(body: Any, status: HTTPStatus) -> web.Response:
    return web.Response(text=as_json(body), status=status, content_type="application/json", charset="utf-8")
