"""Opens the page of the demo in a browser, where there is a screen for one."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping


def open_page(url: str, environment: Mapping[str, str] = os.environ) -> bool:
    """False: there is no screen, or no browser. One that runs in the terminal would cover the demo."""
    has_screen = sys.platform == "darwin" or any(environment.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    try:
        return has_screen and webbrowser.open(url)
    except (webbrowser.Error, OSError):
        return False
