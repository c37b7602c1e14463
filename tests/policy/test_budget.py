"""budget and worker_size: what is read, and what is refused with its place and what to write."""

from __future__ import annotations

import pytest

from controller.core.edits import edits
from controller.core.problems import ConfigurationError
from controller.policy import Policy, little_effects, load_policy

POLICY = """\
BUDGET
workers:
  a:
    service: s
    queue: {table: job}
    max_replicas: 5
    tiers: [{up_to: 0, replicas: 0}, {replicas: 5}]
WORKER
"""


def loaded(worker: str = "", all_workers: str = "", target: str = "service: s") -> Policy:
    text = POLICY.replace("WORKER", f"    {worker}").replace("BUDGET", all_workers)
    return load_policy(text.replace("service: s", target), {})[0]


SIZE = "worker_size: {memory: 512MB, vcpu: 0.25}"


def test_a_size_has_railways_price_or_one_of_its_own() -> None:
    size = loaded("worker_size: {memory: 1GB, vcpu: 0.5}").workers["a"].worker_size
    priced = loaded("worker_size: {price_per_hour: 0.36$}").workers["a"].worker_size
    assert size is not None
    assert priced is not None
    assert size.price.per_second * 43_200 * 60 == pytest.approx(20)  # a GB is 10 $ a month, and a vCPU 20 $
    assert priced.price.per_second == pytest.approx(0.0001)


def test_a_budget_of_all_and_one_of_a_worker_have_their_defaults() -> None:
    policy = loaded(f"{SIZE}\n    budget: {{amount: 1.5$, per: day}}", "budget: {amount: 40$, per: month}")
    own = policy.workers["a"].budget
    assert own is not None
    assert policy.budget is not None
    assert (own.amount, own.per, own.timezone, own.at_budget, own.overrun) == (1.5, "day", "UTC", "min", 0.1)
    assert str(policy.budget.amount) == "40$"


@pytest.mark.parametrize(
    ("worker", "all_workers", "place", "words"),
    [
        (f"{SIZE}\n    budget: {{amount: $4, per: day}}", "", "workers.a.budget.amount", "write for example 40$"),
        (f"{SIZE}\n    budget: {{amount: 0$, per: day}}", "", "workers.a.budget.amount", "must be above 0$"),
        (f"{SIZE}\n    budget: {{amount: 4$, per: year}}", "", "workers.a.budget.per", "month"),
        (f"{SIZE}\n    budget: {{amount: 4$, per: day, at_budget: 9}}", "", "at_budget", "more than max_replicas"),
        (f"{SIZE}\n    budget: {{amount: 4$, per: day, at_budget: none}}", "", "at_budget", "write min"),
        (f"{SIZE}\n    budget: {{amount: 4$, per: day, timezone: Berlin}}", "", "timezone", "Europe/Berlin"),
        ("worker_size: {memory: 1GB}", "", "workers.a.worker_size", "memory and vcpu, or price_per_hour"),
        ("worker_size: {memory: 512, vcpu: 1}", "", "worker_size.memory", "512MB"),
        ("worker_size: {memory: 1GB, vcpu: 1, price_per_hour: 1$}", "", "worker_size", "keep one of the two"),
    ],
)
def test_what_is_refused(worker: str, all_workers: str, place: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        loaded(worker, all_workers)
    (problem,) = refused.value.problems
    assert place in problem.place
    assert words in problem.text


@pytest.mark.parametrize(
    ("worker", "all_workers", "place", "words"),
    [
        ("budget: {amount: 4$, per: day}", "", "workers.a.budget", "needs worker_size"),
        ("", "budget: {amount: 4$, per: day}", "budget", "write one for a"),
    ],
)
def test_a_budget_without_a_size_is_for_platforms_that_report_limits(
    worker: str, all_workers: str, place: str, words: str
) -> None:
    (warning,) = little_effects(loaded(worker, all_workers))
    assert warning.startswith("workers.a.worker_size: is missing, so for the budget a worker counts with")
    with pytest.raises(ConfigurationError) as refused:
        loaded(worker, all_workers, "kubernetes: {name: d}")
    (problem,) = refused.value.problems
    assert place in problem.place
    assert words in problem.text


def test_the_edit_of_a_budget_is_said_in_one_sentence() -> None:
    old, new = loaded(SIZE), loaded(f"{SIZE}\n    budget: {{amount: 4$, per: day, at_budget: 0}}")
    assert edits(old, new) == [
        (
            "a",
            "budget: none → 4$ per day (UTC), then at most 0 workers; busy workers may overrun it by 10%",
        )
    ]
    every = loaded(SIZE, "budget: {amount: 40$, per: month}")
    ((worker, words),) = edits(every, old)
    assert worker is None
    assert words.startswith("budget of all workers: 40$ per month")
