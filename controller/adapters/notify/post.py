"""One POST: within TIMEOUT_S altogether, no redirect followed, no more than a little of the answer read.

Proxies are those of the environment, as for every other request of the controller. The address is a secret, so no
message has any of it.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from urllib.request import getproxies

from controller.adapters.http import httpx, user_agent
from controller.core.ports import NotDeliveredError
from controller.core.text import bounds
from controller.core.units import in_words

TIMEOUT_S = 10.0
_MOST_READ = 2_000
"""Bytes of the answer."""
_KEEP_S = 5.0
_MAY_PASS = {408, 425, 429, 500, 502, 503, 504}
"""HTTP statuses after which the same request may succeed."""


class Post:
    """To one address."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._http: httpx.AsyncClient | None = None
        # What may take long and cannot be awaited is done in a thread, which begins when it is needed: to look up a
        # name, and to load the authorities of certificates. The event loop's own threads are for PostgreSQL and Redis.
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="notify")

    async def __call__(self, body: bytes, headers: dict[str, str]) -> str:
        """Sends it once; what came back, such as `HTTP 200`.

        Raises:
            NotDeliveredError: it was not taken, or it is unknown whether it was.
        """
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._sent(body, headers)
        except TimeoutError:
            raise NotDeliveredError(f"did not answer within {in_words(TIMEOUT_S)}", may_retry=True) from None
        except httpx.TransportError as error:
            raise NotDeliveredError(_words(error), may_retry=True) from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, ImportError, OSError) as error:
            words = f"cannot be asked ({type(error).__name__}); check its address, and the proxy variables"
            raise NotDeliveredError(words, may_retry=False) from None

    async def close(self) -> None:
        self._aside.shutdown(wait=False, cancel_futures=True)
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _sent(self, body: bytes, headers: dict[str, str]) -> str:
        if not getproxies().keys() - {"no"}:
            await self._look_up()
        client = await self._client()
        async with client.stream("POST", self._address, content=body, headers=headers) as response:
            said = b""
            if not response.is_success:
                # As it came over the line: it is never unpacked, so that a small answer cannot become a large one.
                async for chunk in response.aiter_raw(_MOST_READ):
                    said = chunk[:_MOST_READ]
                    break
            return _checked(response, said)

    async def _look_up(self) -> None:
        url = httpx.URL(self._address)
        try:
            look = functools.partial(socket.getaddrinfo, url.host, url.port or url.scheme, type=socket.SOCK_STREAM)
            await asyncio.get_running_loop().run_in_executor(self._aside, look)
        except (OSError, UnicodeError):
            raise NotDeliveredError("has a host name that cannot be looked up", may_retry=True) from None

    async def _client(self) -> httpx.AsyncClient:
        if self._http is None:
            context = await asyncio.get_running_loop().run_in_executor(self._aside, _authorities)
            self._http = httpx.AsyncClient(
                verify=context,
                timeout=TIMEOUT_S,
                headers={"User-Agent": user_agent(), "Accept-Encoding": "identity"},
                limits=httpx.Limits(max_connections=1, keepalive_expiry=_KEEP_S),
                follow_redirects=False,
            )
        self._http.cookies.clear()
        return self._http


@functools.cache
def _authorities() -> ssl.SSLContext:
    """For all targets together: each such context takes 0.8 MB, and tens of milliseconds to load."""
    return httpx.create_ssl_context()


def _checked(response: httpx.Response, said: bytes) -> str:
    status = response.status_code
    if response.is_success:
        return f"HTTP {status}"
    if httpx.codes.is_redirect(status):
        words = f"answered with HTTP {status} (a redirect, which is not followed); write the address that it leads to"
        raise NotDeliveredError(words, may_retry=False)
    text = "".join(one for one in said.decode("utf-8", "replace") if one.isprintable())
    told = f": {bounds.cut(text, bounds.WORDS)}" if text and "content-encoding" not in response.headers else ""
    raise NotDeliveredError(
        f"answered with HTTP {status}{told}", may_retry=status in _MAY_PASS, wait_s=_wait_of(response)
    )


def _wait_of(response: httpx.Response) -> float | None:
    """Seconds of Retry-After; None where there are none."""
    asked = response.headers.get("retry-after", "")
    if len(asked) <= bounds.NAME and asked.replace(".", "", 1).isdecimal() and asked.isascii():
        return float(asked)
    return None


def _words(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"did not answer within {in_words(TIMEOUT_S)}"
    if isinstance(error, httpx.ConnectError):
        return "cannot be connected to (refused, unreachable, or a certificate that is not trusted)"
    return f"broke off the connection ({type(error).__name__})"
