"""Redis, simulated: a server with its own wall clock and a run_id, and the client that our adapters are given.

The Lua scripts run as the Python models of `scripts.py`, which are kept true by comparison with a real server. A script
that reaches the server runs even if its sender has died; one that reaches it while it is paused runs later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.virtual.loop import Kernel
from tests.virtual.network import Answer, Errors, Link, Reply
from tests.virtual.scripts import MODELS, Model
from tests.virtual.store import Store
from tests.virtual.trace import Trace

ERRORS = Errors(
    timed_out=lambda: RedisTimeoutError("simulated"),
    refused=lambda: RedisConnectionError("simulated"),
    broken=lambda: RedisConnectionError("simulated: reset by peer"),
)
EPOCH_S = 1_790_000_000.0
"""What the wall clocks of the simulated world show at its beginning."""
TIMEOUT_S = 2.0
_SNAPSHOT_EVERY_S = 20.0


class RedisServer:
    """The server. `watchers` are told of every script that ran: whose, which, keys, arguments and answer."""

    def __init__(self, kernel: Kernel, random: Random, trace: Trace) -> None:
        self.kernel = kernel
        self.random = random
        self.trace = trace
        self.clock_s = 0.0
        self.store = Store(self._new_run_id())
        self.watchers: list[Callable[[str, Model, Sequence[str], Sequence[str], Any], None]] = []
        self.lost_data_at: list[float] = []
        self.lost_records_at: list[float] = []
        """When a worker's record alone was lost."""
        self.leapt_at: list[float] = []
        """When its clock was set forward, or when that could first be seen, if it was away or stood still then."""
        self.steps: list[tuple[float, float]] = []
        """Each time that its clock was set: when, and by how many seconds."""
        self.writable_again_at: list[float] = []
        self._leapt_unseen = False
        self._is_down = False
        self._stands_still = False
        self._loading_until = 0.0
        self._refuses_writes: Callable[[], Exception] | None = None
        self._queued: list[Callable[[], None]] = []
        self._snapshot = self.store.copy()
        kernel.after(_SNAPSHOT_EVERY_S, self._take_snapshot)

    def receive(self, command: Callable[[Store], Any], reply: Reply, *, writes: bool) -> None:
        if self._is_down:
            return
        if self._stands_still:
            self._queued.append(lambda: self.receive(command, reply, writes=writes))
            return
        if self.kernel.now < self._loading_until:
            reply(Answer(error=BusyLoadingError("Redis is loading the dataset in memory")))
            return
        if writes and self._refuses_writes is not None:
            reply(Answer(error=self._refuses_writes()))
            return
        self.store.now = self.milliseconds
        reply(Answer(command(self.store)))

    @property
    def milliseconds(self) -> int:
        return int((EPOCH_S + self.kernel.now + self.clock_s) * 1000)

    @property
    def is_reachable(self) -> bool:
        return not self._is_down

    # What can happen to it

    def step_clock(self, seconds: float) -> None:
        self.clock_s += seconds
        self.steps.append((self.kernel.now, seconds))
        if seconds > 0:
            self.leapt_at.append(self.kernel.now)
            self._leapt_unseen = self._is_down or self._stands_still

    def stop(self) -> None:
        self._is_down = True
        self._stands_still = False
        self._queued.clear()

    def start(self, with_data: str, *, loading_s: float = 0.0) -> None:
        """with_data: "kept", "stale" (from the last snapshot) or "none"."""
        if with_data != "kept":
            self.lost_data_at.append(self.kernel.now)
        if with_data == "stale":
            self.store = self._snapshot.copy()
        elif with_data == "none":
            self.store = Store("")
        self.store.run_id = self._new_run_id()
        self._is_down = False
        self._loading_until = self.kernel.now + loading_s
        self._show_leap()

    def stand_still(self) -> None:
        self._stands_still = True

    def go_on(self) -> None:
        self._stands_still = False
        self._show_leap()
        queued, self._queued = self._queued, []
        for command in queued:
            command()

    def _show_leap(self) -> None:
        if self._leapt_unseen:
            self.leapt_at.append(self.kernel.now)
            self._leapt_unseen = False

    def flush(self) -> None:
        self.store.data.clear()
        self.store.ends.clear()
        self.lost_data_at.append(self.kernel.now)

    def refuse_writes(self, how: str) -> None:
        errors: Mapping[str, Callable[[], Exception]] = {
            "out of memory": lambda: OutOfMemoryError("command not allowed when used memory > 'maxmemory'"),
            "read only": lambda: ReadOnlyError("You can't write against a read only replica."),
        }
        self._refuses_writes = errors[how]

    def accept_writes(self) -> None:
        if self._refuses_writes is not None:
            self.writable_again_at.append(self.kernel.now)
        self._refuses_writes = None

    def lose(self, ending: str) -> bool:
        """Deletes the key with this ending, as an eviction or a person would."""
        for key in list(self.store.data):
            if key.endswith(ending):
                self.store.delete(key)
                if ":worker:" in key:
                    self.lost_records_at.append(self.kernel.now)
                return True
        return False

    def persist(self, ending: str) -> None:
        """Takes away the end of the key with this ending."""
        for key in [key for key in self.store.ends if key.endswith(ending)]:
            del self.store.ends[key]

    def be_well(self) -> None:
        self.accept_writes()
        if self._is_down:
            self.start("kept")
        if self._stands_still:
            self.go_on()

    def _take_snapshot(self) -> None:
        self._snapshot = self.store.copy()
        self.kernel.after(_SNAPSHOT_EVERY_S * (0.5 + self.random.random()), self._take_snapshot)

    def _new_run_id(self) -> str:
        return f"{self.random.getrandbits(160):040x}"


@dataclass
class Script:
    """A registered script, as redis-py offers it."""

    client: SimulatedRedis
    model: Model

    def __call__(self, keys: Sequence[str], args: Sequence[str | int | float]) -> Awaitable[Any]:
        texts = [str(argument) for argument in args]
        server, model, who = self.client.server, self.model, self.client.who

        def run(store: Store) -> Any:
            answer = model(store, keys, texts)
            for watcher in server.watchers:
                watcher(who, model, keys, texts, answer)
            return answer

        return self.client.ask(run, writes=model.writes)


class Reads:
    """Several GETs in one question."""

    def __init__(self, client: SimulatedRedis) -> None:
        self.client = client
        self.keys: list[str] = []

    def get(self, key: str) -> None:
        self.keys.append(key)

    def execute(self, *, raise_on_error: bool) -> Awaitable[list[str | None]]:
        assert not raise_on_error
        return self.client.ask(lambda store: [store.get(key) for key in self.keys])


class SimulatedRedis:
    """The part of redis.asyncio.Redis that the adapters use, for one process."""

    def __init__(self, server: RedisServer, link: Link, who: str) -> None:
        self.server = server
        self.who = who
        self.link = link

    def register_script(self, text: str) -> Script:
        return Script(self, MODELS[text])

    def get(self, key: str) -> Awaitable[str | None]:
        return self.ask(lambda store: store.get(key))

    def pipeline(self, *, transaction: bool) -> Reads:
        assert not transaction
        return Reads(self)

    def hgetall(self, key: str) -> Awaitable[dict[str, str]]:
        return self.ask(lambda store: dict(store.hash(key)))

    def mset(self, values: Mapping[str, str]) -> Awaitable[bool]:
        def write(store: Store) -> bool:
            for key, value in values.items():
                store.set(key, value)
            return True

        return self.ask(write, writes=True)

    async def aclose(self) -> None:
        """Nothing to close."""

    def ask(self, command: Callable[[Store], Any], *, writes: bool = False) -> asyncio.Future[Any]:
        if not self.server.is_reachable:
            return self.link.refuse()
        return self.link.ask(lambda reply: self.server.receive(command, reply, writes=writes), TIMEOUT_S)
