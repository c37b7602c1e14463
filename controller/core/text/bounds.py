"""How much is taken of what comes from outside: the limits of texts, and how they are cut. Pure.

A text is cut where it enters (an answer of Railway's or PostgreSQL's, an entry of Redis, a header), so that whatever it
goes through afterwards stays small: a log line, /status, the page, the cycle that a standby reads.
"""

from __future__ import annotations

import re

NAME = 100
"""Characters of a name or an id: of a service, a region, a deployment, a replica. Railway's ids have 36."""
VALUE = 80
"""Of what a person wrote, in the message that refuses it."""
WORDS = 200
"""Of what another program says: an error's message, a header."""
MESSAGE = 2000
"""Of a sentence that is put together of these: of an event, an error, a cycle, a remark."""
TRACEBACK = 20_000
PUBLISHED = 32_000
"""Of one worker's cycle in Redis, in bytes with its name, or of any other entry there in characters."""
ALL_PUBLISHED = 4_000_000
"""Of the cycles of all workers together, in bytes."""

_HALVES = re.compile("[\ud800-\udfff]")
"""Of characters: JSON can name them, and no encoding can write them."""


def cut(text: str, limit: int) -> str:
    """At most `limit` characters; the last is "…" where some are left out. Halves of characters become "�".

    It ends after a whole word, where there is one: half of a secret would pass whatever masks the whole one.
    """
    if len(text) > limit:
        kept = text[: limit - 1]
        end = max(kept.rfind(" "), kept.rfind("\n"))
        text = f"{kept[:end] if end > limit // 2 else kept}…"
    return _HALVES.sub("�", text)
