"""What `make worth` prints, on one small trace; the figures are those of the simulator and of the bound."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.worth import main


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    (tmp_path / "small.csv").write_text(
        "t,service\n" + "".join(f"{30 * number},{5 + number % 9}\n" for number in range(60))
    )
    return tmp_path


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_each_policy_is_compared_with_the_least_that_any_policy_can_reach(
    traces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(traces), "static:2", "static:0", "oracle", "--bound"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = [index for index, line in enumerate(lines) if line.startswith("| policy |")]
    assert cells(lines[heads[1]]) == ["policy", "J/least(0.05)", "J/least(0.2)", "J/least(1)"]
    static, nothing, oracle = (cells(line) for line in lines[heads[1] + 2 : heads[1] + 5])
    assert nothing == ["static:0", "-", "-", "-"]
    assert all(1 <= float(ratio) < 10 for ratio in (*static[1:], *oracle[1:]))
    assert lines[-1].startswith("small.csv: 60 jobs in ")


def test_without_the_flag_no_bound_is_computed(traces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(traces), "static:2"]) == 0
    assert "J/least" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "policy", "said"),
    [("nothing", "static:2", "holds no trace"), ("", "statik:2", "did you mean static?")],
    ids=["a folder without traces", "a policy that does not exist"],
)
def test_wrong_input_is_one_message_and_exit_2(
    traces: Path, name: str, policy: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(traces / name), policy]) == 2
    assert said in capsys.readouterr().err
