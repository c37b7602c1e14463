"""Completion: what a shell offers is what the parser takes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from controller.adapters.postgres.presets.reader import names
from controller.cli.docs import TABLES
from controller.cli.main import commands
from tests.support.processes import autoscaler

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")


async def offered(folder: Path, line: str) -> set[str]:
    """What bash completes the last word of a line with."""
    script = folder / "completion.bash"
    script.write_text((await autoscaler("completion", "bash")).out)
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    asked = (
        f"source {script}; complete -p autoscaler >/dev/null || exit 3\n"
        f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _autoscaler; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    ran = subprocess.run(["bash", "-u", "-c", asked], capture_output=True, text=True, cwd=folder, check=False)  # noqa: ASYNC221
    assert (ran.returncode, ran.stderr) == (0, "")
    return set(ran.stdout.split())


@needs_bash
async def test_bash_offers_the_commands(tmp_path: Path) -> None:
    assert await offered(tmp_path, "autoscaler ") >= {*commands()[1].parsers, "--help", "--version"}
    assert await offered(tmp_path, "autoscaler que") == {"queues", "queue-trigger"}


@needs_bash
async def test_bash_offers_the_options_of_a_command(tmp_path: Path) -> None:
    assert await offered(tmp_path, "autoscaler run --") == {"--help", "--policy", "--dry-run"}
    assert await offered(tmp_path, "autoscaler simulate --drain 5s --wo") == {
        *("--workload", "--worker", "--worker-memory", "--worker-cpu")
    }


@pytest.mark.costly
@needs_bash
async def test_bash_offers_choices_presets_and_topics(tmp_path: Path) -> None:
    assert await offered(tmp_path, "autoscaler tune --form ") == {"tiers", "per_worker", "slo", "target_wait", "any"}
    assert await offered(tmp_path, "autoscaler queues ") == set(names())
    assert await offered(tmp_path, "autoscaler completion z") == {"zsh"}
    assert await offered(tmp_path, "autoscaler docs ") == set(TABLES)
    assert await offered(tmp_path, "autoscaler help env") == {"environment"}
    assert await offered(tmp_path, "autoscaler tune --workload d") == {"diurnal"}


@pytest.mark.costly
@needs_bash
async def test_bash_offers_files_where_a_file_is_taken_and_folders_where_a_folder_is(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    (tmp_path / "more").mkdir()
    assert await offered(tmp_path, "autoscaler check mi") == {"mine.yaml"}
    assert await offered(tmp_path, "autoscaler run --policy m") == {"mine.yaml", "more"}
    assert await offered(tmp_path, "autoscaler demo --record m") == {"more"}
    assert await offered(tmp_path, "autoscaler tune --wait m") == set()


@needs_bash
async def test_bash_offers_built_in_policies_beside_files_where_both_are_taken(tmp_path: Path) -> None:
    (tmp_path / "target.yaml").touch()
    assert await offered(tmp_path, "autoscaler simulate ta") == {"target_wait", "target.yaml"}
    assert await offered(tmp_path, "autoscaler simulate tiers ke") == {"keda"}
    assert await offered(tmp_path, "autoscaler plan ta") == {"target.yaml"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_every_shell_s_completion_names_every_command_and_option(shell: str) -> None:
    ran = await autoscaler("completion", shell)
    assert ran.code == 0
    for name, parser in commands()[1].parsers.items():
        assert name in ran.out
        for option in parser._option_string_actions:
            if option.startswith("--"):
                assert (option if shell != "fish" else f"-l {option[2:]} ") in ran.out


@pytest.mark.parametrize("shell", ["zsh", "fish"])
async def test_the_shell_itself_accepts_its_completion(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    script = tmp_path / "completion"
    script.write_text((await autoscaler("completion", shell)).out)
    ran = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)  # noqa: ASYNC221
    assert (ran.returncode, ran.stderr) == (0, "")
