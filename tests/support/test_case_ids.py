"""A case without a sentence of its own is told by what it is given, the same in every process."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controller.loop.cycle import Outcome
from tests.support.case_ids import pytest_make_parametrize_id


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (5, "depth=5"),
        (0.25, "depth=0.25"),
        (None, "depth=None"),
        (False, "depth=False"),
        ("queued", "depth=queued"),
        ("two words", "depth=two words"),
        ("", "depth=''"),
        (" ", "depth=' '"),
        ("a\nb", r"depth='a\nb'"),
        (b"\xff", r"depth=b'\xff'"),
        ([1, "a"], "depth=[1, a]"),
        ((1, (2, 3)), "depth=[1, [2, 3]]"),
        ({"up": 1, "down": [2]}, "depth={up: 1, down: [2]}"),
        ({"c", "a", "b"}, "depth=[a, b, c]"),
        (Outcome.HELD, "depth=HELD"),
        (Point(1), "depth=Point(x=1)"),
        ([Point(1, 2)], "depth=[Point(x=1, y=2)]"),
        (ValueError, "depth=ValueError"),
        (re.compile("a+"), "depth=a+"),
        (Path("a/b"), "depth=a/b"),
        ("x" * 100, "depth=" + "x" * 57 + "..."),
    ],
)
def test_a_value_is_told_with_its_argument_s_name(value: Any, said: str) -> None:
    assert pytest_make_parametrize_id(None, value, "depth") == said  # type: ignore[arg-type]  # it asks for no option


@pytest.mark.parametrize(
    "value",
    [object(), lambda: 5, [object()], {"a": print}],
    ids=["an object", "a function", "an object in a list", "a function in a mapping"],
)
def test_what_has_another_address_in_each_process_is_left_to_pytest(value: Any) -> None:
    assert pytest_make_parametrize_id(None, value, "depth") is None  # type: ignore[arg-type]  # as above
