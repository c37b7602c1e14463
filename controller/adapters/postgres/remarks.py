"""Remarks about a queue beside its depth, and when the survey that they come from is made again.

A survey (survey.py) takes some statements more, on the shared connection. It never makes a reading fail.
"""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import psycopg

from controller.adapters.postgres.columns import Ask
from controller.adapters.postgres.lane import Lane
from controller.adapters.postgres.lanes import Lanes
from controller.adapters.postgres.lookup import Lookup, key_of
from controller.adapters.postgres.places import Located
from controller.adapters.postgres.survey import Survey, survey_of, words_in
from controller.adapters.postgres.unison import in_unison
from controller.core.model import QueueDepth, Remark
from controller.core.ports import Unavailable
from controller.policy import Queue as QueuePolicy

_SURVEY_AGAIN_S = 300.0
_DOUBTFUL_AGAIN_S = 30.0
"""Survey interval of a large table in which no job with a named status was seen yet. A small one: each reading."""
_FEW = 10
_EACH_S = 0.1
"""While more than _FEW small ones are in doubt, each is surveyed this often for each of them: of 1,000, every 100 s."""
_MOST_AT_ONCE, _MOST_AGAIN, _APART_S = 50, 40, 0.1
"""Whole surveys that are made one after the other; those after them are _APART_S apart. Some places are for the first
survey of a queue alone: queues are read in one order, so those read last might else never have one. The statuses of an
empty queue, without which it is not known whether it is empty, are looked at all the same."""
_SURVEY_S = 0.5
"""Timeout of one statement of a survey within a cycle."""
_MOST_TOGETHER = 20
_STANDBY = "DATABASE_URL leads to a hot standby: its data may be some seconds old, and it cannot send NOTIFY"


class _LastSurvey(NamedTuple):
    """A survey of a queue. made: when, by the event loop's clock. words_at: when its statuses were looked at last."""

    survey: Survey
    made: float
    words_at: float


class _Due(NamedTuple):
    queue: QueuePolicy
    only_words: bool


class Remarks:
    """The last survey of each queue."""

    def __init__(self, lanes: Lanes, lookup: Lookup) -> None:
        self._lanes = lanes
        self._lookup = lookup
        self._surveys: dict[str, _LastSurvey] = {}
        self._due: dict[str, _Due] = {}
        """By key, the surveys that wait for the connection."""
        self._named: set[str] = set()
        """Queues in which a job with a status that the policy names was seen."""
        self._free_at = -math.inf
        """When the surveys that were made would have been made, _APART_S apart."""

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
        is_due = last is None or now - last.made >= _SURVEY_AGAIN_S
        is_first = last is None or last.made == -math.inf
        if is_due and self._may_survey(now, _MOST_AT_ONCE if is_first else _MOST_AGAIN):
            last = await self._surveyed(queue)
        elif is_doubtful and (last is None or now - last.words_at >= self._again_after(last.survey)):
            last = await self._surveyed(queue, only_words=True)
        words = None if last is None else last.survey.words
        if words is not None and words.named:
            self._named.add(key)
        unnamed = words.unnamed(queue.table) if words is not None and key not in self._named else ""
        zone = self._lookup.zone_warning(queue)
        zones = (Remark("timezone", zone),) if zone else ()
        surveyed = () if last is None else last.survey.remarks(queue)
        return replace(depth, unnamed=unnamed, remarks=(*depth.remarks, *behind, *zones, *surveyed))

    def _may_survey(self, now: float, at_once: int) -> bool:
        """Whether a whole survey may be made now: those of 1,000 queues at once would make the first cycle late."""
        if self._free_at - now > (at_once - 1) * _APART_S:
            return False
        self._free_at = max(now, self._free_at) + _APART_S
        return True

    async def no_failed(self, queue: QueuePolicy) -> str:
        """Why the number of failed jobs is unknown; "" if the policy names their statuses, or no other was seen."""
        if "failed" in queue.statuses.model_fields_set:
            return ""
        last = self._surveys.get(key_of(queue)) or await self._surveyed(queue)
        return "" if last.survey.words is None else last.survey.words.no_failed

    async def _surveyed(self, queue: QueuePolicy, *, only_words: bool = False) -> _LastSurvey:
        """Makes a survey. If it fails, the last one is kept: remarks are not worth failing a reading for.

        only_words: only the statuses are looked at, and the rest of the last survey stays. The first one that gets the
        connection makes the surveys of all that wait for it, in the round trips of one.
        """
        key = key_of(queue)
        self._due[key] = _Due(queue, only_words)
        await asyncio.sleep(0)  # the other queues of the same batch say first that they are due, too
        async with self._lanes.main.turn:
            if key in self._due:
                these = {key: self._due.pop(key)}
                for other in list(self._due)[: _MOST_TOGETHER - 1]:
                    these[other] = self._due.pop(other)
                await self._survey(these)
        return self._surveys[key]

    async def _survey(self, these: Mapping[str, _Due]) -> None:
        now = asyncio.get_running_loop().time()

        async def ask(lane: Lane) -> list[Survey | psycopg.Error | Unavailable]:
            timeout_s = self._lanes.timeout_s
            await self._lookup.prepare(lane, {key: one.queue for key, one in these.items()}, timeout_s)
            places = [await self._lookup.find(lane, one.queue, timeout_s) for one in these.values()]
            jobs = [
                functools.partial(self._one, key, one, place)
                for (key, one), place in zip(these.items(), places, strict=True)
            ]
            return await in_unison(lane, jobs, _SURVEY_S, by_index=True)

        found: Sequence[Survey | psycopg.Error | Unavailable]
        try:
            found = await self._lanes.on_main(None, ask)
        except Unavailable as unavailable:
            if len(these) > 1:
                for key, one in these.items():
                    await self._survey({key: one})
                return
            found = [unavailable]
        for (key, one), survey in zip(these.items(), found, strict=True):
            last = self._surveys.get(key)
            before = -math.inf if last is None else last.made
            made = before if one.only_words else now
            kept = survey if isinstance(survey, Survey) else last.survey if last is not None else Survey()
            self._surveys[key] = _LastSurvey(kept, made, now)

    async def _one(self, key: str, due: _Due, place: Located, ask: Ask) -> Survey:
        last = self._surveys.get(key)
        if due.only_words and place.own is not None:
            survey = Survey() if last is None else last.survey
            return survey._replace(words=await words_in(due.queue, place.own, ask))
        return await survey_of(due.queue, place, ask)

    def _again_after(self, survey: Survey) -> float:
        """Seconds from one look at the statuses to the next, while no job with a named one was seen."""
        if survey.words is None or not survey.words.is_small:
            return _DOUBTFUL_AGAIN_S
        doubtful = len(self._surveys.keys() - self._named)
        return 0.0 if doubtful <= _FEW else doubtful * _EACH_S
