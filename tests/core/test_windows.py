"""A window of a whole number of intervals means the same to a controller, whose looks are a little late, and to the
simulator, whose looks are exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.adapters.dry_run import DryRunJournal
from controller.core.history import noted
from controller.core.model import History, Lease, Observation, QueueDepth, Recommendation, Replicas, ServiceState
from controller.core.ports import CycleNote, Journal, Recalled, Retention
from controller.core.rules import decide
from controller.core.wanted import tier_replicas
from controller.policy import WorkerPolicy
from controller.simulation.contenders import own_worker
from controller.simulation.own import OwnPolicy
from controller.simulation.scaler import View
from tests.support.examples import examples, some
from tests.virtual.world import policy_of, simulated_world

MANY, FEW = 80, 5  # jobs that want 4 workers, and 1
TIERS = [{"up_to": 0, "replicas": 0}, {"up_to": 10, "replicas": 1}, {"up_to": 30, "replicas": 2}, {"replicas": 4}]
OFF = (-0.01, 0.0, 0.01)


def with_window(seconds: float) -> WorkerPolicy:
    down = {"cooldown": "0s", "stabilization_window": f"{seconds * 1000:.0f}ms"}
    return own_worker({"max_replicas": 5, "tiers": TIERS, "scale_up": {"cooldown": "0s"}, "scale_down": down})


def by_the_simulator(policy: WorkerPolicy, depths: Sequence[int], interval: float) -> list[int]:
    own, configured, wanted = OwnPolicy(policy, interval, None), 0, []
    for number, depth in enumerate(depths):
        configured = own.look(View(number * interval, depth, 0, configured, configured))
        wanted.append(configured)
    return wanted


def by_a_controller(policy: WorkerPolicy, depths: Sequence[int], moments: Sequence[float]) -> list[int]:
    """As the reconciler asks decide(), with the journal's memory, a look at each of the moments."""
    configured, past, wanted = 0, list[Recommendation](), list[int]()
    for now, depth in zip(moments, depths, strict=True):
        past.append(Recommendation(now, tier_replicas(policy, depth)))
        apart = past[-1].at - past[-2].at if len(past) > 1 else None
        began = moments[0]
        history = History(since=began - 500, unbroken_since=began, apart_s=apart, recommendations=tuple(past))
        replicas = Replicas(configured, configured, configured, ServiceState.RUNNING)
        configured = decide(policy, Observation(QueueDepth(depth, 0), replicas), history, now).desired
        wanted.append(configured)
    return wanted


@settings(max_examples=examples(30, 600))
@given(
    interval=st.sampled_from([0.5, 1.0, 5.0, 10.0, 15.0, 60.0]),
    intervals=st.integers(1, 12),
    off=st.sampled_from(OFF),
    looks=st.lists(st.tuples(st.sampled_from([0, FEW, 20, MANY]), st.floats(-0.01, 0.01)), min_size=2, max_size=60),
    late=st.sampled_from([0.0, 0.002]),
)
def test_looks_that_are_some_milliseconds_off_decide_as_exact_ones(
    interval: float, intervals: int, off: float, looks: list[tuple[int, float]], late: float
) -> None:
    depths = [depth for depth, _ in looks]
    moments = [number * (interval + late) + jitter for number, (_, jitter) in enumerate(looks)]
    exact = by_the_simulator(with_window(intervals * interval), depths, interval)
    assert by_a_controller(with_window(intervals * interval + off), depths, moments) == exact
    assert by_the_simulator(with_window(intervals * interval + off), depths, interval) == exact


def scale_downs_of_a_controller(window_s: float, quiet: int, seed: int) -> int:
    """A whole controller in virtual time, a look every 10 s: twice three busy looks, and that many quiet ones after."""
    policy = policy_of(
        scale_up={"cooldown": "0s"},
        scale_down={"cooldown": "0s", "stabilization_window": f"{window_s * 1000:.0f}ms"},
    )
    with simulated_world(seed, policy, replicas=1) as world:
        world.postgres.swing(MANY)
        world.keep_running()
        world.run_for(200.0)
        for _ in range(2):
            world.postgres.swing(FEW)
            world.run_for(quiet * policy.interval)
            world.postgres.swing(MANY)
            world.run_for(60.0)
        return sum(one.after < one.before for one in world.record.granted)


@pytest.mark.costly
@pytest.mark.parametrize("off", OFF, ids=lambda off: f"{off:+.2f} s")
@pytest.mark.parametrize("intervals", some([1, 12, 3], every=2))
def test_a_worker_goes_one_look_after_the_window_in_production_and_in_the_simulator(intervals: int, off: float) -> None:
    window = 10.0 * intervals + off
    for quiet, goes in ((intervals, False), (intervals + 1, True)):
        depths = [*[MANY] * (intervals + 2), *[FEW] * quiet, MANY]
        simulated = by_the_simulator(with_window(window), depths, 10.0)
        assert (min(simulated[2:]) < 4) is goes
        for seed in range(examples(1, 5)):
            assert scale_downs_of_a_controller(window, quiet, seed) == 2 * goes


class Beginner:
    """A journal that holds nothing yet, at a time that the test sets."""

    now = 0.0

    async def recall(self, worker: str) -> Recalled:
        del worker
        return Recalled(History(), self.now, self.now)


async def test_a_dry_run_remembers_a_look_at_the_edge_of_the_window() -> None:
    inner, seen = Beginner(), list[list[int]]()
    journal = DryRunJournal(cast("Journal", inner))
    for number, wanted in enumerate([4, 1, 1, 1, 1, 1]):
        inner.now = 10.003 * number
        recalled = await journal.recall("one")
        history = noted(recalled.history, CycleNote(wanted, 4), Retention(window=10.0, gap=31.0), inner.now)
        await journal.write("one", recalled, history, Lease("me", 1), now=inner.now)
        replicas = Replicas(4, 4, 4, ServiceState.RUNNING)
        decision = decide(with_window(10.0), Observation(QueueDepth(FEW, 0), replicas), history, inner.now)
        seen.append([decision.desired, len(history.recommendations)])
    assert [desired for desired, _ in seen] == [4, 4, 1, 1, 1, 1]
    assert seen[-1][1] == 1, "what no window can reach any more is forgotten"
