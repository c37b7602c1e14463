"""The Lua scripts, one file each: what Redis has to do in one atomic step. The rules of the history are not here.

Each is safe to run twice. Times are milliseconds of Redis' own clock.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

LOST = "lost"
CHANGED = "changed"
EMPTY = "empty"
NAMES = ("acquire", "find", "publish", "recall", "release", "renew", "watch", "write")


@cache
def script(name: str) -> str:
    """The text of `<name>.lua`."""
    return files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
