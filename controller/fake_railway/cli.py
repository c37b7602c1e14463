"""The fake as a separate program: `autoscaler fake-railway`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import sys
from typing import TYPE_CHECKING

from controller.fake_railway.fake import FakeRailway
from controller.fake_railway.processes import CommandLauncher
from controller.loop import signals

if TYPE_CHECKING:
    from controller.fake_railway.access import TokenKind
    from controller.fake_railway.timings import Timings


class CannotListenError(Exception):
    """The address cannot be bound. Nothing else that fails later may be taken for it, such as a closed stdout."""


async def serve(
    port: int,
    replicas: int = 0,
    *,
    host: str = "127.0.0.1",
    exec_command: str | None = None,
    token_kind: TokenKind = "account",  # noqa: S107 -- the name of a kind
    timings: Timings | None = None,
) -> None:
    """Runs until a signal.

    Raises:
        CannotListenError: the port is taken, or the host is no address of this machine.
    """
    launcher = CommandLauncher(shlex.split(exec_command)) if exec_command else None
    fake = FakeRailway.create(replicas, launcher=launcher, timings=timings)
    stop = asyncio.Event()
    signals.on_end_in(asyncio.get_running_loop(), lambda _: stop.set())
    try:
        try:
            await fake.listen(host, port)
        except OSError as error:
            raise CannotListenError(error.strerror or str(error)) from None
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
    _write_at_once("".join(f"{line}\n" for line in lines))


def _write_at_once(text: str) -> None:
    """On stdout, in one write.

    The reader may be `head -n 5`, which goes away as soon as it has its lines. A second write, even of the last line
    break alone, would then fail or not, depending on which of the two processes is faster. The fake
    continues without a reader: what it serves is the port.
    """
    sys.stdout.flush()
    with contextlib.suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), text.encode())
