"""The same over HTTP: GET reads, POST changes. No redirect is followed, and certificates are verified."""

from __future__ import annotations

import asyncio
import functools
import json
import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from controller.adapters.command import SOURCE
from controller.adapters.command.answer import MOST_BYTES, VERSION, excerpt
from controller.adapters.http import httpx, user_agent
from controller.adapters.sending import LastCheck, NoCookies, TooLargeError, own_transport, read_body
from controller.core.model import Change
from controller.core.ports import Clock, NotSent, Outdated, Refused, Unavailable
from controller.core.text import bounds
from controller.core.units import in_words

_LONGEST_CONNECT_S = 3.0
_WAIT_WITHOUT_HEADER_S = 30.0
_LONGEST_WAIT_S = 300.0
"""A longer Retry-After is cut to this; then one request learns whether it still applies."""
_STALE = {httpx.codes.CONFLICT, httpx.codes.PRECONDITION_FAILED}
_LATER = {httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_EARLY}


class HttpTarget:
    """One address. waits: how long nothing may be sent to it after HTTP 429."""

    def __init__(self, address: str, token: str, timeout_s: float, clock: Clock) -> None:
        """token: "" for none."""
        self._http = httpx.AsyncClient(
            transport=own_transport(timeout_s, verify=_authorities()),
            verify=_authorities(),
            cookies=NoCookies(),
            headers={
                "User-Agent": user_agent(),
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                **({"Authorization": f"Bearer {token}"} if token else {}),
            },
            timeout=httpx.Timeout(timeout_s, connect=min(_LONGEST_CONNECT_S, timeout_s)),
            follow_redirects=False,
        )
        self._address, self._timeout_s, self._clock = httpx.URL(address), timeout_s, clock
        self._not_before = 0.0

    async def close(self) -> None:
        await self._http.aclose()

    async def read(self, told: Mapping[str, Any]) -> tuple[bytes, str | None]:
        """What it answered, and its ETag.

        Raises:
            Unavailable: it did not answer, or with another status than 200.
        """
        self._wait()
        # httpx' own params would take the place of the address's query.
        response, body = await self._exchange("GET", self._address.copy_merge_params(dict(told)))
        if response.status_code != httpx.codes.OK:
            raise self._not_read(response, body)
        etag = response.headers.get("etag", "")
        if len(etag) > bounds.NAME or not re.fullmatch(VERSION, etag):
            problem = f"is longer than {bounds.NAME} characters, or not ASCII; a change could not carry it"
            raise Unavailable(SOURCE, f"GET: the ETag of the answer {problem}: leave it out, or shorten it")
        return body, etag or None

    async def scale(self, told: Mapping[str, Any], change: Change, may_act: Callable[[], bool]) -> None:
        """Sends the change once. Raises as Platform.scale does."""
        self._wait()
        check = LastCheck("the change", may_act)
        check.now()
        version = told.get("version")
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": change.id,
            **({"If-Match": version} if isinstance(version, str) and version.startswith(('"', "W/")) else {}),
        }
        try:
            response, body = await self._exchange(
                "POST", self._address, content=json.dumps(told).encode(), headers=headers, extensions={"trace": check}
            )
        except Unavailable as unavailable:
            if check.certainly_not_begun and not isinstance(unavailable, NotSent):
                raise NotSent(SOURCE, unavailable.text) from None
            raise
        if not response.is_success:
            raise self._not_scaled(response, body)

    async def _exchange(self, method: str, address: httpx.URL, **more: Any) -> tuple[httpx.Response, bytes]:
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._http.stream(method, address, **more) as response,
            ):
                return response, await read_body(response, MOST_BYTES)
        except TooLargeError as error:
            raise Unavailable(SOURCE, f"{method} was answered by {error}; the rest was not read") from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            words = f"{method}: the address cannot be reached ({type(error).__name__})"
            raise NotSent(SOURCE, words) from None
        except (TimeoutError, httpx.TimeoutException):
            raise Unavailable(SOURCE, f"{method}: no answer within {in_words(self._timeout_s)}") from None
        except httpx.HTTPError as error:
            raise Unavailable(SOURCE, f"{method}: the answer broke off ({type(error).__name__})") from None

    def _wait(self) -> None:
        left = self._not_before - self._clock.monotonic()
        if left > 0:
            raise NotSent(SOURCE, f"the address asked us to wait (HTTP 429, Retry-After); {in_words(left)} left")

    def _not_read(self, response: httpx.Response, body: bytes) -> Unavailable:
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            return self._too_many(response)
        return Unavailable(SOURCE, _words("GET", response, body))

    def _not_scaled(self, response: httpx.Response, body: bytes) -> Unavailable:
        status, words = response.status_code, _words("POST", response, body)
        if status in _STALE:
            return Outdated(SOURCE, f"{words}; the next cycle reads the count again")
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return self._too_many(response)
        if status in _LATER or status >= 500:
            return Unavailable(SOURCE, words)
        return Refused(SOURCE, words)

    def _too_many(self, response: httpx.Response) -> NotSent:
        asked = response.headers.get("retry-after", "")
        wait = float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else _WAIT_WITHOUT_HEADER_S
        wait = min(_LONGEST_WAIT_S, wait)
        self._not_before = self._clock.monotonic() + wait
        return NotSent(SOURCE, f"too many requests (HTTP 429); nothing is sent for {in_words(wait)}")


def _words(method: str, response: httpx.Response, body: bytes) -> str:
    said, status = excerpt(body), response.status_code
    if httpx.codes.is_redirect(status):
        return f"{method}: HTTP {status}, a redirect, which is not followed; write the address that it leads to"
    return f"{method}: HTTP {status}{said and f': {said}'}"


@functools.cache
def _authorities() -> ssl.SSLContext:
    """For all targets together: each such context takes 0.8 MB."""
    return httpx.create_ssl_context()
