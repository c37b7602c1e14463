"""What `autoscaler doctor` prints of a report."""

from __future__ import annotations

import pytest

from controller.cli.doctor import show
from controller.doctor.finding import error, ok, warning
from controller.doctor.report import Report, as_object


@pytest.fixture(autouse=True)
def _a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def lines(report: Report, capsys: pytest.CaptureFixture[str]) -> list[str]:
    show(report)
    return capsys.readouterr().out.splitlines()


def test_a_finding_is_one_line_whatever_a_name_holds(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report([], {"w": [error("queue", "no column a\nb\r\n c", "name\nit")]})
    assert lines(report, capsys)[1:3] == ["  error    queue  no column a b c", "                  → name it"]


def test_what_a_terminal_would_obey_is_spelt_out(capsys: pytest.CaptureFixture[str]) -> None:
    name = "w\x1b[31m\u202e"
    report = Report([warning("service", f"{name} crashes")], {name: [warning("queue", name)]})
    said = lines(report, capsys)
    assert r"  warning  service  w\x1b[31m\u202e crashes" in said
    assert r"w\x1b[31m\u202e" in said


def test_a_report_is_read_from_left_to_right_with_the_fix_below(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(
        [ok("PostgreSQL", "18")],
        {"w": [error("queue", "no table", "make one"), warning("plan", "slow", "do:", ("CREATE INDEX;",))]},
    )
    assert lines(report, capsys) == [
        "everywhere",
        "  ok       PostgreSQL  18",
        "",
        "w",
        "  error    queue       no table",
        "                       → make one",
        "  warning  plan        slow",
        "                       → do:",
        "                         CREATE INDEX;",
        "",
        "1 ok, 1 warning, 1 error",
    ]
    assert as_object(report)["well"] is False


def test_a_long_sentence_and_a_long_statement_go_on_below_where_they_began(capsys: pytest.CaptureFixture[str]) -> None:
    statement = f"CREATE INDEX CONCURRENTLY ON jobs ({', '.join(f'column_{n}' for n in range(9))}) WHERE kind = 'a  b';"
    report = Report([warning("plan", "slow " * 30, "make an index " * 9, (statement,))])
    said = lines(report, capsys)
    assert max(map(len, said)) <= 80
    assert {line[:17] for line in said[2:-2]} == {" " * 17}
    assert " ".join("".join(said).split()).count("make an index") == 9
    sql = " ".join(line.strip() for line in said if line.startswith(" " * 19))
    assert "WHERE kind = 'a  b';" in sql


def test_a_level_has_its_colour_where_colours_are_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report([error("Redis", "an error")])
    assert not any("\x1b" in line for line in lines(report, capsys)), "this is no terminal"
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert lines(report, capsys)[1] == "  \x1b[31merror\x1b[0m    Redis  an error"
    monkeypatch.setenv("NO_COLOR", "1")
    assert not any("\x1b" in line for line in lines(report, capsys))
