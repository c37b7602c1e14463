"""`autoscaler init`: from a database that nobody described to a policy that reads it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from tests.cli.initiated import bystander, files, init, make, schema, written
from tests.support.processes import Ran, autoscaler
from tests.support.scene import Scene

__all__ = ["bystander"]

RENDERS = """
CREATE TYPE render_state AS ENUM ('queued', 'running', 'done', 'broken', 'failed');
CREATE TABLE renders (id bigserial PRIMARY KEY, state render_state NOT NULL DEFAULT 'queued',
  inserted_at timestamptz NOT NULL DEFAULT now(), due_at timestamptz, picked_at timestamptz, ended_at timestamptz);
INSERT INTO renders (state, picked_at, ended_at)
  SELECT 'done', now() - interval '5 min', now() - interval '5 min' + interval '20 s' FROM generate_series(1, 40);
INSERT INTO renders (state) SELECT 'queued' FROM generate_series(1, 12);
INSERT INTO renders (state, due_at) VALUES ('queued', now() + interval '1 day');
INSERT INTO renders (state, picked_at) SELECT 'running', now() FROM generate_series(1, 3);
"""
PROCRASTINATE = """
INSERT INTO procrastinate_jobs (queue_name, task_name, args)
SELECT CASE WHEN n < 5 THEN 'render' ELSE 'mail' END, 'send', '{}' FROM generate_series(1, 14) n
"""


async def procrastinate_at(url: str) -> None:
    """The tables as the library itself makes them, where it is installed."""
    pytest.importorskip("procrastinate", reason="needs procrastinate: make test installs it")
    from tests.queues.test_procrastinate import Procrastinate

    await Procrastinate().migrate(url)


class TestFromInitToExplainWithoutAHandEditedLine:
    @pytest.mark.costly
    async def test_on_a_procrastinate_database(self, scene: Scene, tmp_path: Path) -> None:
        url = scene.environment["DATABASE_URL"]
        await scene.queue.execute("DROP TABLE generation_job")
        await procrastinate_at(url)
        make(url, PROCRASTINATE)
        explained = await self.explained(scene, tmp_path)
        assert "→ 14 jobs (14 pending, 0 processing) want 2 workers: 0 → 2" in explained

    @pytest.mark.costly
    async def test_on_a_table_of_ones_own(self, scene: Scene, tmp_path: Path) -> None:
        await scene.queue.execute("DROP TABLE generation_job")
        make(scene.environment["DATABASE_URL"], RENDERS)
        explained = await self.explained(scene, tmp_path)
        assert "→ 15 jobs (12 pending, 3 processing) of 20 s each want 4 workers" in explained
        assert "1 scheduled for later" in explained

    async def explained(self, scene: Scene, folder: Path) -> str:
        for command in ("init", "check"):
            ran = await autoscaler(command, environment=scene.environment, cwd=folder)
            assert ran.code == 0, ran.err
        return (await autoscaler("explain", environment=scene.environment, cwd=folder)).out


LIBRARIES = {
    "river": (
        (
            "INSERT INTO river_job (state, args, kind, max_attempts, queue)"
            " SELECT 'available', '{}', 'k', 3, 'mail' FROM generate_series(1, 7)"
        ),
        {"preset": "river"},
    ),
    "good_job": ("", {"preset": "good_job"}),
    "que": ("", {"preset": "que"}),
    "solid_queue": ("", {"preset": "solid_queue"}),
    "oban": ("", {"preset": "oban"}),
    "pg-boss_12.38": ("", {"preset": "pg-boss"}),
    "graphile-worker_0.15": ("", {"preset": "graphile-worker"}),
    "delayed_job": ("", {"preset": "delayed_job"}),
}


class TestALibrary:
    @pytest.mark.costly
    @pytest.mark.parametrize("tables", LIBRARIES)
    async def test_is_recognised_by_its_tables(self, tables: str, database_url: str, tmp_path: Path) -> None:
        rows, keys = LIBRARIES[tables]
        make(database_url, schema(tables), rows)
        found = await written(database_url, tmp_path)
        assert found.queue == keys
        assert (await found.depth(database_url)).pending == (7 if rows else 0)

    @pytest.mark.costly
    async def test_is_found_in_another_schema_and_under_another_prefix(self, database_url: str, tmp_path: Path) -> None:
        await procrastinate_at(database_url)
        moved = "; ".join(
            f"ALTER TABLE procrastinate_{name} RENAME TO my_procrastinate_{name};"
            f"ALTER TABLE my_procrastinate_{name} SET SCHEMA work"
            for name in ("jobs", "workers", "events")
        )
        make(database_url, PROCRASTINATE, f"CREATE SCHEMA work; {moved}")
        found = await written(database_url, tmp_path)
        assert found.queue == {"preset": "procrastinate", "schema": "work", "prefix": "my_"}
        assert "# queues: [mail, render]" in found.text
        assert (await found.depth(database_url)).pending == 14

    @pytest.mark.costly
    async def test_with_most_unfinished_jobs_is_taken_of_several_and_another_by_its_name(
        self, database_url: str, tmp_path: Path
    ) -> None:
        await procrastinate_at(database_url)
        make(database_url, PROCRASTINATE, schema("river"), LIBRARIES["river"][0])
        found = await written(database_url, tmp_path)
        assert found.queue == {"preset": "procrastinate"}
        assert "Found also River (7 unfinished jobs); --preset river takes it." in found.ran.out
        other = await init(database_url, tmp_path, "-", "--preset", "river")
        assert "preset: river" in other.out

    async def test_that_is_not_there_is_said(self, database_url: str, tmp_path: Path) -> None:
        ran = await init(database_url, tmp_path, "--preset", "oban")
        assert (ran.code, files(tmp_path)) == (1, [])
        assert "can see no tables of preset oban" in ran.err

    @pytest.mark.costly
    async def test_whose_tables_may_not_be_read_is_proposed_with_the_grant(
        self, database_url: str, bystander: str, tmp_path: Path
    ) -> None:
        make(database_url, schema("river"))
        found = await written(bystander, tmp_path)
        assert found.queue == {"preset": "river"}
        assert "GRANT SELECT ON" in found.ran.out

    @pytest.mark.costly
    async def test_with_tables_for_each_queue_has_its_queues_named(self, database_url: str, tmp_path: Path) -> None:
        queue = "(msg_id bigint, read_ct int, enqueued_at timestamptz, vt timestamptz, message jsonb)"
        make(
            database_url,
            f"CREATE SCHEMA pgmq; CREATE TABLE pgmq.q_mail {queue}; CREATE TABLE pgmq.q_render {queue};"
            "CREATE TABLE pgmq.q_other (id int); INSERT INTO pgmq.q_mail VALUES (1, 0, now(), now(), '{}')",
        )
        found = await written(database_url, tmp_path)
        assert found.queue == {"preset": "pgmq", "queues": ["mail", "render"]}
        assert (await found.depth(database_url)).pending == 1


class TestTheFile:
    async def test_that_exists_is_kept(self, database_url: str, tmp_path: Path) -> None:
        (tmp_path / "policy.yaml").write_text("mine")
        (tmp_path / "link.yaml").symlink_to("nowhere.yaml")
        make(database_url, RENDERS)
        for name in ("policy.yaml", "link.yaml"):
            ran = await init(database_url, tmp_path, name)
            assert (ran.code, "init overwrites nothing" in ran.err) == (2, True)
        assert (tmp_path / "policy.yaml").read_text() == "mine"
        assert not (tmp_path / "nowhere.yaml").exists()

    @pytest.mark.costly
    async def test_is_printed_alone_for_a_dash(self, database_url: str, tmp_path: Path) -> None:
        make(database_url, RENDERS)
        ran = await init(database_url, tmp_path, "-")
        assert list(yaml.safe_load(ran.out)) == ["workers"]
        assert "Found table renders" in ran.err
        assert files(tmp_path) == []

    @pytest.mark.costly
    async def test_has_some_15_lines_that_fit(self, database_url: str, tmp_path: Path) -> None:
        make(database_url, RENDERS)
        text = (await written(database_url, tmp_path)).text
        assert 12 <= len(text.splitlines()) <= 22
        assert max(map(len, text.splitlines())) <= 120

    async def test_in_a_folder_that_is_not_there_is_refused_before_anything_is_asked(self, tmp_path: Path) -> None:
        ran = await init("postgres://nowhere.invalid/x", tmp_path, "no/policy.yaml")
        assert (ran.code, "make the folder first" in ran.err) == (2, True)

    async def test_is_not_written_without_a_database(self, tmp_path: Path) -> None:
        ran = await autoscaler("init", cwd=tmp_path)
        assert (ran.code, "DATABASE_URL" in ran.err, files(tmp_path)) == (2, True, [])
        ran = await init("postgres://127.0.0.1:1/x", tmp_path)
        assert (ran.code, ran.err.count("\n"), files(tmp_path)) == (1, 1, [])


class TestTheService:
    async def proposed(self, scene: Scene, folder: Path, *arguments: str) -> Ran:
        environment = {key: value for key, value in scene.environment.items() if key != "RAILWAY_WORKER_SERVICE_ID"}
        return await autoscaler("init", "-", *arguments, environment=environment, cwd=folder)

    @pytest.mark.costly
    async def test_is_the_only_one_that_is_named_like_a_worker(self, scene: Scene, tmp_path: Path) -> None:
        scene.fake.add_service("Postgres")
        ran = await self.proposed(scene, tmp_path)
        assert f"service: '{scene.environment['RAILWAY_WORKER_SERVICE_ID']}' # worker on Railway" in ran.out

    @pytest.mark.costly
    async def test_is_a_variable_and_a_list_where_several_could_be_it(self, scene: Scene, tmp_path: Path) -> None:
        other = scene.fake.add_service("render worker\n  evil: true")
        ran = await self.proposed(scene, tmp_path)
        assert "service: ${RAILWAY_WORKER_SERVICE_ID} # an environment variable" in ran.out
        assert rf"# render worker\n  evil: true is {other.id}".replace("  ", " ") in ran.out.replace("  ", " ")
        (worker,) = yaml.safe_load(ran.out)["workers"].values()
        assert "evil" not in worker
        ran = await self.proposed(scene, tmp_path, "--service", other.id)
        assert f"service: '{other.id}'" in ran.out

    @pytest.mark.costly
    async def test_that_is_not_there_is_refused(self, scene: Scene, tmp_path: Path) -> None:
        for ident in ("no-such-id", "no id"):
            ran = await self.proposed(scene, tmp_path, "--service", ident)
            assert (ran.code, ran.out) == (2, "")

    @pytest.mark.costly
    async def test_is_a_variable_where_railway_does_not_answer(self, scene: Scene, tmp_path: Path) -> None:
        scene.environment["RAILWAY_API_URL"] = "http://127.0.0.1:1"
        ran = await self.proposed(scene, tmp_path)
        assert (ran.code, "service: ${RAILWAY_WORKER_SERVICE_ID}" in ran.out) == (0, True)
        assert "Railway: cannot be reached" in ran.err


@pytest.mark.costly
async def test_two_at_once_write_one_file(database_url: str, tmp_path: Path) -> None:
    make(database_url, RENDERS)
    rans = await asyncio.gather(*(init(database_url, tmp_path) for _ in range(3)))
    assert sorted(ran.code for ran in rans) == [0, 2, 2]
