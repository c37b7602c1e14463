"""`{"text": …}`, which Slack, Mattermost, and Discord (at /slack) take, and most that imitate them.

https://docs.slack.dev/messaging/formatting-message-text: &, < and > are escaped, because `<!channel>` would call
everybody. Discord and Mattermost have `@everyone` and `@channel` for that, so an @ is followed by a space of no width.
"""

from __future__ import annotations

import json

from controller.adapters.notify.post import Post
from controller.core.notices import Notice
from controller.core.text import bounds

_LONGEST = 1_500
"""Characters; Discord refuses more than 2,000."""
_SIGNS = {
    "failing": "🔴",
    "crash_loop": "🔴",
    "no_progress": "🔴",
    "at_max": "🟠",
    "contended": "🟠",
    "recovered": "🟢",
}
_ESCAPES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("@", "@\u200b"))


class Slack:
    """One incoming webhook."""

    def __init__(self, post: Post) -> None:
        self._post = post

    async def send(self, notice: Notice, at: float) -> str:  # noqa: ARG002  # its time is the channel's own
        return await self._post(body(notice), {"Content-Type": "application/json"})

    async def close(self) -> None:
        await self._post.close()


def body(notice: Notice) -> bytes:
    text = bounds.cut(notice.text, _LONGEST)
    for raw, escaped in _ESCAPES:
        text = text.replace(raw, escaped)
    sign = _SIGNS.get(notice.kind)
    return json.dumps({"text": f"{sign} {text}" if sign else text}).encode()
