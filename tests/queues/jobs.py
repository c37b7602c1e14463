"""What the jobs of every library's day do, in the library's worker."""

import asyncio
import os
import secrets
import threading
from pathlib import Path

LATER_S = 3600
"""How far off a job is that is put in for later."""


class MeantToFailError(Exception):
    """The job was put in to fail."""


async def do(what: str) -> None:
    if _begin(what):
        await asyncio.Event().wait()


def do_and_block(what: str) -> None:
    if _begin(what):
        threading.Event().wait()


def _begin(what: str) -> bool:
    """Whether to hold the job until the worker is killed."""
    if what == "fail":
        raise MeantToFailError
    if what == "hold":
        (Path(os.environ["FOLDER"]) / f"held-{secrets.token_hex(4)}").touch()
    return what == "hold"
