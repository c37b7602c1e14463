"""The Engine's API over its Unix socket, or over TCP with TLS: lists, and one update of a service.

The newest version of the API that the Engine has is used, because an older one leaves out fields of a service that it
does not know: sent back, the service would lose them. Nothing is retried here. A list that fails is read again in the
next cycle; an update is sent once, and if its answer is lost, the next reading shows what became of it.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from pydantic_core import from_json

from controller.adapters.http import httpx, user_agent
from controller.adapters.sending import LastCheck, NoCookies, TooLargeError, read_body, result_of
from controller.adapters.swarm import SOURCE
from controller.adapters.swarm.settings import CERTIFICATES, SwarmSettings
from controller.core.model import Change
from controller.core.ports import LeaseLost, NotSent, Outdated, Refused, Unavailable
from controller.core.text import bounds
from controller.core.text.escaping import visible
from controller.core.units import in_words

LONGEST_S = 8.0
"""Timeout of one list, so that a slow Engine does not delay a cycle of 10 s."""
_LONGEST_CONNECT_S = 2.0
_KEEP_S = 60.0
"""Idle connections are kept for longer than an interval."""
MOST_BYTES = 8_000_000
"""Of an answer. 50 services with 20 tasks each have about 3 MB: each task repeats the spec of its service."""
LEAST_API, _NEWEST_API = 38, 999
"""Minor versions of API 1.x. 1.38 (Docker 18.06, of 2018) knows the desired state `remove`; since 1.30 an update does
not look up a newer image of the same tag."""
_API = re.compile(r"1\.([0-9]{1,3})")
_OUT_OF_SEQUENCE = "out of sequence"
_NO_MANAGER = "not a swarm manager"


class SwarmClient:
    """Sends requests to one Engine, and turns every failure into one of the ports' errors."""

    def __init__(
        self,
        settings: SwarmSettings,
        *,
        may_act: Callable[[int], bool] = lambda _: True,
        timeout_s: float = 5.0,
    ) -> None:
        """may_act: whether a change of that epoch may be sent now. timeout_s: from then to its answer."""
        self._http = httpx.AsyncClient(
            base_url=settings.url,
            transport=httpx.AsyncHTTPTransport(
                uds=settings.socket or None,
                verify=_tls(settings),
                limits=httpx.Limits(keepalive_expiry=_KEEP_S, max_connections=10),
            ),
            headers={"User-Agent": user_agent(), "Accept-Encoding": "identity"},
            cookies=NoCookies(),
            timeout=httpx.Timeout(LONGEST_S, connect=_LONGEST_CONNECT_S),
            trust_env=False,  # an Engine is in our own network; a proxy on the way would only break it
        )
        self._where = settings.shown
        self._may_act = may_act
        self._timeout_s = timeout_s
        self.sent: Counter[tuple[str, str]] = Counter()
        """Requests by operation and result."""
        self._api: str | None = None
        self.told_at: float | None = None
        """The Engine's time of its last answer, in epoch seconds, to the second; None: unknown."""

    async def close(self) -> None:
        await self._http.aclose()

    async def api(self) -> str:
        """The newest version of the API that the Engine has, such as 1.41.

        Raises:
            Unavailable: it did not answer, or it is too old.
        """
        if self._api is None:
            response, _ = await self._exchange("GET", "/_ping", "the ping", longest_s=LONGEST_S)
            told = response.headers.get("api-version", "")
            found = _API.fullmatch(told) if response.is_success else None
            if found is None:
                raise Unavailable(
                    SOURCE,
                    f"answered the ping with HTTP {response.status_code} and no Api-Version: is {self._where} a Docker "
                    "Engine? A proxy of its socket must allow /_ping",
                )
            if not LEAST_API <= int(found[1]) <= _NEWEST_API:
                raise Unavailable(SOURCE, f"has API {told}; at least 1.{LEAST_API} (Docker 18.06) is needed")
            self._api = told
        return self._api

    async def list(self, what: str, filters: Mapping[str, Sequence[str]]) -> list[Any]:
        """`services` or `tasks` that match the filters, as the Engine's JSON.

        Raises:
            Unavailable: they could not be read.
        """
        path = f"/v{await self.api()}/{what}?filters={quote(json.dumps(dict(filters)))}"
        response, body = await self._exchange("GET", path, f"the list of {what}", longest_s=LONGEST_S)
        if not response.is_success:
            self._api = None  # an Engine of another version may answer from now on
            raise Unavailable(SOURCE, self._words(response, body, f"the list of {what}"))
        found = _json(body)
        if not isinstance(found, list):
            raise Unavailable(SOURCE, f"answered the list of {what} in an unknown format")
        return found

    async def update(self, service: str, version: int, spec: Mapping[str, Any], change: Change) -> None:
        """Replaces a service's spec, if its version is still this one. Credentials of its registry are kept.

        Raises:
            LeaseLost: we no longer lead; it was not sent.
            Outdated: the service was changed since that version was read; nothing changed now.
            NotSent, Refused: certainly nothing happened.
            Unavailable: it is unknown whether it happened.
        """
        path = f"/v{await self._api_for_change()}/services/{quote(service, safe='')}/update"
        check = LastCheck("the update", lambda: self._may_act(change.epoch))
        check.now()
        try:
            response, body = await self._exchange(
                "POST",
                f"{path}?version={version}&registryAuthFrom=spec",
                "the update",
                longest_s=self._timeout_s,
                content=json.dumps(spec).encode(),
                headers={"Content-Type": "application/json"},
                extensions={"trace": check},
            )
        except Unavailable as unavailable:
            if check.certainly_not_begun and not isinstance(unavailable, NotSent):
                raise NotSent(SOURCE, unavailable.text) from None
            raise
        if not response.is_success:
            raise self._refused(response, body)

    async def _api_for_change(self) -> str:
        try:
            return await self.api()
        except Unavailable as unavailable:
            raise NotSent(SOURCE, unavailable.text) from None

    async def _exchange(
        self, method: str, path: str, what: str, *, longest_s: float, **more: Any
    ) -> tuple[httpx.Response, bytes]:
        """The answer, whatever its status. what: the request in a sentence, which ends in the operation."""
        result = "failed"
        try:
            async with asyncio.timeout(longest_s), self._http.stream(method, path, **more) as response:
                self.told_at = _time(response.headers.get("date", ""))
                body = await read_body(response, MOST_BYTES)
            result = result_of(response.status_code)
            return response, body  # noqa: TRY300  # what follows is for failures
        except TooLargeError as error:
            raise Unavailable(SOURCE, f"answered {what} with {error}; the rest was not read") from None
        except TimeoutError:
            words = f"did not answer {what} within {in_words(longest_s)}"
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            self._api = None
            raise NotSent(SOURCE, self._not_connected(error)) from None
        except LeaseLost:
            result = ""  # no request
            raise
        except httpx.HTTPError as error:
            words = f"broke off its answer to {what} ({type(error).__name__})"
        finally:
            if result:
                self.sent[what.rsplit(" ", 1)[-1], result] += 1
        self._api = None
        raise Unavailable(SOURCE, words)

    def _refused(self, response: httpx.Response, body: bytes) -> Unavailable:
        said, status = _message(body), response.status_code
        if _OUT_OF_SEQUENCE in said:
            words = "refused the update, because the service was changed since it was read; the next cycle reads it"
            return Outdated(SOURCE, words)
        words = self._words(response, body, "the update")
        if status == httpx.codes.NOT_FOUND:
            return Outdated(SOURCE, words)
        if _NO_MANAGER in said:
            return NotSent(SOURCE, words)
        return Refused(SOURCE, words) if 300 <= status < 500 else Unavailable(SOURCE, words)

    def _words(self, response: httpx.Response, body: bytes, what: str) -> str:
        said, status = _message(body), response.status_code
        if _NO_MANAGER in said:
            return (
                f"the Engine at {self._where} is no manager of a Swarm: set DOCKER_HOST to a manager, or run "
                "`docker swarm init` or `docker node promote`"
            )
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            return (
                f"refused {what} with HTTP {status}{said and f' ({said})'}: a proxy of the socket must allow GET "
                "/services and /tasks, and POST /services/ID/update"
            )
        return f"answered {what} with HTTP {status}{said and f': {said}'}"

    def _not_connected(self, error: Exception) -> str:
        said = str(error).lower()
        if "permission" in said:
            fix = "this user may not open the socket; run as a user of the group that owns it"
        elif "certificate" in said or "ssl" in said:
            fix = "TLS failed: do ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH belong to this Engine?"
        else:
            fix = "is the Engine running, and is its socket mounted there? Check DOCKER_HOST"
        return f"cannot be reached at {self._where} ({type(error).__name__}): {fix}"


def _tls(settings: SwarmSettings) -> ssl.SSLContext | bool:
    """Verifies the Engine with the folder's own authority only, and shows our certificate.

    Raises:
        OSError, ssl.SSLError: a file cannot be used.
    """
    if settings.certificates is None:
        return False  # no TLS at all: a socket, or http://
    ca, certificate, key = (settings.certificates / name for name in CERTIFICATES)
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(str(certificate), str(key))
    return context


def _time(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text[: bounds.NAME]).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _json(body: bytes) -> Any:
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError:
        return None


def _message(body: bytes) -> str:
    """The Engine's own words, printable and cut; "" if there are none."""
    found = _json(body[:100_000])
    said = found.get("message") if isinstance(found, dict) else body[:1000].decode("utf-8", "replace")
    return visible(bounds.cut(said.strip(), bounds.WORDS)) if isinstance(said, str) else ""
