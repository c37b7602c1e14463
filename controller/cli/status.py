"""`autoscaler status`: what a running controller says of itself, as a table; from its /status."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from controller.cli import output
from controller.cli.arguments import for_help
from controller.core.text import bounds
from controller.core.text.masking import Masker, secrets_of_a_crash
from controller.core.units import in_words

if TYPE_CHECKING:
    from controller.cli.parser import Commands
    from controller.loop.worker_status import WorkerStatus

_TIMEOUT_S = 5.0
_MOST_BYTES = 8_000_000
_AGAIN_S = 2.0
_CLEAR = "\x1b[H\x1b[2J"
_UNKNOWN = "?"
_HEADINGS = ["worker", "jobs", "waited", "replicas", "desired", "reason", "seen"]
_FIGURES = (1, 2, 3, 4)


def add(commands: Commands) -> None:
    parser = commands.add(
        "status",
        run,
        "print what a running controller says",
        "It asks /status, with HTTP_TOKEN if that is set. "
        "Exit 0: healthy. 1: degraded, unhealthy, or no answer. 2: wrong input.",
        touches="nothing; it asks the controller over HTTP",
        last="`autoscaler explain` decides anew; this shows the last cycles.",
    )
    told = f"the controller's address, default {for_help(_default())}"
    parser.add_argument("url", nargs="?", type=_address, default=_default(), metavar="URL", help=told)
    parser.add_argument("--watch", action="store_true", help=f"again every {_AGAIN_S:g} s, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="the answer of /status as it is")


def run(parsed: argparse.Namespace) -> int:
    mask = Masker(secrets_of_a_crash(os.environ))
    while True:
        try:
            body = asked(parsed.url)
        except ValueError as error:
            code, body = 1, None
            output.complain(mask.text(f"{parsed.url}: {error}"))
        if body is not None:
            code = 0 if body.get("status") == "healthy" else 1
            if parsed.watch and sys.stdout.isatty() and not parsed.json:
                print(_CLEAR, end="")
            if parsed.json:
                output.print_json(mask.value(body))
            else:
                show(mask.value(body))
        if not parsed.watch:
            return code
        sys.stdout.flush()
        time.sleep(_AGAIN_S)


def _default() -> str:
    port = os.environ.get("PORT", "").strip()
    return f"http://localhost:{port if port.isascii() and port.isdigit() and port != '0' else '8080'}"


def _address(text: str) -> str:
    try:
        parts = urlsplit(text if "//" in text else f"http://{text}")
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise argparse.ArgumentTypeError(
            f"{bounds.cut(text, bounds.VALUE)!r} is not an address; write http://HOST:PORT"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}"


def asked(address: str) -> dict[str, Any]:
    """The body of /status.

    Raises:
        ValueError: there is none, and why.
    """
    import httpx

    token = os.environ.get("HTTP_TOKEN", "").strip()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.stream("GET", f"{address}/status", headers=headers, timeout=_TIMEOUT_S) as answer:
            if answer.status_code == 401:
                raise ValueError("needs a token; set HTTP_TOKEN to the controller's")
            if answer.status_code != 200:
                raise ValueError(f"answered {answer.status_code}; is it a worker-autoscaler?")
            text = b""
            for piece in answer.iter_bytes():
                text += piece
                if len(text) > _MOST_BYTES:
                    raise ValueError("answered with more than 8 MB; is it a worker-autoscaler?")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = str(error) or type(error).__name__
        raise ValueError(
            f"no answer ({why}); does the controller run there? `autoscaler status URL` asks another one"
        ) from None
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("workers"), dict) or "status" not in body:
        raise ValueError("answered something else than a status; is it a worker-autoscaler?")
    return body


def show(body: Mapping[str, Any]) -> None:
    """The whole status: who leads, what fails, a row for each worker, and why."""
    health = str(body["status"])
    style: output.Style = "ok" if health == "healthy" else "warning" if health == "degraded" else "error"
    output.show(f"{health}: {', '.join(_about(body))}", style=style, painted=health)
    for one in body.get("failing") or ():
        who = f" of {one.get('worker')}" if one.get("worker") else ""
        output.show(f"{one.get('name')}{who} fails since {one.get('since')}", rest="  ")
    print()
    rows = [_HEADINGS, *(_row(name, worker) for name, worker in body["workers"].items())]
    output.show_table(rows, right=_FIGURES)
    for name, worker in body["workers"].items():
        last = _known(worker)
        if last is not None:
            print()
            output.show(f"{name}: {last.message}", rest="  ")
            if last.pool is not None:
                output.show(last.pool.message, first="  ", rest="    ")
            for budget in last.budgets or ():
                output.show(f"budget: {budget.message}", first="  ", rest="    ")
            for one in last.overrides or ():
                output.show(f"override {one.override}: {one.message} (until {one.until})", first="  ", rest="    ")


def _about(body: Mapping[str, Any]) -> Iterator[str]:
    leader = body.get("leader")
    yield (
        f"this replica is the {body.get('role')}"
        if body.get("role") in {"leader", "standby"}
        else str(body.get("role"))
    )
    if isinstance(leader, dict) and body.get("role") != "leader":
        yield f"{leader.get('holder')} leads"
    if body.get("epoch") is not None:
        yield f"epoch {body['epoch']}"
    policy = body.get("policy")
    if isinstance(policy, dict) and policy.get("hash"):
        loaded = policy.get("loaded_at")
        yield f"policy {policy['hash']}" + (f" loaded at {str(loaded)[:19]}Z" if loaded else "")
        if policy.get("refused"):
            yield "a newer policy was refused"


def _row(name: str, worker: Any) -> list[str]:
    last = _known(worker)
    if last is None:
        return [name, *[_UNKNOWN] * 4, "no cycle yet", ""]
    age = worker.get("age_s")
    seen = f"{in_words(age)} ago" if type(age) in {int, float} else "at an unknown time"
    waited = "" if last.oldest_age_s is None else in_words(last.oldest_age_s)
    replicas = f"{_text(last.running)} of {_text(last.configured)}"
    jobs = last.depth_shown or _UNKNOWN
    return [name, jobs, waited, replicas, _text(last.desired), ", ".join(last.reasons), seen]


def _known(worker: Any) -> WorkerStatus | None:
    """None: no cycle yet, or nothing that this version can read."""
    from controller.loop.worker_status import WorkerStatus

    try:
        return WorkerStatus.from_json(worker)
    except ValueError:
        return None


def _text(value: object) -> str:
    return _UNKNOWN if value is None else str(value)
