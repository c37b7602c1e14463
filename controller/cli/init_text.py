"""The text of the policy that `autoscaler init` writes. Pure.

Names come from a database and from Railway, so each is quoted as YAML needs it, a `$` in it is doubled, and what goes
into a comment is one line without control characters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from controller.core.text.bounds import NAME, cut
from controller.core.text.escaping import visible
from controller.core.text.layout import wrap

SERVICE_VARIABLE = "RAILWAY_WORKER_SERVICE_ID"
_PLAIN = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_YAML_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_WIDTH = 118
_NAME = re.compile(r"[^a-z0-9]+")
_LONGEST_WORKER = 40
_LEFT_OUT = frozenset({"job", "jobs", "queue", "queues", "task", "tasks", "table"})

TIERS = """\
tiers: # depth = pending + processing; the first tier whose up_to holds it
  - {up_to: 0, replicas: 0} # no work, save money
  - {up_to: 10, replicas: 1}
  - {up_to: 30, replicas: 2}
  - {up_to: 60, replicas: 3}
  - {up_to: 100, replicas: 4}
  - {replicas: 5} # any larger depth"""


@dataclass(frozen=True, slots=True)
class Draft:
    """What the policy is to say. queue: keys and values of the queue, in their order.

    remarks: comments beside a key of the queue, by that key. notes: comments below the queue, a sentence each, or a key
    that may be taken in. service: its id; None: the variable names it. services: comments below it. target_wait: None:
    tiers.
    """

    worker: str
    about: str
    queue: Mapping[str, Any]
    remarks: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    service: str | None = None
    service_remark: str = ""
    services: Sequence[str] = ()
    target_wait: str | None = None
    wait_remark: str = ""


def text_of(draft: Draft) -> str:
    """The policy as YAML."""
    return "\n".join(_lines(draft)) + "\n"


def worker_name(table: str) -> str:
    """A worker's name from that of a table or a library: `generation_job` → `generation-worker`."""
    parts = [part for part in _NAME.split(table.lower()) if part and part not in _LEFT_OUT]
    stem = "-".join(parts)[:_LONGEST_WORKER].strip("-")
    return "worker" if not stem else stem if stem.endswith("worker") else f"{stem}-worker"


def _lines(draft: Draft) -> Iterator[str]:
    yield from _comment(draft.about)
    yield from _comment(
        "`autoscaler check` explains each value, `autoscaler explain` says what it would do now. ${NAME} reads an "
        "environment variable."
    )
    yield "workers:"
    yield f"  {draft.worker}: # any name; it labels logs, metrics and keys"
    service = f"${{{SERVICE_VARIABLE}}}" if draft.service is None else scalar(draft.service)
    yield f"    service: {service}{_beside(draft.service_remark)}"
    for one in draft.services:
        yield from _comment(one, "      ")
    yield "    queue:"
    for key, value in draft.queue.items():
        yield from _entry(key, value, draft.remarks.get(key, ""))
    for note in draft.notes:
        yield from _comment(note, "      ")
    if draft.target_wait is not None:
        yield f"    target_wait: {draft.target_wait}{_beside(draft.wait_remark)}"
    else:
        yield from (f"    {line}" for line in TIERS.splitlines())
    yield "    min_replicas: 0"
    yield "    max_replicas: 5 # the most that you want to pay for"


def _entry(key: str, value: Any, remark: str) -> Iterator[str]:
    if isinstance(value, str) and "\n" in value:
        yield f"      {key}: |-{_beside(remark)}"
        yield from (f"        {line}" for line in value.replace("$", "$$").splitlines())
    else:
        yield from _flowing(f"      {key}: ", value, remark)


def _flowing(first: str, value: Any, remark: str) -> Iterator[str]:
    """A value in one line; a longer mapping in as few as hold it, broken between its keys."""
    lines = [first]
    pieces = [f"{key}: {flow(one)}" for key, one in value.items()] if isinstance(value, Mapping) else [flow(value)]
    if isinstance(value, Mapping):
        pieces = [f"{piece}," for piece in pieces[:-1]] + pieces[-1:]
        pieces = [f"{{{piece}" if not at else piece for at, piece in enumerate(pieces)]
        pieces[-1] += "}"
    for piece in pieces:
        if len(lines[-1]) + len(piece) >= _WIDTH and lines[-1] != first:
            lines[-1] = lines[-1].rstrip()
            lines.append(" " * 8)
        lines[-1] += f"{piece} "
    yield from lines[:-1]
    yield f"{lines[-1].rstrip()}{_beside(remark)}"


def _beside(remark: str) -> str:
    return f" # {_harmless(remark)}" if remark else ""


def _comment(text: str, indent: str = "") -> list[str]:
    return wrap(_harmless(text), _WIDTH, first=f"{indent}# ", rest=f"{indent}# ")


def _harmless(text: str) -> str:
    return " ".join(visible(" ".join(text.split())).split())


def short(name: str) -> str:
    """A name from outside, for a comment."""
    return cut(visible(name), NAME)


def flow(value: Any) -> str:
    """A value in YAML's flow style."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(str(value))


def scalar(text: str) -> str:
    """A text as YAML that is read as this very text, also within a flow collection."""
    if _PLAIN.fullmatch(text) and text.lower() not in _YAML_WORDS:
        return text
    if text.isascii() and text.isdigit() and not (len(text) > 1 and text.startswith("0")):
        return text
    text = text.replace("$", "$$")
    if text.isprintable() and "\\" not in text:
        return "'" + text.replace("'", "''") + "'"
    return json.dumps(text)
