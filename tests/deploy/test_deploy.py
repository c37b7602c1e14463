"""What is deployed: the image, its pinned versions, Railway's file, and the two compose files."""

from __future__ import annotations

import importlib.util
import re
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import pytest
import yaml
from graphql import build_schema, parse, validate

from controller.adapters.railway.settings import load_railway
from controller.configuration import load_settings
from controller.fake_railway import ENVIRONMENT_ID, PROJECT_ID, WORKER_SERVICE_ID
from tests.support.lowest import lowest
from tests.support.processes import autoscaler
from tests.support.scene import Scene

ROOT = Path(__file__).parents[2]


def compose(name: str) -> Any:
    return yaml.safe_load((ROOT / "deploy" / name).read_text())


def test_compose_points_two_controllers_at_the_fake() -> None:
    services = compose("compose.yaml")["services"]
    for name in ("controller-a", "controller-b"):
        environment = services[name]["environment"]
        assert environment["RAILWAY_PROJECT_ID"] == PROJECT_ID
        assert environment["RAILWAY_ENVIRONMENT_ID"] == ENVIRONMENT_ID
        assert environment["RAILWAY_WORKER_SERVICE_ID"] == WORKER_SERVICE_ID
    assert {"postgres", "redis", "railway"} <= services.keys()
    for name in ("queue", "railway"):  # no controller answers there, and docker would call them unhealthy
        assert services[name]["healthcheck"] == {"disable": True}


def test_the_controller_s_own_service_has_two_replicas_a_healthcheck_and_time_to_leave() -> None:
    graph = railway_sdk_s_graph()
    memory, controller = graph["resources"]
    deploy = controller["deploy"]
    assert (deploy["numReplicas"], deploy["healthcheckPath"], deploy["restartPolicyType"]) == (2, "/health", "ALWAYS")
    assert deploy["overlapSeconds"] >= 15  # numbers: Railway refuses strings
    assert deploy["drainingSeconds"] > 20
    assert (memory["engine"], controller["build"]["dockerfilePath"]) == ("redis", "deploy/Dockerfile")
    assert (ROOT / controller["build"]["dockerfilePath"]).is_file()
    variables = controller["variables"]
    assert variables["DATABASE_URL"] == {"type": "literal", "value": "${{Postgres.DATABASE_URL}}"}
    assert variables["REDIS_URL"] == {"type": "reference", "resource": memory["address"], "output": "REDIS_URL"}
    assert variables["RAILWAY_TOKEN"] == {"type": "preserve"}
    given = dict.fromkeys(("RAILWAY_PROJECT_ID", "RAILWAY_ENVIRONMENT_ID"), "set-by-railway")
    needed = {name: "postgresql://h/d" if name == "DATABASE_URL" else "redis://h" for name in variables}
    load_settings(needed | given)


def railway_sdk_s_graph() -> Any:
    """What the Railway CLI makes of deploy/railway/railway.py: it calls main() of it, with the package railway-sdk."""
    file = ROOT / "deploy" / "railway" / "railway.py"
    spec = importlib.util.spec_from_file_location("railway_s_file", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PARTIAL == "autoscaler", "else it would own the whole environment, and delete what it does not name"
    return module.main().to_graph()


def test_the_mutations_that_set_the_service_up_validate() -> None:
    schema = build_schema((ROOT / "controller" / "fake_railway" / "schema.graphql").read_text())
    assert validate(schema, parse((ROOT / "deploy" / "railway.graphql").read_text())) == []


def test_the_dockerfile_runs_the_controller_itself_and_not_as_root() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["autoscaler"]' in dockerfile
    assert re.search(r"^USER 65534", dockerfile, re.MULTILINE)


@pytest.mark.parametrize("name", ["compose.yaml", "compose.production.yaml"])
def test_all_services_of_ours_are_of_one_image_and_redis_keeps_its_data(name: str) -> None:
    services = compose(name)["services"]
    others = ("postgres:", "redis:", "prom/prometheus:", "grafana/grafana:")
    ours = [service for service in services.values() if not service["image"].startswith(others)]
    assert len(ours) >= 2
    assert len({service["image"] for service in ours}) == 1
    assert services["redis"]["volumes"] == ["redis:/data"]
    assert "redis" in compose(name)["volumes"]
    assert "noeviction" in services["redis"]["command"]


def test_in_production_two_controllers_start_again_and_nothing_of_the_demo_is_there() -> None:
    services = compose("compose.production.yaml")["services"]
    assert services.keys() == {"redis", "controller-a", "controller-b"}
    assert {service["restart"] for service in services.values()} == {"always"}
    text = (ROOT / "deploy" / "compose.production.yaml").read_text()
    named = set(re.findall(r"\$\{(\w+):\?", text))
    environment = dict.fromkeys(named, "x") | {"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h"}
    load_settings(environment)
    assert load_railway(environment).token.kind == "project"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> dict[str, str]:
    lines = (ROOT / "deploy" / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {normal(name): exact for name, exact in pairs}


def needed(package: str, extra: str, found: set[str]) -> set[str]:
    """What is installed with it, and with what that needs; of another version than the pinned one nothing is known."""
    if normal(package) in pinned() and version(package) != pinned()[normal(package)]:
        return found
    for line in requires(package) or []:
        wanted = re.match(r"(?P<name>[\w.-]+)(?:\[(?P<extra>\w+)])?[^;]*(?P<marker>;.*)?", line)
        assert wanted is not None
        marker = wanted["marker"] or ""
        if "extra" in marker and f"extra == '{extra}'" not in marker.replace('"', "'"):
            continue
        if (
            not re.search("win32|Windows", marker)
            and normal(wanted["name"]) not in found
            and is_installed(wanted["name"])
        ):  # else it is for other systems
            found.add(normal(wanted["name"]))
            needed(wanted["name"], wanted["extra"] or "", found)
    return found


def is_installed(package: str) -> bool:
    try:
        requires(package)
    except PackageNotFoundError:
        return False
    return True


def test_the_image_installs_one_version_of_each_package_that_it_needs_and_names_no_address() -> None:
    versions = pinned()
    of_the_image = needed("worker-autoscaler", "", set()) | {"graphql-core"}
    assert of_the_image - versions.keys() == set()
    assert len(of_the_image) > 7
    for line in lowest():
        name, least = line.split("==")
        if normal(name) in versions:
            assert numbers(versions[normal(name)]) >= numbers(least), line
    assert "://" not in (ROOT / "deploy" / "constraints.txt").read_text()
    assert "-c deploy/constraints.txt" in (ROOT / "deploy" / "Dockerfile").read_text()
    assert "!deploy/constraints.txt" in (ROOT / ".dockerignore").read_text().splitlines()


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def test_the_dockerfile_compiles_what_it_runs_and_looks_after_its_health() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    environment = dict(re.findall(r"(PYTHON\w+)=(\w+)", dockerfile))
    assert (environment["PYTHONOPTIMIZE"], environment["PYTHONNODEBUGRANGES"]) == ("2", "1")
    assert "compileall -q -o 2" in dockerfile
    assert dockerfile.index("PYTHONNODEBUGRANGES") < dockerfile.index("compileall"), "it is compiled in, or it is not"
    assert "HEALTHCHECK" in dockerfile
    assert "LABEL org.opencontainers.image.title" in dockerfile
    probe = re.search(r'CMD \["python", "-c", "(import os[^"]+)"\]', dockerfile)
    assert probe is not None
    compile(probe[1], "HEALTHCHECK", "exec")


@pytest.mark.costly
async def test_the_controller_runs_without_docstrings_and_asserts_as_in_the_image(scene: Scene) -> None:
    await scene.jobs(20)
    image = {**scene.environment, "PYTHONOPTIMIZE": "2", "PYTHONNODEBUGRANGES": "1"}
    ran = await autoscaler("once", environment=image)
    assert (ran.code, scene.asked_for) == (0, [2]), ran.err
    plain = (await autoscaler("check", "--schema")).out
    assert (await autoscaler("check", "--schema", environment={"PYTHONOPTIMIZE": "2"})).out == plain
