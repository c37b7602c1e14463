"""One notice as JSON, or as a CloudEvent 1.0 in structured form, signed if there is a secret.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com): the headers webhook-id,
webhook-timestamp and webhook-signature, `v1,` and the HMAC-SHA256 of `<id>.<timestamp>.<body>` in Base64. Libraries in
ten languages verify it; with the time in it, an old message cannot be sent again.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Any
from urllib.parse import quote

from controller.adapters.notify.post import Post
from controller.core.notices import Notice
from controller.core.text.escaping import as_json
from controller.core.units import iso

_PREFIX = "whsec_"
_TYPE = "worker-autoscaler."


class Webhook:
    """One address that takes JSON."""

    def __init__(self, post: Post, *, is_cloudevent: bool = False, secret: str | None = None, group: str = "") -> None:
        self._post = post
        self._is_cloudevent = is_cloudevent
        self._key = None if secret is None else key_of(secret)
        self._source = f"/worker-autoscaler/{quote(group, safe='')}".rstrip("/")

    async def send(self, notice: Notice, at: float) -> str:
        value = self._event(notice) if self._is_cloudevent else {"id": notice.ident, **data(notice)}
        body = as_json(value).encode()
        kind = "application/cloudevents+json" if self._is_cloudevent else "application/json"
        headers = {"Content-Type": kind, "webhook-id": notice.ident, "webhook-timestamp": str(int(at))}
        if self._key is not None:
            headers["webhook-signature"] = signature(self._key, notice.ident, int(at), body)
        return await self._post(body, headers)

    async def close(self) -> None:
        await self._post.close()

    def _event(self, notice: Notice) -> dict[str, Any]:
        subject = {"subject": notice.worker} if notice.worker else {}
        return {
            "specversion": "1.0",
            "id": notice.ident,
            "source": self._source,
            "type": f"{_TYPE}{notice.kind}",
            "time": iso(notice.at),
            **subject,
            "datacontenttype": "application/json",
            "data": data(notice),
        }


def data(notice: Notice) -> dict[str, Any]:
    """What a receiver gets besides the id, whichever the form."""
    return {
        "kind": notice.kind,
        "worker": notice.worker or None,
        "at": iso(notice.at),
        "message": notice.message,
        "text": notice.text,
        "left_out": notice.left_out,
        "figures": dict(notice.figures),
    }


def key_of(secret: str) -> bytes:
    """`whsec_` and Base64, as the libraries make one; of any other text, its bytes."""
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            pass
    return secret.encode()


def signature(key: bytes, ident: str, at: int, body: bytes) -> str:
    signed = f"{ident}.{at}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"
