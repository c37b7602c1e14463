"""What the scripts in this folder share: how they are called, HTTP with a token, and the exit codes of docs/command.md.

Only Python's standard library. Copy it beside the scripts that you use.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar
from urllib.parse import urlsplit

UNKNOWN, NOT_NOW, STALE, REFUSED = 1, 75, 76, 78
"""Exit codes of `scale`: whether something changed is unknown; nothing changed, for one of three reasons."""
REQUEST_S = 8
"""Of one request. Keep `timeout` in the policy above what all requests of one run take."""
MOST_BYTES = 4_000_000
T = TypeVar("T")


class Failed(Exception):  # noqa: N818  # it reads as what happened
    """Its text goes to stderr; the first 80 characters reach the log of the controller."""

    def __init__(self, text: str, code: int = UNKNOWN) -> None:
        super().__init__(text)
        self.code = code


class Target(Protocol):
    """What is scaled. `read` always comes first, and gives what docs/command.md says that `read` prints."""

    def read(self) -> dict[str, Any]: ...
    def scale(self, desired: int) -> None: ...


def run(target: Callable[..., Target], words: str) -> NoReturn:
    """Ends this process. words: the arguments of `target`, for the usage; those in brackets may be left out."""
    least, most = len([word for word in words.split() if word[0] != "["]), len(words.split())
    what, *given = sys.argv[1:] or [""]
    try:
        if what not in {"read", "scale"} or not least <= len(given) <= most:
            raise Failed(f"usage: {Path(sys.argv[0]).name} read|scale {words}", REFUSED)
        print(_read(target(*given)) if what == "read" else _scale(target(*given)))
    except Failed as failed:
        print(failed, file=sys.stderr)
        sys.exit(failed.code)
    sys.exit(0)


def secret(name: str) -> str:
    """The value of a variable that the policy has to name under `environment`."""
    if value := os.environ.get(name, "").strip():
        return value
    raise Failed(f"{name} is not set; the policy needs environment: [{name}]", REFUSED)


def seconds(text: str) -> float:
    """An argument of a script."""
    try:
        return float(text)
    except ValueError:
        raise Failed(f"{text!r} is no number of seconds: write it like 30", REFUSED) from None


def one_by_one(do: Callable[[T], object], things: Sequence[T]) -> None:
    """If one fails after others were done, something did change, whatever that failure says of itself."""
    for done, thing in enumerate(things):
        try:
            do(thing)
        except Failed as failed:
            if not done:
                raise
            raise Failed(f"{done} of {len(things)} done, then {failed}") from None


class Api:
    """JSON over HTTP with a bearer token. No redirect is followed."""

    def __init__(self, address: str, token: str, accept: str = "application/json") -> None:
        self.address = urlsplit(address)
        self.headers = {"Authorization": f"Bearer {token}", "Accept": accept, "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        connects = HTTPConnection if self.address.scheme == "http" else HTTPSConnection
        connection = connects(self.address.netloc, timeout=REQUEST_S)
        try:
            connection.connect()
        except OSError as error:
            raise Failed(f"cannot connect to {self.address.netloc}: {error}", NOT_NOW) from None
        try:
            sent = None if body is None else json.dumps(body).encode()
            connection.request(method, self.address.path.rstrip("/") + path, sent, self.headers)
            answer = connection.getresponse()
            said = answer.read(MOST_BYTES)
        except (OSError, HTTPException) as error:
            raise Failed(f"no answer: {error or type(error).__name__} ({method} {path})") from None
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise Failed(f"HTTP {answer.status}: {_why(said)} ({method} {path})", _exit_code(answer.status))
        try:
            return json.loads(said or b"null")
        except ValueError:
            raise Failed(f"the answer is not JSON ({method} {path})") from None


def _read(target: Target) -> str:
    try:
        seen = target.read()
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise Failed(f"an answer is not as expected: {error!r}") from None
    return json.dumps({**seen, "version": str(seen["configured"])})


def _scale(target: Target) -> str:
    try:
        seen = json.loads(_read(target))
    except Failed as failed:  # nothing was sent but questions
        raise Failed(str(failed), REFUSED if failed.code == REFUSED else NOT_NOW) from None
    if os.environ.get("AUTOSCALER_VERSION", seen["version"]) != seen["version"]:
        raise Failed(f"the count is {seen['configured']} by now", STALE)
    target.scale(int(os.environ["AUTOSCALER_DESIRED"]))
    return "accepted"


def _exit_code(status: int) -> int:
    if status == 429:
        return NOT_NOW
    return UNKNOWN if status in {408, 425} or status >= 500 else REFUSED


def _why(said: bytes) -> str:
    """Most APIs say it under one of these keys."""
    text = said.decode("utf-8", "replace")
    try:
        answer = json.loads(text)
        return str(answer.get("message") or answer.get("error"))
    except (ValueError, AttributeError):
        return " ".join(text.split())[:100]
