"""Directed scenarios: each fault at its worst moment, in the simulated world.

Cooldowns 30 s up and 120 s down, a lease of 15 s, a landing bound of 60 s, a cycle every 10 s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import pytest

from tests.support.examples import some
from tests.support.misfortunes import Fate, LinkMode, Move
from tests.support.record import Change
from tests.support.verdict import violations
from tests.virtual.railway import REGION, REGIONS
from tests.virtual.redis import EPOCH_S
from tests.virtual.scripts import Model
from tests.virtual.world import KEYS, WORKER, Process, SimulatedWorld, policy_of, simulated_world

DEPLOYED_AT_S = 45.0


@dataclass
class Stage:
    """Two replicas, one leads; two workers run, and 20 jobs want two."""

    world: SimulatedWorld

    @property
    def leader(self) -> Process:
        leader = self.world.leader
        assert leader is not None, "no replica leads"
        return leader

    @property
    def standby(self) -> Process:
        return next(process for process in self.world.alive if process is not self.leader)

    @property
    def ours(self) -> list[Change]:
        names = {process.name for process in self.world.processes}
        return [change for change in self.world.platform.changes if change.by in names]

    @property
    def counts(self) -> list[int]:
        return [change.after for change in self.ours]

    def until(self, happened: Callable[[], object], *, within: float = 200.0) -> float:
        """The time when it happened: nothing else has happened since."""
        end = self.world.kernel.now + within
        while not happened():
            assert self.world.kernel.now < end, "it never happened"
            self.world.kernel.run_to_the_next()
        return self.world.kernel.now

    def until_taken_over(self) -> float:
        terms = len(self.world.record.acquired)
        return self.until(lambda: len(self.world.record.acquired) > terms)

    def burst(self, depth: int = 80) -> None:
        """From now on the queue wants four workers; returns when a leader is about to ask for them."""
        granted = len(self.world.record.granted)
        self.world.postgres.swing(depth)
        self.until(lambda: len(self.world.record.granted) > granted)

    def judge(self) -> None:
        self.world.heal()
        assert violations(self.world.conclude()) == [], "\n".join(self.world.trace.lines())


def stage(seed: int = 1, *, replicas: int = 2, **worker: object) -> AbstractContextManager[Stage]:
    @contextmanager
    def staged() -> Iterator[Stage]:
        with simulated_world(seed, policy_of(**worker), replicas=replicas) as world:
            world.platform.change_by_hand(2)
            world.postgres.swing(20)
            world.keep_running()
            world.run_for(DEPLOYED_AT_S)
            yield Stage(world)

    return staged()


@pytest.mark.costly
def test_a_killed_leader_is_followed_within_the_life_of_its_lease() -> None:
    taken = []
    for seed in some(range(20), every=3):
        with stage(seed) as scene:
            scene.world.run_for(seed * 0.37)
            scene.world.kill(scene.leader)
            killed = scene.world.kernel.now
            taken.append(scene.until_taken_over() - killed)
            scene.judge()
    assert min(taken) > 9
    assert max(taken) < 15.5


def test_a_leader_that_is_told_to_end_is_followed_within_seconds() -> None:
    with stage() as scene:
        scene.world.terminate(scene.leader)
        told = scene.world.kernel.now
        assert scene.until_taken_over() - told < 2.5
        scene.judge()


@pytest.mark.parametrize("moment", ["after the intent", "after the change", "after the answer"])
@pytest.mark.parametrize("blow", ["killed", "paused for 40 s"])
def test_whatever_moment_the_leader_goes_at_there_is_one_scale_up(moment: str, blow: str) -> None:
    with stage() as scene:
        world, leader = scene.world, scene.leader
        scene.burst()
        if moment != "after the intent":
            scene.until(lambda: scene.ours)
        if moment == "after the answer":
            world.run_for(0.35)
        if blow == "killed":
            world.kill(leader)
        else:
            world.pause(leader, 40.0)
        world.run_for(110)
        assert scene.counts == [4]
        if moment == "after the intent" and blow == "killed":
            assert scene.ours[0].by != leader.name
        scene.judge()


def test_a_change_whose_answer_is_lost_is_seen_and_not_made_again() -> None:
    with stage() as scene:
        scene.world.railway.have_bad_mutations(Fate.LOST_ANSWER, 60)
        scene.burst()
        scene.world.run_for(100)
        assert scene.counts == [4]
        assert len(scene.world.record.sent) == 1
        scene.judge()


def test_a_change_that_lands_at_the_end_of_its_bound_is_followed_by_none_within_its_cooldown() -> None:
    """Redis is emptied in between: the standby remembers the intent, and the leader is killed."""
    with stage() as scene:
        world, leader = scene.world, scene.leader
        world.railway.have_bad_mutations(Fate.LATE, 20)
        scene.burst()
        world.run_for(4.5)
        world.redis.flush()
        world.kill(leader)
        world.run_for(100)
        scene.judge()


@pytest.mark.parametrize("with_data", ["stale", "none"])
def test_redis_comes_back_without_the_last_scale_and_the_processes_remember_it(with_data: str) -> None:
    with stage() as scene:
        world = scene.world
        scene.burst(45)
        world.run_for(8)
        assert scene.counts == [3]
        world.redis.stop()
        world.run_for(1)
        world.redis.start(with_data)
        scene.burst(600)
        assert world.kernel.now - scene.ours[0].at >= 30
        scene.judge()


def test_a_change_that_lands_late_is_followed_by_the_next_a_cooldown_after_it_landed() -> None:
    with stage() as scene:
        world = scene.world
        world.railway.have_bad_mutations(Fate.LATE, 12)
        scene.burst(45)
        scene.until(lambda: scene.ours)
        scene.burst(600)
        world.run_for(1)
        first, second = scene.ours
        assert second.at - first.at >= 30
        scene.judge()


def test_while_a_change_may_still_land_nothing_else_is_asked_for() -> None:
    with stage() as scene:
        scene.world.railway.have_bad_mutations(Fate.HANG, 12)
        scene.burst(45)
        scene.world.postgres.swing(600)
        granted = len(scene.world.record.granted)
        scene.world.run_for(59)
        assert len(scene.world.record.granted) == granted
        scene.judge()


def test_a_successor_keeps_the_cooldown_of_its_predecessor() -> None:
    with stage() as scene:
        scene.burst(45)
        scene.world.run_for(5)
        scene.world.kill(scene.leader)
        scene.world.keep_running()
        scene.burst(600)
        scene.world.run_for(1)
        first, second = scene.ours
        assert second.at - first.at >= 30
        scene.judge()


def test_redis_is_emptied_and_no_replica_remembers_and_the_way_down_waits() -> None:
    with stage() as scene:
        world = scene.world
        scene.burst(45)
        world.run_for(5)
        for process in world.alive:
            world.kill(process)
        world.redis.flush()
        world.keep_running()
        world.postgres.swing(0)
        scene.until(lambda: len(scene.ours) == 2)
        assert scene.ours[1].at - scene.ours[0].at >= 120
        scene.judge()


def test_a_lost_lease_is_waited_for_by_its_successor() -> None:
    """The leader cannot reach Redis. The count is far too high, which is corrected at once by the leader."""
    with stage() as scene:
        leader = scene.leader
        scene.burst(45)
        scene.world.run_for(11)  # it has landed, and its leader has seen it
        scene.world.railway.change_by_hand(7)
        scene.world.run_for(3)
        leader.links["redis"].way = LinkMode.DROP
        scene.world.redis.lose(":lease")
        scene.world.run_for(60)
        scene.judge()


def test_a_lease_without_an_end_locks_no_replica_out() -> None:
    with stage() as scene:
        world = scene.world
        world.kill(scene.leader)
        world.redis.persist(":lease")
        scene.until(lambda: world.leader is not None, within=40)
        scene.judge()


@pytest.mark.costly
def test_a_renewal_that_arrives_late_brings_no_lease_back() -> None:
    for seed in range(6):
        with stage(seed) as scene:
            world, leader, standby = scene.world, scene.leader, scene.standby
            world.kill(standby)
            leader.links["redis"].way, leader.links["redis"].held_s = LinkMode.HOLD, 40.0
            world.run_for(2)
            world.kill(leader)
            world.run_for(40)
            world.redis.store.now = world.redis.milliseconds
            assert world.redis.store.get(KEYS.lease) is None
            world.keep_running()
            scene.judge()


def test_an_intent_is_for_the_holder_of_the_lease_in_redis() -> None:
    """It is lost between the two scripts of one cycle."""
    with stage() as scene:
        world = scene.world

        def lose(who: str, model: Model, keys: object, args: object, answer: object) -> None:
            if model.name == "recall":
                world.redis.lose(":lease")

        world.redis.watchers.append(lose)
        world.postgres.swing(80)
        world.run_for(11)
        world.redis.watchers.remove(lose)
        assert scene.counts == []
        scene.judge()


def test_nothing_is_done_on_a_reading_of_railway_that_is_missing() -> None:
    with stage() as scene:
        # Not of the one right before a change, which would keep it back by itself.
        scene.world.railway.have_bad_reads(Fate.NO_DATA, 100, of="EnvironmentState")
        scene.world.postgres.swing(600)
        scene.world.run_for(95)
        assert scene.counts == []
        scene.judge()


def test_redis_is_emptied_right_after_a_scale_and_the_leader_dies() -> None:
    with stage() as scene:
        world, leader = scene.world, scene.leader
        scene.burst(45)
        world.run_for(3)
        world.redis.flush()
        world.kill(leader)
        scene.burst(600)
        world.run_for(1)
        first, second = scene.ours
        assert second.at - first.at >= 30
        scene.judge()


def test_the_clock_of_redis_is_set_back_with_an_intent_open_and_nothing_stalls() -> None:
    with stage() as scene:
        world = scene.world
        world.railway.have_bad_mutations(Fate.NOT_HONOURED, 15)
        scene.burst()
        world.run_for(5)
        world.redis.step_clock(-300)
        scene.until(lambda: world.railway.asked == 4, within=60 + 30 + 40)
        scene.judge()


def test_the_clock_of_redis_is_set_back_with_an_intent_open_and_its_leader_dies_and_nothing_stalls() -> None:
    with stage() as scene:
        world = scene.world
        world.railway.have_bad_mutations(Fate.NOT_HONOURED, 15)
        scene.burst()
        world.run_for(5)
        world.redis.step_clock(-300)
        world.kill(scene.leader)
        world.keep_running()
        scene.until(lambda: world.railway.asked == 4, within=15 + 15 + 60 + 30 + 40)
        scene.judge()


def test_the_clock_of_redis_leaps_right_after_a_scale_and_the_processes_keep_the_cooldown() -> None:
    with stage() as scene:
        world = scene.world
        scene.burst(45)
        world.run_for(5)
        world.redis.step_clock(300)
        scene.burst(600)
        world.run_for(1)
        first, second = scene.ours
        assert second.at - first.at >= 30
        scene.judge()


def test_the_clock_of_redis_is_set_back_right_after_a_scale_and_the_cooldown_ends_all_the_same() -> None:
    with stage() as scene:
        world = scene.world
        scene.burst(45)
        world.run_for(5)
        world.redis.step_clock(-300)
        world.postgres.swing(600)
        scene.until(lambda: world.railway.asked == 5, within=30 + 30 + 20)
        scene.judge()


def test_a_leader_told_to_end_with_a_change_in_flight_finishes_it_first() -> None:
    with stage() as scene:
        world, leader = scene.world, scene.leader
        scene.burst()
        world.terminate(leader)
        world.run_for(3)
        assert scene.counts == [4]
        assert not leader.is_alive
        world.run_for(60)
        assert scene.counts == [4]
        scene.judge()


def test_an_acquire_whose_answer_is_lost_leaves_no_orphan() -> None:
    with stage() as scene:
        world, standby = scene.world, scene.standby
        standby.links["redis"].way = LinkMode.HALF_DROP
        world.kill(scene.leader)
        scene.until_taken_over()
        standby.links["redis"].way = LinkMode.OPEN
        scene.until(lambda: standby.leadership.lease is not None, within=4)
        scene.judge()


@pytest.mark.costly
def test_a_database_that_is_down_changes_nothing() -> None:
    with stage() as scene:
        scene.world.postgres.is_down = True
        scene.world.postgres.swing(0)
        scene.world.run_for(600)
        assert scene.counts == []
        scene.judge()


def test_an_external_change_starts_the_cooldowns() -> None:
    with stage() as scene:
        world = scene.world
        world.run_for(130)
        world.railway.change_by_hand(4)
        by_hand = world.kernel.now
        scene.until(lambda: scene.ours)
        assert 120 <= scene.ours[0].at - by_hand < 140
        scene.judge()


def test_an_isolated_leader_steps_down_before_another_leads() -> None:
    with stage() as scene:
        world, leader = scene.world, scene.leader
        for link in leader.links.values():
            link.way = LinkMode.DROP
        terms = len(world.record.acquired)
        gone = scene.until(lambda: leader.leadership.lease is None)
        taken = scene.until(lambda: len(world.record.acquired) > terms)
        assert gone < taken
        scene.judge()


def test_replicas_that_all_start_at_once_have_one_leader() -> None:
    with stage(replicas=3) as scene:
        for process in scene.world.alive:
            scene.world.kill(process)
        scene.world.keep_running()
        scene.world.run_for(20)
        assert sum(process.leadership.lease is not None for process in scene.world.alive) == 1
        scene.judge()


def test_a_stop_of_workers_that_drain_is_waited_for() -> None:
    """Railway shows the stop only after they have finished their jobs, which takes longer than the landing bound."""
    with stage() as s:
        s.world.railway.let_drain(90)
        s.world.postgres.swing(0)
        s.until(lambda: s.counts == [0], within=200)
        s.until(lambda: s.world.railway.shown == 0, within=200)
        assert not [entry for entry in s.world.trace.entries if "not_honoured" in entry.detail]
        s.judge()
        assert s.counts == [0]


def test_what_another_process_gives_back_between_the_reading_and_the_writing_counts() -> None:
    """Redis has lost the last scale, a standby gives it back: the cooldown holds, although it was read without it."""
    with stage() as scene:
        world = scene.world

        def give_back(who: str, model: Model, keys: Sequence[str], args: object, answer: object) -> None:
            if model.name == "recall" and scene.world.postgres.depth == 80:
                world.redis.watchers.remove(give_back)
                world.redis.store.hset(keys[0], last_up=str(world.redis.milliseconds), raised="1")

        world.redis.watchers.append(give_back)
        world.postgres.swing(80)
        world.run_for(11)
        assert scene.counts == []
        scene.judge()


def test_a_failover_of_redis_between_the_reading_and_the_writing_makes_the_way_down_wait() -> None:
    """The new server may have lost data; it shows the same ones, and only its run_id tells."""
    with stage() as scene:
        world = scene.world
        world.run_for(130)

        def fail_over(who: str, model: Model, keys: object, args: object, answer: object) -> None:
            if model.name == "recall" and scene.world.postgres.depth == 0:
                world.redis.watchers.remove(fail_over)
                world.redis.store.run_id = "another"

        world.redis.watchers.append(fail_over)
        world.postgres.swing(0)
        world.run_for(60)
        assert scene.counts == []
        scene.judge()


def test_a_cooldown_counts_from_the_answer_and_not_from_the_reading_before_it() -> None:
    with stage() as scene:
        world = scene.world
        scene.burst(45)
        scene.leader.links["railway"].usual_s = 1.0
        decided = world.kernel.now
        scene.until(lambda: world.redis.store.hash(KEYS.worker(WORKER)).get("intent_accepted") == "1")
        answered = world.kernel.now
        assert answered - decided > 0.5
        assert int(world.redis.store.hash(KEYS.worker(WORKER))["last_up"]) / 1000 - EPOCH_S > answered - 0.1
        scene.judge()


@pytest.mark.costly
@pytest.mark.parametrize(("at_least", "counts"), [(5, [5]), (2, []), (1, [])], ids=["more", "as many", "fewer"])
def test_without_a_reading_of_the_queue_workers_are_added_up_to_at_least_and_none_is_removed(
    at_least: int, counts: list[int]
) -> None:
    with stage(on_unavailable={"after": "60s", "at_least": at_least}) as scene:
        world, read_at = scene.world, scene.world.record.noted[-1].at
        world.postgres.failing = 1.0
        world.run_for(300)
        assert scene.counts == counts
        assert all(change.at - read_at >= 60 for change in scene.ours)
        scene.judge()


@pytest.mark.costly
def test_a_fallback_waits_for_the_cooldown() -> None:
    with stage(interval="5s", on_unavailable={"after": "5s", "at_least": 5}) as scene:
        world = scene.world
        scene.burst()
        scene.until(lambda: scene.ours)
        world.postgres.failing = 1.0
        scene.until(lambda: len(scene.ours) == 2)
        assert scene.counts == [4, 5]
        assert scene.ours[1].at - scene.ours[0].at >= 30
        scene.judge()


def test_one_failed_reading_after_a_long_silence_is_no_outage() -> None:
    """Redis was away, so no reading could be written down; the queue itself could be read all the time but once."""
    with stage(on_unavailable={"after": "30s", "at_least": 5}) as scene:
        world = scene.world
        world.redis.stand_still()
        world.run_for(60)
        world.postgres.failing = 1.0
        world.redis.go_on()
        terms = len(world.record.acquired)
        scene.until(lambda: len(world.record.acquired) > terms)
        scene.until(lambda: not world.record.noted[-1].succeeded)
        world.run_for(5)
        world.postgres.failing = 0.0
        world.run_for(30)
        assert scene.counts == []
        scene.judge()


@pytest.mark.parametrize("move", Move)
def test_an_update_keeps_the_regions_that_the_workers_were_moved_to_since_the_cycle_began(move: Move) -> None:
    with stage() as scene:
        world = scene.world
        scene.burst()
        world.railway.move(REGIONS[1:], move, waits_s=40)
        world.run_for(200)
        assert set(world.railway.regions) == set(REGIONS[1:])
        assert world.railway.asked == 4
        scene.judge()


def test_a_move_that_waits_for_its_deployment_is_not_taken_back() -> None:
    with stage() as scene:
        world = scene.world
        world.railway.move(REGIONS[1:2], Move.WAITING, waits_s=100)
        world.run_for(30)
        scene.burst()
        world.run_for(50)
        assert (world.railway.regions, world.railway.stored) == ({REGION: 2}, {REGIONS[1]: 4})
        world.run_for(60)
        assert world.railway.regions == {REGIONS[1]: 4}
        scene.judge()


def test_a_move_that_waits_is_made_by_the_next_update_where_railway_does_so() -> None:
    with stage() as scene:
        world = scene.world
        world.railway.an_update_moves = True
        world.railway.move(REGIONS[1:2], Move.WAITING, waits_s=300)
        world.run_for(30)
        scene.burst()
        world.run_for(50)
        assert world.railway.regions == world.railway.stored == {REGIONS[1]: 4}
        scene.judge()


@pytest.mark.costly
@pytest.mark.parametrize(("depth", "count"), [(5, 3), (0, 0)], ids=["one wanted", "none wanted"])
def test_workers_in_three_regions_are_three_or_none(depth: int, count: int) -> None:
    with stage(scale_down={"max_step": 1}) as scene:
        world = scene.world
        world.railway.move(REGIONS, Move.AT_ONCE)
        world.postgres.swing(depth)
        world.run_for(400)
        assert world.railway.asked == count
        scene.judge()


def test_a_stopped_service_in_three_regions_starts_with_one_in_each() -> None:
    with stage() as scene:
        world = scene.world
        world.railway.change_by_hand(0)
        world.railway.move(REGIONS, Move.AT_ONCE)
        world.postgres.swing(0)
        world.run_for(60)
        world.postgres.swing(5)
        world.run_for(100)
        assert world.railway.running == 3
        scene.judge()


def test_an_update_that_lands_after_a_move_is_corrected_and_the_regions_are_those_of_the_move() -> None:
    """Railway cannot refuse it: it asks for 4 in the old region, beside the 2 in the new one."""
    with stage() as scene:
        world = scene.world
        world.railway.keeps_omitted_regions = True
        world.railway.have_bad_mutations(Fate.LATE, 30)
        scene.burst(600)
        scene.until(lambda: world.railway.under_way)
        world.railway.move(REGIONS[1:2], Move.AT_ONCE)
        scene.until(lambda: scene.ours)
        assert world.railway.asked == 7
        world.run_for(200)
        assert world.railway.asked == 5
        scene.judge()
