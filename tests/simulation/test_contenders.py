"""What may be compared, and what is said of names that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.core.problems import ConfigurationError
from controller.simulation.contenders import KINDS, Common, read_contender, read_worker, tiers_for
from controller.simulation.own import CYCLE_LATE_S, OwnPolicy
from controller.simulation.peers import Hpa, Keda, Latency, Static

POLICY = """
workers:
  one: &worker
    service: a
    queue: {table: jobs}
    max_replicas: 3
    tiers: [{up_to: 0, replicas: 0}, {replicas: 3}]
"""
SECOND = "  two: {service: b, queue: {table: jobs, wake_on: jobs}, max_replicas: 4, tiers: [{replicas: 1}]}\n"


def refusal(text: str, worker: str | None = None) -> str:
    with pytest.raises(ConfigurationError) as refused:
        read_contender(text, Common(worker=worker), {})
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("tier", "did you mean tiers?"),
        ("kedda:target=3", "did you mean keda?"),
        ("nonsense", f"built in are {', '.join(KINDS)}"),
        ("static:3,replica=4", "'replica' is not an option of static; there are max, replicas"),
        ("keda:3", "'3' is not an option of keda"),
        ("static:many", "replicas must be a whole number from 0 to 1000, not 'many'"),
        ("static:-1", "replicas must be a whole number"),
        ("static:1.5", "replicas must be a whole number"),
        ("static:1001", "replicas must be a whole number"),
        ("keda:target=inf", "target must be a number, or a duration such as 90s or 5m, not 'inf'"),
        ("hpa:window=5 minutes", "window must be a number, or a duration"),
        ("keda:target=0", "target must be above 0"),
        ("tiers:interval=0s", "interval must be above 0"),
        ("keda:polling=0", "polling must be above 0"),
        ("recut:service=0", "service must be above 0"),
        ("keda:count=running", "count may be all (waiting and in progress) or waiting, not 'running'"),
        ("tiers:min=6", "is not a valid policy: min_replicas"),
        ("no/such/policy.yaml", "no/such/policy.yaml"),
    ],
)
def test_what_is_no_policy_is_refused_with_its_place_and_a_fix(text: str, fix: str) -> None:
    said = refusal(text)
    assert text in said
    assert fix in said


def test_a_file_that_does_not_load_is_refused_with_what_is_wrong_in_it(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY.replace("max_replicas: 3", "max_replica: 3"))
    assert "max_replica" in refusal(str(file))
    file.write_text(POLICY.replace("max_replicas: 3", "max_replicas: 0"))
    assert "max_replicas: 0" in refusal(str(file))


def test_of_several_workers_one_has_to_be_named(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY + SECOND)
    assert "has 2 workers; name one: --worker one, two" in refusal(str(file))
    assert "has no worker three; --worker may be one, two" in refusal(str(file), "three")
    assert read_worker(file, "two", {})[1].max_replicas == 4
    scaler = own(read_contender(str(file), Common(worker="two"), {}).make)
    assert (scaler.policy.max_replicas, scaler.wake_interval) == (4, 1.0)
    assert own(read_contender(str(file), Common(worker="one"), {}).make).wake_interval is None
    assert own(read_contender(str(file), Common(worker="two", wakes=False), {}).make).wake_interval is None


def own(make: object) -> OwnPolicy:
    assert callable(make)
    scaler = make()
    assert isinstance(scaler, OwnPolicy)
    return scaler


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("tiers:interval=5", "interval", 5.0 + CYCLE_LATE_S),
        ("target_wait:45", "policy.target_wait", 45.0),
        ("target_wait:wait=1m", "policy.target_wait", 60.0),
        ("target_wait:service=12", "policy.service_time", 12.0),
        ("target_wait", "policy.scale_down.idle_off", None),
        ("economy", "policy.scale_down.idle_off", None),
        ("economy", "policy.target_wait", 60.0),
        ("balanced", "policy.target_wait", 20.0),
        ("fast", "policy.scale_down.idle_off", None),
        ("tiers:up=10s,down=1m", "policy.scale_up.cooldown", 10.0),
        ("tiers:up=10s,down=1m", "policy.scale_down.cooldown", 60.0),
        ("tiers:max=7,min=2", "policy.max_replicas", 7),
        ("tiers:max=7,min=2", "policy.min_replicas", 2),
        ("tiers", "policy.max_replicas", 5),
    ],
)
def test_options_of_our_own_stand_in_the_policy(text: str, field: str, value: object) -> None:
    found: object = own(read_contender(text, Common(), {}).make)
    for name in field.split("."):
        found = getattr(found, name)
    assert found == value


@pytest.mark.parametrize(
    ("text", "depths"),
    [
        ("tiers", [0, 10, 30, 60, 100, None]),
        ("tiers:max=2", [0, 10, None]),
        ("recut", [0, 3, 6, 9, 12, None]),
        ("recut:wait=5,service=20,max=3", [0, 1, 2, None]),
    ],
)
def test_tables_are_cut_at_their_depths(text: str, depths: list[int | None]) -> None:
    tiers = own(read_contender(text, Common(), {}).make).policy.tiers
    assert [tier.up_to for tier in tiers] == depths
    assert [tier.replicas for tier in tiers] == list(range(len(depths)))


def test_the_shipped_policy_is_the_built_in_table() -> None:
    shipped = own(read_contender(str(Path(__file__).parents[2] / "policy.yaml"), Common(), {}).make)
    built_in = own(read_contender("tiers", Common(), {}).make)
    same = ("tiers", "scale_up", "scale_down", "min_replicas", "max_replicas")
    assert [getattr(shipped.policy, name) for name in same] == [getattr(built_in.policy, name) for name in same]


@pytest.mark.parametrize(
    ("text", "kind", "fields"),
    [
        ("static:7", Static, {"replicas": 7, "maximum": 7}),
        ("static:2", Static, {"replicas": 2, "maximum": 5}),
        ("keda:target=3,window=1m,cooldown=90", Keda, {"target": 3.0, "window": 60.0, "cooldown": 90.0}),
        ("hpa:count=waiting,min=2,max=9", Hpa, {"counts_running": False, "minimum": 2, "maximum": 9}),
        ("latency:high=10,step=2,min=0", Latency, {"high": 10.0, "step": 2, "minimum": 0, "low": 5.0}),
    ],
)
def test_options_of_peers_stand_in_their_rules(text: str, kind: type, fields: dict[str, object]) -> None:
    contender = read_contender(text, Common(), {})
    assert contender.make is not None
    made = contender.make()
    assert type(made) is kind
    assert {name: getattr(made, name) for name in fields} == fields
    assert contender.maximum == getattr(made, "maximum", None)


def test_each_run_has_a_scaler_of_its_own() -> None:
    contender = read_contender("tiers", Common(), {})
    assert contender.make is not None
    assert contender.make() is not contender.make()


def test_tiers_that_round_to_the_same_depth_are_kept_apart() -> None:
    tiers = [{"up_to": 0, "replicas": 0}, {"up_to": 1, "replicas": 1}, {"up_to": 2, "replicas": 2}, {"replicas": 3}]
    assert tiers_for([(1, 0.2), (2, 0.4)], 3) == tiers
