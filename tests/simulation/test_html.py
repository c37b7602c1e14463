"""The page needs nothing but itself, and nothing from outside is ever markup in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from controller.simulation.comparison import Setting, compare
from controller.simulation.drawing import Scales, picture, time_ticks, whole_ticks
from controller.simulation.html import page
from controller.simulation.picture import drawable, in_columns, series_points, stretches
from controller.simulation.report import cost_and_waits, doings, worths
from controller.simulation.series import Series
from controller.simulation.workload.jobs import Workload
from controller.web.assets import IN_REPORT
from tests.simulation.drawn import CONTENDERS, comparison

VOID = {"meta", "path"}


class Reader(HTMLParser):
    """What is shown, which elements there are, and whether each is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.tags: list[str] = []
        self.attributes: dict[str, set[str]] = {}
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.seen.append(data)


@pytest.mark.parametrize("began", [None, 1_700_000_000.0], ids=["from the beginning", "with dates"])
def test_every_figure_of_the_report_is_on_the_page(began: float | None) -> None:
    compared = comparison(began=began)
    reader = Reader(page(compared))
    assert reader.open == []
    for table in (cost_and_waits(compared), worths(compared), doings(compared)):
        for row in table:
            assert set(row) <= set(reader.seen)


def test_there_is_one_picture_for_each_policy_that_was_simulated() -> None:
    assert Reader(page(comparison())).tags.count("svg") == 3
    assert Reader(page(comparison(CONTENDERS[3:]))).tags.count("svg") == 0
    assert Reader(page(comparison(series=False))).tags.count("svg") == 0


def test_names_and_notes_from_outside_are_never_markup() -> None:
    text = page(comparison())
    reader = Reader(text)
    assert not {"b", "i"} & set(reader.tags)
    assert reader.tags.count("script") == 1 + len(IN_REPORT)
    assert "keda & co <script>alert(1)</script>" in reader.seen
    assert any("bursts <b>bold</b>" in words for words in reader.seen)
    assert "a note with <i>markup</i> & more" in reader.seen


def test_it_loads_nothing_from_anywhere_and_runs_its_own_scripts_alone() -> None:
    text = page(comparison())
    assert not {"link", "img", "iframe"} & set(Reader(text).tags)
    assert not {"src", "href", "onload", "style"} & set(Reader(text).attributes)
    assert not re.search(r"url\(|@import", text)
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', text)
    for script in re.findall(r"<script>(.*?)</script>", text, re.DOTALL):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "script-src 'none'" in page(comparison(series=False))


@pytest.mark.costly
def test_the_figures_of_the_pictures_are_bounded_however_long_the_run_is() -> None:
    jobs = [(40.0 * number, 90.0) for number in range(9000)]
    compared = compare(Workload("steady", lambda: iter(jobs), 360_000.0), CONTENDERS[1:2], Setting(series=True))
    (panel,) = figures_in(page(compared))["panels"]
    assert {len(column) for column in panel.values() if isinstance(column, list)} == {4097}


def figures_in(text: str) -> dict[str, Any]:
    """What the page's script draws."""
    (found,) = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)
    assert "<" not in found
    figures: dict[str, Any] = json.loads(found)
    return figures


def test_a_picture_tells_what_it_shows_to_those_who_cannot_see_it() -> None:
    series = Series()
    series.note(0.0, 7, 2, 3)
    text = picture(series_points(series, 60.0), Scales(60.0, 3), 'a "name" <b>')
    assert 'aria-label="a &quot;name&quot; &lt;b&gt;: up to 9 jobs, up to 3 workers, waits up to 0 s"' in text


def test_the_more_jobs_the_higher_the_area_and_the_later_the_further_right() -> None:
    series = Series()
    series.note(0.0, 0, 1, 1)
    series.note(50.0, 0, 2, 2)
    text = picture(series_points(series, 100.0), Scales(100.0, 2), "p")
    line = re.findall(r'class="workers" d="(.*?)"', text)[0]
    found = re.fullmatch(r"M([\d.]+),([\d.]+)H([\d.]+)V([\d.]+)H([\d.]+)", line)
    assert found is not None
    begin, low, change, high, end = map(float, found.groups())
    assert begin < change < end
    assert low > high
    assert (change - begin) / (end - begin) == pytest.approx(0.5, abs=0.01)


@pytest.mark.costly
@pytest.mark.parametrize(
    ("days", "began", "names"),
    [
        (1.2, None, []),
        (3.01, None, ["day 1", "day 2", "day 3"]),
        (2.5, 1_700_000_000.0, ["Tue 14 Nov", "Wed 15 Nov", "Thu 16 Nov", "Fri 17 Nov"]),
        (21.0, None, ["week 1", "week 2", "week 3"]),
        (9000.0, None, []),
    ],
    ids=["a day", "days, and a few minutes", "calendar days", "weeks", "too long to be cut into a few parts"],
)
def test_a_long_run_has_parts_that_are_chosen_for_all_policies(
    days: float, began: float | None, names: list[str]
) -> None:
    assert [part.name for part in stretches(days * 86_400, began)] == names
    jobs = [(3600.0 * number, 600.0) for number in range(int(24 * min(days, 100)))]
    workload = Workload("hourly", lambda: iter(jobs), days * 86_400, began)
    text = page(compare(workload, CONTENDERS[:2], Setting(series=True)))
    figures = figures_in(text)
    assert Reader(text).tags.count("svg") == 2
    assert [name for name, _, _ in figures["parts"]] == names
    for (_, _, end), (_, since, _) in pairwise(figures["parts"]):
        assert end == since
    if names:
        assert (figures["parts"][0][1], figures["parts"][-1][2]) == (0, figures["end"])


@pytest.mark.costly
def test_a_part_shows_what_the_whole_run_has_in_that_time() -> None:
    jobs = [(40.0 * number, 90.0) for number in range(4000)]
    workload = Workload("steady", lambda: iter(jobs), 2 * 86_400.0)
    (drawn,) = drawable(compare(workload, CONTENDERS[1:2], Setting(series=True)))
    whole, end = drawn[1], drawn[0].end_s
    for since in (0.0, 50_000.0, 86_400.0):
        part = in_columns(whole, 100, since, since + 20_000.0)
        inside = [number for number, time in enumerate(whole.times) if since <= time < since + 20_000.0]
        assert part.times == sorted(part.times)
        assert (part.times[0], part.times[-1]) == (0.0, 20_000.0)
        assert max(part.depth) >= max(whole.depth[number] for number in inside)
        assert max(part.most) == max(whole.most[number] for number in inside)
        assert min(part.fewest) == min(whole.fewest[number] for number in inside)
        assert max(part.waits) == max(whole.waits[number] for number in inside)
    assert max(in_columns(whole, 3).waits) == max(whole.waits)
    assert in_columns(whole, 3).times[-1] == end


@pytest.mark.parametrize("most", [1, 2, 5, 9, 10, 37, 100, 999, 12_345])
def test_an_axis_has_a_few_round_numbers(most: int) -> None:
    ticks = whole_ticks(most)
    assert ticks[0] == 0
    assert 2 <= len(ticks) <= 5
    assert most / 3 < ticks[-1] <= most


@pytest.mark.parametrize("began", [None, 1_700_000_000.0])
@pytest.mark.parametrize("span_s", [1.0, 59.0, 600.0, 3600.0, 86_400.0, 7 * 86_400.0, 90 * 86_400.0, 3e8])
def test_a_time_axis_has_at_most_a_handful_of_ticks_within_the_run(span_s: float, began: float | None) -> None:
    ticks = time_ticks(Scales(span_s, 5, began))
    assert len(ticks) <= 9
    assert all(0 <= time <= span_s for time, _ in ticks)
    assert len({words for _, words in ticks}) == len(ticks)


def test_dates_are_shown_where_it_is_known_when_it_happened() -> None:
    # 2023-11-14 22:13:20 UTC
    assert time_ticks(Scales(3 * 3600.0, 5, 1_700_000_000.0))[0] == (1000.0, "14 Nov 22:30")
    assert time_ticks(Scales(5 * 86_400.0, 5, 1_700_000_000.0))[0][1] == "15 Nov"
