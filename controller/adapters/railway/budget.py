"""The request budget: how many requests Railway allows, and how many are left. No answer says that, so we count.

A request counts for one window (an hour) from when it is sent. The last fifth of the quota is reserved for mutations,
so that a decision can always be carried out. Reading slows down once half of the rest is used.

A quota from a response header is accepted within limits, and only after several equal answers in a row: a single wrong
one must neither stop us for days nor use up the rest at once.
"""

from __future__ import annotations

import math
import re
from collections import deque
from typing import NamedTuple

from controller.adapters.railway import SOURCE
from controller.core.ports import Clock, NotSent, Requests
from controller.core.units import in_words


class Quota(NamedTuple):
    """requests: allowed within window_s seconds."""

    requests: int
    window_s: float

    @property
    def for_queries(self) -> int:
        return self.requests - self.requests // RESERVED

    @property
    def is_credible(self) -> bool:
        """Within the limits below, and large enough for one query per CEILING_S after half of it is used."""
        return (
            LEAST_REQUESTS <= self.requests <= MOST_REQUESTS
            and 1 <= self.window_s <= LONGEST_WINDOW_S
            and self.window_s / (self.for_queries // _PLENTY) <= CEILING_S
        )


RESERVED = 5
"""1/5 of the quota is reserved for mutations."""
_PLENTY = 2
"""Cycles are not stretched while more than 1/2 of the requests for reading is left."""
HOBBY = Quota(1000, 3600.0)
"""Assumed until answers state the quota: Railway's smallest paid plan."""
CEILING_S = 300.0
"""The longest time between two cycles, however few requests are left."""
LEAST_REQUESTS, MOST_REQUESTS = 10, 1_000_000
LONGEST_WINDOW_S = 24 * 3600.0
"""Limits for a stated quota. Railway's plans allow 100 to 10,000 per hour, and 10 or more per second."""
CONFIRMATIONS = 3
"""Answers in a row that must state the same quota before it replaces the one in force."""
_POLICY = re.compile(r"\bq=(\d{1,7})\b[^,]{0,40}?\bw=(\d{1,7})\b", re.ASCII)


class Budget:
    """Counts on the monotonic clock. Another process with the same token is noticed only by HTTP 429.

    told: the last credible quota that an answer stated, in force or not.
    """

    def __init__(self, clock: Clock, quota: Quota = HOBBY) -> None:
        self.told = quota
        self._clock = clock
        self._in_force = quota
        self._confirmed = 0
        self._sent: deque[float] = deque()
        self._not_before = -math.inf

    @property
    def quota(self) -> int:
        return self._in_force.requests

    @property
    def window_s(self) -> float:
        return self._in_force.window_s

    def spend_on_query(self) -> None:
        """Counts one query that is about to be sent.

        Raises:
            NotSent: only the reserved requests are left.
        """
        used, limit = self._used(), self._for_queries
        if used >= limit:
            raise NotSent(
                SOURCE,
                f"is not read for another {in_words(self._until_free(limit))}: {used} of the {self.quota} requests "
                f"that it allows in {in_words(self.window_s)} are used, and the rest is reserved for changes",
            )
        self._sent.append(self._clock.monotonic())

    def spend_on_mutation(self) -> None:
        """Counts one mutation that is about to be sent.

        Raises:
            NotSent: no request is left.
        """
        used = self._used()
        if used >= self.quota:
            raise NotSent(
                SOURCE,
                f"is not changed for another {in_words(self._until_free(self.quota))}: all {self.quota} requests that "
                f"it allows in {in_words(self.window_s)} are used",
            )
        self._sent.append(self._clock.monotonic())

    def learn(self, header: str) -> None:
        """Learns the quota from an answer's RateLimit-Policy header; ignores one that is not credible."""
        quotas = (Quota(int(requests), float(window)) for requests, window in _POLICY.findall(header))
        told = next((quota for quota in quotas if quota.is_credible), None)
        if told is None:
            return
        self._confirmed = self._confirmed + 1 if told == self.told else 1
        self.told = told
        if told != self._in_force and self._confirmed >= CONFIRMATIONS:
            self._in_force = told
            # Earlier requests may use at most half of the new quota, so that reading goes on.
            for _ in range(self._used() - told.for_queries // _PLENTY):
                self._sent.popleft()

    def pause(self, retry_after_s: float) -> None:
        """Railway answered 429: send nothing for `retry_after_s`, even if our own count allows more."""
        self._not_before = max(self._not_before, self._clock.monotonic() + retry_after_s)

    @property
    def wait_s(self) -> float:
        """Seconds for which nothing may be sent, after HTTP 429."""
        return max(0.0, self._not_before - self._clock.monotonic())

    def pace(self, per_cycle: int = 1) -> float:
        """The shortest time between cycles, in seconds, at which reading never has to stop. per_cycle: queries each.

        At most CEILING_S: a cycle that reports that it cannot read is better than no cycle for longer.

        If the next cycles come every p seconds, the n-th query from now is sent at n / per_cycle * p. The queries that
        are left need no wait; the j-th after them needs the j-th oldest request to have left the window by then.
        """
        limit, used = self._for_queries, self._used()
        left = max(0, limit - used)
        if left * _PLENTY > limit:
            return 0.0
        now = self._clock.monotonic()
        # If mutations have used requests meant for queries, that many more must leave the window first.
        over = max(0, used - limit)
        leaves = ((at + self.window_s - now) / (left + n) for n, at in enumerate(list(self._sent)[over:], start=1))
        return min(CEILING_S, per_cycle * max(leaves, default=0.0))

    def requests(self, per_cycle: int = 1) -> Requests:
        return Requests(self._used(), self.quota, self.window_s, self.pace(per_cycle))

    @property
    def _for_queries(self) -> int:
        return self._in_force.for_queries

    def _used(self) -> int:
        gone = self._clock.monotonic() - self.window_s
        while self._sent and self._sent[0] <= gone:
            self._sent.popleft()
        return len(self._sent)

    def _until_free(self, limit: int) -> float:
        """Seconds until fewer than `limit` requests are in the window."""
        leaves_last = self._sent[len(self._sent) - max(1, limit)]
        return leaves_last + self.window_s - self._clock.monotonic()
