"""The files of static/: the script and the style of the page, uPlot, and the icon; read when they are first needed.

`simulate --html` writes the same files into its report, so that both look and work alike.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

IN_REPORT = ("uplot.js", "chart.js", "report.js")
"""The scripts of `simulate --html`."""
_KINDS = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
NAMES = ("uplot.js", "chart.js", "page.js", "uplot.css", "product.css", "icon.svg")
"""uplot.js and uplot.css are uPlot 1.6.32 (dist/uPlot.iife.min.js and uPlot.min.css) under uplot.LICENSE."""


class Asset(NamedTuple):
    """tag: of the contents; an address with it never has to be asked for again."""

    body: bytes
    kind: str
    tag: str


@functools.cache
def asset(name: str) -> Asset:
    """name: one of NAMES."""
    body = Path(__file__).with_name("static").joinpath(name).read_bytes()
    return Asset(body, _KINDS[Path(name).suffix], hashlib.sha256(body).hexdigest()[:16])


def text(name: str) -> str:
    """Of a script or a style; none of them contains the end of the element in which a document may hold it."""
    return asset(name).body.decode()


def address(name: str) -> str:
    """Relative to the page, so that it also works behind a proxy that adds a path in front."""
    return f"static/{name}?{asset(name).tag}"
