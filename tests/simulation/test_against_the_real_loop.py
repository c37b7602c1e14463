"""The demo's recorded run, replayed: a real controller, queue, Redis and workers against the simulator."""

from __future__ import annotations

from pathlib import Path

from controller.simulation.contenders import read_worker
from controller.simulation.demand import Clairvoyant, Demand
from controller.simulation.fleet import Fleet, Platform
from controller.simulation.own import OwnPolicy
from controller.simulation.workload.traces import read_trace
from tests.simulation.recorded import Actions, cycles, decided_alike, scaled

DEMO_RUN = Path(__file__).parent / "demo_run"
"""Of `autoscaler demo --record`, without the messages."""


def simulated(folder: Path, platform: Platform) -> tuple[list[tuple[float, int, int]], Actions]:
    policy, worker = read_worker(folder / "policy.yaml", None, {})
    actions = Actions(worker.max_replicas, platform.start_up_s)
    fleet = Fleet(OwnPolicy.of(policy, worker, wakes=True), platform, actions)
    demand = Demand(worker.max_replicas, platform.concurrency, Clairvoyant(platform.start_up_s))
    tasks, levels = demand.take(read_trace(folder / "jobs.csv").jobs())
    fleet.feed(tasks, tasks[-1][0])
    actions.settle(levels, tasks[-1][0])
    fleet.finish(60.0)
    return actions.taken, actions


def test_every_decision_of_the_real_loop_is_the_one_that_the_simulator_would_have_made() -> None:
    assert decided_alike(DEMO_RUN) > 40


def test_the_same_jobs_lead_to_the_same_changes_at_the_same_time() -> None:
    real = scaled(cycles(DEMO_RUN))
    # As the demo has it: two jobs at once, 5 s to finish, and about a second until a worker works.
    changes, account = simulated(DEMO_RUN, Platform(start_up_s=1.0, drain_s=5.0, concurrency=2))
    assert [(before, after) for _, before, after in changes] == [(before, after) for _, before, after in real]
    assert len(real) == 10
    # The real interval is a little longer than a second, and a cycle is logged at its end.
    assert max(abs(at - other) for (at, *_), (other, *_) in zip(changes, real, strict=True)) < 0.5
    assert account.jobs == 166
    assert abs(account.waits.longest - 29.9) < 0.5, "as the demo's own summary said"
