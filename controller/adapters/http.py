"""httpx, imported without its own command line.

Where click happens to be installed, `import httpx` also loads it, rich and pygments: 4 MB that `run` would hold for as
long as it runs. httpx itself does without where click cannot be imported, and that is what it is told here.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """For the imports within, as if the module were not installed; one that is loaded already stays as it is."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # Python's own mark of a module that cannot be imported
    try:
        yield
    finally:
        del sys.modules[name]


with _hidden("click"):
    import httpx


@functools.cache
def user_agent() -> str:
    """What every request names as its sender."""
    try:
        return f"worker-autoscaler/{version('worker-autoscaler')}"
    except PackageNotFoundError:
        return "worker-autoscaler"


def can_be_called(address: str) -> bool:
    """Whether httpx takes the address; it knows IDNA's rules for a host name, which urllib does not."""
    try:
        return bool(httpx.URL(address).host)
    except (httpx.InvalidURL, UnicodeError):
        return False


__all__ = ["can_be_called", "httpx", "user_agent"]
