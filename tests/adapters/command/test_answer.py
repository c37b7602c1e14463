"""What a program may print, or an address answer: what is not understood is no reading, and never 0."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.adapters.command.answer import MOST_REPLICAS, Seen, excerpt, replicas
from controller.core.model import Replicas, ServiceState

READINGS: dict[str, tuple[bytes, dict[str, Any]]] = {
    "a number alone: all are taken to run": (b" 3\n", {"configured": 3, "running": 3, "alive": 3}),
    "0 alone": (b"0", {"configured": 0, "running": 0, "state": ServiceState.STOPPED}),
    "both counts": (b'{"configured": 3, "running": 1}', {"configured": 3, "running": 1, "alive": 1}),
    "a count above 0 without running": (b'{"configured": 2}', {"configured": 2, "running": 2}),
    "workers that finish after a stop": (
        b'{"configured": 0, "running": 0, "alive": 2, "draining": 30}',
        {"running": 0, "alive": 2, "leaving": 2, "draining_s": 30.0},
    ),
    "all crashed": (
        b'{"configured": 2, "running": 0, "crashed": 2}',
        {"crashed": 2, "state": ServiceState.CRASHED},
    ),
    "a deployment in progress": (
        b'{"configured": 2, "running": 0, "starting": true}',
        {"state": ServiceState.STARTING},
    ),
    "a version": (b'{"configured": 2, "version": "v7"}', {"coordinates": Seen("v7")}),
    "an ETag beside it": (b"2", {"coordinates": Seen('"e1"')}),
}


@pytest.mark.parametrize(("said", "expected"), READINGS.values(), ids=READINGS)
def test_what_an_answer_means(said: bytes, expected: dict[str, Any]) -> None:
    seen = replicas(said, version='"e1"')
    assert {name: getattr(seen, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("said", "says"),
    [
        pytest.param(b"", "nothing", id="nothing"),
        pytest.param(b"  \n", "nothing", id="blanks"),
        pytest.param(b"-1", "neither a whole number from 0 to 10000 nor a JSON object", id="negative"),
        pytest.param(b"1.5", "neither a whole number from 0 to 10000 nor a JSON object", id="a fraction"),
        pytest.param(b"1e3", "neither a whole number from 0 to 10000 nor a JSON object", id="an exponent"),
        pytest.param(b"007", "neither a number nor JSON", id="zeros in front"),
        pytest.param("٣".encode(), "neither a number nor JSON", id="a digit of another script"),
        pytest.param(b"NaN", "neither a number nor JSON", id="not a number"),
        pytest.param(b"null", "neither a whole number from 0 to 10000 nor a JSON object", id="null"),
        pytest.param(b"10001", "less than or equal to 10000", id="too many"),
        pytest.param(b"9" * 400, "no count|neither", id="a huge number"),
        pytest.param(b"3 workers", "neither a number nor JSON", id="words"),
        pytest.param(b"{}", "configured: Field required", id="no count"),
        pytest.param(b'{"configured": true}', "valid integer", id="a truth value"),
        pytest.param(b'{"configured": "3"}', "valid integer", id="a text"),
        pytest.param(b'{"configured": 3, "runing": 3}', "runing: Extra inputs", id="a typing error in a key"),
        pytest.param(b'{"configured": 3, "running": NaN}', "neither a number nor JSON", id="NaN inside"),
        pytest.param(b'{"configured": 3, "draining": -1}', "draining", id="a negative time"),
        pytest.param(b'{"configured": 3, "configured": 0}', "has 'configured' twice", id="two counts"),
        pytest.param(
            rb'{"configured": 3, "version": "a\u0000b"}', "version: String should match", id="a NUL in a version"
        ),
        pytest.param(rb'{"configured": 3, "version": "\"\u00e9"}', "version: String should match", id="a version in é"),
        pytest.param(b'[{"configured": 3}]', "neither a whole number from 0 to 10000 nor a JSON object", id="a list"),
        pytest.param(b'{"configured": 3', "neither a number nor JSON", id="half of it"),
    ],
)
def test_what_is_no_count_is_refused_with_what_was_said(said: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        replicas(said)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@given(st.binary(max_size=200))
def test_any_text_is_a_reading_within_limits_or_refused(said: bytes) -> None:
    seen: Replicas | None = None
    with contextlib.suppress(ValueError):
        seen = replicas(said)
    if seen is None:
        return
    assert 0 <= seen.configured <= MOST_REPLICAS
    assert math.isfinite(seen.draining_s)


def test_an_excerpt_is_short_and_harmless_on_a_terminal() -> None:
    assert excerpt(b"\x1b[2Jgone\nline 2") == r"\x1b[2Jgone\nline 2"
    assert len(excerpt(b"x" * 10_000)) <= 80
