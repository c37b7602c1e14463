"""The Python models of the Lua scripts behave as the scripts do on a real Redis: same answers, same keys afterwards.

Only the time and the server's run_id are put into the script's text, so that both sides run at the same millisecond and
the test can move the time. Expiry of keys is the real server's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
import redis as redis_py
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from controller.adapters.redis.record import NOW, record_of
from controller.adapters.redis.scripts import NAMES, script
from tests.support.examples import examples
from tests.virtual.mutants import mutated
from tests.virtual.scripts import MODELS
from tests.virtual.store import Store

_PREFIX = "{t}:"
LEASE, EPOCH, LEADER, CYCLES, HASH, OTHER, PAST, RECORDS = (
    _PREFIX + name for name in ("lease", "epoch", "leader", "cycles", "worker", "other", "past", "records")
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
"""All keys in one round trip: this is asked thousands of times."""
_NEARLY_MS = 400
"""How far apart two lives of a key may be, besides the real time that has passed since they were made the same. Below
any life that a key is given here."""

HOLDERS = st.sampled_from(["a", "b", "c"])
FIELDS = st.sampled_from(["memory", "revision", "run", "raised", "intent", "last_up", "count", "wants", "service"])
VALUES = st.sampled_from(["", "1", "7", "m1", "r1", "r2", NOW, f"{NOW}:3 {NOW}:4 17:5", "%d%1 of 100 %"])
SETS = st.lists(st.tuples(FIELDS, VALUES, st.booleans()), max_size=5)
VERSION = ("memory", "revision", "run", "raised")
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

    def both(self, name: str, keys: Sequence[str], args: Sequence[str]) -> Any:
        text = script(name)
        seconds, milliseconds = divmod(self.store.now, 1000)
        here = text.replace("redis.call('TIME')", f"{{'{seconds}', '{milliseconds * 1000}'}}")
        here = here.replace("redis.pcall('INFO', 'server')", f"'run_id:{self.store.run_id}'")
        assert "'TIME'" not in here
        assert "'INFO'" not in here
        real = _normal(name, self.real.eval(here, len(keys), *keys, *args))
        model = _normal(name, MODELS[text](self.store, keys, args))
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
        answer = self.both("acquire", [LEASE, EPOCH, LEADER], args)
        if answer[0] == "1":
            self.leases = [*self.leases[-2:], f"{answer[1]}:{holder}"]

    @rule(which=st.integers(0, 2), ttl=TTLS)
    def renew(self, *, which: int, ttl: str) -> None:
        self.both("renew", [LEASE, EPOCH, LEADER], [self.lease(which), ttl])

    @rule(which=st.integers(0, 2))
    def release(self, *, which: int) -> None:
        self.both("release", [LEASE, LEADER], [self.lease(which)])

    def lease(self, which: int) -> str:
        return self.leases[-1 - which % len(self.leases)]

    # The records

    @initialize(lead=st.booleans())
    def begin(self, *, lead: bool) -> None:
        if lead:
            self.acquire(holder="a", last="", ttl="15000", seen="0", of_nothing=True, patience="0")

    @rule(
        which=st.integers(0, 5),
        is_standby=st.booleans(),
        stale=st.integers(0, 19),
        deleted=st.lists(FIELDS, max_size=3),
        sets=SETS,
        service=st.sampled_from(["", "s1", "s2"]),
    )
    def write(
        self,
        *,
        which: int,
        is_standby: bool,
        stale: int,
        deleted: list[str],
        sets: list[tuple[str, str, bool]],
        service: str,
    ) -> None:
        """Mostly on the version that is there; otherwise one of its parts, or the server's run, is another."""
        known = [*(self.store.hget(HASH, name) or "" for name in VERSION), self.store.run_id]
        if stale < len(known):
            known[stale] += "x"
        lease = "" if is_standby else self.lease(which // 4)
        flat = [text for name, value, is_stamped in sets for text in (name, value, str(int(is_stamped)))]
        args = [lease, *known, service, f"record of {service}", str(len(deleted)), *deleted, *flat]
        self.both("write", [LEASE, HASH, RECORDS], args)

    @rule(
        which=st.integers(0, 5),
        cycles=st.dictionaries(st.sampled_from(["w", "v", "u"]), st.sampled_from(["{}", '{"a": 1}', "€" * 20])),
    )
    def publish(self, *, which: int, cycles: dict[str, str]) -> None:
        pairs = [text for pair in cycles.items() for text in pair]
        self.both("publish", [LEASE, LEADER, CYCLES], [self.lease(which), "86400000", *pairs])

    @rule(
        records=st.lists(st.sampled_from([HASH, OTHER]), max_size=3),
        most=st.sampled_from(["60", "61", "1000"]),
        in_all=st.sampled_from(["4", "12", "70", "1000"]),
    )
    def watch(self, *, records: list[str], most: str, in_all: str) -> None:
        self.both("watch", [LEADER, CYCLES, *records], [most, in_all])

    @rule(service=st.sampled_from(["", "s1", "s2"]))
    def find(self, *, service: str) -> None:
        self.both("find", [RECORDS, HASH], [service])

    @rule(record=st.sampled_from([HASH, HASH, OTHER]))
    def recall(self, *, record: str) -> None:
        self.both("recall", [record, PAST], [])

    @rule(score=st.integers(1, 3), member=st.sampled_from(["1:2:a", "2:3:b", "3:1:c"]))
    def version_before_recommends(self, *, score: int, member: str) -> None:
        self.real.zadd(PAST, {member: score})
        self.store.zadd(PAST, score, member)

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

    @rule(name=FIELDS)
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


def _normal(name: str, answer: Any) -> Any:
    """Numbers as text, hashes as such: their order is up to the server."""
    if not isinstance(answer, list):
        return str(answer)
    if name == "recall":
        now, server, record, past = answer
        return [now, server, record_of(record), past]
    if name == "write" and answer[0] == "ok":
        return [*answer[:3], record_of(answer[3])]
    if name == "watch":
        now, server, leader, cycles, records = answer
        return [now, server, _pairs(leader), _pairs(cycles), [record_of(one) for one in records]]
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


@pytest.mark.costly
@pytest.mark.parametrize("derandomize", [True, False], ids=["the same every time", "new ones every time"])
def test_every_model_does_what_its_script_does(redis_url: str, derandomize: bool) -> None:  # noqa: FBT001
    _compare(redis_url, max_examples=examples(10, 400), derandomize=derandomize)


@pytest.mark.costly
@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("renew brings it back", "renew"),
        ("no wait for the old lease", "acquire"),
        ("no fence on the intent", "write"),
        ("no version is compared", "write"),
        ("no run of the server is compared", "write"),
    ],
)
def test_a_model_that_is_not_true_is_noticed(redis_url: str, name: str, of: str) -> None:
    with mutated(name), pytest.raises(AssertionError, match=f"^{of}\n"):
        _compare(redis_url, max_examples=120, derandomize=True, phases=[Phase.generate])


def test_every_script_has_a_model() -> None:
    assert {script(name) for name in NAMES} == set(MODELS)
    assert {model.name for model in MODELS.values()} == set(NAMES)
