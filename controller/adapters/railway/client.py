"""Railway's GraphQL over HTTP: an answer 200 with `errors` is an error; 429 says how long to wait.

Queries are retried up to twice, and only here. A mutation is sent once. If its answer is lost, the next reading shows
what became of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from controller.adapters.http import httpx, user_agent
from controller.adapters.railway import SOURCE, answer, operations
from controller.adapters.railway.budget import CEILING_S, Budget
from controller.adapters.railway.settings import RailwayToken
from controller.adapters.sending import LastCheck, NoCookies, own_transport
from controller.core.model import Change
from controller.core.ports import Clock, LeaseLost, NotSent, Refused, Unavailable
from controller.core.text import bounds
from controller.core.units import in_words

LONGEST_S = 8.0
"""Timeout of a query with all retries, so that a slow Railway does not delay a cycle of 10 s."""
TIMEOUT = httpx.Timeout(LONGEST_S, connect=3.0)
"""A query's timeouts per step. An answer that arrives byte by byte never exceeds them, hence LONGEST_S."""
_LONGEST_CONNECT_S = 2.0
"""A mutation's connect timeout. Its total timeout is an argument, as it must end before the lease does."""
_LONGEST_WAIT_S = 5.0
"""A Retry-After up to this is waited for. After a longer one the cycle ends; nothing is sent until it has passed."""
_WAIT_WITHOUT_HEADER_S = 30.0
_LONGEST_RETRY_AFTER_S = CEILING_S
"""A longer Retry-After is cut to this; then one request learns whether it still applies."""
_HEADERS = ("ratelimit-policy", "retry-after", "content-encoding")
_AUTH = ("not authorized", "project token not found", "unauthorized")


class _Passing(Unavailable):
    """A fault that may be temporary: retried where a second try is harmless."""


class RailwayClient:
    """Sends operations by name, and turns every failure into one of the ports' errors."""

    def __init__(
        self,
        url: str,
        token: RailwayToken,
        clock: Clock,
        *,
        may_mutate: Callable[[int], bool] = lambda _: True,
        timeout_s: float = 5.0,
        transport: httpx.AsyncBaseTransport | None = None,
        clean: Callable[[str], str] = lambda text: text,
    ) -> None:
        """may_mutate: whether a change of that epoch may be sent now. timeout_s: from then to its answer.

        clean: masks secrets in an answer, which may repeat the token, before anything of it is cut.
        """
        value = token.value.get_secret_value()
        auth = {"Authorization": f"Bearer {value}"} if token.kind == "account" else {"Project-Access-Token": value}
        self._http = httpx.AsyncClient(
            timeout=TIMEOUT,
            headers={"User-Agent": user_agent(), "Accept-Encoding": answer.ACCEPTED, **auth},
            cookies=NoCookies(),
            transport=transport or own_transport(timeout_s),
        )
        self.budget = Budget(clock)
        self.sent: Counter[tuple[str, str]] = Counter()
        """Requests by operation and result: ok, refused, throttled (HTTP 429), failed (no usable answer)."""
        self._url = url
        self._token = token
        self._may_mutate = may_mutate
        self._timeout_s = timeout_s
        self._clean = clean

    async def close(self) -> None:
        await self._http.aclose()

    async def query(self, operation: str, variables: dict[str, Any], *, for_change: bool = False) -> dict[str, Any]:
        """The operation's `data`.

        for_change: the query belongs to a change, so it uses the requests reserved for changes, and their timeout.

        Raises:
            Unavailable: it failed, also when retried.
        """
        longest_s = self._timeout_s if for_change else LONGEST_S
        spend = self.budget.spend_on_mutation if for_change else self.budget.spend_on_query
        try:
            async with asyncio.timeout(longest_s):
                return await self._try(operation, variables, spend)
        except TimeoutError:
            raise Unavailable(SOURCE, f"did not answer {operation} within {in_words(longest_s)}") from None
        except _Problem as problem:
            if not for_change:
                raise
            raise Unclear(SOURCE, problem.text) from None

    async def _try(self, operation: str, variables: dict[str, Any], spend: Callable[[], None]) -> dict[str, Any]:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_Passing),
            stop=stop_after_attempt(3),
            wait=wait_random_exponential(multiplier=0.3, max=2.0),
            retry_error_callback=_give_up,
        )
        return await retrying(self._ask, operation, variables, spend)

    async def _ask(self, operation: str, variables: dict[str, Any], spend: Callable[[], None]) -> dict[str, Any]:
        await self._wait_for_retry_after()
        spend()
        return await self._send(operation, variables, longest_s=LONGEST_S, timeout=TIMEOUT)

    async def mutate(self, operation: str, variables: dict[str, Any], change: Change) -> None:
        """Sends the mutation once, with the change's epoch and id as headers, so that it can be traced later.

        Raises:
            LeaseLost: we no longer lead; it was not sent.
            NotSent, Refused: certainly nothing happened.
            Unavailable: it is unknown whether it happened.
        """
        await self._wait_for_retry_after()
        check = LastCheck(operation, lambda: self._may_mutate(change.epoch))
        check.now()
        self.budget.spend_on_mutation()
        try:
            data = await self._send(
                operation,
                variables,
                longest_s=self._timeout_s,
                timeout=httpx.Timeout(self._timeout_s, connect=min(_LONGEST_CONNECT_S, self._timeout_s)),
                headers={"X-Autoscaler-Epoch": str(change.epoch), "X-Autoscaler-Intent": change.id},
                extensions={"trace": check},
            )
        except _Problem as problem:
            # Railway failed while processing it: how far it came is unknown.
            raise Unclear(SOURCE, problem.text) from None
        except Unavailable as unavailable:
            if not check.certainly_not_begun or isinstance(unavailable, NotSent):
                raise
            raise NotSent(SOURCE, f"could not be reached in time for {operation}") from unavailable
        answer = data.get(operation[0].lower() + operation[1:])  # each operation is named after its only field
        if answer is False or answer is None:
            raise Refused(SOURCE, f"{operation} answered {answer}")
        if answer is not True and not isinstance(answer, str):
            raise Unavailable(SOURCE, f"answered {operation} in an unknown format")

    async def _send(self, operation: str, variables: dict[str, Any], **how: Any) -> dict[str, Any]:
        result = "failed"
        try:
            data = await self._exchange(operation, variables, **how)
            result = "ok"
        except LeaseLost:
            result = ""  # no request
            raise
        except Unavailable as unavailable:
            result = _result_of(unavailable)
            # A kept error would keep its frames, and with them some MB of the answer.
            raise unavailable.with_traceback(None) from None
        finally:
            if result:
                self.sent[operation, result] += 1
        return data

    async def _exchange(
        self, operation: str, variables: dict[str, Any], *, longest_s: float, timeout: httpx.Timeout, **more: Any
    ) -> dict[str, Any]:
        body = {"query": operations.ALL[operation], "operationName": operation, "variables": variables}
        try:
            async with (
                asyncio.timeout(longest_s),
                self._http.stream("POST", self._url, json=body, timeout=timeout, **more) as response,
            ):
                told, retry_after, encoding = (_header(response, name) for name in _HEADERS)
                # There may be 10,000 headers, and a response is a reference cycle that lives until garbage collection.
                response.headers = httpx.Headers()
                self.budget.learn(told)
                if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                    raise self._too_many_requests(retry_after)  # its body has no further information
                taken = await answer.read_json(response, encoding, operation, self._clean)
        except TimeoutError:
            raise _Passing(SOURCE, f"did not finish its answer to {operation} within {in_words(longest_s)}") from None
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise _NotConnected(SOURCE, f"cannot be reached ({type(error).__name__})") from None
        except httpx.TimeoutException:
            raise _Passing(SOURCE, f"did not answer {operation} within {in_words(timeout.read or LONGEST_S)}") from None
        except (httpx.HTTPError, answer.IncompleteAnswer) as error:
            raise _Passing(SOURCE, f"broke off its answer to {operation} ({type(error).__name__})") from None
        return self._data(operation, response.status_code, taken)

    async def _wait_for_retry_after(self) -> None:
        left = self.budget.wait_s
        if left > _LONGEST_WAIT_S:
            raise NotSent(SOURCE, f"asked us to wait (HTTP 429, Retry-After); {in_words(left)} left")
        if left > 0:
            await asyncio.sleep(left)

    def _too_many_requests(self, retry_after: str) -> Unavailable:
        wait = _wait_of(retry_after)
        self.budget.pause(wait)
        return _TooMany(SOURCE, f"received too many requests (HTTP 429); nothing is sent for {in_words(wait)}")

    def _data(self, operation: str, status: int, body: dict[str, Any] | None) -> dict[str, Any]:
        if body is not None and body.get("errors"):
            raise self._refused(operation, body["errors"])
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise NotAuthorized(SOURCE, self._auth_words(f"HTTP {status}"))
        if httpx.codes.is_redirect(status):
            words = f"answered {operation} with HTTP {status} (a redirect, not followed); check RAILWAY_API_URL"
            raise Unavailable(SOURCE, words)
        if status != httpx.codes.OK:
            raise _Passing(SOURCE, f"answered {operation} with HTTP {status}")
        data = None if body is None else body.get("data")
        if not isinstance(data, dict):
            raise _Passing(SOURCE, f"answered {operation} without data")
        return data

    def _refused(self, operation: str, found: Any) -> Unavailable:
        first = found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else {}
        message = _printable(first.get("message"), bounds.WORDS) or "an error without a message"
        trace_id = _printable(first.get("traceId"), bounds.NAME)
        trace = f" (traceId {trace_id})" if trace_id else ""
        if any(words in message.lower() for words in _AUTH):
            return NotAuthorized(SOURCE, self._auth_words(message))
        if message == "Problem processing request":
            return _Problem(SOURCE, f"could not process {operation}: {message}{trace}")
        return Refused(SOURCE, f"refused {operation}: {message}{trace}")

    def _auth_words(self, message: str) -> str:
        variable = self._token.variable
        if self._token.kind == "account" and "project token" in message.lower():
            return f"says {message!r}: {variable} holds a project token; put it into RAILWAY_TOKEN instead"
        return (
            f"says {message!r}: check {variable} (is it valid, and for this workspace and project?), "
            "RAILWAY_PROJECT_ID and RAILWAY_ENVIRONMENT_ID"
        )


class NotAuthorized(Refused):
    """The token is not allowed; any other operation would be refused as well."""


class Unclear(Unavailable):
    """Railway failed while processing a change or a query for it: the change has probably not happened."""


class _NotConnected(NotSent, _Passing):
    """There was no connection, so no byte of the request was sent."""


class _TooMany(NotSent, _Passing):
    """HTTP 429: Railway did not process the request, so it can be sent again after the wait."""


class _Problem(Refused, _Passing):
    """An internal failure of Railway ("Problem processing request"). A retry may succeed."""


def _result_of(unavailable: Unavailable) -> str:
    if isinstance(unavailable, _TooMany):
        return "throttled"
    return "refused" if isinstance(unavailable, Refused) else "failed"


def _give_up(state: RetryCallState) -> Any:
    assert state.outcome is not None
    return state.outcome.result()  # raises the last fault as it was


def _printable(text: Any, longest: int) -> str:
    """Railway's own message, if it is a text, without unprintable characters, at most `longest` characters."""
    if not isinstance(text, str):
        return ""
    # Cut first, because checking each of a million characters takes long.
    text = bounds.cut(text, 2 * longest)
    return bounds.cut("".join(character for character in text if character.isprintable()), longest)


def _header(response: httpx.Response, name: str) -> str:
    """The header's text; one that is too long to be valid becomes "too long", which is then not parsed."""
    text: str = response.headers.get(name, "")
    return text if len(text) <= bounds.WORDS else "too long"


def _wait_of(text: str) -> float:
    """Seconds. Railway sends a whole number; anything else (the standard allows a date) counts as 30 s."""
    return min(_LONGEST_RETRY_AFTER_S, float(text)) if text.isascii() and text.isdigit() else _WAIT_WITHOUT_HEADER_S
