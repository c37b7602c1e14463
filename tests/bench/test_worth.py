"""What `make worth` prints, on one small trace; the figures are those of the simulator and of the bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from controller.simulation.contenders import Common, read_contender
from controller.simulation.workload.jobs import measure
from tests.bench.rivals import PRESETS, standard, sweep
from tests.bench.worth import main
from tests.bench.worth_settings import Case, Scaling, made_up, scalings
from tests.bench.worth_tables import Run, Runs, Tables, written
from tests.support.examples import some


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    (tmp_path / "small.csv").write_text(
        "t,service\n" + "".join(f"{30 * number},{5 + number % 9}\n" for number in range(60))
    )
    return tmp_path


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def runs_of(cases: Sequence[Case], policies: Sequence[str] = ()) -> Runs:
    """Each case with the named policies, or with all of the list and of the sweep."""
    found = {}
    for case in cases:
        names = policies or list(dict.fromkeys([*standard(case.scaling.service_s), *sweep(case.scaling.service_s)]))
        compared = case.run(names)
        each = [Run(figures, compared.jobs, compared.span_s, 0.1) for figures in compared.figures]
        found[case] = dict(zip(names, each, strict=True))
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Of the customary setting and of another one."""
    path = tmp_path_factory.mktemp("traces") / "small.csv"
    path.write_text("t,service\n" + "".join(f"{30 * number},{5 + number % 9}\n" for number in range(20)))
    return runs_of([Case("small", path, Scaling()), Case("small", path, Scaling(start_up_s=90.0))])


@pytest.mark.costly
def test_each_policy_is_compared_with_the_least_that_any_policy_can_reach(
    traces: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(traces), "static:2", "static:0", "oracle", "--bound", "--jobs", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = [index for index, line in enumerate(lines) if line.startswith("| policy |")]
    assert cells(lines[heads[1]]) == ["policy", "J/least(0.05)", "J/least(0.2)", "J/least(1)"]
    static, nothing, oracle = (cells(line) for line in lines[heads[1] + 2 : heads[1] + 5])
    assert nothing == ["`static:0`", "-", "-", "-"]
    assert all(1 <= float(ratio) < 10 for ratio in (*static[1:], *oracle[1:]))
    assert lines[-1].startswith("small.csv (customary): 60 jobs in ")


def test_without_the_flag_no_bound_is_computed(traces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(traces), "static:2", "--jobs", "1"]) == 0
    assert "J/least" not in capsys.readouterr().out


@pytest.mark.costly
def test_several_processes_print_the_same_as_one(traces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = []
    for processes in ("1", "2"):
        assert main([str(traces), "--start-up", "90", "--load", "1", "--jobs", processes]) == 0
        tables.append([line for line in capsys.readouterr().out.splitlines() if line.startswith("|")])
    assert tables[0] == tables[1]
    assert len(tables[0]) == 2 + len(standard(20.0))


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


@pytest.mark.parametrize(
    "arguments", [["--all", "static:2"], ["--load", "0"], ["--start-up", "nan"], ["--jobs", "0"]], ids=" ".join
)
def test_a_wrong_option_is_refused(traces: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(traces), *arguments])
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.parametrize("service_s", [0.5, 2.0, 20.0])
def test_the_sweep_has_200_settings_of_rivals_that_can_all_be_read(service_s: float) -> None:
    names = sweep(service_s)
    assert len(names) == len(set(names))
    assert 190 <= len(names) <= 220
    assert not {name.partition(":")[0] for name in names} & {*PRESETS, "oracle", "target_wait"}
    for name in names:
        assert read_contender(name, Common(5), {}).maximum == 5


@pytest.mark.costly
@pytest.mark.parametrize("scaling", some(list(scalings()), every=2), ids=lambda scaling: scaling.words)
@pytest.mark.parametrize("kind", ["jobs", "counts"])
def test_a_trace_is_scaled_to_its_setting(kind: str, scaling: Scaling, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    rows = [f"{20 * number},{1 + number % 50}" for number in range(4_000)]
    counts = [f"{minute},{6 + minute % 5}" for minute in range(2_500)]
    path.write_text("\n".join(["t,service", *rows] if kind == "jobs" else ["minute,count", *counts]) + "\n")
    workload = Case("trace", path, scaling).workload()
    found = measure(workload)
    # Counts have random service times, and a random part of the jobs.
    within = 0.01 if kind == "jobs" else 0.06
    assert found.mean_s == pytest.approx(scaling.service_s, rel=within)
    assert found.work_s / (workload.span_s or found.last) == pytest.approx(scaling.load, rel=within)
    assert found.jobs <= (scaling.most_jobs or 50_000)


@pytest.mark.costly
def test_the_settings_are_those_of_the_documentation() -> None:
    assert [one.words for one in scalings()] == [
        "customary",
        "start-up 5 s",
        "start-up 90 s",
        "load 0.3",
        "load 4",
        "jobs of 2 s, load 0.5",
        "jobs of 0.5 s, load 0.25",
    ]
    for case in made_up():
        found = measure(case.workload())
        assert found.mean_s == pytest.approx(case.scaling.service_s, rel=0.05)
        assert found.jobs > 9_000


def test_runs_by_the_clock_come_together_and_not_always_just_after_a_poll() -> None:
    cron = next(case for case in made_up() if "30 min" in case.name)
    arrivals = [arrival for arrival, *_ in cron.workload().jobs()]
    assert arrivals == sorted(arrivals)
    runs = [at for at, count in Counter(arrivals).items() if count == 60]
    assert len(runs) == 7 * 48
    for interval in (10, 15, 30):
        late = [-at % interval for at in runs]
        assert sum(late) / len(late) == pytest.approx(interval / 2, rel=0.15)


@pytest.mark.costly
def test_the_table_of_all_names_for_each_preset_the_best_rivals_and_its_lead(runs: Runs) -> None:
    usual, slow = runs
    made = Tables(runs, swept=True).by_name()["all"]
    assert not isinstance(made, str)
    head, *rows = made
    assert [row[0] for row in rows] == ["customary", "", "", "start-up 90 s", "", ""]
    for case, row in zip([usual] * 3 + [slow] * 3, rows, strict=True):
        said = dict(zip(head[:7], row[:7], strict=True))
        preset = said["preset"].strip("`")
        worth = {name: run.figures.worth(PRESETS[preset]) for name, run in runs[case].items()}
        rival = said["best rival of the list"].strip("`")
        assert worth[rival] == min(worth[name] for name in standard(20.0) if name not in {*PRESETS, "oracle"})
        assert said["J"] == f"{worth[preset]:.3f}"
        assert said["lead"] == f"{100 * (worth[rival] / worth[preset] - 1):+.1f} %"
        assert said["traces lost"] == f"{int(worth[rival] < worth[preset])} of 1"
        assert row[8] == f"{min(worth[name] for name in sweep(20.0)):.3f}"


@pytest.mark.costly
def test_the_best_of_the_sweep_is_said_to_be_chosen_in_hindsight(runs: Runs) -> None:
    tables = Tables(runs, swept=True).by_name()
    made = tables["sweep"]
    assert not isinstance(made, str)
    head, *rows = made
    assert any("chosen in hindsight" in cell for cell in head)
    assert [row[0] for row in rows if row[0]] == ["`economy`, v = 0.05", "`balanced`, v = 0.2", "`fast`, v = 1"]
    assert "chosen in hindsight" in str(tables["claim"])


def test_another_setting_than_the_customary_one_is_never_written_as_the_claim(traces: Path) -> None:
    runs = runs_of([Case("small", traces / "small.csv", Scaling(load=1.0))], ["static:2"])
    assert Tables(runs, swept=True).by_name() == {}


def test_a_page_gets_what_was_computed_between_its_marks_and_nothing_else() -> None:
    page = (
        "before\n<!-- worth: claim -->\nold\n<!-- end of worth -->\nbetween\n"
        "<!-- worth: all -->\nkept\n<!-- end of worth -->\nafter\n"
    )
    new = written(page, {"claim": "a sentence"})
    assert new == page.replace("old", "a sentence")
    assert written(page, {"all": [["a", "b"], ["1", "2"]]}).count("| 1 | 2 |") == 1


def test_a_policy_that_leaves_jobs_undone_has_no_figure(traces: Path) -> None:
    case = Case("small", traces / "small.csv", Scaling())
    (rows,) = Tables(runs_of([case], ["static:0"]), swept=False, listed=("static:0",)).shown()
    assert rows[1][:4] == ["`static:0`", "-", "-", "-"]


def test_the_first_jobs_are_those_of_the_beginning(traces: Path) -> None:
    scaling = replace(Scaling(), most_jobs=10)
    assert measure(Case("small", traces / "small.csv", scaling).workload()).jobs == 10
