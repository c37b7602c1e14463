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

from controller.adapters.kubernetes import SOURCE
from controller.core.ports import Clock, Unavailable
from controller.core.text import bounds

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
        self._token = access.token
        self._until = 0.0

    def expire(self) -> None:
        """The API did not take the token: it is read again before the next request."""
        self._until = 0.0

    async def headers(self) -> dict[str, str]:
        """Raises Unavailable: the token cannot be had."""
        if self._clock.monotonic() >= self._until:
            if self._access.token_file is not None:
                self._token = _of_file(self._access.token_file)
                self._until = self._clock.monotonic() + _REREAD_S
            elif self._access.plugin is not None:
                self._token, expires = await _of_plugin(self._access.plugin)
                self._until = self._clock.monotonic() + _lasts_s(expires, self._clock.wall())
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}


def _of_file(path: Path) -> str:
    try:
        token = path.read_text(encoding="ascii")[:_MOST_BYTES].strip()
    except (OSError, UnicodeError) as error:
        raise Unavailable(SOURCE, f"cannot be asked: {path} cannot be read ({type(error).__name__})") from None
    return _usable(token, str(path))


def _usable(token: str, whose: str) -> str:
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Unavailable(SOURCE, f"cannot be asked: {whose} holds no token")
    return token


async def _of_plugin(plugin: Plugin) -> tuple[str, object]:
    """The token, and when it expires, as the plug-in says it."""
    info = json.dumps({"apiVersion": plugin.version, "kind": "ExecCredential", "spec": {"interactive": False}})
    named = bounds.cut(plugin.command, bounds.NAME)
    try:
        process = await asyncio.create_subprocess_exec(
            plugin.command,
            *plugin.arguments,
            env={**os.environ, **plugin.environment, "KUBERNETES_EXEC_INFO": info},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except (OSError, ValueError) as error:
        raise Unavailable(SOURCE, f"cannot be asked: {named} cannot be started ({type(error).__name__})") from None
    try:
        async with asyncio.timeout(_PLUGIN_S):
            assert process.stdout is not None
            printed = await _read(process.stdout)
            code = await process.wait()
    except TimeoutError:
        raise Unavailable(SOURCE, f"cannot be asked: {named} gave no token within {_PLUGIN_S:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
    status = _status_of(printed) if code == 0 else {}
    token = status.get("token")
    if not isinstance(token, str):
        gave = "a certificate, which is not supported" if "clientCertificateData" in status else "no token"
        raise Unavailable(SOURCE, f"cannot be asked: {named} ended with code {code} and gave {gave}")
    return _usable(token, named), status.get("expirationTimestamp")


async def _read(stream: asyncio.StreamReader) -> bytes:
    """To its end: a program may print what it has to say in several parts."""
    printed = bytearray()
    while len(printed) < _MOST_BYTES and (piece := await stream.read(_MOST_BYTES)):
        printed += piece
    return bytes(printed)


def _status_of(printed: bytes) -> dict[str, Any]:
    try:
        status = json.loads(printed)["status"]
    except (ValueError, KeyError, TypeError):
        return {}
    return status if isinstance(status, dict) else {}


def _lasts_s(expires: object, now: float) -> float:
    """Seconds for which a token is used."""
    try:
        at = datetime.fromisoformat(str(expires)).timestamp()
    except ValueError:
        return _REREAD_S
    return max(1.0, at - now - _EARLY_S)
