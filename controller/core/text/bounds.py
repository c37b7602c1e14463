"""Length limits of texts that come from outside, and how a longer text is cut. Pure.

A text is cut where it enters (a response of the platform, an error of PostgreSQL, an entry of Redis, a header), so that
everything made from it stays small: a log line, /status, the page, the cycle that a standby reads.
"""

from __future__ import annotations

import re

NAME = 100
"""Characters of a name or an id of a service, region, deployment or replica; a UUID has 36."""
VALUE = 80
"""Characters of a value that a person wrote, in the message that refuses it."""
WORDS = 200
"""Characters of what another program says: an error message, a header."""
MESSAGE = 2000
"""Characters of a message made from such texts: of an event, an error, a cycle, a warning."""
TRACEBACK = 20_000
PUBLISHED = 32_000
"""Bytes of one worker's cycle in Redis with its name; or characters of any other entry there."""
ALL_PUBLISHED = 4_000_000
"""Bytes of the cycles of all workers together."""

_HALVES = re.compile("[\ud800-\udfff]")
"""Surrogates: JSON can contain them as escapes, but UTF-8 cannot encode them."""


def cut(text: str, limit: int) -> str:
    """At most `limit` characters; "…" at the end shows that some are left out. Surrogates become "�".

    It cuts between words if possible, because the masking knows a whole secret better than half of one.
    """
    if len(text) > limit:
        kept = text[: limit - 1]
        end = max(kept.rfind(" "), kept.rfind("\n"))
        text = f"{kept[:end] if end > limit // 2 else kept}…"
    return _HALVES.sub("�", text)
