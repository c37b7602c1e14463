"""How many requests Railway allows, and how many of them are left: counted here, since no answer ever says.

Every request that is sent counts for one window from its sending on. The last fifth is for mutations alone, so that
what was decided can be done; reading stops before it, and slows down long before it stops.

What a header says of the quota is believed within bounds, and only once several answers in a row have said it: an odd
one must neither silence us for days nor spend at once what is left.
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
    """So many requests within so many seconds."""

    requests: int
    window_s: float

    @property
    def for_queries(self) -> int:
        return self.requests - self.requests // RESERVED

    @property
    def is_credible(self) -> bool:
        """Within the bounds; a smaller one would not even allow one query in CEILING_S once half of it is used."""
        return (
            LEAST_REQUESTS <= self.requests <= MOST_REQUESTS
            and 1 <= self.window_s <= LONGEST_WINDOW_S
            and self.window_s / (self.for_queries // _PLENTY) <= CEILING_S
        )


RESERVED = 5
"""One in so many is kept for mutations."""
_PLENTY = 2
"""Nothing is stretched while more than one in so many of the requests for reading is left."""
HOBBY = Quota(1000, 3600.0)
"""Assumed until answers tell: Railway's smallest paid plan."""
CEILING_S = 300.0
"""However few requests are left, cycles are not stretched beyond this."""
LEAST_REQUESTS, MOST_REQUESTS = 10, 1_000_000
LONGEST_WINDOW_S = 24 * 3600.0
"""Railway's plans allow 100 to 10,000 in an hour, and 10 or more in a second."""
CONFIRMATIONS = 3
"""Answers in a row that have to say the same quota before it replaces the one in force."""
_POLICY = re.compile(r"\bq=(\d{1,7})\b[^,]{0,40}?\bw=(\d{1,7})\b", re.ASCII)


class Budget:
    """Counts on the monotonic clock. Another process that uses the same token is only noticed when Railway says 429.

    told: what the last answer said that was credible, whether it is in force yet or not.
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
            NotSent: only what is reserved is left.
        """
        used, limit = self._used(), self._for_queries
        if used >= limit:
            raise NotSent(
                SOURCE,
                f"is not read for {in_words(self._until_free(limit))} more: {used} of the {self.quota} requests that "
                f"it allows in {in_words(self.window_s)} are used, and the rest is kept for changes",
            )
        self._sent.append(self._clock.monotonic())

    def spend_on_mutation(self) -> None:
        """Counts one mutation that is about to be sent.

        Raises:
            NotSent: nothing at all is left.
        """
        used = self._used()
        if used >= self.quota:
            raise NotSent(
                SOURCE,
                f"is not asked for {in_words(self._until_free(self.quota))} more: all {self.quota} requests that it "
                f"allows in {in_words(self.window_s)} are used",
            )
        self._sent.append(self._clock.monotonic())

    def learn(self, header: str) -> None:
        """What an answer's RateLimit-Policy says of the quota; one that is not credible says nothing."""
        quotas = (Quota(int(requests), float(window)) for requests, window in _POLICY.findall(header))
        told = next((quota for quota in quotas if quota.is_credible), None)
        if told is None:
            return
        self._confirmed = self._confirmed + 1 if told == self.told else 1
        self.told = told
        if told != self._in_force and self._confirmed >= CONFIRMATIONS:
            self._in_force = told
            # Requests of before count for half of it at most, so that reading goes on.
            for _ in range(self._used() - told.for_queries // _PLENTY):
                self._sent.popleft()

    def turned_away(self, retry_after_s: float) -> None:
        """Railway counts differently than we do, and its word is the last."""
        self._not_before = max(self._not_before, self._clock.monotonic() + retry_after_s)

    @property
    def wait_s(self) -> float:
        """For how long nothing may be sent, by Railway's own word."""
        return max(0.0, self._not_before - self._clock.monotonic())

    def pace(self, per_cycle: int = 1) -> float:
        """The least seconds from now on between two cycles of so many queries, such that reading never has to stop.

        At most CEILING_S: rather does a cycle say that it cannot read, than that nothing is said for longer.

        If the next cycles came every p seconds, the n-th query from now would be sent at n / per_cycle * p. Those that
        are left need no wait; the j-th after them needs the j-th oldest request to have left the window by then.
        """
        limit, used = self._for_queries, self._used()
        left = max(0, limit - used)
        if left * _PLENTY > limit:
            return 0.0
        now = self._clock.monotonic()
        # Where mutations have eaten into what is for queries, that many more have to leave first.
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
        """Until fewer than `limit` are in the window."""
        leaves_last = self._sent[len(self._sent) - max(1, limit)]
        return leaves_last + self.window_s - self._clock.monotonic()
