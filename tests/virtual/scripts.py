"""Each Lua script of the adapters as a Python model over a Store; `test_scripts_are_true.py` compares them.

Under the scripts' names. None of them knows the journal's rules: these are Python, and run here as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from controller.adapters.redis.scripts import script
from tests.virtual.store import Store

Keys = Sequence[str]
Args = Sequence[str]


class Model(NamedTuple):
    name: str
    run: Callable[[Store, Keys, Args], Any]
    writes: bool

    def __call__(self, store: Store, keys: Keys, args: Args) -> Any:
        return self.run(store, keys, args)


def acquire(store: Store, keys: Keys, args: Args) -> Any:
    now, ttl = store.now, int(args[1])
    current, epoch = store.get(keys[0]), int(store.get(keys[1]) or 0)
    known = store.hash(keys[2])
    theirs = int(known.get("ttl") or ttl)
    if current is not None:
        held, _, holder = current.partition(":")
        if holder == args[0]:
            store.hset(keys[2], until=str(now + ttl))
            store.pexpire(keys[0], ttl)
            return [1, held, args[1]]
        left = store.pttl(keys[0])
        if left < 0 or left > theirs:
            left = theirs
            store.pexpire(keys[0], left)
        return [0, str(epoch), str(left)]
    left = 0
    if "holder" in known and known["holder"] != args[3] and known.get("released") != "1":
        left = min(theirs, int(known.get("until") or 0) - now)
    released = known.get("released") == "1" and int(known.get("epoch") or 0) >= int(args[2])
    if not released:
        left = max(left, int(args[4]))
    if left > 0:
        if "holder" in known:
            store.hset(keys[2], until=str(now + left))
        return [0, str(epoch), str(left)]
    process = store.run_id
    if (epoch == 0 or known.get("run") != process) and args[5] != "1":
        return ["empty"]
    least = 0 if epoch > 0 and known.get("run") == process else now // 1000
    raised = str(max(epoch + 1, int(args[2]) + 1, least))
    store.set(keys[1], raised)
    store.hset(
        keys[2],
        holder=args[0],
        epoch=raised,
        since=str(now),
        ttl=args[1],
        released="0",
        run=process,
        until=str(now + ttl),
    )
    store.set(keys[0], f"{raised}:{args[0]}", px=ttl)
    return [1, raised, args[1]]


def renew(store: Store, keys: Keys, args: Args) -> Any:
    if store.get(keys[0]) != args[0]:
        return 0
    epoch, _, holder = args[0].partition(":")
    if int(store.get(keys[1]) or 0) < int(epoch):
        store.set(keys[1], epoch)
    store.hsetnx(keys[2], "since", str(store.now))
    until = str(store.now + int(args[1]))
    told = {"holder": holder, "epoch": epoch, "ttl": args[1], "released": "0", "run": store.run_id, "until": until}
    store.hset(keys[2], **told)
    return store.pexpire(keys[0], int(args[1]))


def release(store: Store, keys: Keys, args: Args) -> Any:
    if store.get(keys[0]) != args[0]:
        return 0
    store.hset(keys[1], until=str(store.now), released="1")
    return store.delete(keys[0])


def find(store: Store, keys: Keys, args: Args) -> Any:
    return [store.hget(keys[0], args[0]) or "", store.hget(keys[1], "service") or ""]


def recall(store: Store, keys: Keys, args: Args) -> Any:
    return [str(store.now), store.run_id, _record(store, keys[0]), store.members(keys[1])]


def write(store: Store, keys: Keys, args: Args) -> Any:
    """The one compare-and-set; what is in it is the adapter's own Python."""
    lease, *version, server, service, name, deleted = args[:9]
    if lease and store.get(keys[0]) != lease:
        return ["lost"]
    held = store.hash(keys[1])
    if [held.get(field, "") for field in ("memory", "revision", "run", "raised")] != version or store.run_id != server:
        return ["changed"]
    first = 9 + int(deleted)
    store.hdel(keys[1], *args[9:first])
    for field, value, is_stamped in zip(args[first::3], args[first + 1 :: 3], args[first + 2 :: 3], strict=True):
        store.hset(keys[1], **{field: value.replace("@", str(store.now)) if is_stamped == "1" else value})
    if service:
        store.hsetnx(keys[2], service, name)
    return ["ok", str(store.now), store.run_id, _record(store, keys[1])]


def publish(store: Store, keys: Keys, args: Args) -> Any:
    if store.get(keys[0]) != args[0]:
        return ["lost"]
    store.delete(keys[2])
    for worker, cycle in zip(args[2::2], args[3::2], strict=True):
        store.hset(keys[2], **{worker: cycle})
    store.pexpire(keys[2], int(args[1]))
    store.hset(keys[1], published=str(store.now))
    return ["ok"]


def watch(store: Store, keys: Keys, args: Args) -> Any:
    """What was published, without what no leader would publish."""
    flat: list[str] = []
    used = 0
    for name, text in store.hash(keys[1]).items():
        size = len((name + text).encode())
        if size <= int(args[0]) and used + size <= int(args[1]):
            used += size
            flat += [name, text]
    return [str(store.now), store.run_id, _flat(store, keys[0]), flat, [_record(store, key) for key in keys[2:]]]


def _record(store: Store, key: str) -> str:
    return json.dumps(_flat(store, key))


def _flat(store: Store, key: str) -> list[str]:
    return [text for pair in store.hash(key).items() for text in pair]


MODELS: dict[str, Model] = {
    script(name): Model(name, run, writes=writes)
    for name, run, writes in (
        ("acquire", acquire, True),
        ("find", find, False),
        ("publish", publish, True),
        ("recall", recall, False),
        ("release", release, True),
        ("renew", renew, True),
        ("watch", watch, False),
        ("write", write, True),
    )
}
"""By the text of the script."""
