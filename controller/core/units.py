"""Durations for people."""

from __future__ import annotations


def in_words(seconds: float) -> str:
    """`123 s`, `5 min` or `7 h`: as exact as people need it."""
    if seconds < 180:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3 * 3600 else f"{seconds / 3600:.0f} h"
