"""Virtual time in one loop with real sockets ends whatever waits for it."""

from __future__ import annotations

import asyncio

from tests.virtual.idle import IdleLoop


def test_a_timer_that_is_set_for_now_until_now_is_over_comes_to_its_end() -> None:
    """As aiohttp does before it closes a connection that is kept alive: the moment itself is too early for it."""

    async def wait() -> float:
        loop = asyncio.get_running_loop()
        at, over = loop.time() + 5.0, loop.create_future()

        def look() -> None:
            if loop.time() <= at:
                loop.call_at(at, look)
            else:
                over.set_result(loop.time() - at)

        look()
        return float(await asyncio.wait_for(over, 60.0))

    with asyncio.Runner(loop_factory=IdleLoop) as runner:
        assert 0 < runner.run(wait()) < 0.001
