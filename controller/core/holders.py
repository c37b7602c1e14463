"""Which instances of a service hold jobs, by the names that the queue has for them. Pure.

A queue often notes who holds a job: the name of a host, or a text with that name in it, such as "host:render-7d9f-x2k4
pid:7", "render-7d9f-x2k4.workers.svc" or "render-7d9f-x2k4-31". On a platform whose instances have such names, it is
known which of them are busy. So their number is exact, and the platform can be told to remove the others.

Where instances go in a fixed order, the last one first, all those stay that come before a busy one.

It is exact only if each holder is an instance. A claim of a worker that is gone, of another service, or of nobody
leaves it open which instance works on that job: then the instances that were found are busy at least.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from controller.core.model import QueueDepth, Replicas

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
_DOT, _END = re.compile(r"[.]"), re.compile(r"[.-]|$")
_MOST_STARTS, _MOST_ENDS = 5, 16
"""In one word; a host's full name has 5 parts. Any text may stand in a queue, and a thousand are looked at at once."""


@dataclass(frozen=True, slots=True)
class Held:
    """busy: names of the instances that hold jobs and can be made to go last. is_exact: no other one holds a job.

    behind: of those in `busy`, how many hold none, and stay because they go only after one that does.
    """

    busy: tuple[str, ...]
    is_exact: bool
    behind: int = 0


def held(queue: QueueDepth, replicas: Replicas) -> Held | None:
    """None: it is unknown who holds jobs, or which instances there are.

    Also None during a rollout: it replaces instances in an order of its own.
    """
    instances = replicas.instances
    if queue.holders is None or instances is None or replicas.under_way is not None:
        return None
    known = {*instances.staying, *instances.first, *instances.leaving}
    found = [instance_of(holder, known) for holder in queue.holders]
    busy = {*found} - {None}
    is_exact = None not in found and busy.isdisjoint(instances.first)
    holding = tuple(name for name in instances.staying if name in busy)
    if not instances.in_order or not holding:
        return Held(holding, is_exact)
    staying = instances.staying[: instances.staying.index(holding[-1]) + 1]
    return Held(staying, is_exact, behind=len(staying) - len(holding))


def instance_of(holder: str, names: Collection[str]) -> str | None:
    """The instance that the holder's text names: it is the name, or has it as a whole word. None: there is none."""
    if holder in names:
        return holder
    return next((part for word in _WORD.findall(holder) for part in _parts(word) if part in names), None)


def _parts(word: str) -> Iterator[str]:
    """What may be a name in it: from its begin or a dot to a hyphen, a dot or its end; the longest first."""
    yield word  # nearly always it is this, and the rest takes longer
    if "-" not in word and "." not in word:
        return
    starts = [0, *(at.end() for at in _DOT.finditer(word))][:_MOST_STARTS]
    ends = [at.start() for at in _END.finditer(word)][:_MOST_ENDS]
    spans = sorted(((start, end) for start in starts for end in ends if start < end), key=lambda one: one[0] - one[1])
    yield from (word[start:end] for start, end in spans)
