"""Kubernetes' API over HTTP: one request, and every failure as one of the ports' errors.

Nothing is sent a second time but a reading whose token has expired. A change carries the resourceVersion of the reading
that it was decided on, so the API itself refuses it once anybody else has written.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import from_json, to_json

from controller.adapters.http import httpx, user_agent
from controller.adapters.kubernetes import SOURCE
from controller.adapters.kubernetes.access import Credentials, KubernetesAccess
from controller.adapters.sending import LastCheck, NoCookies, TooLargeError, own_transport, read_body
from controller.core.model import Change
from controller.core.ports import Clock, LeaseLost, NotSent, Outdated, Refused, Unavailable
from controller.core.text import bounds
from controller.core.units import in_words

LONGEST_S = 8.0
"""Of one reading; a list of 1,000 Deployments takes a second."""
MOST_BYTES = 64_000_000
"""Of an answer, unpacked. A Deployment has 3 to 8 kB, so this is a namespace with about 8,000 of them."""
_CONNECT_S = 2.0
_WAIT_S = 1.0
"""After HTTP 429 without a Retry-After in seconds."""
_LONGEST_WAIT_S = 60.0
_MOST_PAGES = 10
_MERGE = "application/merge-patch+json"


class Missing(Refused):
    """HTTP 404: what was asked for is not there.

    names_it: the API names the object; without that, it knows no such resource, version or subresource at all.
    """

    names_it = False


class Forbidden(Refused):
    """HTTP 403: the service account's or the user's rights do not reach."""


class KubernetesClient:
    """Sends requests to one cluster."""

    def __init__(
        self,
        access: KubernetesAccess,
        clock: Clock,
        *,
        may_change: Callable[[int], bool] = lambda _: True,
        timeout_s: float = 5.0,
        clean: Callable[[str], str] = lambda text: text,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """may_change: whether a change of that epoch may be sent now. timeout_s: from then to its answer.

        clean: masks secrets in what the API says. transport: used instead of connections to the server, so no
        certificate is read.

        Raises:
            ValueError, OSError: a certificate cannot be used.
        """
        verify = trust(access) if transport is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(LONGEST_S, connect=_CONNECT_S),
            headers={"User-Agent": user_agent(), "Accept": "application/json", "Accept-Encoding": "gzip"},
            cookies=NoCookies(),
            verify=verify,
            transport=transport or own_transport(timeout_s, verify),
        )
        self._credentials = Credentials(access, clock)
        self._server = access.server
        self.clock, self._may_change, self._timeout_s, self._clean = clock, may_change, timeout_s, clean
        self._paused_until = 0.0
        self.sent: Counter[tuple[str, str]] = Counter()
        """Requests by method and result: ok, refused, throttled (HTTP 429), failed (no usable answer)."""

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """The object at that path.

        Raises:
            Unavailable: it could not be read. Missing, Forbidden: the API said so.
        """
        headers = await self._credentials.headers()
        try:
            return await self._read(path, query, headers)
        except _Expired:
            self._credentials.expire(headers)
            return await self._read(path, query, await self._credentials.headers())

    async def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """The objects of a list, of all of its pages. A proxy or an aggregated API may page what was not asked to be.

        Raises:
            Unavailable: it is no list, or has too many pages. Missing, Forbidden: the API said so.
        """
        found: list[dict[str, Any]] = []
        for _ in range(_MOST_PAGES):
            page = await self.get(path, **query)
            items = page.get("items")
            if not isinstance(items, list):
                raise Unavailable(SOURCE, f"answered GET {path} in an unknown format: no list")
            found += [one for one in items if isinstance(one, dict)]
            more = _next_page(page)
            if not more:
                return found
            query["continue"] = more
        raise Unavailable(SOURCE, f"answered GET {path} with more than {_MOST_PAGES} pages, {len(found):,} objects")

    async def _read(self, path: str, query: dict[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        self._wait_if_told()
        try:
            async with asyncio.timeout(LONGEST_S):
                return await self._send("GET", path, params=query, headers=headers)
        except TimeoutError:
            raise Unavailable(SOURCE, f"did not answer GET {path} within {in_words(LONGEST_S)}") from None

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Asks a question that only a POST can, such as SelfSubjectAccessReview; it changes nothing."""
        headers = await self._credentials.headers()
        try:
            async with asyncio.timeout(LONGEST_S):
                return await self._send("POST", path, json=body, headers=headers)
        except TimeoutError:
            raise Unavailable(SOURCE, f"did not answer POST {path} within {in_words(LONGEST_S)}") from None

    async def patch(self, path: str, body: dict[str, Any], change: Change) -> dict[str, Any]:
        """Sends a change once; the object as the API has it now.

        Raises:
            LeaseLost: we no longer lead; it was not sent.
            NotSent, Outdated, Refused: certainly nothing happened.
            Unavailable: it is unknown whether it happened.
        """
        self._wait_if_told()
        headers = await self._credentials.headers()
        check = LastCheck(f"PATCH {path}", lambda: self._may_change(change.epoch))
        check.now()
        timeout_s = self._timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                return await self._send(
                    "PATCH",
                    path,
                    content=to_json(body),
                    headers={**headers, "Content-Type": _MERGE},
                    timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s)),
                    extensions={"trace": check},
                )
        except _Expired:
            self._credentials.expire(headers)
            raise
        except TimeoutError:
            unavailable = Unavailable(SOURCE, f"did not answer PATCH {path} within {in_words(timeout_s)}")
        except Unavailable as raised:
            if isinstance(raised, NotSent):
                raise
            unavailable = raised
        if check.certainly_not_begun:
            raise NotSent(SOURCE, f"could not be reached in time for PATCH {path}") from None
        raise unavailable

    def _wait_if_told(self) -> None:
        left = self._paused_until - self.clock.monotonic()
        if left > 0:
            raise NotSent(SOURCE, f"asked us to wait (HTTP 429); {in_words(left)} left")

    async def _send(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        result = "failed"
        try:
            found = await self._exchange(method, path, **more)
            result = "ok"
        except LeaseLost:
            result = ""  # no request
            raise
        except _TooMany:
            result = "throttled"
            raise
        except (Refused, Outdated, Missing, Forbidden, _Expired):
            result = "refused"
            raise
        finally:
            if result:
                self.sent[method, result] += 1
        return found

    async def _exchange(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        try:
            async with self._http.stream(method, f"{self._server}{path}", **more) as response:
                body = await read_body(response, MOST_BYTES, unpacks=True)
                status, retry_after = response.status_code, response.headers.get("retry-after", "")
        except TooLargeError as error:
            raise Unavailable(SOURCE, f"answered {method} {path} with {error}; the rest was not read") from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSent(SOURCE, f"cannot be reached at {self._server} ({_cause(error)})") from None
        except httpx.TimeoutException:
            raise Unavailable(SOURCE, f"did not answer {method} {path} in time") from None
        except httpx.HTTPError as error:
            raise Unavailable(SOURCE, f"broke off its answer to {method} {path} ({type(error).__name__})") from None
        found = _object(body)
        if status < httpx.codes.MULTIPLE_CHOICES and found is not None:
            return found
        raise self._failure(f"{method} {path}", status, retry_after, found or {})

    def _failure(self, what: str, status: int, retry_after: str, found: dict[str, Any]) -> Unavailable:
        said = found.get("message")
        message = self._clean(self._credentials.clean(_printable(said))) if isinstance(said, str) else ""
        words = f"answered {what} with HTTP {status}{f': {message}' if message else ''}"
        if status < httpx.codes.MULTIPLE_CHOICES:
            return Unavailable(SOURCE, f"answered {what} with HTTP {status}, but with no JSON object")
        if httpx.codes.is_redirect(status):
            return Unavailable(SOURCE, f"{words}, a redirect, which is not followed; write the API's own address")
        if status == httpx.codes.UNAUTHORIZED:
            return _Expired(SOURCE, f"{words}; check the token or the certificate")
        if status == httpx.codes.FORBIDDEN:
            return Forbidden(SOURCE, f"{words}; see deploy/kubernetes/rbac.yaml for the rights that are needed")
        if status == httpx.codes.NOT_FOUND:
            missing, details = Missing(SOURCE, words), found.get("details")
            missing.names_it = isinstance(details, dict) and bool(details.get("name"))
            return missing
        if status == httpx.codes.CONFLICT and not what.startswith("GET"):
            return Outdated(
                SOURCE, f"refused the change, because somebody else wrote after our reading (HTTP 409): {message}"
            )
        if status == httpx.codes.TOO_MANY_REQUESTS:
            wait = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else _WAIT_S
            self._paused_until = self.clock.monotonic() + min(wait, _LONGEST_WAIT_S)
            return _TooMany(SOURCE, f"{words}; nothing is sent for {in_words(min(wait, _LONGEST_WAIT_S))}")
        if httpx.codes.BAD_REQUEST <= status < httpx.codes.INTERNAL_SERVER_ERROR:
            return Refused(SOURCE, words)
        return Unavailable(SOURCE, words)


class _TooMany(NotSent):
    """HTTP 429."""


class _Expired(NotSent):
    """HTTP 401: the token is not taken, maybe not any more."""


def trust(access: KubernetesAccess) -> ssl.SSLContext:
    """Whom a connection to the cluster believes, and the client's certificate that it shows.

    Raises:
        ValueError, OSError: a certificate cannot be used.
    """
    context = ssl.create_default_context(
        cafile=str(access.ca_file) if access.ca_file else None, cadata=access.ca or None
    )
    if not access.verifies:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if access.certificate is not None:
        # OpenSSL takes a client's key from a file alone: one that only we can read, for as long as that takes.
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            os.chmod(file.name, 0o600)  # noqa: PTH101  # it has a name and no Path
            file.write("\n".join(access.certificate))
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _next_page(page: dict[str, Any]) -> str:
    """The token of the next page; "" if this is the last."""
    meta = page.get("metadata")
    more = meta.get("continue") if isinstance(meta, dict) else None
    return more if isinstance(more, str) else ""


def _cause(error: httpx.TransportError) -> str:
    """With the part to look at, where it is known."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "its certificate was not signed by the CA that is given for it, or is for another name"
    return f"{type(error).__name__}; is that its address, and may it be reached from here?"


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        found = from_json(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _printable(text: str) -> str:
    cut = bounds.cut(text, 2 * bounds.WORDS)
    return bounds.cut("".join(letter for letter in cut if letter.isprintable()), bounds.WORDS)
