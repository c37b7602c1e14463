"""What each key of the policy means stands beside it, for the JSON Schema and the documentation."""

from __future__ import annotations

import pytest

from controller.policy import Policy
from controller.policy.meanings import meanings, parts_of


@pytest.mark.parametrize("part", [Policy, *parts_of(Policy)], ids=lambda part: part.__name__)
def test_every_key_of_the_policy_says_what_it_means(part: type[Policy]) -> None:
    told, parts = meanings(part), {"queue", "columns", "statuses", "scale_up", "scale_down", "on_unavailable", "keys"}
    if part.__name__ not in {"Tier", "TimeColumn"}:  # which their own docstring and the key above them tell all of
        assert set(part.model_fields) - set(told) - parts <= {"rate_limit"}
