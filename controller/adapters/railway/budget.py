"""How many requests Railway allows, and how many of them are left: counted here, since no answer ever says.

Every request that is sent counts for one window from its sending on. The last fifth is for mutations alone, so that
what was decided can be done; reading stops before it, and slows down long before it stops.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Mapping

from controller.ports import Clock, NotSent, Requests, Source

HOBBY = (1000, 3600.0)
"""Quota and window in seconds that are assumed until the first answer tells: Railway's smallest paid plan."""
RESERVED = 5
"""One in so many is kept for mutations."""
_PLENTY = 2
"""Nothing is stretched while more than one in so many of the requests for reading is left."""
_POLICY = re.compile(r"\bq=(\d{1,7})\b.*?\bw=(\d{1,6})\b")


class Budget:
    """Counts on the monotonic clock. Another process that uses the same token is only noticed when Railway says 429."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sent: deque[float] = deque()
        self._not_before = -math.inf
        self.quota, self.window_s = HOBBY

    def spend_on_query(self) -> None:
        """Counts one query that is about to be sent.

        Raises:
            NotSent: only what is reserved is left.
        """
        used, limit = self._used(), self._for_queries
        if used >= limit:
            raise NotSent(
                Source.PLATFORM,
                f"is not read for {self._until_free(limit):.0f} s more: {used} of the {self.quota} requests that it "
                f"allows in {self.window_s:.0f} s are used, and the rest is kept for changes",
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
                Source.PLATFORM,
                f"is not asked for {self._until_free(self.quota):.0f} s more: all {self.quota} requests that it allows "
                f"in {self.window_s:.0f} s are used",
            )
        self._sent.append(self._clock.monotonic())

    def learn(self, headers: Mapping[str, str]) -> None:
        """What an answer says of the quota; what is no sensible policy is passed over."""
        found = _POLICY.search(headers.get("ratelimit-policy", ""))
        if found and int(found[1]) > 0 and int(found[2]) > 0:
            self.quota, self.window_s = int(found[1]), float(found[2])

    def turned_away(self, retry_after_s: float) -> None:
        """Railway counts differently than we do, and its word is the last."""
        self._not_before = max(self._not_before, self._clock.monotonic() + retry_after_s)

    @property
    def wait_s(self) -> float:
        """For how long nothing may be sent, by Railway's own word."""
        return max(0.0, self._not_before - self._clock.monotonic())

    def pace(self, per_cycle: int = 1) -> float:
        """The least seconds from now on between two cycles of so many queries, such that reading never has to stop.

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
        return per_cycle * max(leaves, default=0.0)

    def requests(self, per_cycle: int = 1) -> Requests:
        return Requests(self._used(), self.quota, self.window_s, self.pace(per_cycle))

    @property
    def _for_queries(self) -> int:
        return self.quota - self.quota // RESERVED

    def _used(self) -> int:
        gone = self._clock.monotonic() - self.window_s
        while self._sent and self._sent[0] <= gone:
            self._sent.popleft()
        return len(self._sent)

    def _until_free(self, limit: int) -> float:
        """Until fewer than `limit` are in the window."""
        leaves_last = self._sent[len(self._sent) - max(1, limit)]
        return leaves_last + self.window_s - self._clock.monotonic()
