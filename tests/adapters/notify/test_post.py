"""What goes over the line to a receiver, and what each of its answers becomes; against a real one, in virtual time."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import socket
from dataclasses import replace

import pytest
from aiohttp import web

from controller.adapters.notify import opening, slack
from controller.adapters.notify.post import Post
from controller.core.notices import Notice
from controller.core.ports import NotDeliveredError, Notify
from controller.policy import Target
from tests.support.receiver import PATH, Receiver, receiving

pytestmark = pytest.mark.virtual_time
AT = 1_790_000_000.25
NOTICE = Notice("4f1c", "failing", "PostgreSQL has failed for 5 min", AT, "mail", {"lasted_s": 300.0})
SECRET = "0123456789abcdef-PLANTED"


def port_to(receiver: Receiver, **more: object) -> Notify:
    return opening("prod/eu")(Target.model_validate({"webhook": receiver.address, **more}))


async def refusal(port: Notify) -> NotDeliveredError:
    with pytest.raises(NotDeliveredError) as refused:
        await port.send(NOTICE, AT)
    await port.close()
    assert "PLANTED" not in str(refused.value)
    return refused.value


async def test_a_webhook_gets_one_json_object_with_the_same_id_each_time() -> None:
    async with receiving(Receiver()) as receiver:
        port = port_to(receiver)
        assert [await port.send(NOTICE, AT + later) for later in (0, 60)] == ["HTTP 200", "HTTP 200"]
        await port.close()
    first, second = receiver.received
    assert first.value == {
        "id": "4f1c",
        "kind": "failing",
        "worker": "mail",
        "at": "2026-09-21T14:13:20.250Z",
        "message": "PostgreSQL has failed for 5 min",
        "text": "mail: PostgreSQL has failed for 5 min",
        "left_out": 0,
        "figures": {"lasted_s": 300.0},
    }
    assert first.headers["content-type"] == "application/json"
    assert "webhook-signature" not in first.headers
    assert (second.headers["webhook-id"], second.headers["webhook-timestamp"]) == ("4f1c", "1790000060")


async def test_a_cloudevent_has_the_attributes_that_its_specification_requires() -> None:
    async with receiving(Receiver()) as receiver:
        port = port_to(receiver, format="cloudevents")
        await port.send(NOTICE, AT)
        await port.close()
    (got,) = receiver.received
    assert got.headers["content-type"] == "application/cloudevents+json"
    data = got.value.pop("data")
    assert {name: value for name, value in got.value.items() if name != "data"} == {
        "specversion": "1.0",
        "id": "4f1c",
        "source": "/worker-autoscaler/prod%2Feu",
        "type": "worker-autoscaler.failing",
        "time": "2026-09-21T14:13:20.250Z",
        "subject": "mail",
        "datacontenttype": "application/json",
    }
    assert (data["kind"], data["worker"]) == ("failing", "mail")


def verified(secret: bytes, headers: dict[str, str], body: bytes, now: float) -> bool:
    """As a receiver does it, by the page of Standard Webhooks."""
    at = int(headers["webhook-timestamp"])
    signed = b".".join([headers["webhook-id"].encode(), str(at).encode(), body])
    expected = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    given = [one.removeprefix("v1,") for one in headers["webhook-signature"].split() if one.startswith("v1,")]
    return abs(now - at) <= 300 and any(hmac.compare_digest(one, expected) for one in given)


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        pytest.param(SECRET, SECRET.encode(), id="a text of one's own"),
        pytest.param(
            f"whsec_{base64.b64encode(b'k' * 24).decode()}", b"k" * 24, id="a secret as the libraries make one"
        ),
    ],
)
async def test_a_receiver_can_verify_the_signature_and_refuses_what_is_changed_or_old(secret: str, key: bytes) -> None:
    async with receiving(Receiver()) as receiver:
        port = port_to(receiver, secret=secret)
        await port.send(NOTICE, AT)
        await port.close()
    (got,) = receiver.received
    assert verified(key, got.headers, got.body, AT)
    assert not verified(key, got.headers, got.body, AT + 3600), "an old one"
    assert not verified(key, got.headers, got.body.replace(b"mail", b"sms"), AT)
    assert not verified(key, {**got.headers, "webhook-timestamp": str(int(AT) + 60)}, got.body, AT + 60)
    assert not verified(b"another", got.headers, got.body, AT)


def test_slack_s_form_calls_no_channel_and_shows_what_was_left_out() -> None:
    notice = replace(NOTICE, message="why: <!channel> & @everyone", left_out=12, within_s=600.0)
    text = json.loads(slack.body(notice))
    assert text == {"text": "🔴 mail: why: &lt;!channel&gt; &amp; @\u200beveryone (12 more in 10 min)"}


def test_a_long_text_is_cut_to_what_discord_takes() -> None:
    text = json.loads(slack.body(replace(NOTICE, message="long " * 2_000)))["text"]
    assert len(text) < 2_000
    assert text.endswith("…")


@pytest.mark.parametrize(
    ("status", "may_retry"),
    [
        *((status, False) for status in (400, 401, 403, 404, 410)),
        *((status, True) for status in (408, 429, 500, 502, 503, 504)),
    ],
)
async def test_what_may_pass_is_tried_again_and_what_is_wrong_is_not(status: int, *, may_retry: bool) -> None:
    async with receiving(Receiver([status], said=b"no_service")) as receiver:
        error = await refusal(port_to(receiver))
    assert (str(error), error.may_retry) == (f"answered with HTTP {status}: no_service", may_retry)


async def test_the_time_that_a_receiver_asks_to_wait_is_passed_on() -> None:
    async with receiving(Receiver([429], with_headers={"Retry-After": "7"})) as receiver:
        assert (await refusal(port_to(receiver))).wait_s == 7.0
    async with receiving(Receiver([429], with_headers={"Retry-After": "Wed, 21 Oct"})) as receiver:
        assert (await refusal(port_to(receiver))).wait_s is None


async def test_a_redirect_is_not_followed() -> None:
    receiver = Receiver([307], with_headers={"Location": "/elsewhere"})
    async with receiving(receiver):
        error = await refusal(port_to(receiver))
    assert "a redirect, which is not followed" in str(error)
    assert (error.may_retry, len(receiver.received)) == (False, 1)


@pytest.mark.parametrize("slow", [{"hangs": True}, {"slow_s": 30.0}], ids=["hangs", "takes 30 s"])
async def test_no_answer_within_ten_seconds_is_a_fault_that_may_pass(slow: dict[str, float]) -> None:
    async with receiving(Receiver(**slow)) as receiver:  # type: ignore[arg-type]  # of either kind
        began = asyncio.get_running_loop().time()
        error = await refusal(port_to(receiver))
        assert asyncio.get_running_loop().time() - began == pytest.approx(10, abs=0.1)
    assert (str(error), error.may_retry) == ("did not answer within 10 s", True)


async def test_an_answer_that_comes_byte_by_byte_ends_after_ten_seconds_too() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        while True:
            await asyncio.sleep(1)
            await response.write(b"x" * 3_000_000)

    receiver = Receiver()
    receiver.answer = drip  # type: ignore[method-assign,assignment]  # another one
    async with receiving(receiver):
        error = await refusal(port_to(receiver))
    assert error.may_retry
    assert len(str(error)) < 300


async def test_a_port_where_nothing_listens_is_a_fault_that_may_pass() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = await refusal(port_to(Receiver(address=f"http://127.0.0.1:{port}{PATH}")))
    assert (str(error)[:23], error.may_retry) == ("cannot be connected to ", True)


async def test_a_host_that_no_name_server_knows_is_a_fault_that_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = await refusal(port_to(Receiver(address=f"https://planted.invalid{PATH}")))
    assert (str(error), error.may_retry) == ("has a host name that cannot be looked up", True)


async def test_no_cookie_of_a_receiver_is_sent_back() -> None:
    async with receiving(Receiver(with_headers={"Set-Cookie": "a=1"})) as receiver:
        post = Post(receiver.address)
        for _ in range(2):
            await post(b"{}", {})
        await post.close()
    assert ["cookie" in one.headers for one in receiver.received] == [False, False]
