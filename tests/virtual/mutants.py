"""The controller with one guard removed, by name: the simulation (or a directed scenario) must notice each.

Guards in Python are removed from the production classes, those in Lua from the scripts' models.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from controller.adapters.railway.platform import RailwayPlatform
from controller.adapters.redis import scripts as lua
from controller.adapters.redis.journal import RedisJournal
from controller.adapters.redis.shadow import Shadow
from controller.core.model import Decision, Intent, Lease, QueueDepth, Replicas
from controller.core.ports import NotSent, Recalled, Receipt, Unavailable
from controller.loop.leadership import Leadership
from controller.loop.reconciler import Reconciler
from tests.support.sources import POSTGRESQL, RAILWAY
from tests.virtual import scripts
from tests.virtual.scripts import MODELS, Args, Keys
from tests.virtual.store import Store

Mutant = Callable[[], AbstractContextManager[Any]]
MUTANTS: dict[str, Mutant] = {}


@contextmanager
def mutated(name: str | None) -> Iterator[None]:
    """Without this guard; None: with all guards."""
    with MUTANTS[name]() if name else nullcontext():
        yield


def _mutant(mutant: Mutant) -> Mutant:
    MUTANTS[mutant.__name__.strip("_").replace("_", " ")] = mutant
    return mutant


def _script(text: str, run: Callable[[Store, Keys, Args], Any]) -> AbstractContextManager[Any]:
    return patch.dict(MODELS, {text: MODELS[text]._replace(run=run)})


@contextmanager
def _both(*mutants: Mutant) -> Iterator[None]:
    with ExitStack() as stack:
        for mutant in mutants:
            stack.enter_context(mutant())
        yield


# Leading


@_mutant
def _trusts_an_expired_lease() -> AbstractContextManager[Any]:
    def ever_held(self: Any) -> Lease | None:
        held: Lease | None = self._held or self.__dict__.get("_once_held")
        self._once_held = held
        return held

    return _both(
        lambda: patch.object(Leadership, "lease", property(ever_held)),
        lambda: patch.object(Leadership, "may_act", lambda self, epoch: ever_held(self) is not None),
    )


@_mutant
def _renew_brings_it_back() -> AbstractContextManager[Any]:
    def renew(store: Store, keys: Keys, args: Args) -> Any:
        if store.get(keys[0]) is None:
            store.set(keys[0], args[0])
        return scripts.renew(store, keys, args)

    return _script(lua.RENEW, renew)


@_mutant
def _no_wait_for_the_old_lease() -> AbstractContextManager[Any]:
    """After the data were lost, or the lease alone."""

    def acquire(store: Store, keys: Keys, args: Args) -> Any:
        known = store.hash(keys[2]).get("holder") or "none"
        if "holder" not in store.hash(keys[2]):
            return scripts.acquire(store, keys, [*args[:4], "0", *args[5:]])
        return scripts.acquire(store, keys, [*args[:3], known, "0", *args[5:]])

    return _script(lua.ACQUIRE, acquire)


@_mutant
def _epochs_begin_anew() -> AbstractContextManager[Any]:
    def acquire(store: Store, keys: Keys, args: Args) -> Any:
        before, held = int(store.get(keys[1]) or 0), store.get(keys[0])
        answer = scripts.acquire(store, keys, args)
        if held is None and answer[0] == 1:
            epoch = str(before + 1)
            store.set(keys[1], epoch)
            store.set(keys[0], f"{epoch}:{args[0]}", px=int(args[1]))
            store.hset(keys[2], epoch=epoch)
            return [1, epoch, args[1]]
        return answer

    return _script(lua.ACQUIRE, acquire)


@_mutant
def _an_endless_lease_stays() -> AbstractContextManager[Any]:
    def acquire(store: Store, keys: Keys, args: Args) -> Any:
        held = store.get(keys[0])
        if held is not None and not held.endswith(f":{args[0]}"):
            return [0, store.get(keys[1]) or "0", str(max(0, store.pttl(keys[0])))]
        return scripts.acquire(store, keys, args)

    return _script(lua.ACQUIRE, acquire)


# The intent


def _unguarded(run: Callable[[Store, Keys, Args], Any]) -> Callable[[Store, Keys, Args], Any]:
    def without_guard(store: Store, keys: Keys, args: Args) -> Any:
        return run(store, keys, [store.get(keys[0]) or args[0], *args[1:]])

    return without_guard


@_mutant
def _no_fence_on_the_intent() -> AbstractContextManager[Any]:
    """Neither the lease nor the memory that it was decided on is checked, and an open intent is overwritten."""

    def record_intent(store: Store, keys: Keys, args: Args) -> Any:
        lease, hold = store.get(keys[0]), store.hash(keys[1])
        if lease is None:
            store.set(keys[0], args[0], px=1)
        store.hdel(keys[1], "intent")
        here = [hold.get("memory", ""), hold.get("revision", ""), store.run_id, hold.get("raised", "")]
        store.hset(keys[1], memory=here[0], revision=here[1], run=here[2])
        return scripts.record_intent(store, keys, [store.get(keys[0]) or "", *args[1:6], *here, *args[10:]])

    return _script(lua.RECORD_INTENT, record_intent)


@_mutant
def _intent_after_the_change() -> AbstractContextManager[Any]:
    async def record_intent(self: Any, decision: Decision, version: str, lease: Lease, _: str | None) -> Intent:
        intent = Intent(f"late-{version}", lease.epoch, decision.current, decision.desired, self._world.clock.wall())
        self._decision, self._version = decision, version
        return intent

    confirm = Reconciler._confirm

    async def confirm_late(self: Any, intent: Intent, lease: Lease, *, read: bool) -> str:
        journal = self._world.journal
        written = await journal.record_intent(self.worker, intent.id, self._decision, self._version, lease)
        return await confirm(self, written, lease, read=read)

    async def settle(self: Any, intent: Intent, *args: Any, **more: Any) -> Recalled:
        return await real_settle(self, intent, *args, **more)

    real_settle = Reconciler._settle
    return _both(
        lambda: patch.object(Reconciler, "_record_intent", record_intent),
        lambda: patch.object(Reconciler, "_confirm", confirm_late),
        lambda: patch.object(Reconciler, "_settle", settle),
    )


@_mutant
def _an_unknown_outcome_is_a_failure() -> AbstractContextManager[Any]:
    scale = RailwayPlatform.scale

    async def certain(self: Any, *args: Any) -> Receipt:
        try:
            return await scale(self, *args)
        except NotSent:
            raise
        except Unavailable as unknown:
            raise NotSent(RAILWAY, str(unknown)) from None

    return patch.object(RailwayPlatform, "scale", certain)


@_mutant
def _no_landing_bound() -> AbstractContextManager[Any]:
    begin = Reconciler.__init__

    def impatient(self: Any, *args: Any) -> None:
        begin(self, *args)
        self._landing_bound = 0.0

    return patch.object(Reconciler, "__init__", impatient)


@_mutant
def _what_is_settled_late_counts_from_before() -> AbstractContextManager[Any]:
    def settle(store: Store, keys: Keys, args: Args) -> Any:
        stamps = {name: store.hget(keys[1], name) for name in ("last_up", "last_down")}
        answer = scripts.settle(store, keys, args)
        if args[3] == "applied" and answer[0] == "ok":
            store.hset(keys[1], **{name: stamp for name, stamp in stamps.items() if stamp})
        return scripts._recall(store, keys) if answer[0] == "ok" else answer

    return _script(lua.SETTLE, settle)


@_mutant
def _draining_is_no_part_of_the_landing_bound() -> AbstractContextManager[Any]:
    close = Reconciler._close_intent

    async def at_once(self: Any, intent: Intent, recalled: Recalled, replicas: Replicas, lease: Lease) -> Any:
        return await close(self, intent, recalled, replace(replicas, draining_s=0.0), lease)

    return patch.object(Reconciler, "_close_intent", at_once)


# The memory


@_mutant
def _cooldowns_from_memory() -> AbstractContextManager[Any]:
    """Of this process: what others did, or an earlier life, is not known."""
    run = RedisJournal._run

    async def forgetful(self: Any, name: str, worker: str, args: Sequence[str | int]) -> Recalled:
        recalled = await run(self, name, worker, args)
        mine = self.__dict__.setdefault("_mine", {})
        if name == "RECORD_INTENT":
            mine["last_up" if args[5] == "up" else "last_down"] = recalled.now
        history = replace(
            recalled.history, last_up=mine.get("last_up"), last_down=mine.get("last_down"), since=recalled.now - 1e6
        )
        return recalled._replace(history=history)

    return patch.object(RedisJournal, "_run", forgetful)


@_mutant
def _no_shadows() -> AbstractContextManager[Any]:
    return patch.object(Shadow, "evidence", lambda self, now: ["", "0", *[""] * 10])


@_mutant
def _a_young_memory_is_trusted() -> AbstractContextManager[Any]:
    """Data lost, rolled back, restarted: the way down does not wait."""
    run = RedisJournal._run

    async def trusting(self: Any, name: str, worker: str, args: Sequence[str | int]) -> Recalled:
        recalled = await run(self, name, worker, args)
        return recalled._replace(history=replace(recalled.history, since=recalled.now - 1e6))

    return patch.object(RedisJournal, "_run", trusting)


@_mutant
def _stamps_from_the_future_stay() -> AbstractContextManager[Any]:
    def remember(store: Store, keys: Keys, args: Args) -> Any:
        ahead = {
            name: value for name, value in store.hash(keys[1]).items() if name in {"last_up", "last_down", "since"}
        }
        ahead = {name: value for name, value in ahead.items() if int(value) > store.now}
        answer = scripts.remember(store, keys, args)
        if answer[0] == "ok" and ahead:
            store.hset(keys[1], **ahead)
            return scripts._recall(store, keys)
        return answer

    return _script(lua.REMEMBER, remember)


@_mutant
def _external_changes_go_unnoticed() -> AbstractContextManager[Any]:
    async def unseen(self: Any, recalled: Recalled, replicas: Replicas, lease: Lease) -> Recalled:
        return recalled

    return patch.object(Reconciler, "_notice_external_change", unseen)


# The readings


@_mutant
def _a_missing_reading_is_0() -> AbstractContextManager[Any]:
    async def look(self: Any, account: Any, reading: Replicas | Unavailable) -> Any:
        queue = self._world.queue
        try:
            return await real(self, account, reading)
        except Unavailable as unavailable:
            if unavailable.source is not POSTGRESQL or isinstance(reading, Unavailable):
                raise
        empty = type("Empty", (), {"depth": staticmethod(_nothing)})()
        self._world = replace(self._world, queue=empty)
        try:
            return await real(self, account, reading)
        finally:
            self._world = replace(self._world, queue=queue)

    real = Reconciler._look
    return patch.object(Reconciler, "_look", look)


async def _nothing(*_: Any) -> QueueDepth:
    await asyncio.sleep(0)
    return QueueDepth(0, 0)


@_mutant
def _acts_on_an_old_reading() -> AbstractContextManager[Any]:
    """If Railway cannot be read, the count of the last reading is used."""
    observe = RailwayPlatform.observe

    async def remembered(self: Any, services: Any) -> Mapping[str, Replicas | Unavailable]:
        known = self.__dict__.setdefault("_known", {})
        try:
            found = await observe(self, services)
        except Unavailable:
            if not known:
                raise
            return dict(known)
        known.update({name: one for name, one in found.items() if isinstance(one, Replicas)})
        return found

    return patch.object(RailwayPlatform, "observe", remembered)


@_mutant
def _asks_for_what_is_there() -> AbstractContextManager[Any]:
    return patch.object(Decision, "changes_something", property(lambda self: True))
