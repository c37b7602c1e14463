"""A queue for tests that counts each table by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from controller.core.model import QueueDepth
from controller.core.ports import DepthRequest, Unavailable
from controller.policy import Queue as QueuePolicy


class OneByOne:
    """depths() by a depth() of its own for each queue, all at the same time; what is due soon is not asked."""

    async def depth(self, queue: QueuePolicy, limit: int, enough: int = 0, busy: int = 0) -> QueueDepth:
        raise NotImplementedError

    async def depths(self, requests: Mapping[str, DepthRequest]) -> AsyncIterator[tuple[str, QueueDepth | Unavailable]]:
        names = {asyncio.create_task(self.depth(*request[:4])): name for name, request in requests.items()}
        left = set(names)
        try:
            while left:
                done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                # A bug ends the reading, after what could be read.
                for one in sorted(done, key=lambda one: isinstance(one.exception(), Exception)):
                    try:
                        yield names[one], one.result()
                    except Unavailable as unavailable:
                        yield names[one], unavailable
        finally:
            for one in names:
                one.cancel()
