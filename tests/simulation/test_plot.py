"""--plot writes one SVG that needs nothing else, and nothing from outside is ever markup in it."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from controller.core.problems import ConfigurationError
from controller.simulation.comparison import Contender
from controller.simulation.peers import Static
from controller.simulation.picture import caption, drawable
from controller.simulation.plot import check_suffix, save_plot
from tests.simulation.drawn import CAP, CONTENDERS, comparison

SVG = "{http://www.w3.org/2000/svg}"
SHAPES = ("busy", "waiting", "range", "workers", "waits")


def texts(path: Path) -> list[str]:
    return [element.text or "" for element in ET.parse(path).iter(f"{SVG}text")]


@pytest.mark.parametrize("began", [None, 1_700_000_000.0], ids=["time from the beginning", "time as dates"])
def test_the_same_comparison_gives_the_same_file(began: float | None, tmp_path: Path) -> None:
    compared = comparison(began=began)
    save_plot(compared, tmp_path / "a.svg")
    save_plot(compared, tmp_path / "b.SVG")
    assert (tmp_path / "a.svg").read_text() == (tmp_path / "b.SVG").read_text()


@pytest.mark.parametrize(
    ("began", "axis"),
    [(None, "minutes from the beginning"), (1_700_000_000.0, "time (UTC)")],
    ids=["time from the beginning", "time as dates"],
)
def test_each_policy_that_was_simulated_has_its_name_its_figures_and_every_shape(
    began: float | None, axis: str, tmp_path: Path
) -> None:
    compared = comparison(began=began)
    save_plot(compared, tmp_path / "a.svg")
    said = texts(tmp_path / "a.svg")
    panels = drawable(compared)
    for figures, _ in panels:
        assert figures.name in said
        assert caption(figures) in said
    assert "oracle" not in said
    assert [words for words in said if words in {"jobs", "workers"}] == ["jobs", "workers"] * len(panels)
    assert said[0] == "bursts <b>bold</b>: 60 jobs in 30 min"
    assert said[-1] == axis
    paths = [path.get("class") for path in ET.parse(tmp_path / "a.svg").iter(f"{SVG}path")]
    in_legend = {"workers": 1}
    assert {shape: paths.count(shape) for shape in SHAPES} == {
        shape: len(panels) + in_legend.get(shape, 0) for shape in SHAPES
    }


def test_it_is_as_high_as_there_are_panels(tmp_path: Path) -> None:
    def height(path: Path) -> float:
        return float(ET.parse(path).getroot().get("height", ""))

    save_plot(comparison(CONTENDERS[:1]), tmp_path / "one.svg")
    save_plot(comparison(CONTENDERS[:3]), tmp_path / "three.svg")
    assert height(tmp_path / "three.svg") > 2 * height(tmp_path / "one.svg")


def test_it_loads_nothing_and_its_colours_need_no_variables(tmp_path: Path) -> None:
    save_plot(comparison(), tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|url\(|@import|href|var\(", text)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a" * 5000, "a" * 129 + "…"),
        ("bell \x07 escape \x1b[31m surrogate \ud800 end", "bell   escape  [31m surrogate   end"),
    ],
    ids=["a very long name", "characters that XML forbids"],
)
def test_a_name_is_shown_on_one_line_of_valid_xml(name: str, shown: str, tmp_path: Path) -> None:
    save_plot(comparison([Contender(name, CAP, lambda: Static(CAP, 60.0, replicas=1))]), tmp_path / "a.svg")
    assert shown in texts(tmp_path / "a.svg")


@pytest.mark.parametrize("name", ["picture.pdf", "picture.png", "picture", "."])
def test_another_suffix_is_refused_with_the_name_to_use_instead(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"--plot: {name}: .*SVG only; name the file picture\.svg"):
        check_suffix(Path(name))


def test_a_file_that_cannot_be_written_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--plot: .*nowhere.*cannot be written"):
        save_plot(comparison(CONTENDERS[:1]), tmp_path / "nowhere" / "a.svg")


def test_without_a_policy_that_was_simulated_there_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--plot: no simulated policy"):
        save_plot(comparison(CONTENDERS[3:]), tmp_path / "a.svg")
