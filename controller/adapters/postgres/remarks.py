"""Remarks about a queue beside its depth, and when the survey that they come from is made again.

A survey (survey.py) takes some statements more, on the shared connection. It never makes a reading fail.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import NamedTuple

from controller.adapters.postgres.lane import Lane
from controller.adapters.postgres.lanes import Lanes
from controller.adapters.postgres.lookup import Lookup, key_of
from controller.adapters.postgres.survey import Survey, survey_of
from controller.core.model import QueueDepth, Remark
from controller.core.ports import Unavailable
from controller.policy import Queue as QueuePolicy

_SURVEY_AGAIN_S = 300.0
_DOUBTFUL_AGAIN_S = 30.0
"""Survey interval of a large table in which no job with a named status was seen yet. A small one: each reading."""
_SURVEY_S = 0.5
"""Timeout of one statement of a survey within a cycle."""
_STANDBY = "DATABASE_URL leads to a hot standby: its data may be some seconds old, and it cannot send NOTIFY"


class _LastSurvey(NamedTuple):
    """A survey of a queue. at: when it was made, by the event loop's clock."""

    survey: Survey
    at: float


class Remarks:
    """The last survey of each queue."""

    def __init__(self, lanes: Lanes, lookup: Lookup) -> None:
        self._lanes = lanes
        self._lookup = lookup
        self._surveys: dict[str, _LastSurvey] = {}
        self._named: set[str] = set()
        """Queues in which a job with a status that the policy names was seen."""

    async def added_to(self, depth: QueueDepth, queue: QueuePolicy) -> QueueDepth:
        """The reading with the remarks about its queue; makes the survey first if it is due."""
        behind = (Remark("standby", _STANDBY),) if depth.lag_s is not None else ()
        if queue.sql is not None:
            return replace(depth, remarks=(*depth.remarks, *behind))
        key, now = key_of(queue), asyncio.get_running_loop().time()
        if depth.depth or depth.stale:
            self._named.add(key)
        last = self._surveys.get(key)
        # Until a job with a status that the policy names was seen, an empty queue may be a misspelt status. The survey
        # is then made more often.
        is_doubtful = key not in self._named and queue.table is not None
        if last is None or now - last.at >= (_again_after(last.survey) if is_doubtful else _SURVEY_AGAIN_S):
            last = await self._surveyed(queue)
        words = last.survey.words
        if words is not None and words.named:
            self._named.add(key)
        unnamed = words.unnamed(queue.table) if words is not None and key not in self._named else ""
        zone = self._lookup.zone_warning(queue)
        zones = (Remark("timezone", zone),) if zone else ()
        remarks = (*depth.remarks, *behind, *zones, *last.survey.remarks(queue))
        return replace(depth, unnamed=unnamed, remarks=remarks)

    async def no_failed(self, queue: QueuePolicy) -> str:
        """Why the number of failed jobs is unknown; "" if the policy names their statuses, or no other was seen."""
        if "failed" in queue.statuses.model_fields_set:
            return ""
        last = self._surveys.get(key_of(queue)) or await self._surveyed(queue)
        return "" if last.survey.words is None else last.survey.words.no_failed

    async def _surveyed(self, queue: QueuePolicy) -> _LastSurvey:
        """Makes a survey. If it fails, the last one is kept: remarks are not worth failing a reading for."""
        key, now = key_of(queue), asyncio.get_running_loop().time()

        async def survey(lane: Lane) -> Survey:
            located = await self._lookup.find(lane, queue, self._lanes.timeout_s)
            return await survey_of(queue, located, lambda text: lane.ask(text, _SURVEY_S, by_index=True))

        try:
            found = await self._lanes.shared(queue, survey)
        except Unavailable:
            found = self._surveys[key].survey if key in self._surveys else Survey()
        self._surveys[key] = last = _LastSurvey(found, now)
        return last


def _again_after(survey: Survey) -> float:
    return 0.0 if survey.words is None or survey.words.is_small else _DOUBTFUL_AGAIN_S
