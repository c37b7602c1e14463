"""Two leaders, each in a process of its own, and the first one is frozen between its reading and its change.

    python -m tests.contract.frozen swarm|kubernetes WHERE TARGET AFTER

is such a leader: it reads, waits for a line, and then sends the change that it has decided on. WHERE: the Engine's
address, or a kubeconfig. TARGET: a service, or `namespace/resource/name`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path
from typing import cast

from controller.adapters.kubernetes.kubeconfig import read_kubeconfig
from controller.config.platform import OpenPlatform
from controller.core.model import Replicas
from controller.core.ports import NotSent
from tests.contract.stages import Lead, Place, in_cluster
from tests.contract.swarm import swarm_of
from tests.support.scene import intent_to

_ROOT = Path(__file__).parents[2]
_PLATFORMS: dict[str, Callable[[str, str], OpenPlatform]] = {
    "swarm": lambda host, name: swarm_of(host, Lead(), name),
    "kubernetes": lambda path, target: in_cluster(
        read_kubeconfig(path), Lead(), [cast("Place", tuple(target.split("/")))]
    ),
}


async def said_after_a_freeze(kind: str, where: str, target: str) -> str:
    """What the first leader says that wants 1: it was stopped (SIGSTOP) while the second one made 3 of it.

    Raises:
        AssertionError: the second one could not.
    """
    old, new = [await _leader(kind, where, target, after) for after in ("1", "3")]
    try:
        old.send_signal(signal.SIGSTOP)
        assert old.stdin is not None
        old.stdin.write(b"\n")  # it would send now
        said, _ = await new.communicate(b"\n")
        assert said == b"accepted\n"
        old.send_signal(signal.SIGCONT)
        said, _ = await old.communicate()
    finally:
        for leader in (old, new):
            if leader.returncode is None:  # one that is frozen would stay for ever
                leader.kill()
    return said.decode()


async def _leader(*argv: str) -> Process:
    command = [sys.executable, "-m", "tests.contract.frozen", *argv]
    process = await asyncio.create_subprocess_exec(*command, cwd=_ROOT, stdin=PIPE, stdout=PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"read\n"
    return process


async def _lead(kind: str, where: str, target: str, after: str) -> None:
    platform, key = _PLATFORMS[kind](where, target), f"{kind}:{target}"
    seen = (await platform.observe([key]))[key]
    assert isinstance(seen, Replicas), seen
    print("read", flush=True)
    sys.stdin.readline()
    try:
        await platform.scale(key, intent_to(int(after)), seen)
    except NotSent as refused:
        print(type(refused).__name__, refused, flush=True)
    else:
        print("accepted", flush=True)
    await platform.close()


if __name__ == "__main__":
    asyncio.run(_lead(*sys.argv[1:]))
