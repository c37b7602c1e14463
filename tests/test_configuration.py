"""Which settings a process needs: those of the platforms that its policy uses, and of no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controller.adapters.command.settings import COMMAND
from controller.adapters.kubernetes.settings import KUBERNETES
from controller.adapters.railway.settings import RAILWAY
from controller.config.platform import PlatformSettings
from controller.configuration import ADAPTERS, Configuration, configure, platforms_of
from controller.core.problems import ConfigurationError
from tests.support.platforms import CLOUD

WORKER = "{service: one, queue: {table: jobs}, max_replicas: 1, tiers: [{replicas: 1}]}"
ADDRESSES = {"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h"}
ON_RAILWAY = {"RAILWAY_TOKEN": "t0ken", "RAILWAY_PROJECT_ID": "p", "RAILWAY_ENVIRONMENT_ID": "e"}
BOTH = (RAILWAY, CLOUD)
SERVICES_IN_THE_CLOUD = (replace(RAILWAY, target="elsewhere"), replace(CLOUD, target="service"))
"""So that a policy of today uses the one and not the other."""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(f"workers: {{mail: {WORKER}}}")
    return path


def configured(path: Path, *platforms: PlatformSettings, **environment: str) -> Configuration:
    return configure(path, {**ADDRESSES, **environment}, replace(ADAPTERS, platforms=platforms))


def places(path: Path, *platforms: PlatformSettings, **environment: str) -> set[str]:
    with pytest.raises(ConfigurationError) as refusal:
        configured(path, *platforms, **environment)
    return {problem.place.rpartition(": ")[2] for problem in refusal.value.problems}


def test_a_platform_that_no_worker_uses_is_not_asked_for_its_settings(policy: Path) -> None:
    assert configured(policy, *BOTH, **ON_RAILWAY).access.keys() == {"service"}
    found = configured(policy, *SERVICES_IN_THE_CLOUD, CLOUD_TOKEN="t0ken-1234")
    assert found.access["service"].secrets == ("t0ken-1234",)
    assert "t0ken" not in found.mask.text("t0ken-1234")


def test_only_what_a_platform_in_use_lacks_is_said(policy: Path) -> None:
    assert places(policy, *BOTH) == {"RAILWAY_API_TOKEN", "RAILWAY_PROJECT_ID", "RAILWAY_ENVIRONMENT_ID"}
    assert places(policy, *SERVICES_IN_THE_CLOUD) == {"CLOUD_TOKEN"}


def test_the_warnings_of_a_platform_that_no_worker_uses_are_not_given(policy: Path) -> None:
    odd = {**ON_RAILWAY, "RAILWAY_TOKEN": " t0ken "}
    assert [one.place for one in configured(policy, *BOTH, **odd).warnings] == ["RAILWAY_TOKEN"]
    assert configured(policy, *SERVICES_IN_THE_CLOUD, CLOUD_TOKEN="t", **odd).warnings == ()


def test_what_is_wrong_with_the_policy_is_said_together_with_what_its_platform_lacks(policy: Path) -> None:
    policy.write_text(f"workers: {{mail: {WORKER}}}\ninterval: soon")
    assert places(policy, RAILWAY) == {*ON_RAILWAY, "RAILWAY_API_TOKEN", "interval"} - {"RAILWAY_TOKEN"}
    assert places(policy, *BOTH, CLOUD_ZONE="z") == {"CLOUD_TOKEN", "interval"}


def test_where_nothing_tells_which_platform_is_meant_the_first_is_asked() -> None:
    assert platforms_of(None, {}, BOTH) == BOTH[:1]


# --- a shadow policy ---


@pytest.fixture
def shadowed(policy: Path) -> Path:
    policy.write_text(f"shadow: other.yaml\nworkers: {{mail: {WORKER}}}")
    return policy.parent / "other.yaml"


def refused(path: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as refusal:
        configured(path, RAILWAY, **ON_RAILWAY)
    return [
        f"{Path(one.place.partition(':')[0]).name}:{one.place.partition(':')[2]}: {one.text}"
        for one in refusal.value.problems
    ]


def test_a_shadow_is_read_from_beside_its_policy_with_the_same_environment(policy: Path, shadowed: Path) -> None:
    by_variable = WORKER.replace("service: one", 'service: "${ID}"')
    shadowed.write_text(f"workers: {{mail: {by_variable}}}")
    found = configured(policy, RAILWAY, **ON_RAILWAY, ID="one").shadow
    assert found is not None
    assert (found.path, list(found.workers), found.notes) == (shadowed, ["mail"], ())


def test_a_secret_that_only_the_shadow_has_is_masked(policy: Path, shadowed: Path) -> None:
    target = "[{webhook: 'https://hooks.example/${HOOK_TOKEN}', on: [scaled]}]"
    shadowed.write_text(f"notify: {target}\nworkers: {{mail: {WORKER}}}")
    found = configured(policy, RAILWAY, **ON_RAILWAY, HOOK_TOKEN="s3cret-s3cret")
    assert "s3cret" not in found.mask.text("calls https://hooks.example/s3cret-s3cret")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "other.yaml:: there is no such file; correct the name at "),
        ("workers: {}", "other.yaml:1: workers: is empty"),
        (f"shadow: policy.yaml\nworkers: {{mail: {WORKER}}}", "other.yaml:1: shadow: is in a policy that is itself a"),
        (
            f"workers:\n  mail: {WORKER.replace('jobs', 'tasks')}",
            "other.yaml:2: workers.mail.queue: is not the queue of workers.mail in",
        ),
    ],
    ids=["it is missing", "it is no policy", "it has a shadow itself", "it has another queue"],
)
def test_what_is_wrong_with_a_shadow_is_said_with_its_file_and_line(
    policy: Path, shadowed: Path, text: str | None, said: str
) -> None:
    if text is not None:
        shadowed.write_text(text)
    (problem,) = refused(policy)
    assert problem.startswith(said)


def test_what_is_wrong_with_it_is_said_together_with_what_the_environment_lacks(policy: Path, shadowed: Path) -> None:
    shadowed.write_text(f"workers: {{mail: {WORKER.replace('max_replicas: 1', 'max_replica: 1')}}}")
    with pytest.raises(ConfigurationError) as refusal:
        configure(policy, ON_RAILWAY, replace(ADAPTERS, platforms=(RAILWAY,)))
    assert {"DATABASE_URL", "REDIS_URL"} < {problem.place for problem in refusal.value.problems}
    assert any("other.yaml" in problem.place for problem in refusal.value.problems)


def test_what_each_platform_of_a_mixed_policy_lacks_is_said_together_with_the_line_of_a_missing_program(
    tmp_path: Path,
) -> None:
    rest = "queue: {table: %s}\n    tiers: [{replicas: 1}]\n    max_replicas: 1\n"
    targets = {
        "a": "service: x", "b": "kubernetes: {name: w}", "c": "command: {scale: [/none/scale], read: [sh]}"
    }  # fmt: skip
    workers = [f"  {name}:\n    {target}\n    {rest % name}" for name, target in targets.items()]
    (tmp_path / "policy.yaml").write_text("workers:\n" + "".join(workers))
    with pytest.raises(ConfigurationError) as error:
        configured(tmp_path / "policy.yaml", RAILWAY, KUBERNETES, COMMAND, PATH="/bin:/usr/bin")
    said = [problem.place for problem in error.value.problems]
    assert {"RAILWAY_API_TOKEN", "RAILWAY_PROJECT_ID", "KUBECONFIG"} <= set(said)
    assert [place for place in said if "policy.yaml:13" in place] != []
