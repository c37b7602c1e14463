"""The verdict over made-up histories: each promise is broken once on purpose, and kept right beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.faults.history import Calm, Demand, Fault, History, Life, Line, Mutation, Sent
from tests.faults.pace import Pace
from tests.faults.report import Least, Report
from tests.faults.verdict import judge, take_overs

PACE = Pace(ttl=3.0, interval=0.5, up=5.0, down=8.0, landing=6.0)
QUIET = History(PACE, demand=(Demand(0.0, 0.0, 8), Demand(90.0, 90.0, 500)))
"""1 worker is wanted until second 90, and 5 from then on."""


def scale(at: float, before: int, after: int, **more: Any) -> Mutation:
    given = {"applied_at": at, "epoch": 7, "intent": f"i{at}", "effect": "", "answered": True, **more}
    return Mutation(at=at, name="serviceInstanceUpdate", before=before, after=after, **given)


def acquired(at: float, process: str, epoch: int, holder: str = "") -> Line:
    return Line(at, process, {"event": "lease_acquired", "epoch": epoch, "holder": holder or process})


def cycle(at: float, process: str, **fields: Any) -> Line:
    known = {"outcome": "applied", "epoch": 7, "depth": 8, "configured": 0, "desired": 1, "reason": "Tier"}
    return Line(at, process, {"event": "reconcile", **known, **fields})


def broken(history: History) -> list[str]:
    return [violation.promise for violation in judge(history)]


def wanting(*depths: int) -> tuple[Demand, ...]:
    """All of them true for all of the time."""
    return tuple(Demand(0.0, 999.0, depth) for depth in depths)


# --- leaders


def test_a_leader_may_send_until_its_successor_leads_and_nothing_later() -> None:
    lines = (acquired(1.0, "a1", 7), acquired(20.0, "b1", 8))
    early, late = Sent(19.9, "a1", 7, "x"), Sent(21.0, "a1", 7, "y")
    assert broken(replace(QUIET, lines=lines, sent=(early,))) == []
    assert broken(replace(QUIET, lines=lines, sent=(early, late))) == ["stale leader"]
    again = (acquired(1.0, "a1", 7), acquired(20.0, "a1", 8))
    assert broken(replace(QUIET, lines=again, sent=(late,))) == ["stale leader"], "its own successor is one too"


def test_one_epoch_belongs_to_one_holder() -> None:
    again = (acquired(1.0, "a1", 7), acquired(2.0, "a1", 7))
    assert broken(replace(QUIET, lines=again)) == []
    assert broken(replace(QUIET, lines=(acquired(1.0, "a1", 7), acquired(9.0, "b1", 7)))) == ["shared epoch"]


def test_what_is_carried_out_never_goes_back_to_an_older_epoch() -> None:
    both = (scale(10.0, 0, 1, epoch=8), scale(20.0, 1, 0, epoch=7))
    history = replace(QUIET, demand=wanting(8, 0), mutations=both)
    assert broken(history) == ["epoch went back"]
    assert broken(replace(history, mutations=(both[0], replace(both[1], applied_at=None)))) == []


# --- counts and cooldowns


@pytest.mark.parametrize(("gap", "verdict"), [(5.0, []), (4.9, ["scale-up too soon"])])
def test_two_scale_ups_are_a_cooldown_apart(gap: float, verdict: list[str]) -> None:
    ups = (scale(10.0, 0, 1), scale(10.0 + gap, 1, 5))
    assert broken(replace(QUIET, demand=wanting(8, 500), mutations=ups)) == verdict


def test_late_landings_count_from_when_they_landed() -> None:
    ups = (scale(10.0, 0, 1, applied_at=14.0), scale(16.0, 1, 5))
    assert "scale-up too soon" in broken(replace(QUIET, demand=wanting(8, 500), mutations=ups))


@pytest.mark.parametrize("first", [scale(10.0, 1, 5), scale(10.0, 5, 2)], ids=["up", "down"])
@pytest.mark.parametrize(("gap", "verdict"), [(8.0, []), (7.9, ["scale-down too soon"])])
def test_a_scale_down_waits_a_cooldown_from_any_scale(first: Mutation, gap: float, verdict: list[str]) -> None:
    history = replace(QUIET, demand=wanting(500, 25, 0), mutations=(first, scale(10.0 + gap, first.after or 0, 0)))
    assert broken(history) == verdict


LOST = replace(
    QUIET,
    demand=wanting(8, 500),
    mutations=(scale(10.0, 0, 1), scale(13.0, 1, 5)),
    sent=(Sent(10.0, "a1", 7, "i10.0"),),
    data_losses=(11.0,),
)
"""A scale-up within its cooldown, with the data of Redis lost in between."""


def test_a_scale_up_may_come_early_where_no_replica_remembers() -> None:
    lives = (Life("a1", 0.0, 11.0, "killed"), Life("b1", 11.5))
    assert broken(replace(LOST, lives=lives)) == []


def test_and_not_where_the_one_who_did_it_lives() -> None:
    assert broken(replace(LOST, lives=(Life("a1", 0.0),))) == ["scale-up too soon"]


def test_nor_where_another_had_the_time_to_read_of_it() -> None:
    lives = (Life("a1", 0.0, 11.0, "killed"), Life("b1", 0.0))
    assert broken(replace(LOST, lives=lives)) == []
    longer = replace(LOST, mutations=(scale(7.5, 0, 1), scale(12.0, 1, 5)), lives=lives)
    assert broken(longer) == ["scale-up too soon"]


def test_a_stopped_replica_cannot_know() -> None:
    assert broken(replace(LOST, lives=(Life("a1", 0.0, paused=[(10.5, 14.0)]),))) == []


def test_one_loss_excuses_one_scale_up() -> None:
    thrice = (*LOST.mutations, replace(scale(14.0, 1, 5), before=1))
    assert broken(replace(LOST, mutations=thrice)) == ["scale-up too soon"]


def test_no_count_is_outside_of_the_policy_even_where_nothing_changed() -> None:
    assert broken(replace(QUIET, mutations=(scale(10.0, 0, 6, applied_at=None),))) == ["out of bounds"]


# --- readings


@pytest.mark.parametrize("missing", ["depth", "configured"])
def test_nothing_is_sent_on_a_missing_reading(missing: str) -> None:
    sent = (Sent(10.0, "a1", 7, "x"),)
    assert broken(replace(QUIET, sent=sent, lines=(cycle(10.1, "a1"),))) == []
    assert broken(replace(QUIET, sent=sent, lines=(cycle(10.1, "a1", **{missing: None}),))) == ["missing reading"]


def test_a_count_must_have_been_wanted_by_a_depth_that_was_true_a_moment_ago() -> None:
    assert broken(replace(QUIET, mutations=(scale(94.0, 0, 1),))) == []
    assert broken(replace(QUIET, mutations=(scale(97.0, 0, 1),))) == ["unjustified"]
    assert broken(replace(QUIET, mutations=(scale(50.0, 0, 5),))) == ["unjustified"]


def test_a_depth_that_was_perhaps_written_may_have_been_read() -> None:
    unsure = (*QUIET.demand[:1], Demand(40.0, 60.0, 500))
    assert broken(replace(QUIET, demand=unsure, mutations=(scale(50.0, 0, 5),))) == []
    assert broken(replace(QUIET, demand=unsure, mutations=(scale(50.0, 0, 1),))) == []


def test_nothing_is_sent_that_changes_nothing() -> None:
    line = cycle(10.1, "a1", configured=1)
    assert broken(replace(QUIET, sent=(Sent(10.0, "a1", 7, "x"),), lines=(line,))) == ["no-op"]
    assert broken(replace(QUIET, mutations=(scale(10.0, 1, 1),))) == ["no-op"]
    assert broken(replace(QUIET, mutations=(scale(10.0, 0, 0),))) == [], "the number that a stopped one comes back with"


# --- unknown outcomes


HANGING = scale(10.0, 0, 0, applied_at=None, effect="dropped: hang", answered=False)


def test_nothing_is_sent_while_the_outcome_of_another_change_is_unknown() -> None:
    assert broken(replace(QUIET, mutations=(HANGING, scale(16.0, 0, 1)))) == []
    assert broken(replace(QUIET, mutations=(HANGING, scale(15.0, 0, 1)))) == ["over an unknown outcome"]


def test_what_landed_is_known() -> None:
    landed = replace(HANGING, name="deploymentRestart", after=1, applied_at=11.0)
    assert broken(replace(QUIET, demand=wanting(8, 500), mutations=(landed, scale(16.0, 1, 5)))) == []
    later = replace(landed, applied_at=15.5)
    assert "over an unknown outcome" in broken(
        replace(QUIET, demand=wanting(8, 500), mutations=(later, scale(15.0, 0, 5)))
    )


def test_one_intent_is_asked_for_once() -> None:
    twice = (scale(10.0, 0, 0, intent="x"), scale(10.5, 0, 0, intent="x"))
    assert broken(replace(QUIET, mutations=twice)) == ["sent twice"]


# --- liveness


def test_the_count_settles_within_the_bound() -> None:
    bound = PACE.settled_within
    assert broken(replace(QUIET, calms=(Calm(10.0, 1, 10.0 + bound - 0.1, 1),))) == []
    assert broken(replace(QUIET, calms=(Calm(10.0, 1, 10.0 + bound + 0.1, 1),))) == ["settled late"]
    assert broken(replace(QUIET, calms=(Calm(10.0, 1, None, 5),))) == ["never settled"]


KILLED = replace(
    QUIET,
    faults=(Fault("kill-leader", 10.0, "a1", 11.0),),
    lives=(Life("a1", 0.0, 10.0, "killed"), Life("b1", 0.0)),
)


@pytest.mark.parametrize(("took", "verdict"), [(4.9, []), (5.1, ["slow take-over"]), (None, ["slow take-over"])])
def test_a_take_over_after_a_kill_is_within_a_lease_and_two_seconds(took: float | None, verdict: list[str]) -> None:
    lines = (acquired(1.0, "a1", 7), *([acquired(10.0 + took, "b1", 8)] if took else []))
    assert broken(replace(KILLED, lines=lines)) == verdict


def test_and_after_a_sigterm_within_two_seconds() -> None:
    told = replace(KILLED, faults=(Fault("term-leader", 10.0, "a1", 11.0),))
    assert broken(replace(told, lines=(acquired(11.9, "b1", 8),))) == []
    assert broken(replace(told, lines=(acquired(12.1, "b1", 8),))) == ["slow take-over"]


def test_a_take_over_that_something_else_disturbs_is_not_timed() -> None:
    lines = (acquired(19.0, "b1", 8),)
    disturbed = replace(KILLED, lines=lines, faults=(*KILLED.faults, Fault("redis-frozen", 11.0, "", 17.0)))
    assert take_overs(disturbed) == []
    assert broken(disturbed) == []
    harmless = replace(KILLED, lines=lines, faults=(*KILLED.faults, Fault("railway-502", 11.0, "", 17.0)))
    assert broken(harmless) == ["slow take-over"]


def test_nor_one_that_no_process_was_there_for() -> None:
    assert take_overs(replace(KILLED, lives=(KILLED.lives[0], Life("b1", 9.5)))) == []


# --- processes


@pytest.mark.parametrize("end", ["by itself with code 1", "would not end"])
def test_no_controller_ends_by_itself_or_refuses_to(end: str) -> None:
    assert broken(replace(QUIET, lives=(Life("a1", 0.0, 5.0, end),))) == ["process"]
    assert broken(replace(QUIET, lives=(Life("a1", 0.0, 5.0, "killed"),))) == []


@pytest.mark.parametrize("fields", [{"event": "crashed"}, {"event": "stray output"}, {"outcome": "crashed"}])
def test_a_bug_in_the_log_is_a_violation(fields: dict[str, str]) -> None:
    assert broken(replace(QUIET, lines=(Line(5.0, "a1", {"event": "reconcile", **fields}),))) == ["bug"]


# --- the report


def test_a_run_in_which_nothing_happened_proves_nothing() -> None:
    report = Report.of(QUIET, Least(scales=1, take_overs=1))
    assert report.violations == []
    assert not report.is_good
    assert len(report.missing) == 2


def test_mutations_without_an_epoch_prove_nothing_about_leaders() -> None:
    history = replace(QUIET, mutations=(scale(10.0, 0, 1, epoch=None),))
    (words,) = Report.of(history, Least(scales=1, take_overs=0)).missing[:1]
    assert "1 mutations carry no epoch" in words


def test_the_report_names_faults_figures_and_every_violation() -> None:
    history = replace(KILLED, lines=(acquired(12.5, "b1", 8),), mutations=(scale(10.0, 0, 6),))
    text = "\n".join(Report.of(history, Least(scales=1, take_overs=1)).lines(began=0.0))
    for words in ("1 kill-leader", "1 checked", "median 2.50 s", "out of bounds: serviceInstanceUpdate 0 → 6"):
        assert words in text
