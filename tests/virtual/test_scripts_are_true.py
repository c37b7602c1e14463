"""The Python models of the Lua scripts behave as the scripts do on a real Redis: same answers, same keys afterwards.

Only the time and the server's run_id are put into the script's text, so that both sides run at the same millisecond and
the test can move the time. Expiry of keys is the real server's.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

import pytest
import redis as redis_py
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from controller.adapters.redis import scripts as lua
from tests.support.examples import examples
from tests.virtual.mutants import mutated
from tests.virtual.scripts import MODELS
from tests.virtual.store import Store

_PREFIX = "{t}:"
LEASE, EPOCH, LEADER, CYCLES, HASH, PAST, RECORDS = (
    _PREFIX + name for name in ("lease", "epoch", "leader", "cycles", "worker", "past", "records")
)
_EVERYTHING = """
local found = {}
for number, key in ipairs(redis.call('KEYS', '*')) do
    local kind, value = redis.call('TYPE', key).ok, nil
    if kind == 'string' then
        value = redis.call('GET', key)
    elseif kind == 'hash' then
        value = redis.call('HGETALL', key)
    else
        value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    end
    found[number] = {key, kind, value, redis.call('PTTL', key)}
end
return found
"""
"""In one question: this is asked thousands of times."""
_NEARLY_MS = 400
"""How far apart two lives of a key may be, besides the real time that has passed since they were made the same. Below
any life that a key is given here."""

HOLDERS = st.sampled_from(["a", "b", "c"])
IDS = st.sampled_from(["i1", "i2", "i3"])
AGES = st.sampled_from(["", "0", "3000", "31000", "100000"])
COUNTS = st.sampled_from(["0", "1", "2", "5"])
TTLS = st.sampled_from(["15000", "5000"])
STEPS = st.sampled_from([500, 5_000, 15_000, 60_000, 300_000])


class SameAsTheServer(RuleBasedStateMachine):
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.real = redis_py.Redis.from_url(self.url, decode_responses=True)
        self.real.flushdb()
        self.look = self.real.register_script(_EVERYTHING)
        self.store = Store("r1", now=1_790_000_000_123)
        self.leases = ["5:a"]
        self.followed_at = time.monotonic()
        self.held_up = False

    def teardown(self) -> None:
        self.real.close()

    def both(self, text: str, keys: Sequence[str], args: Sequence[str]) -> Any:
        seconds, milliseconds = divmod(self.store.now, 1000)
        here = text.replace("redis.call('TIME')", f"{{'{seconds}', '{milliseconds * 1000}'}}")
        here = here.replace("redis.pcall('INFO', 'server')", f"'run_id:{self.store.run_id}'")
        assert "TIME" not in here
        assert "INFO" not in here
        real = _normal(self.real.eval(here, len(keys), *keys, *args))
        model = _normal(MODELS[text](self.store, keys, args))
        name = MODELS[text].name
        if self.is_held_up():
            return model
        if name == "acquire" and real[0] == model[0] == "0":
            assert abs(int(real[2]) - int(model[2])) < self.nearly_ms
            real, model = real[:2], model[:2]
        assert real == model, name
        return real

    # The lease

    @rule(
        holder=HOLDERS,
        last=HOLDERS,
        ttl=TTLS,
        seen=st.sampled_from(["0", "5", "2000000000"]),
        of_nothing=st.booleans(),
        patience=st.sampled_from(["0", "0", "7000"]),
    )
    def acquire(self, *, holder: str, last: str, ttl: str, seen: str, of_nothing: bool, patience: str) -> None:
        args = [holder, ttl, seen, last, patience, str(int(of_nothing))]
        answer = self.both(lua.ACQUIRE, [LEASE, EPOCH, LEADER], args)
        if answer[0] == "1":
            self.leases = [*self.leases[-2:], f"{answer[1]}:{holder}"]

    @rule(which=st.integers(0, 2), ttl=TTLS)
    def renew(self, *, which: int, ttl: str) -> None:
        self.both(lua.RENEW, [LEASE, EPOCH, LEADER], [self.lease(which), ttl])

    @rule(which=st.integers(0, 2))
    def release(self, *, which: int) -> None:
        self.both(lua.RELEASE, [LEASE, LEADER], [self.lease(which)])

    def lease(self, which: int) -> str:
        return self.leases[-1 - which % len(self.leases)]

    # The memory

    @initialize(lead=st.booleans())
    def begin(self, *, lead: bool) -> None:
        if lead:
            self.acquire(holder="a", last="", ttl="15000", seen="0", of_nothing=True, patience="0")

    @rule(
        which=st.integers(0, 5),
        wanted=st.just("") | COUNTS,
        count=st.just("") | COUNTS,
        window=st.sampled_from(["0", "60000"]),
        working=st.booleans(),
        fresh=st.booleans(),
        behind=st.integers(-1, 2),
        up=AGES,
        down=AGES,
        intent=st.none() | IDS,
        age=st.sampled_from(["0", "20000"]),
        stops=st.sampled_from(["", "i1:d1"]),
        running=st.just("") | COUNTS,
        read=st.booleans(),
        service=st.sampled_from(["", "s1", "s2"]),
        queue=st.sampled_from(["", "q1"]),
    )
    def remember(
        self,
        *,
        which: int,
        wanted: str,
        count: str,
        window: str,
        working: bool,
        fresh: bool,
        behind: int,
        up: str,
        down: str,
        intent: str | None,
        age: str,
        stops: str,
        running: str,
        read: bool,
        service: str,
        queue: str,
    ) -> None:
        memory, revision = self.store.hget(HASH, "memory"), int(self.store.hget(HASH, "revision") or 0)
        known = ["", "0", "", "", ""] if fresh else [memory or "m0", str(max(0, revision + behind)), up, down, count]
        open_intent = [intent, "5", "1", "2", age, "0", stops] if intent and not fresh else [""] * 7
        args = [self.lease(which // 4), wanted, count, window, "31000", f"m{len(self.leases)}", str(int(working))]
        seen = [running, str(int(read)), service, "record", f"name of {service}", queue]
        self.both(lua.REMEMBER, [LEASE, HASH, PAST, RECORDS], [*args, *known, *open_intent, *seen])

    @rule(
        which=st.integers(0, 5),
        ident=IDS,
        after=COUNTS,
        direction=st.sampled_from(["up", "down"]),
        stale=st.integers(0, 7),
        stops=st.sampled_from(["", "d1"]),
    )
    def record_intent(self, *, which: int, ident: str, after: str, direction: str, stale: int, stops: str) -> None:
        hold = self.store.hash(HASH)
        version = [hold.get("memory", ""), hold.get("revision", ""), hold.get("run", ""), hold.get("raised", "")]
        if stale < 4:
            version[stale] = "1"
        args = [self.lease(which // 4), ident, "5", "1", after, direction, *version, stops]
        self.both(lua.RECORD_INTENT, [LEASE, HASH, PAST], args)

    @rule(which=st.integers(0, 5), ident=IDS, direction=st.sampled_from(["up", "down"]))
    def accept(self, *, which: int, ident: str, direction: str) -> None:
        self.both(lua.ACCEPT, [LEASE, HASH, PAST], [self.lease(which // 4), self.likely(ident), direction])

    @rule(
        which=st.integers(0, 5),
        ident=IDS,
        direction=st.sampled_from(["up", "down"]),
        outcome=st.sampled_from(["applied", "not honoured", "never sent", "refused"]),
        count=COUNTS,
        unseen=st.sampled_from(["", "d1"]),
        running=st.just("") | COUNTS,
    )
    def settle(
        self, *, which: int, ident: str, direction: str, outcome: str, count: str, unseen: str, running: str
    ) -> None:
        args = [self.lease(which // 4), self.likely(ident), direction, outcome, count, unseen, running]
        self.both(lua.SETTLE, [LEASE, HASH, PAST], args)

    def likely(self, ident: str) -> str:
        """An intent, mostly the open one."""
        return ident if ident == "i3" else self.store.hget(HASH, "intent") or ident

    @rule(which=st.integers(0, 5), count=COUNTS)
    def record_external_change(self, *, which: int, count: str) -> None:
        self.both(lua.RECORD_EXTERNAL_CHANGE, [LEASE, HASH, PAST], [self.lease(which // 4), count])

    @rule(which=st.integers(0, 5), text=st.sampled_from(["{}", '{"short":1}']))
    def keep_watch(self, *, which: int, text: str) -> None:
        self.both(lua.KEEP_WATCH, [LEASE, HASH], [self.lease(which // 4), text])

    @rule(which=st.integers(0, 5), cycle=st.sampled_from(["{}", '{"a": 1}', "€" * 20_000]))
    def publish(self, *, which: int, cycle: str) -> None:
        self.both(lua.PUBLISH, [LEASE, LEADER, CYCLES], [self.lease(which // 4), "86400000", "w", cycle])

    @rule(
        behind=st.integers(-1, 2), up=AGES, down=AGES, same=st.booleans(), intent=st.booleans(), count=COUNTS, age=AGES
    )
    def watch(self, *, behind: int, up: str, down: str, same: bool, intent: bool, count: str, age: str) -> None:
        hold = self.store.hash(HASH)
        revision = str(max(0, int(hold.get("revision", "0")) + behind))
        known = ["known", "5", "1", "3", age or "7", "1", "known:d1"] if intent else [""] * 7
        args = [
            "s1" if same else "",
            "record",
            hold.get("memory", "m") if same else "m9",
            revision,
            up,
            down,
            count,
            *known,
        ]
        self.both(lua.WATCH, [LEADER, CYCLES, RECORDS, HASH], args)

    @rule(service=st.sampled_from(["", "s1", "s2"]))
    def find(self, *, service: str) -> None:
        self.both(lua.FIND, [RECORDS, HASH], [service])

    @rule()
    def recall(self) -> None:
        self.both(lua.RECALL, [LEASE, HASH, PAST], [])

    # The world

    @rule(milliseconds=STEPS)
    def time_passes(self, *, milliseconds: int) -> None:
        self.store.now += milliseconds
        self.let_the_server_follow()

    @rule(milliseconds=STEPS)
    def the_clock_is_set_back(self, *, milliseconds: int) -> None:
        self.store.now -= milliseconds
        self.store.ends = {key: end - milliseconds for key, end in self.store.ends.items()}

    @rule(number=st.integers(1, 3))
    def the_server_restarts(self, *, number: int) -> None:
        self.store.run_id = f"r{number}"

    @rule(key=st.sampled_from([LEASE, LEASE, EPOCH, LEADER, HASH, PAST]))
    def a_key_is_lost(self, *, key: str) -> None:
        self.real.delete(key)
        self.store.delete(key)

    @rule(
        name=st.sampled_from(
            ["memory", "count", "since", "intent_previous", "last_up", "revision", "start_up", "start_seen"]
        )
    )
    def a_field_is_lost(self, *, name: str) -> None:
        self.real.hdel(HASH, name)
        self.store.hdel(HASH, name)

    @rule()
    def the_lease_is_made_endless(self) -> None:
        self.real.persist(LEASE)
        self.store.ends.pop(LEASE, None)

    @rule(often=st.integers(0, 7))
    def everything_is_lost(self, *, often: int) -> None:
        if not often:
            self.real.flushdb()
            self.store.data.clear()
            self.store.ends.clear()

    @invariant()
    def the_keys_are_the_same(self) -> None:
        for key in list(self.store.data):
            self.store.value(key)
        held = {key: (_plain(kind, value), life) for key, kind, value, life in self.look()}
        if self.is_held_up():
            return
        assert {key: value for key, (value, _) in held.items()} == self.store.data
        for key, (_, real) in held.items():
            model = self.store.pttl(key)
            assert (real == -1) == (model == -1), key
            assert abs(real - model) < self.nearly_ms, key
        self.let_the_server_follow()

    def is_held_up(self) -> bool:
        """Whether the machine was busy for so long that a key may have run out: from then on nothing can be compared.

        The example goes on by the model alone, since hypothesis has to see the same one each time.
        """
        self.held_up = self.held_up or time.monotonic() - self.followed_at >= _NEARLY_MS / 1000
        return self.held_up

    @property
    def nearly_ms(self) -> float:
        return _NEARLY_MS + 1000 * (time.monotonic() - self.followed_at)

    def let_the_server_follow(self) -> None:
        """The expiries have just been compared; from here they follow the test's time, not the real one."""
        self.followed_at = time.monotonic()
        if not self.store.ends:
            return
        with self.real.pipeline(transaction=False) as at_once:
            for key in list(self.store.ends):
                left = self.store.pttl(key)
                if left == -2:
                    at_once.delete(key)
                else:
                    at_once.pexpire(key, left)
            at_once.execute()


def _plain(kind: str, value: Any) -> Any:
    if kind == "zset":
        return {member: float(score) for member, score in _pairs(value).items()}
    return _pairs(value) if kind == "hash" else value


def _normal(answer: Any) -> Any:
    """Numbers as text, hashes as such: their order is up to the server."""
    if not isinstance(answer, list):
        return str(answer)
    if len(answer) == 4 and answer[0] == "ok":
        return [answer[0], answer[1], _pairs(answer[2]), answer[3]]
    if len(answer) == 4 and isinstance(answer[3], list):
        return [answer[0], _pairs(answer[1]), _pairs(answer[2]), [_pairs(one) for one in answer[3]]]
    return [str(part) for part in answer]


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _compare(url: str, **options: Any) -> None:
    machine = type("OnThisServer", (SameAsTheServer,), {"url": url})
    chosen = settings(
        stateful_step_count=40,
        suppress_health_check=list(HealthCheck),
        database=None,
        report_multiple_bugs=False,
        **options,
    )
    run_state_machine_as_test(machine, settings=chosen)


@pytest.mark.parametrize("derandomize", [True, False], ids=["the same every time", "new ones every time"])
def test_every_model_does_what_its_script_does(redis_url: str, derandomize: bool) -> None:  # noqa: FBT001
    _compare(redis_url, max_examples=examples(15, 400), derandomize=derandomize)


@pytest.mark.parametrize("name", ["renew brings it back", "no wait for the old lease", "no fence on the intent"])
def test_a_model_that_is_not_true_is_noticed(redis_url: str, name: str) -> None:
    with mutated(name), pytest.raises(AssertionError):
        _compare(redis_url, max_examples=120, derandomize=True, phases=[Phase.generate])


def test_every_script_has_a_model() -> None:
    texts = {
        value for name, value in vars(lua).items() if re.fullmatch("[A-Z][A-Z_]+", name) and "redis.call" in str(value)
    }
    assert texts == set(MODELS)
