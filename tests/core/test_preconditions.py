"""Whether asking now is any use, and what is believed of a reading that cannot be right: tables."""

from __future__ import annotations

import pytest

from controller.core.model import Decision, History, Observation, QueueDepth, Replicas, ServiceState
from controller.core.preconditions import assume_stopped, blocked_by
from controller.core.reasons import Because, Reason

NOW, BOUND = 10_000.0, 60.0
RUNNING = Replicas(2, 2, 2, ServiceState.RUNNING, deployment="d")
STARTING = Replicas(2, 0, 2, ServiceState.STARTING, deployment="d")


def decided(desired: int) -> Decision:
    return Decision(2, desired, desired, (Because(Reason.TIER, "jobs"),))


def refused(ago: float, to: int, setbacks: int) -> History:
    return History(refused_at=NOW - ago, refused_to=to, setbacks=setbacks)


@pytest.mark.parametrize(
    ("history", "replicas", "desired", "waits_for"),
    [
        (History(), RUNNING, 3, None),
        (History(), STARTING, 0, Reason.DEPLOYING),
        (History(), STARTING, 1, None),
        (refused(29, to=3, setbacks=1), RUNNING, 3, Reason.BACKING_OFF),
        (refused(31, to=3, setbacks=1), RUNNING, 3, None),
        (refused(59, to=3, setbacks=2), RUNNING, 3, Reason.BACKING_OFF),
        (refused(119, to=3, setbacks=3), RUNNING, 3, Reason.BACKING_OFF),
        (refused(121, to=3, setbacks=99), RUNNING, 3, None),  # however often: fixed overnight is done soon
        (refused(29, to=3, setbacks=9), RUNNING, 0, Reason.BACKING_OFF),
        (refused(31, to=3, setbacks=9), RUNNING, 0, None),  # another count has not met the setbacks
        (History(unconfirmed_stop="d", last_down=NOW - 599), RUNNING, 0, Reason.NOT_HONOURED),
        (History(unconfirmed_stop="d", last_down=NOW - 601), RUNNING, 0, None),
        (History(unconfirmed_stop="another", last_down=NOW - 1), RUNNING, 0, None),
        (History(unconfirmed_stop="d", last_down=NOW - 1), RUNNING, 1, None),
    ],
)
def test_a_change_waits_where_it_would_only_be_refused(
    history: History, replicas: Replicas, desired: int, waits_for: Reason | None
) -> None:
    because = blocked_by(decided(desired), replicas, history, NOW, BOUND)
    assert (because.reason if because else None) == waits_for


@pytest.mark.parametrize(
    ("pending", "processing", "history", "believed"),
    [
        (1, 0, History(unconfirmed_stop="d"), True),
        (1, 1, History(unconfirmed_stop="d"), False),  # a job is in progress
        (0, 0, History(unconfirmed_stop="d"), False),  # no job waits
        (1, 0, History(unconfirmed_stop="d", last_up=NOW - 59), False),  # a restart may be on its way
        (1, 0, History(unconfirmed_stop="d", last_up=NOW - 61), True),
        (1, 0, History(unconfirmed_stop="the one before"), False),
        (1, 0, History(), False),
    ],
)
def test_a_stop_that_is_never_shown_is_believed_where_jobs_would_wait_for_ever(
    pending: int, processing: int, history: History, *, believed: bool
) -> None:
    observed = Observation(QueueDepth(pending, processing), RUNNING)
    seen = assume_stopped(observed, history, NOW, BOUND)
    assert (seen.replicas.state, seen.replicas.configured) == (
        (ServiceState.STOPPED, 0) if believed else (ServiceState.RUNNING, 2)
    )
