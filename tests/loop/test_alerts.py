"""Which notifications are due: tables of what happens when; time is an argument."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.conditions import Condition
from controller.core.model import Decision, QueueDepth
from controller.core.notices import BY_DEFAULT, KINDS, Kind, Mark, Notice
from controller.core.reasons import Because, Reason
from controller.loop.alerts import MOST_ONCE, THROTTLE_S, Alerts, Due
from controller.loop.cycle import Cycle, Fault, Outcome
from controller.policy import Target
from tests.support.sources import POSTGRESQL, RAILWAY, REDIS

ALL = ("PostgreSQL", "Railway", "Redis")
AT = 1_790_000_000.0
EVERYTHING = [kind.value for kind in Kind]


def target(name: str = "a", **more: object) -> Target:
    return Target.model_validate({"slack": f"https://slack.test/{name}", "on": EVERYTHING, **more})


def alerts(*targets: Target, workers: tuple[str, ...] = ("mail", "pdf")) -> Alerts:
    made = Alerts()
    made.serve(targets or (target(),), workers)
    return made


def cycle(
    at: float,
    worker: str = "mail",
    *,
    wants: int | None = 1,
    before: int | None = None,
    change: str = "",
    outcome: Outcome = Outcome.HELD,
    fault: Fault | None = None,
    conditions: tuple[Condition, ...] | None = (),
    answered: tuple[str, ...] = ALL,
) -> Cycle:
    """wants: workers, of at most 5; None: something could not be read. at: seconds after AT."""
    because = (Because(Reason.TIER, f"the jobs want {wants} workers"),)
    decision = None if wants is None else Decision(wants if before is None else before, wants, wants, because)
    return Cycle(
        at=AT + at,
        worker=worker,
        outcome=outcome,
        because=because,
        message=because[0].words,
        max_workers=5,
        queue=None if wants is None else QueueDepth(240, 5, oldest_age_s=90.0),
        decision=decision,
        fault=fault,
        conditions=conditions,
        answered=frozenset(answered),
        change=change,
    )


def without(source: str, at: float, worker: str = "mail") -> Cycle:
    """A cycle that failed because this dependency did not answer."""
    fault = Fault(source, f"{source}: did not answer")
    return cycle(at, worker, wants=None, outcome=Outcome.FAILED, fault=fault, conditions=None, answered=())


def condition(reason: Reason) -> Condition:
    return Condition(reason, "2 jobs are ready and none is taken", "read the workers' log", 600.0, degrades=True)


def told(due: list[Due]) -> list[str]:
    return [one.notice.kind for one in due]


def texts(due: list[Due]) -> list[str]:
    return [one.notice.text for one in due]


def taken(alerts: Alerts, due: list[Due]) -> list[Due]:
    for one in due:
        alerts.taken(one)
    return due


def test_each_kind_has_its_sentence_and_a_burst_or_a_deploy_is_not_told_by_default() -> None:
    assert set(KINDS) == set(Kind)
    assert set(Kind) - set(BY_DEFAULT) == {Kind.SCALED, Kind.TAKEOVER}


# --- what lasts ---


def test_a_dependency_is_told_of_once_when_it_has_failed_for_the_target_s_time_and_again_when_it_answers() -> None:
    mine = alerts(target(failing_after="5m"))
    since = {"PostgreSQL": AT}
    found = {at: told(taken(mine, mine.cycle(without("PostgreSQL", at), since))) for at in range(0, 900, 10)}
    assert {at: kinds for at, kinds in found.items() if kinds} == {300: ["failing"]}
    over = mine.cycle(cycle(900), {})
    assert texts(over) == ["PostgreSQL answers again after 15 min"]
    assert mine.cycle(cycle(910), {}) == []


def test_the_message_says_what_failed_for_how_long_and_what_helps() -> None:
    mine = alerts(target(failing_after="5m"))
    mine.cycle(without("PostgreSQL", 0), {"PostgreSQL": AT})
    (due,) = mine.cycle(without("PostgreSQL", 312), {"PostgreSQL": AT})
    assert due.notice.text == (
        "mail: PostgreSQL has failed for 5 min 12 s: PostgreSQL: did not answer; "
        "`autoscaler doctor` looks for the cause"
    )
    assert due.notice.figures == {"since": "2026-09-21T14:13:20.000Z", "lasted_s": 312.0, "source": "PostgreSQL"}


def test_a_short_fault_is_told_neither_when_it_begins_nor_when_it_ends() -> None:
    mine = alerts(target(failing_after="5m"))
    assert mine.cycle(without("Railway", 100), {"Railway": AT}) == []
    assert mine.cycle(cycle(110), {}) == []
    assert mine.marks == {}


def test_a_dependency_that_all_workers_miss_is_told_of_once_and_is_back_when_all_have_it_back() -> None:
    mine = alerts(target(failing_after="1m"))
    found = []
    for at in range(0, 120, 10):
        for worker in ("mail", "pdf"):
            found += taken(mine, mine.cycle(without("PostgreSQL", at, worker), {"PostgreSQL": AT}))
    assert texts(found)[0].startswith("2 workers: PostgreSQL has failed for 1 min")
    assert len(found) == 1
    assert mine.cycle(cycle(120, "mail"), {}) == []
    assert texts(mine.cycle(cycle(121, "pdf"), {})) == ["PostgreSQL answers again after 2 min 1 s"]


def test_a_cycle_that_did_not_hear_from_a_dependency_does_not_end_its_fault() -> None:
    """As after a takeover: the new leader knows of no fault yet, and its first cycle cannot read the queue."""
    mine = alerts(target(failing_after="1m"))
    taken(mine, mine.cycle(without("Railway", 60), {"Railway": AT}))
    assert mine.cycle(without("PostgreSQL", 70), {"PostgreSQL": AT + 70}) == []
    assert told(mine.cycle(cycle(80), {})) == ["recovered"]


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (Reason.NO_PROGRESS, "no_progress"),
        (Reason.WORKERS_CRASH, "crash_loop"),
        (Reason.WORKERS_MISSING, "failing"),
        (Reason.DEPLOYMENT_HANGS, "failing"),
    ],
)
def test_a_fault_of_a_service_is_told_of_by_its_kind_with_what_is_seen_and_the_fix(reason: Reason, kind: str) -> None:
    mine = alerts(target(failing_after="5m"))
    seen = cycle(600, conditions=(condition(reason),))
    (due,) = mine.cycle(seen, {reason.value: AT})
    assert (due.notice.kind, due.notice.worker) == (kind, "mail")
    assert due.notice.message == (
        f"{reason.value}: 2 jobs are ready and none is taken: read the workers' log; "
        '`autoscaler explain --at "2026-09-21T14:23:20Z"`'
    )


def test_no_progress_and_a_crash_loop_are_told_at_once_and_by_their_own_kind_only() -> None:
    mine = alerts(target(failing_after="5m", on=["failing"]))
    seen = cycle(600, conditions=(condition(Reason.NO_PROGRESS),))
    assert mine.cycle(seen, {Reason.NO_PROGRESS.value: AT}) == []
    mine = alerts(target(on=["no_progress"]))
    assert told(mine.cycle(seen, {Reason.NO_PROGRESS.value: AT + 599})) == ["no_progress"]


def test_workers_at_max_for_long_are_told_of_with_the_jobs_that_wait() -> None:
    mine = alerts(target(at_max_after="15m"))
    found = [taken(mine, mine.cycle(cycle(at, wants=5), {})) for at in range(0, 1000, 100)]
    assert [at for at, due in zip(range(0, 1000, 100), found, strict=True) if due] == [900]
    assert texts(found[9]) == [
        (
            "mail: at max_replicas (5) for 15 min, with 240 jobs pending, the oldest for 1 min 30 s: if jobs may not "
            'wait that long, raise it; `autoscaler explain --at "2026-09-21T14:28:20Z"`'
        )
    ]
    assert mine.cycle(cycle(1000, wants=None, outcome=Outcome.FAILED), {}) == [], "whether it lasts is unknown"
    assert texts(mine.cycle(cycle(1100, wants=4), {})) == [
        "mail: fewer than max_replicas (5) are wanted again after 18 min 20 s"
    ]


def test_a_count_that_the_policy_fixes_is_no_maximum_to_be_told_of() -> None:
    mine = alerts(target(at_max_after="1m"))
    assert [mine.cycle(cycle(at, wants=5), {}, minimum=5) for at in (0, 100, 1000)] == [[], [], []]


def test_a_target_is_told_of_its_workers_and_of_the_controller_itself_only() -> None:
    mine = alerts(target("pdf", workers=["pdf"]), target("all"))
    every, pdf = target("all").key, target("pdf").key
    found = mine.happened("contended", {"worker": "mail", "message": "x"}, AT)
    assert [due.target for due in found] == [every]
    assert [due.target for due in mine.happened("lease_acquired", {"epoch": 7, "holder": "b"}, AT)] == [pdf, every]
    crashed = cycle(0, "pdf", conditions=(condition(Reason.WORKERS_CRASH),))
    assert [due.target for due in mine.cycle(crashed, {Reason.WORKERS_CRASH.value: AT})] == [pdf, every]


def test_what_a_target_did_not_take_is_tried_again_after_ten_minutes_while_it_lasts() -> None:
    mine = alerts(target(failing_after="1m"))
    tried = []
    for at in range(0, 2000, 60):
        for due in mine.cycle(without("PostgreSQL", at), {"PostgreSQL": AT}):
            tried.append(at)
            mine.not_taken(due, AT + at)
    assert tried == [60, 660, 1260, 1860]


# --- what happens once ---


EVENTS: list[tuple[str, dict[str, object], str | None]] = [
    ("override_set", {"id": "o1", "message": "held at 3 by anna"}, "override set: held at 3 by anna; `autoscaler over"),
    ("override_ended", {"id": "o1", "message": "held at 3 by anna: its time is up"}, "override ended: held at 3 by an"),
    (
        "lease_acquired",
        {"epoch": 7, "holder": "host-b"},
        "replica host-b leads now, with epoch 7; `autoscaler history`",
    ),
    ("contended", {"message": "changed 3 times"}, "changed 3 times"),
    ("intent_settled", {"change": "c1", "settled": "applied", "message": "0 → 2"}, "0 → 2. Why: `autoscaler history"),
    ("intent_settled", {"change": "c1", "settled": "not honoured", "message": "0 → 2"}, None),
    ("intent_settled", {"change": "c1", "settled": "never sent", "message": "0 → 2"}, None),
    ("woken", {"message": "jobs"}, None),
    ("started", {"message": "serving {braces}"}, None),
    ("override_set", {"id": "o2", "message": "for {this} and {0}"}, "override set: for {this} and {0}; `autoscaler ov"),
]


@pytest.mark.parametrize(("name", "fields", "text"), EVENTS)
def test_an_event_of_the_log_is_told_in_a_sentence_or_is_not_for_people(
    name: str, fields: dict[str, object], text: str | None
) -> None:
    found = texts(alerts().happened(name, fields, AT))
    assert [one[: len(text or "")] for one in found] == ([] if text is None else [text])


def test_a_change_is_told_once_though_its_answer_was_lost_and_it_is_settled_later() -> None:
    mine = alerts()
    change = cycle(0, before=0, wants=2, outcome=Outcome.APPLIED, change="c1")
    (due,) = mine.cycle(change, {})
    assert due.notice.figures == {"before": 0, "after": 2, "reason": "Tier"}
    assert mine.happened("intent_settled", {"change": "c1", "settled": "applied", "message": "m"}, AT + 1) == []
    mine.taken(due)
    assert mine.happened("intent_settled", {"change": "c1", "settled": "applied", "message": "m"}, AT + 1000) == []


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.FAILED, Outcome.HELD, Outcome.FENCED])
def test_a_change_that_was_not_applied_for_certain_is_not_told_as_one(outcome: Outcome) -> None:
    assert alerts().cycle(cycle(0, before=0, wants=2, outcome=outcome, change="c1"), {}) == []


# --- the throttle ---


def scale(mine: Alerts, at: float, worker: str = "mail") -> list[Due]:
    seen = cycle(at, worker, before=1, wants=2, outcome=Outcome.APPLIED, change=f"{worker}{at}")
    return taken(mine, mine.cycle(seen, {}))


def test_of_a_kind_the_first_is_told_at_once_and_then_one_in_ten_minutes_with_the_number_left_out() -> None:
    mine = alerts()
    found = {at: scale(mine, at) for at in range(0, 1300, 50)}
    sent = {at: due[0].notice for at, due in found.items() if due}
    assert {at: (one.left_out, one.within_s) for at, one in sent.items()} == {
        0: (0, 0.0),
        600: (11, 600.0),
        1200: (11, 600.0),
    }
    assert sent[600].text.endswith("(11 more in 10 min)")
    assert mine.left_out[target().key] == 11 + 11


def test_what_was_held_back_is_told_by_the_next_cycle_though_nothing_happens_any_more() -> None:
    mine = alerts()
    scale(mine, 0)
    assert scale(mine, 60) == []
    assert mine.cycle(cycle(590), {}) == []
    (due,) = mine.cycle(cycle(600), {})
    assert (due.notice.kind, due.notice.left_out) == ("scaled", 0)
    assert mine.cycle(cycle(1300), {}) == []


def test_workers_and_kinds_and_targets_do_not_hold_back_each_other() -> None:
    mine = alerts(target("a"), target("b"))
    assert [len(scale(mine, 0)), len(scale(mine, 1, "pdf")), len(scale(mine, 2))] == [2, 2, 0]
    assert len(mine.happened("contended", {"worker": "mail", "message": "x"}, AT + 3)) == 2


def test_of_a_fault_that_was_held_back_and_is_over_neither_begin_nor_end_is_told() -> None:
    mine = alerts(target(failing_after="0s"))
    crash = {Reason.WORKERS_CRASH.value: AT}
    crashing = (condition(Reason.WORKERS_CRASH),)
    found = {
        0: taken(mine, mine.cycle(cycle(0, conditions=crashing), crash)),
        10: taken(mine, mine.cycle(cycle(10), {})),
        20: taken(mine, mine.cycle(cycle(20, conditions=crashing), {Reason.WORKERS_CRASH.value: AT + 20})),
        30: taken(mine, mine.cycle(cycle(30), {})),
        700: taken(mine, mine.cycle(cycle(700), {})),
    }
    assert {at: told(due) for at, due in found.items()} == {
        0: ["crash_loop"],
        10: ["recovered"],
        20: [],
        30: [],
        700: [],
    }


@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["mail", "pdf"])), max_size=60))
def test_whenever_changes_come_no_ten_minutes_have_two_messages_and_each_change_is_told_or_counted(
    gaps: list[tuple[int, str]],
) -> None:
    mine, at = alerts(), 0
    sent: list[tuple[str, Notice]] = []
    for gap, worker in gaps:
        at += gap + 1
        sent += [(due.notice.worker, due.notice) for due in scale(mine, at, worker)]
    sent += [(due.notice.worker, due.notice) for due in taken(mine, mine.due(AT + at + THROTTLE_S))]
    for worker in ("mail", "pdf"):
        notices = [one for name, one in sent if name == worker]
        assert sum(1 + one.left_out for one in notices) == sum(1 for _, name in gaps if name == worker)
    assert mine._sending == set()


# --- a takeover ---


def after_a_takeover(old: Alerts, *targets: Target) -> Alerts:
    """Another process, which knows what the old one has written."""
    new = alerts(*targets)
    new.remember({ident: Mark.from_text(mark.as_text()) for ident, mark in old.changes().items() if mark is not None})
    return new


def test_a_new_leader_tells_nothing_that_was_told_and_tells_of_the_end() -> None:
    mine = target(failing_after="1m")
    old = alerts(mine)
    old.cycle(without("PostgreSQL", 0), {"PostgreSQL": AT})
    taken(old, old.cycle(without("PostgreSQL", 60), {"PostgreSQL": AT}))
    scale(old, 61, "pdf")
    new = after_a_takeover(old, mine)
    assert new.cycle(without("PostgreSQL", 70), {"PostgreSQL": AT + 70}) == []
    assert new.happened("intent_settled", {"change": "pdf61", "settled": "applied", "message": "m"}, AT + 71) == []
    assert texts(new.cycle(cycle(180), {})) == ["PostgreSQL answers again after 3 min"]


def test_a_new_leader_tells_what_the_old_one_sent_and_did_not_live_to_write_down_with_the_same_id() -> None:
    """So a receiver that looks at the id takes it once."""
    mine = target(failing_after="1m")
    old = alerts(mine)
    old.cycle(without("PostgreSQL", 0), {"PostgreSQL": AT})
    new = after_a_takeover(old, mine)
    (by_old,) = old.cycle(without("PostgreSQL", 60), {"PostgreSQL": AT})
    (by_new,) = new.cycle(without("PostgreSQL", 65), {"PostgreSQL": AT + 64})
    assert by_old.notice.ident == by_new.notice.ident


def test_how_long_something_has_lasted_is_remembered_across_processes_as_once_from_cron_needs_it() -> None:
    mine = target(failing_after="5m", at_max_after="5m")
    found, one = {}, alerts(mine)
    for at in range(0, 400, 60):
        failing = {"Railway": AT + at}
        found[at] = told(taken(one, one.cycle(cycle(at, wants=5, answered=("Redis",)), failing)))
        one = after_a_takeover_with(one, mine)
    assert {at: kinds for at, kinds in found.items() if kinds} == {300: ["failing", "at_max"]}


def after_a_takeover_with(old: Alerts, *targets: Target) -> Alerts:
    new = alerts(*targets)
    new.remember(dict(old.marks))
    return new


def test_what_one_leader_has_not_written_yet_stays_when_it_reads_what_is_there() -> None:
    mine = alerts(target(failing_after="1m"))
    mine.cycle(without("PostgreSQL", 0), {"PostgreSQL": AT})
    mine.remember({"once|scaled c9": Mark(AT)})
    assert set(mine.marks) == {"once|scaled c9", "lasts|failing||PostgreSQL"}
    taken(mine, mine.cycle(without("PostgreSQL", 60), {"PostgreSQL": AT}))
    mine.cycle(cycle(70), {})
    mine.remember({"lasts|failing||PostgreSQL": Mark(AT, ("mail",), (target().key,))})
    assert mine.marks == {}, "it has ended since"


@pytest.mark.parametrize("text", ["", "[]", "[1]", '["x",[],[]]', "[1e999,[],[]]", "[-1,[],[]]", "[1,2,3]", "[" * 9999])
def test_a_mark_of_another_form_is_no_mark(text: str) -> None:
    with pytest.raises(ValueError, match="is not a mark"):
        Mark.from_text(text)


def test_marks_of_what_happened_once_are_bounded_and_the_newest_stay() -> None:
    mine = alerts()
    for at in range(MOST_ONCE + 50):
        scale(mine, at * 700)
    assert len(mine.marks) == MOST_ONCE
    assert f"once|scaled mail{(MOST_ONCE + 49) * 700}" in mine.marks


# --- an edit of the policy ---


def test_a_new_target_is_told_of_what_lasts_and_an_old_one_is_not_told_again() -> None:
    old, new = target("old", failing_after="1m"), target("new", failing_after="1m")
    mine = alerts(old)
    taken(mine, mine.cycle(without("PostgreSQL", 60), {"PostgreSQL": AT}))
    mine.serve((old, new), ("mail", "pdf"))
    assert [due.target for due in mine.cycle(without("PostgreSQL", 70), {"PostgreSQL": AT})] == [new.key]


def test_what_lasts_of_a_worker_that_is_gone_is_forgotten_without_a_word() -> None:
    mine = alerts(target())
    crashing = cycle(0, conditions=(condition(Reason.WORKERS_CRASH),))
    taken(mine, mine.cycle(crashing, {Reason.WORKERS_CRASH.value: AT}))
    mine.serve((target(),), ("pdf",))
    assert [ident for ident in mine.marks if ident.startswith("lasts")] == []


def test_without_targets_nothing_is_remembered() -> None:
    mine = Alerts()
    mine.serve((), ("mail",))
    assert mine.cycle(without("PostgreSQL", 9_999), {"PostgreSQL": AT}) == []
    assert (mine.marks, mine.changes()) == ({}, {})


def test_the_sources_of_the_tests_are_those_of_the_adapters() -> None:
    assert (POSTGRESQL.name, RAILWAY.name, REDIS.name) == ALL


def test_a_step_of_the_budget_of_all_is_told_once_whichever_worker_reports_it() -> None:
    mine = alerts(target("a", on=["budget"]), target("b", on=["budget"], workers=["pdf"]))
    step = {"scope": "all", "id": "all  1 0 1", "message": "$8.00 of $10.00 are spent by all workers", "spent": 8.0}
    told = [
        *mine.happened("budget", {**step, "worker": "mail"}, AT),
        *mine.happened("budget", {**step, "worker": "pdf"}, AT),
    ]
    assert [(due.notice.worker, due.notice.figures["spent"]) for due in told] == [("", 8.0), ("", 8.0)]
    own = mine.happened("budget", {**step, "scope": "worker", "id": "worker mail 1 0 1", "worker": "mail"}, AT)
    assert [due.notice.worker for due in own] == ["mail"]
