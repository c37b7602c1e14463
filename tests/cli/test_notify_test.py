"""`autoscaler notify-test`: a message to each target, what came back, and an exit code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.processes import Ran, autoscaler
from tests.support.receiver import Receiver, receiving

POLICY = """\
workers:
  mail: {service: s, queue: {table: t}, tiers: [{replicas: 1}], max_replicas: 2}
"""
NOTIFY = """\
notify:
  - {slack: "${SLACK_URL}", on: [failing, at_max]}
  - {webhook: "${ALERT_URL}/other", format: cloudevents, secret: "${ALERT_SECRET}"}
"""


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving(Receiver()) as one:
        yield one


async def asked(folder: Path, receiver: Receiver, *words: str, notify: str = NOTIFY) -> Ran:
    """Without Redis, a database or a platform."""
    policy = folder / "policy.yaml"
    policy.write_text(POLICY + notify)
    environment = dict.fromkeys(("SLACK_URL", "ALERT_URL"), receiver.address)
    environment["ALERT_SECRET"] = "PLANTED-0123456789"
    ran = await autoscaler("notify-test", str(policy), *words, environment=environment)
    assert "PLANTED" not in ran.out + ran.err
    assert "planted" not in ran.out + ran.err
    return ran


async def test_each_target_gets_a_message_that_says_what_it_is_told_of(tmp_path: Path, receiver: Receiver) -> None:
    ran = await asked(tmp_path, receiver)
    assert (ran.code, ran.err) == (0, "")
    assert sorted(line.partition(", after")[0] for line in ran.out.splitlines()) == [
        "slack-1: sent: HTTP 200",
        "webhook-1: sent: HTTP 200",
    ]
    slack, event = sorted((one.value for one in receiver.received), key=len)
    assert slack == {
        "text": "a test of the worker autoscaler; this target (slack-1) is told of failing, at_max",
    }
    assert (event["type"], event["data"]["kind"]) == ("worker-autoscaler.test", "test")


async def test_one_target_can_be_chosen_by_its_name(tmp_path: Path, receiver: Receiver) -> None:
    ran = await asked(tmp_path, receiver, "--target", "webhook-1")
    assert (ran.code, len(receiver.received)) == (0, 1)


async def test_what_a_target_answers_is_said_and_the_exit_code_is_1(tmp_path: Path, receiver: Receiver) -> None:
    receiver.statuses, receiver.said = [404], b"no_team"
    ran = await asked(tmp_path, receiver, "--target", "slack-1")
    assert ran.code == 1
    assert ran.out == "slack-1: not sent: it answered with HTTP 404: no_team\n"
    assert len(receiver.received) == 1, "it is tried once"


@pytest.mark.parametrize(
    ("words", "notify", "said"),
    [
        (
            ("--target", "slack-2"),
            NOTIFY,
            "--target: 'slack-2' is no target of the policy; there is slack-1, webhook-1",
        ),
        ((), "", "notify: is not in the policy; see docs/notifications.md"),
        ((), "notify: [{slack: '${MISSING}'}]", "MISSING is not set"),
    ],
    ids=["an unknown target", "no target at all", "a variable that is not set"],
)
async def test_wrong_input_is_exit_code_2_and_sends_nothing(
    tmp_path: Path, receiver: Receiver, words: tuple[str, ...], notify: str, said: str
) -> None:
    ran = await asked(tmp_path, receiver, *words, notify=notify)
    assert (ran.code, receiver.received) == (2, [])
    assert said in ran.err
