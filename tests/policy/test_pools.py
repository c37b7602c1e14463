"""pools, pool and priority: what is refused, and what is only a warning."""

from __future__ import annotations

import pytest

from controller.core.edits import edits
from controller.core.problems import ConfigurationError
from controller.policy import Policy, little_effects, load_policy

POLICY = """\
pools: {POOLS}
workers:
  a:
    service: s
    queue: {table: job}
    max_replicas: 5
    tiers: [{replicas: 5}]
    A
  b:
    service: t
    queue: {table: job}
    max_replicas: 5
    min_replicas: 3
    tiers: [{replicas: 5}]
    B
"""


def loaded(pools: str, a: str = "", b: str = "") -> Policy:
    text = POLICY.replace("POOLS", pools).replace("    A\n", f"    {a}\n").replace("    B\n", f"    {b}\n")
    return load_policy(text, {})[0]


@pytest.mark.parametrize(
    ("pools", "a", "b", "place", "words"),
    [
        ("render: {max_replicas: 4}", "pool: rendr", "pool: render", "workers.a.pool", "did you mean render?"),
        ("render: {max_replicas: 2}", "pool: render", "pool: render", "pools.render.max_replicas", "(a 0, b 3)"),
        ("render: {max_replicas: 4}", "priority: 2", "pool: render", "workers.a.priority", "only with pool"),
        ("render: {max_replicas: 0}", "", "pool: render", "pools.render.max_replicas", "1"),
    ],
)
def test_what_is_refused(pools: str, a: str, b: str, place: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        loaded(pools, a, b)
    assert any(place in one.place and words in one.text for one in refused.value.problems)


def test_a_pool_without_workers_is_a_warning() -> None:
    policy = loaded("render: {max_replicas: 4}, spare: {max_replicas: 9}", "pool: render", "pool: render")
    assert [words for words in little_effects(policy) if "pools" in words] == [
        "pools.spare: has no workers; write pool: spare at each of them, or remove it"
    ]


def test_the_edit_of_a_pool_is_said() -> None:
    old, new = (loaded(f"render: {{max_replicas: {most}}}", "pool: render", "pool: render") for most in (4, 8))
    assert edits(old, new) == [(None, "pools.render: 4 → 8")]
