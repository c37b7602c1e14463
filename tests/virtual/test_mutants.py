"""Without any one guard, some seeds or a directed scenario fail; otherwise the tests would prove nothing about it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.virtual import test_budgets as budgets
from tests.virtual import test_operators as operators
from tests.virtual import test_policies as policies
from tests.virtual import test_pools as pools
from tests.virtual import test_scenarios as scenarios
from tests.virtual import test_schedules as schedules
from tests.virtual.kubernetes import Kubernetes
from tests.virtual.mutants import MUTANTS, ON_KUBERNETES, mutated
from tests.virtual.railway import Railway
from tests.virtual.seeds import run_with
from tests.virtual.test_operators import restart_redis
from tests.virtual.world import WORKER

_MOST_SEEDS = 30

KILLERS: dict[str, Callable[..., None]] = {
    "a fallback has no cooldown": scenarios.test_a_fallback_waits_for_the_cooldown,
    "a fallback removes workers": partial(
        scenarios.test_without_a_reading_of_the_queue_workers_are_added_up_to_at_least_and_none_is_removed, 1, []
    ),
    "a lease is trusted three windows long": scenarios.test_an_isolated_leader_steps_down_before_another_leads,
    "a missing reading is 0": scenarios.test_a_database_that_is_down_changes_nothing,
    "a move that waits is taken back": scenarios.test_a_move_that_waits_for_its_deployment_is_not_taken_back,
    "a region can have no worker": scenarios.test_a_stopped_service_in_three_regions_starts_with_one_in_each,
    "a young memory is trusted": scenarios.test_redis_is_emptied_and_no_replica_remembers_and_the_way_down_waits,
    "a command does not change the version": operators.test_a_command_changes_the_version_of_the_record,
    "replicas correct each other at once": policies.test_replicas_that_agree_on_no_count_scale_only_by_the_cooldowns,
    "who asked for a count is lost with redis": partial(
        policies.test_after_redis_was_emptied_the_survivor_knows_who_scaled, "none"
    ),
    "two policies are not told": policies.test_two_policies_are_told_after_a_minute_once_and_anew_after_they_agreed,
    "budgets are ignored": budgets.test_max_falls_in_steps_and_each_is_told_once,
    "each leader spends anew": partial(budgets.test_the_spend_outlives, lambda scene: scene.world.kill(scene.leader)),
    "unseen time is free": budgets.test_time_in_which_no_replica_runs_is_charged,
    "the spend is lost with redis": partial(
        budgets.test_the_spend_outlives, lambda scene: restart_redis(scene, "none")
    ),
    "each leader tells of a budget": partial(
        budgets.test_the_spend_outlives, lambda scene: scene.world.kill(scene.leader)
    ),
    "a worker has its pool to itself": pools.test_workers_of_one_priority_share_the_total,
    "an open change takes no room of its pool": partial(
        pools.test_a_change_whose_answer_was_lost_keeps_its_room_for_the_next_leader, WORKER
    ),
    "a worker above its share stays": pools.test_a_higher_priority_gets_its_room_back_from_the_other,
    "an override never ends by itself": operators.test_a_paused_worker_stays_until_the_pause_is_over,
    "a schedule never ends": (
        schedules.test_the_count_follows_min_of_the_hour_within_one_cycle_and_what_begins_and_ends_is_told
    ),
    "each leader tells of a schedule": partial(
        schedules.test_a_schedule_that_is_on_is_told_once_and_holds_for_the_next_leader,
        lambda scene: scene.world.kill(scene.leader),
    ),
    "lost overrides stay lost": partial(
        operators.test_a_held_count_outlives, lambda scene: operators.restart_redis(scene, "none")
    ),
    "acts on an old reading": scenarios.test_nothing_is_done_on_a_reading_of_railway_that_is_missing,
    "an unknown outcome is a failure": scenarios.test_while_a_change_may_still_land_nothing_else_is_asked_for,
    "an endless lease stays": scenarios.test_a_lease_without_an_end_locks_no_replica_out,
    "cooldowns count from the reading": (
        scenarios.test_a_cooldown_counts_from_the_answer_and_not_from_the_reading_before_it
    ),
    "cooldowns from memory": scenarios.test_a_successor_keeps_the_cooldown_of_its_predecessor,
    "draining is no part of the landing bound": scenarios.test_a_stop_of_workers_that_drain_is_waited_for,
    "one failed reading is an outage": scenarios.test_one_failed_reading_after_a_long_silence_is_no_outage,
    "no fence on the intent": scenarios.test_an_intent_is_for_the_holder_of_the_lease_in_redis,
    "no landing bound": scenarios.test_while_a_change_may_still_land_nothing_else_is_asked_for,
    "no run of the server is compared": (
        scenarios.test_a_failover_of_redis_between_the_reading_and_the_writing_makes_the_way_down_wait
    ),
    "no shadows": partial(scenarios.test_redis_comes_back_without_the_last_scale_and_the_processes_remember_it, "none"),
    "no wait for the old lease": scenarios.test_a_lost_lease_is_waited_for_by_its_successor,
    "no version is compared": (
        scenarios.test_what_another_process_gives_back_between_the_reading_and_the_writing_counts
    ),
    "external changes go unnoticed": scenarios.test_an_external_change_starts_the_cooldowns,
    "renew brings it back": scenarios.test_a_renewal_that_arrives_late_brings_no_lease_back,
    "stamps from the future stay": (
        scenarios.test_the_clock_of_redis_is_set_back_right_after_a_scale_and_the_cooldown_ends_all_the_same
    ),
    "trusts an expired lease": partial(
        scenarios.test_whatever_moment_the_leader_goes_at_there_is_one_scale_up, "after the intent", "paused for 40 s"
    ),
    "what is settled late counts from before": (
        scenarios.test_a_change_that_lands_late_is_followed_by_the_next_a_cooldown_after_it_landed
    ),
}
"""The others fall to the first few seeds."""

SEEDS = {
    "a conflict is sent again": 1,
    "an omitted zero is one": 9,
    "no resource version in the write": 1,
    "dropped regions are not named": 14,
    "each region gets the whole count": 2,
    "epochs begin anew": 7,
    "falls back to max replicas": 21,
    "no step is limited": 8,
    "regions are lost in an update": 2,
    "overrides are ignored": 31,
    "regions are not read before a change": 19,
    "schedules are ignored": 8,
}
"""The first seed that each of these falls to; where the simulation has changed since, all are tried from 0 on."""


@pytest.mark.costly
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_missing_guard_is_noticed(name: str) -> None:
    killer = KILLERS.get(name)
    if killer is None:
        # A crash of the mutant itself would prove nothing.
        seeds = [SEEDS.get(name, 0), *range(_MOST_SEEDS)]
        platform = Kubernetes.name if name in ON_KUBERNETES else Railway.name
        found = (violation for seed in seeds for violation in run_with(name, seed, platform=platform).violations)
        assert any(not violation.startswith("bug") for violation in found)
        return
    with mutated(name), pytest.raises(AssertionError):
        killer()
