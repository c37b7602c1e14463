"""What a policy names for a command target, and is not on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.adapters.command.settings import COMMAND
from controller.policy import Policy
from tests.contract.stages import WORKER

PLACE = ("workers", "w", "command")


def problems(command: dict[str, Any], **environment: str) -> list[tuple[tuple[str | int, ...], str]]:
    policy = Policy.model_validate({"workers": {"w": {**WORKER, "command": command}}})
    return list(COMMAND.problems(policy, environment))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "runs").write_text("#!/bin/sh\n")
    (tmp_path / "runs").chmod(0o755)
    (tmp_path / "text").write_text("#!/bin/sh\n")
    return tmp_path


@pytest.mark.parametrize(
    ("program", "says"),
    [
        pytest.param("{}/runs", None, id="a program by its path"),
        pytest.param("runs", None, id="a program in PATH"),
        pytest.param("{}/none", "{}/none is not there; a relative path is one from where the controller", id="no file"),
        pytest.param("./none", "./none is not there; a relative path is one", id="no file, by a relative path"),
        pytest.param("{}/text", "{}/text is not executable; chmod +x", id="a file without the right to run it"),
        pytest.param("{}", "{} is a folder; write the path of the program in it", id="a folder"),
        pytest.param("none", "none is not in PATH; write its path, or install it", id="a word that PATH does not have"),
    ],
)
def test_a_program_that_cannot_be_started_is_told_with_its_place(folder: Path, program: str, says: str | None) -> None:
    found = problems({"scale": [program.format(folder), "x"], "read": ["runs"]}, PATH=str(folder))
    assert [place for place, _ in found] == ([(*PLACE, "scale", 0)] if says else [])
    assert all(says is not None and text.startswith(says.format(folder)) for _, text in found)


def test_every_variable_that_is_not_set_is_told_with_its_place(folder: Path) -> None:
    command = {"scale": ["runs"], "read": ["runs"], "environment": ["KEY", "NONE"]}
    found = problems(command, PATH=str(folder), KEY="")
    assert found == [((*PLACE, "environment", 1), "NONE is not set; set it, or leave it out")]
    found = problems({"url": "https://h", "bearer": "TOKEN"}, TOKEN=" ")
    assert found == [((*PLACE, "bearer"), "TOKEN is not set; set it to the token")]


@pytest.mark.parametrize("token", ["one\ntwo", "tökén", "a\x7fb"], ids=ascii)
def test_a_token_that_no_header_can_carry_is_told_at_the_start_without_it(token: str) -> None:
    ((place, text),) = problems({"url": "https://h", "bearer": "TOKEN"}, TOKEN=token)
    assert place == (*PLACE, "bearer")
    assert text == "TOKEN holds a line break or a letter that no header can carry; set it to the token alone"


@pytest.mark.parametrize("host", ["xn--", "xn--a.com", "☃.com"], ids=ascii)
def test_a_host_name_that_breaks_the_client_is_told_at_the_start(host: str) -> None:
    found = problems({"url": f"https://{host}/x"})
    assert found == [((*PLACE, "url"), "has a host name that does not exist; correct it")]
    assert problems({"url": "https://bücher.example:8080/x"}) == []


def test_what_workers_on_other_platforms_have_is_not_looked_at() -> None:
    policy = Policy.model_validate({"workers": {"w": {**WORKER, "service": "x"}}})
    assert list(COMMAND.problems(policy, {})) == []
