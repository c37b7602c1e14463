"""Notifications of whole controllers: with a real Redis, the fake Railway, and a receiver in this process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from controller.adapters.redis.keys import Keys
from controller.adapters.redis.marks import RedisMarks
from controller.core.notices import Mark
from controller.core.ports import Unavailable
from tests.support.exposition import value_of
from tests.support.patience import until, until_equal
from tests.support.processes import QUICK, autoscaler, led_before, running
from tests.support.receiver import Receiver, receiving
from tests.support.scene import POLICY, WORKER, Scene


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving(Receiver()) as one:
        yield one


@pytest.fixture
def notified(scene: Scene, receiver: Receiver, tmp_path: Path) -> Scene:
    scene.policy = tmp_path / "policy.yaml"
    told = "\nnotify:\n  - {webhook: '${ALERT_URL}', on: [scaled, override, takeover]}\n"
    scene.policy.write_text(POLICY.read_text() + told)
    scene.environment["ALERT_URL"] = receiver.address
    return scene


def kinds(receiver: Receiver) -> list[str]:
    return [one.value["kind"] for one in receiver.received]


async def test_a_controller_tells_of_its_lease_and_its_changes_and_a_second_one_tells_neither_again(
    notified: Scene, receiver: Receiver
) -> None:
    await notified.jobs(5)
    for _ in range(2):
        async with notified.controller() as driven:
            await driven.tick()
            await driven.controller.notifier.last_words(60)
    assert kinds(receiver) == ["takeover", "scaled", "takeover"]
    scaled = receiver.received[1].value
    assert (scaled["worker"], scaled["figures"]) == (WORKER, {"before": 0, "after": 1, "reason": "Tier"})
    assert len(await notified.redis.hgetall(keys(notified).notified)) == 3


def keys(scene: Scene) -> Keys:
    return Keys("autoscaler", scene.environment["RAILWAY_ENVIRONMENT_ID"])


async def test_a_standby_tells_nothing(notified: Scene, receiver: Receiver) -> None:
    async with notified.controller() as leader, notified.controller() as standby:
        await leader.controller.notifier.last_words(60)
        await standby.controller.notifier.last_words(60)
    assert kinds(receiver) == ["takeover"]


async def test_an_override_is_told_with_its_author(notified: Scene, receiver: Receiver) -> None:
    policy = ("--policy", str(notified.policy))
    words = ("hold", WORKER, "3", "--for", "30m", "--by", "ann", "--why", "load test")
    assert (await autoscaler(*words, *policy, environment=notified.environment)).code == 0
    async with notified.controller() as driven:
        driven.controller.notifier.takeovers = False
        await driven.tick()
        await driven.controller.notifier.last_words(60)
    (text,) = [one["text"] for one in (got.value for got in receiver.received) if one["kind"] == "override"]
    assert text.startswith(f"{WORKER}: override set: held at 3 by ann for 30 min")
    assert "load test" in text


async def test_a_hash_that_holds_something_else_is_said_and_left_alone(notified: Scene) -> None:
    marks = RedisMarks(notified.redis, keys(notified))
    await marks.save({"lasts|at_max|mail|": Mark(12.5, ("mail",), ("k",)), "gone": None})
    await notified.redis.hset(keys(notified).notified, "of another version", "{}")
    assert await marks.load() == {"lasts|at_max|mail|": Mark(12.5, ("mail",), ("k",))}
    assert 0 < await notified.redis.ttl(keys(notified).notified) <= 7 * 24 * 3600
    await marks.save({"lasts|at_max|mail|": None})
    await notified.redis.delete(keys(notified).notified)
    await notified.redis.set(keys(notified).notified, "a text")
    with pytest.raises(Unavailable, match="not ours"):
        await marks.load()


@pytest.mark.costly
async def test_cycles_go_on_and_are_told_of_nowhere_while_the_webhook_hangs(
    notified: Scene, receiver: Receiver
) -> None:
    receiver.hangs = True
    await notified.jobs(5)
    async with running(notified, **QUICK) as controller:
        port = (await controller.until(event="started"))["port"]
        await controller.until(event="reconcile", outcome="applied")
        await until(lambda: receiver.received, "the first message")
        for _ in range(20):
            await controller.until(event="reconcile", outcome="held")
        async with httpx.AsyncClient() as client:
            body = (await client.get(f"http://127.0.0.1:{port}/status")).json()
            health = (await client.get(f"http://127.0.0.1:{port}/health")).json()
            metrics = await client.get(f"http://127.0.0.1:{port}/metrics", headers={"Accept": "text/plain"})
        assert (body["notifications"][0]["target"], body["notifications"][0]["sent"]) == ("webhook-1", 0)
        assert body["notifications"][0]["queued"] == 2
        assert health["status"] == "healthy"
        assert value_of(metrics.text, "autoscaler_notifications_total", target="webhook-1", result="sent") == 0
        assert "planted" not in json.dumps(body)
        assert await controller.told_to_end() == 0


@pytest.mark.costly
async def test_an_edit_of_the_policy_takes_over_another_target(notified: Scene, receiver: Receiver) -> None:
    async with receiving(Receiver()) as other, running(notified, **QUICK) as controller:
        await controller.until(event="reconcile")
        await until_equal(lambda: kinds(receiver), ["takeover"])
        text = notified.policy.read_text()
        notified.policy.write_text(text.replace("webhook: '${ALERT_URL}'", f"slack: '{other.address}'"))
        told = await controller.until(event="policy_loaded", worker=None)
        assert told["message"] == "notify: other targets, or the same ones in another way"
        await notified.jobs(5)
        await until(lambda: other.received, "the change, at the new address")
        assert kinds(receiver) == ["takeover"]
        assert await controller.told_to_end() == 0
    assert "0 → 1" in other.texts[0]


async def test_once_tells_of_its_change_and_not_of_its_lease(notified: Scene, receiver: Receiver) -> None:
    await led_before(notified)
    await notified.jobs(5)
    for _ in range(2):
        ran = await autoscaler("once", str(notified.policy), environment=notified.environment)
        assert ran.code == 0
    assert kinds(receiver) == ["scaled"]


async def test_a_dry_run_tells_nothing(notified: Scene, receiver: Receiver) -> None:
    await notified.jobs(5)
    async with notified.controller(dry_run=True) as driven:
        await driven.tick()
        await driven.controller.notifier.last_words(60)
    assert receiver.received == []
