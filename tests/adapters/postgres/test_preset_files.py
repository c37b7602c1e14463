"""A policy names a preset of the user's own by its path; its file is read within bounds, like the policy itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from controller.adapters.postgres.presets.reader import PresetFiles, load, names
from controller.config.load import schema_text
from controller.configuration import read_policy
from controller.core.problems import ConfigurationError
from controller.policy import overlaps
from tests.policy.test_preset import PLAIN

POLICY = """\
workers:
  mail:
    service: one
    max_replicas: 3
    tiers: [{replicas: 1}]
    queue: {preset: %s}
"""


def written(folder: Path, preset: str, policy: str = "./my.toml", name: str = "my.toml") -> Path:
    (folder / name).write_text(preset)
    path = folder / "policy.yaml"
    path.write_text(POLICY % policy)
    return path


def refused(path: Path, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as refusal:
        read_policy(path, environment or {})
    return [str(problem) for problem in refusal.value.problems]


@pytest.mark.parametrize("named", ["./my.toml", "my.toml", "../{folder}/my.toml", "{path}/my.toml", "'${PRESET}'"])
def test_a_path_is_absolute_or_begins_where_the_policy_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.chdir("/")
    path = written(tmp_path, PLAIN, named.replace("{folder}", tmp_path.name).replace("{path}", str(tmp_path)))
    policy, _ = read_policy(path, {"PRESET": "./my.toml"})
    name = policy.workers["mail"].only_queue.preset
    assert name is not None
    assert Path(name).is_absolute()
    assert load(name).tables == {"jobs": "{prefix}jobs"}


def test_a_file_that_is_edited_counts_from_the_next_reading_of_the_policy_on(tmp_path: Path) -> None:
    path = written(tmp_path, PLAIN)
    name = read_policy(path, {})[0].workers["mail"].only_queue.preset or ""
    (tmp_path / "my.toml").write_text(PLAIN.replace("'ready'", "'new'"))
    assert "'ready'" in load(name).forms[0].ready[0]
    read_policy(path, {})
    assert "'new'" in load(name).forms[0].ready[0]


def test_each_thing_that_is_wrong_in_the_file_is_named_with_the_worker_that_uses_it(tmp_path: Path) -> None:
    path = written(tmp_path, PLAIN.replace("'taken'", "'taken").replace("{due}", "{x}"))
    ready, processing = refused(path)
    place = f"{path}:6: workers.mail.queue.preset: my.toml"
    assert ready.startswith(f"{place}:5: forms[0].ready: uses {{x}}, which is not defined")
    assert processing.startswith(f"{place}:6: forms[0].processing: has a quote that is not closed")


def test_what_is_wrong_in_the_file_is_named_beside_what_is_wrong_in_the_policy(tmp_path: Path) -> None:
    path = written(tmp_path, PLAIN.replace("{due}", "{x}"))
    path.write_text(path.read_text().replace("max_replicas: 3", "max_replicas: many"))
    assert len(refused(path)) == 2


def _no_file(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _sparse(path: Path) -> None:
    os.truncate(path, 10**12)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        pytest.param(_no_file, "there is no such file; relative paths start at ", id="no such file"),
        pytest.param(_folder, "is a directory; name a file in it", id="a directory"),
        pytest.param(_pipe, "is a pipe, not a file", id="a pipe"),
        pytest.param(_sparse, "is longer than 400,000 bytes", id="a terabyte"),
        pytest.param(lambda path: path.write_bytes(b"\xff\xfea"), "is UTF-16 or UTF-32; save it as UTF-8", id="UTF-16"),
        pytest.param(lambda path: path.write_bytes(b"a\n\xff"), "my.toml:2: holds a byte that is not UTF-8", id="0xff"),
        pytest.param(lambda path: path.write_text("[" * 9_999), "is ", id="deep nesting"),
    ],
)
def test_a_file_that_is_none_is_one_message_and_nothing_waits_for_it(tmp_path: Path, spoil: Any, problem: str) -> None:
    path = written(tmp_path, PLAIN)
    spoil(tmp_path / "my.toml")
    (only,) = refused(path)
    assert problem in only


def test_a_preset_with_tables_for_each_queue_needs_their_names(tmp_path: Path) -> None:
    path = written(tmp_path, PLAIN.replace("{prefix}jobs", "q_{queue}"))
    (only,) = refused(path)
    assert f"workers.mail.queue: has no queues, and {tmp_path / 'my.toml'} keeps each in a table of its own" in only


def test_queues_of_a_preset_that_cannot_tell_them_apart_are_refused_rather_than_all_counted(tmp_path: Path) -> None:
    path = written(tmp_path, PLAIN, "./my.toml, queues: [mail]")
    (only,) = refused(path)
    assert "workers.mail.queue.queues: has no effect: " in only
    assert "has no queue_column; write one there, or leave queues out" in only


def test_two_workers_on_one_preset_of_ones_own_count_the_same_jobs(tmp_path: Path) -> None:
    path = written(tmp_path, PLAIN)
    path.write_text(
        "workers:\n"
        "  a: {service: a, max_replicas: 3, tiers: [{replicas: 1}], queue: {preset: ./my.toml}}\n"
        f"  b: {{service: b, max_replicas: 3, tiers: [{{replicas: 1}}], queue: {{preset: '{tmp_path}/my.toml'}}}}\n"
    )
    assert len(list(overlaps(read_policy(path, {})[0]))) == 1


def test_a_name_that_no_preset_has_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(ConfigurationError, match="'rivr' is not a known preset; did you mean river"):
        load("rivr")


def test_the_folder_is_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(__file__).parents[3] / "controller" / "adapters" / "postgres" / "presets"
    assert names() == PresetFiles().names == tuple(sorted(path.stem for path in folder.glob("*.toml")))
    assert all(f'"{name}"' in schema_text(names()) for name in names())
