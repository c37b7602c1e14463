"""The contract on a real Swarm, and what only that can show: how its tasks look, that it refuses a frozen leader."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from controller.core.model import Replicas, ServiceState
from controller.core.ports import NotSent, Refused
from tests.contract import test_contract
from tests.contract.frozen import said_after_a_freeze
from tests.contract.stages import Lead, Stage
from tests.contract.swarm import on_a_real_swarm, swarm_of
from tests.demo import test_demo
from tests.support.engine import WORKER, CannotStartError, Engine, engine
from tests.support.patience import in_time, until
from tests.support.scene import intent_to


@pytest.fixture(scope="module")
def real() -> Iterator[Engine]:
    if not os.environ.get("AUTOSCALER_TEST_SWARM"):
        pytest.skip("a real Swarm only runs in `make test-swarm`")
    try:
        with engine() as found:
            yield found
    except CannotStartError as cannot:
        pytest.skip(f"no real Swarm: {cannot}")


async def test_a_leader_that_was_frozen_while_another_one_led_is_refused_by_the_manager(real: Engine) -> None:
    """Two real processes: the first is stopped by SIGSTOP after its reading, and goes on after the second's change."""
    async with on_a_real_swarm(real) as stage:
        said = await said_after_a_freeze("swarm", real.host, stage.one.removeprefix("swarm:"))
        assert said.startswith("Outdated Docker Swarm: refused the update")
        await stage.shows(3)


@pytest.fixture
async def stage(real: Engine) -> AsyncIterator[Stage]:
    async with on_a_real_swarm(real) as one:
        yield one


# Here in real time: nothing of a real Engine waits for a clock of ours.
test_reading = test_contract.test_a_target_is_read_with_what_it_was_asked_for_and_what_runs
test_missing = test_contract.test_one_reading_has_all_targets_and_a_missing_one_spoils_no_other
test_counts = test_contract.test_up_and_down_to_zero_and_back_are_absolute_counts_that_the_next_readings_show
test_old = test_contract.test_a_change_that_was_decided_on_an_old_reading_is_not_made
test_lease = test_contract.test_who_no_longer_leads_sends_nothing


CRASHES: dict[str, tuple[str, dict[str, str], str]] = {
    "crashes at its start, and is started again": ("exit 3", {"Condition": "any"}, "non-zero exit (3)"),
    "crashes, and stays so": ("exit 4", {"Condition": "none"}, "non-zero exit (4)"),
}


@pytest.mark.parametrize(("script", "restart", "says"), CRASHES.values(), ids=CRASHES)
async def test_a_worker_that_crashes_is_seen_as_crashed(
    real: Engine, script: str, restart: dict[str, str], says: str
) -> None:
    name = f"crash-{uuid4().hex[:8]}"
    real.create(name, 1, script, restart={**restart, "Delay": 3_000_000_000})
    platform = swarm_of(real.host, Lead(), name)

    async def crashed() -> Replicas | None:
        seen = (await platform.observe([f"swarm:{name}"]))[f"swarm:{name}"]
        return seen if isinstance(seen, Replicas) and seen.crashed and not seen.running else None

    assert says in (await until(crashed, "a crash", pause=0.2)).words.crashed
    await platform.close()


async def test_a_worker_that_no_node_can_take_says_why(real: Engine) -> None:
    async with on_a_real_swarm(real) as stage:
        name = stage.one.removeprefix("swarm:")
        service = real.of(name)
        service["Spec"]["TaskTemplate"]["Placement"] = {"Constraints": ["node.labels.gpu==yes"]}
        service["Spec"]["Mode"]["Replicated"]["Replicas"] = 3
        real.asked("POST", f"/services/{name}/update", service["Spec"], version=service["Version"]["Index"])

        async def pending() -> str | None:
            missing = (await stage.read()).words.missing
            return missing if "no suitable node" in missing else None

        assert "a task is pending" in await until(pending, "a task that waits for a node", pause=0.2)


async def test_a_change_waits_while_an_update_may_roll_back_and_is_refused_while_one_is_paused(real: Engine) -> None:
    """Without that, Swarm would roll back to the version that fails: `docker service scale` does just this."""
    async with on_a_real_swarm(real) as stage:
        name = stage.one.removeprefix("swarm:")
        for action in ("rollback", "pause"):
            service = real.of(name)
            service["Spec"]["UpdateConfig"] = {
                "Parallelism": 1, "FailureAction": action, "Monitor": 2_000_000_000, "Order": "start-first"
            }  # fmt: skip
            service["Spec"]["TaskTemplate"]["ContainerSpec"]["Command"][-1] = "busybox sleep 1; exit 5"
            real.asked("POST", f"/services/{name}/update", service["Spec"], version=service["Version"]["Index"])

            async def updating() -> Replicas | None:
                seen = await stage.read()
                return seen if seen.state is ServiceState.STARTING else None

            seen = await until(updating, "the update", pause=0.05)
            if action == "rollback":
                with pytest.raises(NotSent, match="waits for the end of the update"):
                    await stage.platform.scale(stage.one, intent_to(4), seen)
                await until(lambda: script_of(real.of(name)) == WORKER, "the rollback by itself", pause=0.2)
                await stage.shows(2)
                continue

            async def paused() -> Replicas | None:
                seen = await stage.read()
                return seen if seen.under_way is not None and seen.under_way.status == "paused" else None

            with pytest.raises(Refused, match="would resume it"):
                await stage.platform.scale(stage.one, intent_to(4), await until(paused, "the pause", pause=0.2))


def script_of(service: dict[str, Any]) -> str:
    return str(service["Spec"]["TaskTemplate"]["ContainerSpec"]["Command"][-1])


short_tmp = test_demo.short_tmp


async def test_the_demo_runs_there_and_leaves_nothing_behind(real: Engine, short_tmp: Path) -> None:
    async with test_demo.demo(short_tmp, "--platform", "swarm", "--docker", real.host) as process:
        await test_demo.line_with(process, test_demo.RUNNING)
        assert "autoscaler-demo" in str(real.asked("GET", "/services"))
        process.send_signal(signal.SIGINT)
        await in_time(process.wait(), "the demo to end")
    kept = [real.asked("GET", path) for path in ("/services", "/images/json", "/containers/json")]
    assert "autoscaler-demo" not in str(kept)
