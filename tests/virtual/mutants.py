"""The controller with one guard removed, by name: the simulation (or a directed scenario) must notice each.

Guards in Python are removed from the production classes, those in Lua from the scripts' models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from controller.adapters.kubernetes import access
from controller.adapters.kubernetes import reading as kubernetes_reading
from controller.adapters.kubernetes.access import Credentials
from controller.adapters.kubernetes.client import KubernetesClient
from controller.adapters.kubernetes.platform import KubernetesPlatform
from controller.adapters.railway import reading
from controller.adapters.railway.platform import RailwayPlatform
from controller.adapters.railway.reading import Regions
from controller.adapters.redis import journal, record
from controller.adapters.redis import shadow as redis_shadow
from controller.adapters.redis.journal import RedisJournal
from controller.adapters.redis.record import NOW, Stored, Write, ms, write_of
from controller.adapters.redis.scripts import script
from controller.adapters.redis.shadow import Shadow
from controller.core import allowed as core_allowed
from controller.core import charging, history, plan, rules, schedule
from controller.core.allowed import Allowed, allowed
from controller.core.budget import Spent, charged
from controller.core.cap import Cap
from controller.core.history import Loss
from controller.core.model import Change, Decision, History, Lease, QueueDepth, Replicas
from controller.core.override import Override, Overrides
from controller.core.pools import Pool, Share, share_of
from controller.core.ports import NotSent, Outdated, Recalled, Receipt, Settled, Unavailable
from controller.core.reasons import Reason
from controller.loop import board, reconciler
from controller.loop.board import Board
from controller.loop.cycle import Account, Cycle, Outcome
from controller.loop.leadership import Leadership
from controller.loop.reconciler import Reconciler
from controller.loop.reload import Difference
from controller.policy import Budget, WorkerPolicy
from tests.support.sources import RAILWAY
from tests.virtual import scripts
from tests.virtual.scripts import MODELS, Args, Keys
from tests.virtual.store import Store

Mutant = Callable[[], AbstractContextManager[Any]]
_TAKEOVER_S = 11.0
"""Longer than a cycle takes."""
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
def _a_lease_is_trusted_three_windows_long() -> AbstractContextManager[Any]:
    def trusted(self: Any) -> Lease | None:
        until = self._valid_until + 2 * self._timing.window
        held: Lease | None = self._held if self._clock.monotonic() < until else None
        return held

    def may_act(self: Any, epoch: int) -> bool:
        lease = trusted(self)
        return lease is not None and lease.epoch == epoch

    return _both(
        lambda: patch.object(Leadership, "lease", property(trusted)),
        lambda: patch.object(Leadership, "may_act", may_act),
    )


@_mutant
def _renew_brings_it_back() -> AbstractContextManager[Any]:
    def renew(store: Store, keys: Keys, args: Args) -> Any:
        if store.get(keys[0]) is None:
            store.set(keys[0], args[0])
        return scripts.renew(store, keys, args)

    return _script(script("renew"), renew)


@_mutant
def _no_wait_for_the_old_lease() -> AbstractContextManager[Any]:
    """After the data were lost, or the lease alone."""

    def acquire(store: Store, keys: Keys, args: Args) -> Any:
        known = store.hash(keys[2]).get("holder") or "none"
        if "holder" not in store.hash(keys[2]):
            return scripts.acquire(store, keys, [*args[:4], "0", *args[5:]])
        return scripts.acquire(store, keys, [*args[:3], known, "0", *args[5:]])

    return _script(script("acquire"), acquire)


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

    return _script(script("acquire"), acquire)


@_mutant
def _an_endless_lease_stays() -> AbstractContextManager[Any]:
    def acquire(store: Store, keys: Keys, args: Args) -> Any:
        held = store.get(keys[0])
        if held is not None and not held.endswith(f":{args[0]}"):
            return [0, store.get(keys[1]) or "0", str(max(0, store.pttl(keys[0])))]
        return scripts.acquire(store, keys, args)

    return _script(script("acquire"), acquire)


# The intent


def _writing(changed: Callable[[Store, Keys, list[str]], Sequence[str]]) -> AbstractContextManager[Any]:
    """The compare-and-set with other arguments than it was given."""

    def write(store: Store, keys: Keys, args: Args) -> Any:
        return scripts.write(store, keys, changed(store, keys, list(args)))

    return _script(script("write"), write)


def _held_version(store: Store, keys: Keys) -> list[str]:
    held = store.hash(keys[1])
    return [held.get(field, "") for field in ("memory", "revision", "run", "raised")]


@_mutant
def _no_fence_on_the_intent() -> AbstractContextManager[Any]:
    """Neither the lease nor the memory that it was decided on is checked, and an open intent is overwritten."""

    def unguarded(store: Store, keys: Keys, args: list[str]) -> Sequence[str]:
        return args if "intent" not in args else ["", *_held_version(store, keys), store.run_id, *args[6:]]

    return _writing(unguarded)


@_mutant
def _no_version_is_compared() -> AbstractContextManager[Any]:
    return _writing(lambda store, keys, args: [args[0], *_held_version(store, keys), *args[5:]])


@_mutant
def _no_run_of_the_server_is_compared() -> AbstractContextManager[Any]:
    return _writing(lambda store, keys, args: [*args[:5], store.run_id, *args[6:]])


@_mutant
def _cooldowns_count_from_the_reading() -> AbstractContextManager[Any]:
    """And not from the platform's answer."""

    def of_the_reading(stored: Stored, after: History, now: float) -> Write:
        written = write_of(stored, after, now)
        values = {
            name: text.replace(NOW, str(ms(now))) if name in written.stamped else text
            for name, text in written.values.items()
        }
        return replace(written, values=values, stamped=frozenset())

    return _both(
        lambda: patch.object(journal, "write_of", of_the_reading),
        lambda: patch.object(Recalled, "now_at", lambda self, monotonic: self.now),
    )


@_mutant
def _intent_after_the_change() -> AbstractContextManager[Any]:
    async def send(self: Any, account: Account, planned: plan.Plan, *args: Any) -> Cycle:
        send, recalled, lease = args
        await self._ports.platform.scale(self.policy.target.key, send.change, send.replicas)
        written = await self._write(planned, recalled, lease)
        await self._confirm(send.change, written, lease, read=True)
        return account.close(Outcome.APPLIED, message="written down late")

    return patch.object(Reconciler, "_send", send)


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

    def impatient(self: Any, *args: Any, **more: Any) -> None:
        begin(self, *args, **more)
        self._landing_bound = 0.0

    return patch.object(Reconciler, "__init__", impatient)


@_mutant
def _what_is_settled_late_counts_from_before() -> AbstractContextManager[Any]:
    settled = history.settled

    def from_before(before: History, change: Change, outcome: Settled, *args: Any, **more: Any) -> History:
        after = settled(before, change, outcome, *args, **more)
        if outcome is not Settled.APPLIED:
            return after
        return replace(after, last_up=before.last_up, last_down=before.last_down)

    return patch.object(history, "settled", from_before)


@_mutant
def _draining_is_no_part_of_the_landing_bound() -> AbstractContextManager[Any]:
    return patch.object(plan, "_draining_s", lambda change, replicas: 0.0)


# The memory


def _recalling(changed: Callable[[RedisJournal, Recalled], Recalled]) -> AbstractContextManager[Any]:
    """Every history that the journal returns is another one."""
    recall, write = RedisJournal.recall, RedisJournal.write

    async def recall_otherwise(self: RedisJournal, worker: str) -> Recalled:
        return changed(self, await recall(self, worker))

    async def write_otherwise(
        self: RedisJournal, worker: str, recalled: Recalled, after: History, lease: Lease, *, now: float
    ) -> Recalled:
        written = await write(self, worker, recalled, after, lease, now=now)
        opened = after.change is not None and after.change != recalled.history.change
        if opened and after.change is not None:
            self.__dict__.setdefault("_mine", {})[f"last_{after.change.direction.value}"] = written.now
        return changed(self, written)

    return _both(
        lambda: patch.object(RedisJournal, "recall", recall_otherwise),
        lambda: patch.object(RedisJournal, "write", write_otherwise),
    )


@_mutant
def _cooldowns_from_memory() -> AbstractContextManager[Any]:
    """Of this process: what others did, or an earlier life, is not known."""

    def mine(self: RedisJournal, recalled: Recalled) -> Recalled:
        known = self.__dict__.setdefault("_mine", {})
        up, down = known.get("last_up"), known.get("last_down")
        return recalled._replace(
            history=replace(recalled.history, last_up=up, last_down=down, since=recalled.now - 1e6)
        )

    return _recalling(mine)


@_mutant
def _no_shadows() -> AbstractContextManager[Any]:
    return _both(
        lambda: patch.object(Shadow, "known", lambda self, now: None),
        lambda: patch.object(Shadow, "loss_of", lambda self, stored: Loss.SAME if stored.exists else Loss.EMPTIED),
    )


@_mutant
def _a_young_memory_is_trusted() -> AbstractContextManager[Any]:
    """Data lost, rolled back, restarted: the way down does not wait."""
    return _recalling(
        lambda _, recalled: recalled._replace(history=replace(recalled.history, since=recalled.now - 1e6))
    )


@_mutant
def _stamps_from_the_future_stay() -> AbstractContextManager[Any]:
    return patch.object(journal, "not_after", lambda history, now: history)


@_mutant
def _external_changes_go_unnoticed() -> AbstractContextManager[Any]:
    left = tuple(act for act in plan._ORDER if act is not plan._record_external_change)
    return patch.object(plan, "_ORDER", left)


# The readings


@_mutant
def _a_missing_reading_is_0() -> AbstractContextManager[Any]:
    planned = plan.plan

    def as_empty(seen: plan.Seen) -> plan.Plan:
        if isinstance(seen.queue, Unavailable) and isinstance(seen.replicas, Replicas):
            seen = replace(seen, queue=QueueDepth(0, 0))
        return planned(seen)

    return patch.object(reconciler, "plan", as_empty)


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


# Without a reading of the queue


@_mutant
def _one_failed_reading_is_an_outage() -> AbstractContextManager[Any]:
    return patch.object(plan, "_OUTAGE_READINGS", 1)


@_mutant
def _falls_back_at_the_first_failed_reading() -> AbstractContextManager[Any]:
    """However long ago the last one succeeded."""
    return patch.object(plan, "_unread_for", lambda after, now: 1e6 if after.unread else 0.0)


@_mutant
def _falls_back_to_max_replicas() -> AbstractContextManager[Any]:
    fall_back = rules.fall_back

    def to_the_most(policy: WorkerPolicy, *args: Any, **more: Any) -> Decision | None:
        rule = policy.on_unavailable
        most = rule and rule.model_copy(update={"at_least": policy.max_replicas})
        return fall_back(policy.model_copy(update={"on_unavailable": most}), *args, **more)

    return patch.object(plan, "fall_back", to_the_most)


@_mutant
def _a_fallback_removes_workers() -> AbstractContextManager[Any]:
    start = rules._add_none_that_crash

    def exactly(situation: Any, decision: Decision) -> Decision:
        if any(one.reason is Reason.FALLBACK for one in decision.because):
            decision = replace(decision, desired=decision.recommended)
        return start(situation, decision)

    return patch.object(rules, "_add_none_that_crash", exactly)


@_mutant
def _a_fallback_has_no_cooldown() -> AbstractContextManager[Any]:
    cool_down = rules._cool_down

    def at_once(situation: Any, decision: Decision) -> Decision:
        is_fallback = any(one.reason is Reason.FALLBACK for one in decision.because)
        return decision if is_fallback else cool_down(situation, decision)

    return patch.object(rules, "_cool_down", at_once)


@_mutant
def _no_step_is_limited() -> AbstractContextManager[Any]:
    return _both(
        lambda: patch.object(rules, "_limit_step", lambda situation, decision: decision),
        lambda: patch.object(rules, "_RULES", tuple(rule for rule in rules._RULES if rule[0] != "step limit")),
    )


# Overrides


@_mutant
def _overrides_are_ignored() -> AbstractContextManager[Any]:
    def without(policy: WorkerPolicy, overrides: Overrides, now: float, caps: Sequence[Cap] = ()) -> Allowed:
        return allowed(policy, Overrides(), now, caps)

    return patch.object(rules, "allowed", without)


@_mutant
def _an_override_never_ends_by_itself() -> AbstractContextManager[Any]:
    return patch.object(Override, "in_force", lambda self, now: self.ended_at is None)


@_mutant
def _a_command_does_not_change_the_version() -> AbstractContextManager[Any]:
    write = RedisJournal._compare_and_set

    async def unnoticed(self: Any, worker: str, stored: Stored, identity: Any, *rest: Any) -> Recalled:
        (changes, lease) = rest
        is_command = lease is None and "overrides" in changes.values
        return await write(self, worker, stored, {} if is_command else identity, changes, lease)

    return patch.object(RedisJournal, "_compare_and_set", unnoticed)


@_mutant
def _lost_overrides_stay_lost() -> AbstractContextManager[Any]:
    known = Shadow.known

    def forgetful(self: Shadow, now: float) -> Any:
        found = known(self, now)
        return found and replace(found, overrides=Overrides())

    return patch.object(Shadow, "known", forgetful)


# Two policies


@_mutant
def _replicas_correct_each_other_at_once() -> AbstractContextManager[Any]:
    return patch.object(rules, "_wait_for_a_turn", lambda situation, correction: correction)


@_mutant
def _who_asked_for_a_count_is_lost_with_redis() -> AbstractContextManager[Any]:
    known = Shadow.known

    def forgetful(self: Shadow, now: float) -> Any:
        found = known(self, now)
        return found and replace(found, scaled_within="")

    return patch.object(Shadow, "known", forgetful)


@_mutant
def _two_policies_are_not_told() -> AbstractContextManager[Any]:
    return patch.object(Difference, "is_news", lambda *_: False)


# Budgets


@_mutant
def _budgets_are_ignored() -> AbstractContextManager[Any]:
    return patch.object(core_allowed, "_capped", lambda here, caps: here)


@_mutant
def _each_leader_spends_anew() -> AbstractContextManager[Any]:
    def anew(
        before: Spent | None, budgets: Iterable[Budget], count: int | None, now: float, gap: float, **more: Any
    ) -> Spent:
        is_new = before is not None and now - before.at > _TAKEOVER_S
        return charged(None if is_new else before, budgets, count, now, gap, **more)

    return patch.object(charging, "charged", anew)


@_mutant
def _unseen_time_is_free() -> AbstractContextManager[Any]:
    def free(
        before: Spent | None, budgets: Iterable[Budget], count: int | None, now: float, gap: float, **more: Any
    ) -> Spent:
        seen = before and replace(before, at=max(before.at, now - gap))
        return charged(seen, budgets, count, now, gap, **more)

    return patch.object(charging, "charged", free)


@_mutant
def _the_spend_is_lost_with_redis() -> AbstractContextManager[Any]:
    known = Shadow.known

    def forgetful(self: Shadow, now: float) -> Any:
        found = known(self, now)
        return found and replace(found, spent=None)

    return patch.object(Shadow, "known", forgetful)


@_mutant
def _each_leader_tells_of_a_budget() -> AbstractContextManager[Any]:
    """The record does not remember that it was told."""
    read = record.history_of

    def forgetful(*fields: Any) -> History:
        found = read(*fields)
        return replace(found, spent=found.spent and replace(found.spent, told={}))

    return patch.object(redis_shadow, "history_of", forgetful)


# Pools


@_mutant
def _a_worker_has_its_pool_to_itself() -> AbstractContextManager[Any]:
    pool = Board.pool

    def alone(self: Board, worker: str) -> Pool | None:
        found = pool(self, worker)
        return found and replace(found, others=())

    return patch.object(Board, "pool", alone)


@_mutant
def _an_open_change_takes_no_room_of_its_pool() -> AbstractContextManager[Any]:
    return patch.object(board, "counted_now", lambda configured, change: configured)


@_mutant
def _a_worker_above_its_share_stays() -> AbstractContextManager[Any]:
    """Until its jobs are done, so another one with a higher priority never gets its room."""

    def as_it_is(pool: Pool, worker: str, counted: int, *rest: int) -> Share:
        found = share_of(pool, worker, counted, *rest)
        return replace(found, count=max(found.count, counted))

    return patch.object(plan, "share_of", as_it_is)


# Schedules


@_mutant
def _schedules_are_ignored() -> AbstractContextManager[Any]:
    def of_no_hour(policy: WorkerPolicy, overrides: Overrides, now: float, caps: Sequence[Cap] = ()) -> Allowed:
        return allowed(policy.model_copy(update={"schedules": ()}), overrides, now, caps)

    return _both(
        lambda: patch.object(rules, "allowed", of_no_hour),
        lambda: patch.object(plan, "allowed", of_no_hour),
    )


@_mutant
def _a_schedule_never_ends() -> AbstractContextManager[Any]:
    in_force, begun = schedule.in_force, dict[Any, schedule.Stretch]()

    def endless(schedules: Any, now: float) -> schedule.Stretch:
        found = in_force(schedules, now)
        return begun.setdefault(schedules, found) if found.place is not None else begun.get(schedules, found)

    return patch.object(core_allowed, "in_force", endless)


@_mutant
def _each_leader_tells_of_a_schedule() -> AbstractContextManager[Any]:
    """The record does not remember that it was told."""
    read = record.history_of

    def forgetful(*fields: Any) -> History:
        return replace(read(*fields), schedule="")

    return patch.object(redis_shadow, "history_of", forgetful)


# Regions


@_mutant
def _regions_are_lost_in_an_update() -> AbstractContextManager[Any]:
    """All replicas go to the first of them."""

    def in_one(total: int, regions: Mapping[str, int]) -> Regions:
        return {next(iter(regions)): total}

    return patch.object(reading, "spread", in_one)


@_mutant
def _each_region_gets_the_whole_count() -> AbstractContextManager[Any]:
    return patch.object(reading, "spread", lambda total, regions: dict.fromkeys(regions, total))


@_mutant
def _dropped_regions_are_not_named() -> AbstractContextManager[Any]:
    return patch.object(reading, "dropped", lambda *_: [])


@_mutant
def _a_move_that_waits_is_taken_back() -> AbstractContextManager[Any]:
    """An update names the regions of the deployment, and not those that are stored."""
    return patch.object(reading, "shape", lambda stored, deployed, deployment: deployed)


@_mutant
def _regions_are_not_read_before_a_change() -> AbstractContextManager[Any]:
    """But once, by each process."""
    read = RailwayPlatform.read_before_change

    async def once(self: Any, service: str) -> tuple[Replicas, reading.Stored]:
        known = self.__dict__.setdefault("_known_before", {})
        if service not in known:
            known[service] = await read(self, service)
        now, stored = known[service]
        return replace(now, configured=self._shown.get(service, now.configured)), stored

    return patch.object(RailwayPlatform, "read_before_change", once)


@_mutant
def _a_region_can_have_no_worker() -> AbstractContextManager[Any]:
    return patch.object(reading, "one_in_each", lambda regions: None)


# Kubernetes


@_mutant
def _no_resource_version_in_the_write() -> AbstractContextManager[Any]:
    send = KubernetesClient.patch

    async def unfenced(self: Any, path: str, body: dict[str, Any], change: Change) -> dict[str, Any]:
        return await send(self, path, {name: part for name, part in body.items() if name != "metadata"}, change)

    return patch.object(KubernetesClient, "patch", unfenced)


@_mutant
def _an_omitted_zero_is_one() -> AbstractContextManager[Any]:
    """As in a Deployment's own spec, where it is."""
    of_scale = kubernetes_reading.of_scale

    def as_in_a_spec(target: Any, found: Mapping[str, Any], pods: Any) -> Replicas:
        return of_scale(target, {**found, "spec": {"replicas": 1, **found["spec"]}}, pods)

    return patch.object(kubernetes_reading, "of_scale", as_in_a_spec)


@_mutant
def _a_conflict_is_sent_again() -> AbstractContextManager[Any]:
    """With the resourceVersion of a new reading, and the count of the old decision."""
    scale = KubernetesPlatform.scale

    async def stubborn(self: Any, service: str, change: Change, observed: Replicas) -> Receipt:
        try:
            return await scale(self, service, change, observed)
        except Outdated:
            found = (await self.observe([service]))[service]
            if isinstance(found, Unavailable):
                raise
            return await scale(self, service, change, found)

    return patch.object(KubernetesPlatform, "scale", stubborn)


@_mutant
def _an_expired_token_is_kept() -> AbstractContextManager[Any]:
    return _both(
        lambda: patch.object(Credentials, "expire", lambda self: None),
        lambda: patch.object(access, "_REREAD_S", 1e6),
    )


ON_KUBERNETES = frozenset(
    {
        "a conflict is sent again",
        "an expired token is kept",
        "an omitted zero is one",
        "no resource version in the write",
    }
)
"""Those that only its seeds can notice; the seeds on Railway are for all others."""
