"""Whether a user's .railway/railway.py, .ts or .go sets the count of a service that we scale, and in which line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from controller.doctor.finding import Level
from controller.doctor.railway_as_code import MOST_BYTES, Declared, declared, declared_in, nearest
from tests.doctor.test_railway import fake_railway, look

PYTHON = """
from railway_sdk import define_railway, project, service

@define_railway
def main(ctx=None):
    web = service("web", replicas=2)
    worker = service(
        "worker",  # replicas=5 was too much (see #12)
        start="python worker.py --replicas=3 )",
        {line}
    )
    return project("mine", resources=[web, worker])
"""
SCRIPT = """
export default defineRailway(() => {
  const web = service("web", { replicas: 2 });
  /* service("worker", { replicas: 9 }) */
  const worker = service('worker', {
    start: `node worker.js (${1 + 1})`, // replicas: 4
    {line}
  });
  return project("mine", { resources: [web, worker] });
});
"""
GO = """
func Railway() railway.Project {
	web := railway.Service("web", railway.ServiceConfig{Replicas: 2})
	worker := railway.Service(`worker`, railway.ServiceConfig{
		Start: "/worker", // Replicas: 4
		{line}
	})
	return railway.NewProject("mine", web, worker)
}
"""


@pytest.mark.parametrize(
    ("text", "suffix", "line", "found"),
    [
        (PYTHON, ".py", "", None),
        (PYTHON, ".py", "replicas=3,", Declared(10, "replicas", certain=True)),
        (PYTHON, ".py", "replicas = {'us-west2': 2},", Declared(10, "replicas", certain=True)),
        (PYTHON, ".py", "regions={'us-west2': 2},", Declared(10, "regions", certain=True)),
        (PYTHON, ".py", 'deploy={"numReplicas": 3},', Declared(10, "numReplicas", certain=True)),
        (PYTHON, ".py", 'deploy={"multiRegionConfig": {}},', Declared(10, "multiRegionConfig", certain=True)),
        (PYTHON, ".py", "# replicas=3,", None),
        (PYTHON, ".py", "env={'A': len(x) == 3 and (replicas == 3)},", None),
        (SCRIPT, ".ts", "", None),
        (SCRIPT, ".ts", "replicas: prod ? 3 : 1,", Declared(7, "replicas", certain=True)),
        (SCRIPT, ".ts", "// replicas: 3", None),
        (GO, ".go", "", None),
        (GO, ".go", "Replicas: 3,", Declared(6, "Replicas", certain=True)),
    ],
)
def test_only_what_the_declaration_of_that_service_sets_is_found(
    text: str, suffix: str, line: str, found: Declared | None
) -> None:
    assert declared(text.replace("{line}", line), "worker", suffix) == found


@pytest.mark.parametrize(
    "text", ["", "service('other', replicas=2)", "service(", "'worker", '"""worker', "service('worker'"]
)
def test_a_file_that_says_nothing_of_it_or_breaks_off_is_no_finding(text: str) -> None:
    assert declared(text, "worker", ".py") is None


def test_a_name_that_is_computed_is_doubtful() -> None:
    text = "NAMES = ['worker', 'mailer']\nfor name in NAMES:\n    service(name, replicas=2)\n"
    assert declared(text, "worker", ".py") == Declared(3, "replicas", certain=False)
    assert declared(text, "web", ".py") is None


@pytest.mark.parametrize(
    ("suffix", "text", "certain"),
    [
        (".py", 'options = {"replicas": 3}\nservice("worker", **options)', False),
        (".py", 'service("worker").with_fields(replicas=3)', False),
        (".py", 'options = {}\noptions["replicas"] = 3\nservice("worker", **options)', False),
        (".py", '{"name": "worker", "deploy": {"numReplicas": 3}}', False),
        (".py", 'service(name="worker", replicas=3)', True),
        (".ts", 'const options = { replicas: 3 };\nservice("worker", { ...options })', False),
        (".ts", 'const worker = service("worker", {});\nworker.replicas = 3;', False),
        (".ts", 'service("worker").replicas(3)', False),
        (".ts", 'import { count as replicas } from "./x";\nservice("worker", { replicas })', True),
        (".ts", 'service("worker", { ["replicas"]: 3 })', True),
        (".ts", 'service<Options>("worker", { replicas: 3 })', True),
        (".go", 'c := railway.ServiceConfig{Replicas: 3}\nw := railway.Service("worker", c)', False),
        (".go", 'railway.Service("worker").WithReplicas(3)', False),
    ],
)
def test_replicas_that_are_set_beside_the_declaration_are_found_too(suffix: str, text: str, *, certain: bool) -> None:
    found = declared(text, "worker", suffix)
    assert found is not None
    assert found.certain is certain
    assert declared('service("worker")\npostgres("db", replicas=2)', "worker", suffix) is None


@pytest.mark.parametrize(
    "text", ["service(", 'service("worker"', 'service("worker", {replicas', 'service("w", replicas=1,']
)
def test_a_long_file_is_looked_through_in_no_time(text: str) -> None:
    began = time.monotonic()
    declared(text * 8_000 + ' "worker"', "worker", ".ts")
    assert time.monotonic() - began < 20


@pytest.mark.costly
def test_the_nearest_file_counts_and_no_more_of_it_than_a_bound(tmp_path: Path) -> None:
    deep = tmp_path / "one" / "two"
    (tmp_path / ".railway").mkdir()
    (deep / ".railway").mkdir(parents=True)
    assert nearest(deep) == ()
    (tmp_path / ".railway" / "railway.ts").write_text("")
    assert nearest(deep) == (tmp_path / ".railway" / "railway.ts",)
    file = deep / ".railway" / "railway.py"
    file.write_bytes(b"#" * (MOST_BYTES - 100) + b"\n\xff\nservice('early', replicas=1)\n")
    assert nearest(deep) == (file,)
    with file.open("ab") as stream:
        stream.write(b"#" * 200 + b"\nservice('late', replicas=1)\n")
    assert declared_in(file, "early") == Declared(3, "replicas", certain=True)
    assert declared_in(file, "late") is None


async def test_doctor_names_the_line_and_what_apply_would_do(tmp_path: Path) -> None:
    file = tmp_path / ".railway" / "railway.py"
    file.parent.mkdir()
    async with fake_railway(deploy={"drainingSeconds": 60}) as fake:
        name = fake.worker.name
        file.write_text(f"service('{name}')\n")
        found = (await look(fake, folder=tmp_path))["config-as-code"]
        assert (found.level, found.says) == (Level.OK, f".railway/railway.py does not set the replica count of {name}")
        file.write_text(f"\n\nservice('{name}',\n  replicas=3)\n")
        found = (await look(fake, folder=tmp_path))["config-as-code"]
        assert (found.level, found.says) == (Level.WARNING, f".railway/railway.py:4 sets replicas of {name}")
        assert "`railway config apply` resets the count" in found.fix
        file.write_text(f"for name in ['{name}']: service(name, replicas=3)\n")
        found = (await look(fake, folder=tmp_path))["config-as-code"]
        assert (found.level, "in line 1" in found.says) == (Level.WARNING, True)


async def test_where_there_are_two_files_doctor_looks_at_both(tmp_path: Path) -> None:
    folder = tmp_path / ".railway"
    folder.mkdir()
    async with fake_railway(deploy={"drainingSeconds": 60}) as fake:
        (folder / "railway.py").write_text(f"service('{fake.worker.name}')\n")
        (folder / "railway.ts").write_text(f"service('{fake.worker.name}', {{ replicas: 2 }})\n")
        found = (await look(fake, folder=tmp_path))["config-as-code"]
        assert (found.level, found.says) == (
            Level.WARNING,
            f".railway/railway.ts:1 sets replicas of {fake.worker.name}",
        )
