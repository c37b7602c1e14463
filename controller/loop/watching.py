"""What a standby does at each look at Redis: it takes over what the leader shows, and says what is wrong with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from controller.core.ports import Clock, Journal, LeaderState
from controller.loop.faults import Throttle
from controller.loop.log import Log
from controller.loop.reload import Difference
from controller.loop.status import ControllerStatus


def watching(
    journal: Journal,
    place: str,
    status: ControllerStatus,
    log: Log,
    clock: Clock,
    *,
    workers: Callable[[], Collection[str]],
) -> Callable[[], Awaitable[LeaderState]]:
    """One look. place: where the journal keeps what the leader shows, for messages. workers: those of the policy."""
    redis_warnings, difference = Throttle(), Difference()

    async def watch() -> LeaderState:
        names = workers()
        watched = await journal.watch(list(names))
        # Leave out workers that the policy no longer has: they would be shown and published again forever.
        ours = {name: text for name, text in watched.published.items() if name in names}
        notes = [f"{place}: {note}" for note in status.take_over(ours, watched.age)]
        for note in (*watched.problems, *notes):
            if redis_warnings.lasted(note, clock.monotonic()) is not None:
                log.event("redis_warning", message=note)
        if difference.is_news(status.policy, status.leader_policy, clock.monotonic()):
            message = (
                f"the leader has another policy ({status.leader_policy}) than this replica ({status.policy}), or a "
                "file that it names differs: a takeover would change what is wanted; deploy the same files to both"
            )
            log.event("policies_differ", message=message)
        return watched

    return watch
