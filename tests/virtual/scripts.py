"""Each Lua script of the adapters as a Python model over a Store; `test_scripts_are_true.py` compares them.

In the order of the scripts and under their names, so that a change of one leads to the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from controller.adapters.redis import scripts as lua
from controller.core.text import bounds
from tests.virtual.store import Store

Keys = Sequence[str]
Args = Sequence[str]

_INTENT = (
    *("intent", "intent_epoch", "intent_before", "intent_after", "intent_at", "intent_accepted"),
    *("intent_previous", "intent_stops"),
)
_START = ("start_at", "start_before", "start_after", "start_seen")


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


def watch(store: Store, keys: Keys, args: Args) -> Any:
    hashes = []
    for index, key in enumerate(keys[3:]):
        _give_back(store, keys[2], key, args[14 * index : 14 * index + 14])
        hashes.append(_flat(store, key))
    return [str(store.now), _flat(store, keys[0]), _shown(store, keys[1]), hashes]


def _shown(store: Store, key: str) -> list[str]:
    """What was published, without what no leader would publish."""
    flat: list[str] = []
    used = 0
    for name, text in store.hash(key).items():
        size = len((name + text).encode())
        if size <= bounds.PUBLISHED and used + size <= bounds.ALL_PUBLISHED:
            used += size
            flat += [name, text]
    return flat


def _give_back(store: Store, records: str, key: str, known: Args) -> None:
    service, record, memory, revision, up, down, count, intent, epoch, before, after, age, accepted, stops = known
    held = dict(store.hash(key))
    emptied = "memory" not in held
    rolled_back = held.get("memory") == memory and int(revision) > int(held.get("revision") or 0)
    if _is_news(store, key, memory, revision):
        _raise(store, key, "last_up", up)
        _raise(store, key, "last_down", down)
    if memory and service:
        store.hsetnx(records, service, record)
    if not memory or not (emptied or rolled_back):
        return
    if count and (rolled_back or "count" not in held):
        store.hset(key, count=count)
    if intent and (rolled_back or "intent" not in held):
        at = str(store.now - int(age))
        store.hset(key, intent=intent, intent_epoch=epoch, intent_before=before, intent_after=after, intent_at=at)
        store.hset(key, intent_accepted=accepted, intent_previous="=", **({"intent_stops": stops} if stops else {}))
    if rolled_back:
        store.hset(key, since=str(store.now), revision=str(int(revision) + 1))


def find(store: Store, keys: Keys, args: Args) -> Any:
    return [store.hget(keys[0], args[0]) or "", store.hget(keys[1], "service") or ""]


def recall(store: Store, keys: Keys, args: Args) -> Any:
    answer = _recall(store, keys)
    if answer[2] and store.hget(keys[1], "run") != store.run_id:
        answer[2] += ["since", str(store.now), "run", store.run_id]
    return answer


def _recall(store: Store, keys: Keys) -> Any:
    return ["ok", str(store.now), _flat(store, keys[1]), store.members(keys[2])]


def remember(store: Store, keys: Keys, args: Args) -> Any:  # noqa: C901, PLR0912  # as the script itself
    if store.get(keys[0]) != args[0]:
        return ["lost"]
    memory = _Memory(store, keys[1])
    now, stamp = store.now, str(store.now)
    known, process = memory.get("memory"), store.run_id
    news = _is_news(store, keys[1], args[7], args[8])
    rolled_back = known == args[7] and int(args[8]) > memory.number("revision")
    for field in (
        *("last_up", "last_down", "since", "unbroken_since", "recommended_at", "intent_at", "refused_at"),
        *("read_at", "unread_at"),
    ):
        if memory.number(field) > now:
            memory.write(**{field: stamp})
    emptied = known is None
    if emptied:
        memory.write(memory=args[5], since=stamp, run=process)
    if emptied or rolled_back:
        memory.write(since=stamp)
        if args[7]:
            store.hset(keys[1], revision=str(max(memory.number("revision"), int(args[8])) + 1))
            if args[11]:
                memory.write(count=args[11])
            if args[12]:
                memory.write(
                    intent=args[12],
                    intent_epoch=args[13],
                    intent_before=args[14],
                    intent_after=args[15],
                    intent_at=str(now - int(args[16])),
                    intent_accepted=args[17],
                )
                if args[18]:
                    memory.write(intent_stops=args[18])
            elif rolled_back:
                store.hdel(keys[1], *_INTENT)
    elif memory.get("run") != process:
        memory.write(run=process, since=stamp)
    if news:
        _raise(store, keys[1], "last_up", args[9])
        _raise(store, keys[1], "last_down", args[10])
    if args[12] and memory.get("intent") == args[12]:
        _raise(store, keys[1], "intent_at", args[16])
        if memory.get("intent_previous") is None:
            memory.write(intent_previous="=")
    if memory.get("since") is None:
        memory.write(since=stamp)
    if args[2] and memory.get("count") is None:
        memory.write(count=args[2])
    if args[6] == "1" and memory.get("unseen_stop") is not None:
        store.hdel(keys[1], "unseen_stop")
    if args[2] and args[19]:
        _time_start(memory, int(args[2]), int(args[19]), int(args[4]))
    if args[21]:
        store.hset(keys[1], service=args[21], name=args[23])
        store.hsetnx(keys[3], args[21], args[22])
    if args[24]:
        store.hset(keys[1], queue_seen=args[24])
    _note_reading(store, keys, args, memory)
    if args[1]:
        _note_recommendation(store, keys, args, memory)
    return _recall(store, keys)


def _time_start(memory: _Memory, count: int, running: int, gap: float) -> None:
    began, seen, now = memory.number("start_at"), memory.number("start_seen"), memory.store.now
    if not began:
        return
    before, after, took = memory.number("start_before"), memory.number("start_after"), now - began
    if took < 0 or took >= 600_000 or now - max(began, seen) > gap or count not in {before, after}:
        memory.store.hdel(memory.key, *_START)
    elif count != after or running < after:
        memory.store.hset(memory.key, start_seen=str(now))
    else:
        if seen:
            old = memory.get("start_up")
            new = took if old is None else 0.7 * float(old) + 0.3 * took
            memory.store.hset(memory.key, start_up=f"{new:.0f}")
        memory.store.hdel(memory.key, *_START)


def _note_reading(store: Store, keys: Keys, args: Args, memory: _Memory) -> None:
    if args[20] != "1":
        last, read_at = memory.number("unread_at"), max(memory.number("recommended_at"), memory.number("read_at"))
        goes_on = last > read_at and store.now - last <= int(args[4])
        store.hset(keys[1], unread=str(memory.number("unread") + 1) if goes_on else "1", unread_at=str(store.now))
    elif not args[1]:
        store.hset(keys[1], read_at=str(store.now))


def _note_recommendation(store: Store, keys: Keys, args: Args, memory: _Memory) -> None:
    now, window, gap = store.now, int(args[3]), int(args[4])
    if now - memory.number("recommended_at") > gap or window > memory.number("window"):
        store.hset(keys[1], unbroken_since=str(now))
    store.hset(keys[1], recommended_at=str(now), window=args[3])
    store.zremrangebyscore(keys[2], above=now)
    store.zremrangebyscore(keys[2], below=now - window - gap)
    if window > 0:
        store.zadd(keys[2], now, f"{now}:{args[1]}:{args[5]}")
        store.pexpire(keys[2], 2 * (window + gap))


def record_intent(store: Store, keys: Keys, args: Args) -> Any:
    if store.get(keys[0]) != args[0]:
        return ["lost"]
    memory = _Memory(store, keys[1])
    if memory.get("intent") != args[1]:
        here = (memory.get("memory"), memory.get("revision"), memory.get("run"), memory.get("raised") or "")
        if here != tuple(args[6:10]) or store.run_id != args[8] or memory.get("intent") is not None:
            return ["changed"]
        stamp, field = str(store.now), f"last_{args[5]}"
        previous = memory.get(field) or ""
        intent = dict(zip(_INTENT, (args[1], args[2], args[3], args[4], stamp, "0", previous), strict=False))
        memory.write(**intent, **{field: stamp})
        store.hdel(keys[1], "intent_stops", *_START)
        if args[10]:
            store.hset(keys[1], intent_stops=f"{args[1]}:{args[10]}")
    return _recall(store, keys)


def accept(store: Store, keys: Keys, args: Args) -> Any:
    if store.get(keys[0]) != args[0]:
        return ["lost"]
    memory = _Memory(store, keys[1])
    if memory.get("intent") == args[1]:
        memory.write(intent_accepted="1", **{f"last_{args[2]}": str(store.now)})
        store.hdel(keys[1], *_START)
        if args[2] == "up":
            before, after = memory.get("intent_before") or "", memory.get("intent_after") or ""
            store.hset(keys[1], start_at=str(store.now), start_before=before, start_after=after)
    return _recall(store, keys)


def settle(store: Store, keys: Keys, args: Args) -> Any:  # noqa: C901  # as the script itself
    if store.get(keys[0]) != args[0]:
        return ["lost"]
    memory, stamp = _Memory(store, keys[1]), str(store.now)
    if memory.get("intent") == args[1]:
        field, outcome = f"last_{args[2]}", args[3]
        memory.write(count=args[4])
        accepted = memory.get("intent_accepted") == "1"
        if outcome in {"never sent", "refused"}:
            previous = memory.get("intent_previous")
            if previous == "":
                store.hdel(keys[1], field)
            elif previous is not None and previous != "=":
                memory.write(**{field: previous})
        elif outcome == "not honoured" or not accepted:
            memory.write(**{field: stamp})
        if outcome == "refused" or (outcome == "not honoured" and accepted):
            setbacks = str(memory.number("setbacks") + 1)
            memory.write(refused_at=stamp, refused_to=memory.get("intent_after") or "", setbacks=setbacks)
        elif outcome == "applied":
            store.hdel(keys[1], "refused_at", "refused_to", "setbacks")
        if args[5]:
            memory.write(unseen_stop=args[5])
        if args[6]:
            _time_start(memory, int(args[4]), int(args[6]), math.inf)
        store.hdel(keys[1], *_INTENT)
    return _recall(store, keys)


def record_external_change(store: Store, keys: Keys, args: Args) -> Any:
    if store.get(keys[0]) != args[0]:
        return ["lost"]
    stamp = str(store.now)
    store.hdel(keys[1], *_START)
    _Memory(store, keys[1]).write(last_up=stamp, last_down=stamp, count=args[1])
    return _recall(store, keys)


def keep_watch(store: Store, keys: Keys, args: Args) -> Any:
    if store.get(keys[0]) != args[0]:
        return ["lost"]
    if store.hget(keys[1], "memory") is not None:
        store.hset(keys[1], watch=args[1])
    return ["ok"]


def publish(store: Store, keys: Keys, args: Args) -> Any:
    if store.get(keys[0]) != args[0]:
        return ["lost"]
    store.delete(keys[2])
    for worker, cycle in zip(args[2::2], args[3::2], strict=True):
        store.hset(keys[2], **{worker: cycle})
    store.pexpire(keys[2], int(args[1]))
    store.hset(keys[1], published=str(store.now))
    return ["ok"]


class _Memory(NamedTuple):
    """The scripts' own small functions over a worker's hash."""

    store: Store
    key: str

    def get(self, field: str) -> str | None:
        return self.store.hget(self.key, field)

    def number(self, field: str) -> int:
        return int(self.get(field) or 0)

    def write(self, **fields: str) -> None:
        self.store.hset(self.key, revision=str(self.number("revision") + 1), **fields)


def _is_news(store: Store, key: str, memory: str, revision: str) -> bool:
    return store.hget(key, "memory") != memory or int(store.hget(key, "revision") or 0) <= int(revision)


def _raise(store: Store, key: str, field: str, age: str) -> None:
    if age == "":
        return
    at = store.now - int(age)
    if at > int(store.hget(key, field) or 0) + 50:
        store.hset(key, **{field: str(at)})
        store.hset(key, raised=str(int(store.hget(key, "raised") or 0) + 1))


def _flat(store: Store, key: str) -> list[str]:
    return [text for pair in store.hash(key).items() for text in pair]


MODELS: dict[str, Model] = {
    lua.ACQUIRE: Model("acquire", acquire, writes=True),
    lua.RENEW: Model("renew", renew, writes=True),
    lua.RELEASE: Model("release", release, writes=True),
    lua.WATCH: Model("watch", watch, writes=True),
    lua.FIND: Model("find", find, writes=False),
    lua.RECALL: Model("recall", recall, writes=False),
    lua.REMEMBER: Model("remember", remember, writes=True),
    lua.RECORD_INTENT: Model("record_intent", record_intent, writes=True),
    lua.ACCEPT: Model("accept", accept, writes=True),
    lua.SETTLE: Model("settle", settle, writes=True),
    lua.RECORD_EXTERNAL_CHANGE: Model("charge", record_external_change, writes=True),
    lua.KEEP_WATCH: Model("keep_watch", keep_watch, writes=True),
    lua.PUBLISH: Model("publish", publish, writes=True),
}
