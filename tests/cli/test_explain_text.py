"""What `explain` says was read and aimed at, by the form of the policy."""

from __future__ import annotations

from dataclasses import replace

from controller.cli import explain_text
from controller.cli.explain import Explanation
from controller.loop.reconciler import Explained
from tests.core.test_per_worker import by_jobs
from tests.loop.test_worker_status import HELD


def test_explain_names_the_jobs_per_worker_and_the_wait_that_is_guarded() -> None:
    cycle = replace(HELD, target_wait_s=None, service=None, per_worker=5, max_wait_s=300.0)
    worker = by_jobs(activation=3, tolerance="10%", max_wait="5m")
    seen = dict(explain_text.seen(Explanation(Explained(cycle), None, "Railway", worker)))
    assert seen["aim"] == "1 worker per 5 jobs, the first at 3; no change within 10% (tolerance)"
    assert seen["guard"] == "one worker more at a time once the oldest ready job has waited 5 min"


def test_explain_of_tiers_has_no_aim_and_no_guard() -> None:
    cycle = replace(HELD, target_wait_s=None, service=None)
    assert not {"aim", "guard"} & dict(explain_text.seen(Explanation(Explained(cycle), None, "Railway"))).keys()
