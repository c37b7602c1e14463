"""Each key of the policy says what it means, in its model: the JSON Schema and the documentation have it from there."""

from __future__ import annotations

import pytest

from controller.policy import json_schema
from controller.policy.meanings import described_keys, meanings, parts_of
from controller.policy.models import Policy


@pytest.mark.parametrize("part", [Policy, *parts_of(Policy)], ids=lambda part: part.__name__)
def test_every_key_of_the_policy_says_what_it_means(part: type[Policy]) -> None:
    told, parts = (
        meanings(part),
        {"queue", "columns", "statuses", "scale_up", "scale_down", "on_unavailable", "keys", "slo"},
    )
    if part.__name__ not in {"Tier", "TimeColumn"}:  # which their own docstring and the key above them tell all of
        assert set(part.model_fields) - set(told) - parts <= {"rate_limit"}


@pytest.mark.costly
def test_an_editor_shows_the_meaning_of_a_key() -> None:
    schema = json_schema()
    assert schema["properties"]["interval"]["description"].startswith("how often the queue and the platform are read")
    assert schema["$defs"]["Queue"]["properties"]["schema"]["description"].startswith("of a preset: the schema")


@pytest.mark.costly
def test_the_default_is_in_words_where_the_text_has_some_else_as_it_is_written() -> None:
    defaults = {path[-2:]: default for path, _, default in described_keys(Policy) if path[0] != "pools"}
    assert defaults["interval",] == "10s"
    assert defaults["NAME", "max_replicas"] == "required"
    assert defaults["NAME", "service"] == "", "another target may stand in its place"
    assert defaults["NAME", "service_time"] == "measured"
    assert defaults["scale_down", "cooldown"] == "2m"
    assert defaults["on_unavailable", "at_least"] == "", "nothing is required of what may be left out"
