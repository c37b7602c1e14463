"""Doctor on Railway: token, plan, regions, draining time, files that set the count, and the request quota."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.adapters.railway.client import RailwayClient
from controller.adapters.railway.platform import RailwayPlatform
from controller.adapters.railway.reading import Placement
from controller.adapters.railway.settings import load_railway
from controller.core.model import Replicas, ServiceState
from controller.doctor.finding import Finding, Level
from controller.doctor.railway import RailwayChecks, regions
from controller.fake_railway import FakeRailway, Timings, TokenKind
from controller.policy import WorkerPolicy
from tests.support.patience import until
from tests.virtual.idle import LoopClock

pytestmark = pytest.mark.virtual_time
ELSEWHERE = {"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h"}


async def look(
    fake: FakeRailway,
    token: TokenKind = "account",
    *,
    most: int = 5,
    job_s: float | None = None,
    interval: float = 10.0,
    service: str | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    budget: Mapping[str, str] | None = None,
) -> dict[str, Finding]:
    """What is said, by what it is about."""
    settings = load_railway({**fake.environment_variables(token), **ELSEWHERE, **(environment or {})})
    client = RailwayClient(settings.api_url, settings.token, LoopClock())
    platform = RailwayPlatform(client, project=settings.project_id, environment=settings.environment_id)
    ident = service or fake.worker.id
    values = {"service": ident, "queue": {"table": "job"}, "max_replicas": most, "tiers": [{"replicas": most}]}
    worker = WorkerPolicy.model_validate({**values, "budget": budget})
    checks = RailwayChecks(platform, settings, folder=folder)
    try:
        found = [*await checks.look([ident], interval), *await checks.service(worker, job_s)]
    finally:
        await client.close()
    return {finding.about: finding for finding in found}


def fake_railway(replicas: int = 1, **options: Any) -> FakeRailway:
    return FakeRailway.create(replicas, timings=Timings().scaled(0.01), **options)


async def test_a_service_that_is_as_it_should_be_is_not_complained_of() -> None:
    async with fake_railway(deploy={"drainingSeconds": 60}) as fake:
        found = await look(fake, "project", job_s=20)
    assert {finding.level for finding in found.values()} == {Level.OK}, found
    assert list(found) == [
        *("token", "Railway", "requests", "service", "regions", "max_replicas", "draining", "config-as-code")
    ]


@pytest.mark.parametrize(
    ("containers", "words"),
    [
        (
            {"cpu": 1, "memoryBytes": 2_000_000_000},
            "counts a worker with the service's limits, 2 GB and 1 vCPU: at most $",
        ),
        (
            {"memoryBytes": 2_000_000_000},
            "limits nothing: it has no worker_size, and the service has no limits of both",
        ),
    ],
)
async def test_a_budget_without_a_size_is_told_with_what_it_counts(containers: dict[str, int], words: str) -> None:
    async with fake_railway(deploy={"limitOverride": {"containers": containers}}) as fake:
        found = (await look(fake, budget={"amount": "4$", "per": "day"}))["budget"]
    assert found.level is Level.WARNING
    assert found.says.startswith(words)
    assert "worker_size" in found.fix


async def test_looking_changes_nothing() -> None:
    async with fake_railway() as fake:
        await look(fake)
        assert fake.mutations == []


@pytest.mark.parametrize(
    ("token", "level", "words"),
    [
        ("account", Level.WARNING, "RAILWAY_API_TOKEN is an account token"),
        ("workspace", Level.WARNING, "RAILWAY_API_TOKEN is a workspace token"),
        ("project", Level.OK, "a project token; it can access only this environment"),
    ],
)
async def test_the_kind_of_the_token_and_its_reach_are_told(token: TokenKind, level: Level, words: str) -> None:
    async with fake_railway() as fake:
        found = (await look(fake, token))["token"]
    assert found.level is level
    assert words in found.says


async def test_a_project_token_for_another_environment_is_an_error_that_names_the_variable() -> None:
    async with fake_railway() as fake:
        found = (await look(fake, "project", environment={"RAILWAY_ENVIRONMENT_ID": "elsewhere"}))["token"]
    assert found.level is Level.ERROR
    assert found.fix.startswith("set RAILWAY_ENVIRONMENT_ID to ")
    assert found.fix.endswith(", or create a token for environment elsewhere")


@pytest.mark.parametrize("kind", ["project", "account"])
async def test_a_token_that_is_none_is_an_error(kind: TokenKind) -> None:
    name = "RAILWAY_TOKEN" if kind == "project" else "RAILWAY_API_TOKEN"
    async with fake_railway() as fake:
        found = await look(fake, kind, environment={name: "made-up-secret"})
    assert {found[about].level for about in ("token", "Railway", "service")} == {Level.ERROR}
    assert found["token"].says.startswith(f"{name} is refused") or kind == "project"
    assert not any("made-up-secret" in finding.sentence for finding in found.values())


async def test_a_service_that_is_not_there_is_an_error_with_those_that_are() -> None:
    async with fake_railway() as fake:
        found = (await look(fake, service="nowhere"))["service"]
        assert found.level is Level.ERROR
        assert fake.worker.id in found.sentence


async def eventually(fake: FakeRailway, status: str, running: int = 2) -> None:
    """Waits until an instance or the newest deployment has this status, and that many instances run."""

    def is_there() -> bool:
        newest = fake.worker.deployments[-1]
        return status in {newest.status, *(replica.status for replica in newest.replicas)}

    await until(lambda: is_there() and fake.worker.running == running, f"{running} running, and {status}")


@pytest.mark.parametrize(
    ("change", "status", "running", "level", "words"),
    [
        pytest.param(
            {"on_start": "crash", "crash": 2},
            "CRASHED",
            0,
            Level.ERROR,
            "the workers crash and none of 2 runs",
            id="all workers crash",
        ),
        pytest.param(
            {"exit": 1},
            "EXITED",
            1,
            Level.WARNING,
            "1 of 2 workers run, as workers ended by themselves with exit code 0",
            id="one worker exits with 0",
        ),
        pytest.param(
            {"hangs_in": "BUILDING", "deploy": True},
            "BUILDING",
            2,
            Level.WARNING,
            "the newest deployment is BUILDING for 20 min",
            id="a build hangs",
        ),
    ],
)
async def test_a_service_that_is_not_as_it_should_be_is_said_to_be_what_a_cycle_would_call_it(
    change: dict[str, Any], status: str, running: int, level: Level, words: str
) -> None:
    async with fake_railway(2, deploy={"restartPolicyType": "NEVER"}) as fake:
        fake.by_hand(**change)
        await eventually(fake, status, running)
        fake.worker.deployments[-1].status_updated_at -= timedelta(minutes=20)
        found = (await look(fake))["service"]
    assert found.level is level
    assert words in found.says
    assert found.fix


async def test_a_deployment_that_has_just_begun_is_nothing_to_complain_of() -> None:
    async with fake_railway(2) as fake:
        fake.by_hand(hangs_in="BUILDING", deploy=True)
        await eventually(fake, "BUILDING")
        assert (await look(fake))["service"].level is Level.OK


@pytest.mark.parametrize(
    ("plan", "quota", "most", "level", "words"),
    [
        ("hobby", 1000, 6, Level.OK, "is 6; the plan allows at most 6"),
        ("hobby", 1000, 7, Level.ERROR, "plan hobby allows 6 replicas"),
        ("trial", 1000, 5, Level.ERROR, "plan trial allows 2 replicas"),
        ("pro", 10_000, 42, Level.OK, "allows at most 42"),
        ("pro", 10_000, 51, Level.ERROR, "plan pro allows 42"),
    ],
)
async def test_max_replicas_is_held_against_the_plan(
    plan: str, quota: int, most: int, level: Level, words: str
) -> None:
    async with fake_railway(quota=quota) as fake:
        fake.state.plan = plan
        found = (await look(fake, most=most))["max_replicas"]
    assert found.level is level
    assert words in found.says


@pytest.mark.parametrize(
    ("quota", "most", "level", "words"),
    [
        (1000, 5, Level.OK, "allowed: 6 on hobby, 2 on trial"),
        (1000, 7, Level.ERROR, "plan hobby or trial allows 6"),
        (100, 2, Level.ERROR, "plan free allows 1"),
        (77, 50, Level.OK, "Railway allows at most 50"),
    ],
)
async def test_a_plan_that_the_token_may_not_ask_for_is_told_by_the_quota(
    quota: int, most: int, level: Level, words: str
) -> None:
    async with fake_railway(quota=quota) as fake:
        fake.inject("problem", on="ProjectPlan", times=3)
        found = (await look(fake, most=most))["max_replicas"]
    assert found.level is level
    assert words in found.says


async def test_a_volume_allows_one_replica() -> None:
    async with fake_railway(0) as fake:
        fake.by_hand(volume=True)
        fake.by_hand(deploy=True)
        found = (await look(fake, most=5))["max_replicas"]
    assert found.level is Level.ERROR
    assert found.fix == "set max_replicas to 1, or detach the volume"


@pytest.mark.parametrize(
    ("draining", "job_s", "level", "words"),
    [
        (0, None, Level.WARNING, "a removed worker is killed in the middle of its job"),
        (0, 20.0, Level.WARNING, "drainingSeconds is 0, but jobs take up to 20 s"),
        (30, 90.0, Level.WARNING, "drainingSeconds is 30, but jobs take up to 1 min 30 s"),
        (30, 20.0, Level.OK, "has 30 s to finish its job"),
        (30, None, Level.OK, "how long jobs take is unknown"),
        (30, math.inf, Level.OK, "how long jobs take is unknown"),
        (30, math.nan, Level.OK, "how long jobs take is unknown"),
        (0, -math.inf, Level.WARNING, "killed in the middle of its job"),
    ],
)
async def test_the_draining_time_is_held_against_how_long_jobs_take(
    draining: int, job_s: float | None, level: Level, words: str
) -> None:
    async with fake_railway(deploy={"drainingSeconds": draining}) as fake:
        found = (await look(fake, job_s=job_s))["draining"]
    assert found.level is level
    assert words in found.says


@pytest.mark.parametrize("file", [{"numReplicas": 4}, {"multiRegionConfig": {"us-west2": {"numReplicas": 4}}}])
async def test_a_file_that_sets_the_replicas_would_overrule_us(file: dict[str, Any]) -> None:
    async with fake_railway() as fake:
        fake.by_hand(config_file=file)
        fake.by_hand(deploy=True)
        found = (await look(fake))["config-as-code"]
    assert found.level is Level.WARNING
    assert next(iter(file)) in found.says


async def test_a_file_that_sets_something_else_does_not() -> None:
    async with fake_railway() as fake:
        fake.by_hand(config_file={"startCommand": "work"})
        fake.by_hand(deploy=True)
        assert (await look(fake))["config-as-code"].level is Level.OK


@pytest.mark.parametrize(
    ("quota", "interval", "level", "fix"),
    [
        (1000, 10.0, Level.OK, ""),
        (1000, 1.0, Level.WARNING, "set interval to 9s or more"),
        (100, 10.0, Level.WARNING, "set interval to 90s or more"),
        (10_000, 1.0, Level.OK, ""),
    ],
)
async def test_the_interval_is_held_against_the_requests_that_railway_allows(
    quota: int, interval: float, level: Level, fix: str
) -> None:
    async with fake_railway(quota=quota) as fake:
        found = (await look(fake, interval=interval))["requests"]
    assert (found.level, found.fix) == (level, fix)


@pytest.mark.costly
@pytest.mark.parametrize(
    ("services", "interval", "level", "says", "fix"),
    [
        (50, 10.0, Level.OK, "reads 360 times in 1 h; Railway allows 1000 requests", ""),
        (51, 10.0, Level.WARNING, "reads 360 times in 1 h, with 2 requests each", "set interval to 18s or more"),
        (101, 10.0, Level.WARNING, "reads 360 times in 1 h, with 3 requests each", "set interval to 27s or more"),
        (160, 10.0, Level.WARNING, "reads 360 times in 1 h, with 4 requests each", "set interval to 36s or more"),
        (160, 36.0, Level.OK, "reads 100 times in 1 h, with 4 requests each", ""),
    ],
)
async def test_an_environment_of_several_pages_costs_as_many_requests_in_each_cycle(
    services: int, interval: float, level: Level, says: str, fix: str
) -> None:
    async with fake_railway() as fake:
        for number in range(services - 1):
            last = fake.add_service(f"service-{number}", 1)
        found = (await look(fake, interval=interval, service=last.id))["requests"]
    assert (found.level, found.fix) == (level, fix)
    assert says in found.says


@pytest.mark.parametrize("fails", [True, False], ids=["a deployment failed", "no deployment was made"])
async def test_regions_that_are_not_deployed_are_warned_of_with_both_places(*, fails: bool) -> None:
    async with fake_railway() as fake:
        fake.worker.deploy["multiRegionConfig"] = {"europe-west4-drams3a": {"numReplicas": 2}}
        if fails:
            fake.worker.switches.deploys_fail = True
            fake.by_hand(deploy=True)
            async with asyncio.timeout(30):
                while fake.worker.deployments[-1].status != "FAILED":
                    await asyncio.sleep(0.01)
        found = (await look(fake))["regions"]
    assert found.level is Level.WARNING
    assert "configured: europe-west4-drams3a: 2; deployed: us-west2: 1" in found.says


async def test_more_configured_regions_than_max_replicas_are_an_error_though_fewer_are_deployed() -> None:
    async with fake_railway() as fake:
        three = ("us-west2", "us-east4-eqdc4a", "europe-west4-drams3a")
        fake.worker.deploy["multiRegionConfig"] = {region: {"numReplicas": 1} for region in three}
        found = (await look(fake, most=2))["regions"]
    assert (found.level, found.fix) == (Level.ERROR, "raise max_replicas to 3, or remove regions")


async def test_a_configuration_that_cannot_be_read_is_an_error_since_each_change_begins_with_it() -> None:
    async with fake_railway() as fake:
        fake.inject("problem", on="EnvironmentConfig", times=3)
        found = await look(fake)
    assert found["configuration"].level is Level.ERROR
    assert "the configured count cannot be read, so that no change can be made" in found["configuration"].says
    assert found["service"].level is Level.OK


@pytest.mark.parametrize(
    ("counts", "most", "level", "words"),
    [
        ({"us-west2": 2}, 5, Level.OK, "us-west2: 2"),
        ({"us-west2": 2, "asia": 1}, 5, Level.WARNING, "the smallest count above 0 is 2"),
        ({"us-west2": 1, "asia": 1}, 1, Level.ERROR, "each region needs at least 1 replica, but max_replicas is 1"),
        ({"atlantis": 1}, 5, Level.WARNING, "region atlantis no longer exists"),
        ({"us-old": 1}, 5, Level.WARNING, "Railway is removing us-old"),
        ({"": 1}, 5, Level.WARNING, "the service's region is unknown"),
    ],
    ids=[
        "one region",
        "two regions",
        "more regions than max_replicas",
        "an unknown region",
        "a region that Railway gives up",
        "no region said",
    ],
)
def test_the_map_of_regions_is_looked_through(counts: dict[str, int], most: int, level: Level, words: str) -> None:
    reading = Replicas(1, 1, 1, ServiceState.RUNNING, coordinates=Placement(counts, counts))
    worker = WorkerPolicy.model_validate(
        {"service": "s", "queue": {"table": "job"}, "max_replicas": most, "tiers": [{"replicas": most}]}
    )
    found = regions(reading, {"us-west2": "", "asia": "", "us-old": "us-west2"}, worker)
    assert found.level is level
    assert words in found.says


async def test_what_railway_will_not_answer_costs_only_what_depends_on_it() -> None:
    async with fake_railway(deploy={"drainingSeconds": 60}) as fake:
        for operation in ("ProjectPlan", "Regions", "ServiceConfig"):
            fake.inject("problem", on=operation, times=3)
        found = await look(fake, "project", job_s=20)
    assert [about for about, finding in found.items() if finding.level is not Level.OK] == ["config-as-code"]
