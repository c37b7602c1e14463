"""The names of our keys, and the one way to ask Redis.

All our keys have one prefix with one hash tag, so that a script touches one slot of a Redis Cluster:

    {<prefix>:<environment>}:lease              <epoch>:<holder>, with a time to live
    {<prefix>:<environment>}:epoch              a number that only rises
    {<prefix>:<environment>}:leader             a hash: who leads or led last, since when, and until when it trusts it
    {<prefix>:<environment>}:worker:<record>    a hash: a worker's history (see record.py)
    {<prefix>:<environment>}:past:<record>      a sorted set: recommendations of the version before, only read
    {<prefix>:<environment>}:records            a hash: by service id, the name of its record
    {<prefix>:<environment>}:cycles             a hash: the last cycle of each worker, for the standby
    {<prefix>:<environment>}:listening          the last report about listening for NOTIFY, for doctor
    {<prefix>:<environment>}:history            a stream: changes, faults, takeovers, overrides
    {<prefix>:<environment>}:decided:<worker>   a stream: what was decided, each time that it changed
    {<prefix>:<environment>}:minutes:<worker>   a stream: jobs and workers each minute, for a day
    {<prefix>:<environment>}:tens:<worker>      a stream: the same each ten minutes, for as long as the history
    {<prefix>:<environment>}:shadow             a hash: by worker, what a shadow policy would have by now
    {<prefix>:<environment>}:notified           a hash: what people were told of, and by which target
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TypeVar

from controller.adapters.redis import SOURCE
from controller.adapters.redis.connection import FAULTS, in_words
from controller.core.model import Lease
from controller.core.ports import Unavailable

T = TypeVar("T")


class Keys:
    """The names of our keys."""

    def __init__(self, prefix: str, environment: str) -> None:
        self._tag = f"{{{prefix}:{environment}}}"
        self.lease = f"{self._tag}:lease"
        self.epoch = f"{self._tag}:epoch"
        self.leader = f"{self._tag}:leader"
        self.cycles = f"{self._tag}:cycles"
        self.listening = f"{self._tag}:listening"
        self.records = f"{self._tag}:records"
        self.history = f"{self._tag}:history"
        self.shadow = f"{self._tag}:shadow"
        self.notified = f"{self._tag}:notified"

    def worker(self, record: str) -> str:
        return f"{self._tag}:worker:{record}"

    def decided(self, worker: str) -> str:
        return f"{self._tag}:decided:{worker}"

    def minutes(self, worker: str) -> str:
        return f"{self._tag}:minutes:{worker}"

    def tens(self, worker: str) -> str:
        return f"{self._tag}:tens:{worker}"

    def past(self, record: str) -> str:
        return f"{self._tag}:past:{record}"


async def ask(answer: Awaitable[T], keys: Sequence[str] = ()) -> T:
    """The answer; any fault becomes Unavailable with its fix. keys: the keys involved, named in the message."""
    try:
        return await answer
    except FAULTS as error:
        if keys and "WRONGTYPE" in str(error):
            raise foreign_data(" or ".join(keys)) from None
        raise Unavailable(SOURCE, in_words(error)) from None


def foreign_data(key: str) -> Unavailable:
    return Unavailable(SOURCE, f"holds data in {key} that is not ours; check it, and DEL it")


def value_of(lease: Lease) -> str:
    """The value of the lease's key while this lease is held."""
    return f"{lease.epoch}:{lease.holder}"
