"""What is needed to call a cluster's API, and how it is proven who calls."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from controller.adapters import process
from controller.adapters.kubernetes import SOURCE
from controller.core.ports import Clock, NotSent
from controller.core.text import bounds
from controller.core.text.masking import Masker

_REREAD_S = 60.0
"""A service account's token is replaced by the kubelet well before it expires; client-go reads it again as often."""
_PLUGIN_S = 10.0
_MOST_BYTES = 1_000_000
_EARLY_S = 30.0
"""A plug-in is asked again this long before its token expires."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """The exec plug-in of a kubeconfig. version: of the ExecCredential that it speaks."""

    command: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    version: str


@dataclass(frozen=True, slots=True)
class KubernetesAccess:
    """server: the API's address, without a slash at its end. certificate: a client's, and its key, both in PEM."""

    server: str
    ca: str = ""
    ca_file: Path | None = None
    verifies: bool = True
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    certificate: tuple[str, str] | None = field(default=None, repr=False)
    plugin: Plugin | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        key = (self.certificate[1],) if self.certificate else ()
        return tuple(filter(None, (self.token, *key)))

    @property
    def has_credentials(self) -> bool:
        return bool(self.token or self.token_file or self.plugin)


class Credentials:
    """The bearer token, read again before it is too old."""

    def __init__(self, access: KubernetesAccess, clock: Clock) -> None:
        self._access, self._clock = access, clock
        self._reading = asyncio.Lock()
        self._until = 0.0
        self._take(access.token)

    def expire(self, headers: Mapping[str, str]) -> None:
        """The API did not take these headers: unless it is another one by now, the token is read again."""
        if headers == self._headers:
            self._until = 0.0

    def clean(self, text: str) -> str:
        """Without the token: the API may repeat what it does not take."""
        return self._mask.text(text)

    async def headers(self) -> Mapping[str, str]:
        """Raises NotSent: the token cannot be had."""
        if self._is_old:
            async with self._reading:  # requests that wait together start one plug-in
                if self._is_old:
                    await self._read()
        return self._headers

    @property
    def _is_old(self) -> bool:
        return self._clock.monotonic() >= self._until

    async def _read(self) -> None:
        if self._access.token_file is not None:
            self._take(_of_file(self._access.token_file))
            self._until = self._clock.monotonic() + _REREAD_S
        elif self._access.plugin is not None:
            token, expires = await _of_plugin(self._access.plugin)
            self._take(token)
            self._until = self._clock.monotonic() + _lasts_s(expires, self._clock.wall())

    def _take(self, token: str) -> None:
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._mask = Masker([token])


def _of_file(path: Path) -> str:
    try:
        token = path.read_text(encoding="ascii")[:_MOST_BYTES].strip()
    except (OSError, UnicodeError) as error:
        raise NotSent(SOURCE, f"cannot be asked: {path} cannot be read ({type(error).__name__})") from None
    return _usable(token, str(path))


def _usable(token: str, whose: str) -> str:
    if not is_token(token):
        raise NotSent(SOURCE, f"cannot be asked: {whose} holds no token")
    return token


def is_token(text: str) -> bool:
    """Whether a header can carry it."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


async def _of_plugin(plugin: Plugin) -> tuple[str, object]:
    """The token, and when it expires, as the plug-in says it."""
    info = json.dumps({"apiVersion": plugin.version, "kind": "ExecCredential", "spec": {"interactive": False}})
    variables = {**os.environ, **plugin.environment, "KUBERNETES_EXEC_INFO": info}
    argv = [plugin.command, *plugin.arguments]
    named = bounds.cut(plugin.command, bounds.NAME)
    try:
        ended = await process.run(argv, variables, b"", timeout_s=_PLUGIN_S, most_bytes=_MOST_BYTES)
    except (OSError, ValueError) as error:
        raise NotSent(SOURCE, f"cannot be asked: {named} cannot be started ({type(error).__name__})") from None
    except process.TimedOutError:
        raise NotSent(
            SOURCE, f"cannot be asked: {named} did not end and close its output in {_PLUGIN_S:.0f} s"
        ) from None
    except process.TooMuchOutputError:
        raise NotSent(SOURCE, f"cannot be asked: {named} wrote more than {_MOST_BYTES:,} bytes") from None
    status = _status_of(ended.said) if ended.code == 0 else {}
    token = status.get("token")
    if not isinstance(token, str):
        gave = "a certificate, which is not supported" if "clientCertificateData" in status else "no token"
        raise NotSent(SOURCE, f"cannot be asked: {named} ended with code {ended.code} and gave {gave}")
    return _usable(token, named), status.get("expirationTimestamp")


def _status_of(printed: bytes) -> dict[str, Any]:
    try:
        status = from_json(printed)["status"]
    except (ValueError, KeyError, TypeError):
        return {}
    return status if isinstance(status, dict) else {}


def _lasts_s(expires: object, now: float) -> float:
    """Seconds for which a token is used."""
    try:
        at = datetime.fromisoformat(str(expires)).timestamp()
    except (ValueError, OverflowError):
        return _REREAD_S
    return max(1.0, at - now - _EARLY_S)
