"""The fake as a separate program: `autoscaler fake-railway`."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING

from controller.fake_railway.fake import FakeRailway
from controller.fake_railway.processes import CommandLauncher
from controller.loop import signals

if TYPE_CHECKING:
    from controller.fake_railway.access import TokenKind
    from controller.fake_railway.timings import Timings


async def serve(
    port: int,
    replicas: int = 0,
    *,
    host: str = "127.0.0.1",
    exec_command: str | None = None,
    token_kind: TokenKind = "account",  # noqa: S107 -- the name of a kind
    timings: Timings | None = None,
) -> None:
    """Runs until a signal. OSError if the port is taken.

    The first lines are for a shell: `eval "$(autoscaler fake-railway … | grep ^export)"` would do.
    """
    launcher = CommandLauncher(shlex.split(exec_command)) if exec_command else None
    fake = FakeRailway.create(replicas, launcher=launcher, timings=timings)
    stop = asyncio.Event()
    signals.on_end_in(asyncio.get_running_loop(), lambda _: stop.set())
    try:
        await fake.listen(host, port)
        # Printed before the first worker can print anything.
        _announce(fake, token_kind)
        await fake.begin()
        await stop.wait()
    finally:
        await fake.close()


def _announce(fake: FakeRailway, token_kind: TokenKind) -> None:
    lines = [f"export {name}={shlex.quote(value)}" for name, value in fake.environment_variables(token_kind).items()]
    lines.append(
        f"fake Railway at {fake.base_url}: POST /graphql/v2 · GET /mutations /requests /state · "
        "POST /faults /services/worker"
    )
    # In one write and flushed: a script may be reading from the pipe.
    print("\n".join(lines), flush=True)
