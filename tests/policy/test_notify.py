"""`notify:` in the policy: what is taken, what is refused with line and fix, and that no address is ever shown."""

from __future__ import annotations

import json

import pytest

from controller.core.notices import BY_DEFAULT, Kind
from controller.core.problems import ConfigurationError
from controller.core.text.masking import Masker
from controller.policy import Document, Policy, as_shown, effective, load_policy, notify_warnings, target_names

WORKERS = """\
workers:
  mail:
    service: s
    queue: {table: t}
    tiers: [{replicas: 1}]
    max_replicas: 5
notify:
"""
PATH = "services/T00PLANTED/B00PLANTED/planted-in-the-path"
SLACK = f"https://hooks.slack.com/{PATH}"
ENVIRONMENT = {"SLACK_URL": SLACK, "HOOK": SLACK, "SECRET": "0123456789-PLANTED", "SHORT": "PLANTED", "HALF": PATH}


def read(text: str) -> tuple[Policy, Document]:
    return load_policy(WORKERS + text, ENVIRONMENT)


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        read(text)
    found = [str(problem).removeprefix("policy.yaml:") for problem in error.value.problems]
    assert "PLANTED" not in str(found)
    return found


def test_a_target_needs_only_its_address_and_has_a_set_of_kinds_by_default() -> None:
    policy, _ = read(
        "  - slack: ${SLACK_URL}\n  - {webhook: 'https://a.test/b', on: [scaled, scaled], workers: [mail]}\n"
    )
    slack, webhook = policy.notify
    assert (slack.address, slack.on, slack.failing_after, slack.at_max_after) == (SLACK, BY_DEFAULT, 300.0, 900.0)
    assert (webhook.on, webhook.workers, webhook.format) == ((Kind.SCALED,), ("mail",), "json")
    assert target_names((slack, webhook, slack)) == ["slack-1", "webhook-1", "slack-2"]


ELEVEN = "".join(f"  - webhook: https://a.test/{number}\n" for number in range(11))
REFUSED = [
    ("  []", ["7: notify: is empty; write at least one, or leave the key out"]),
    ("  - {on: [scaled]}\n", ["8: notify[0]: has no address; write slack: or webhook:"]),
    (
        "  - {slack: 'https://a.test', webhook: 'https://b.test'}\n",
        ["8: notify[0]: has two addresses; make two targets of slack and webhook"],
    ),
    (
        "  - slack: ftp://a.test/PLANTED\n",
        [
            "8: notify[0].slack: is not an address; write https://HOST/PATH, best in a variable such as ${SLACK_URL}",
        ],
    ),
    (
        "  - slack: htps://${HOOK}\n",
        [
            (
                "8: notify[0].slack: is not an address; write https://HOST/PATH, best in a variable such as "
                "${SLACK_URL} (HOOK is set)"
            ),
        ],
    ),
    (
        "  - slack: https://a b.test\n",
        ["8: notify[0].slack: must be a word of at most 2,000 characters without spaces"],
    ),
    (
        "  - slack: https://discord.com/api/webhooks/1/PLANTED\n",
        ["8: notify[0].slack: is Discord's own form, which takes no such message; add /slack at its end"],
    ),
    ("  - slack: ${MISSING_URL}\n", ["8: notify[0].slack: MISSING_URL is not set and has no default;"]),
    (
        "  - slack: ${SLACK_URL}\n    on: [faling, scaled, 3]\n",
        [
            "9: notify[0].on[0]: is not a kind: 'faling'; did you mean failing?",
            "9: notify[0].on[2]: is not a kind: '3'; known are scaled, failing, recovered,",
        ],
    ),
    (
        "  - slack: ${SLACK_URL}\n    on: failing\n",
        ["9: notify[0].on: must be a list (`- …` lines below it), not 'failing'"],
    ),
    ("  - slack: ${SLACK_URL}\n    on: []\n", ["9: notify[0].on: is empty; write at least one, or leave the key out"]),
    (
        "  - slack: ${SLACK_URL}\n    workers: [mial, pdf]\n",
        [
            "9: notify[0].workers[0]: mial is no worker of the policy; did you mean mail?",
            "9: notify[0].workers[1]: pdf is no worker of the policy; there is mail",
        ],
    ),
    (
        "  - slack: ${SLACK_URL}\n    format: json\n    secret: ${SECRET}\n",
        [
            "9: notify[0].format: has an effect only with webhook; leave it out",
            "10: notify[0].secret: has an effect only with webhook; leave it out (SECRET is set)",
        ],
    ),
    (
        "  - webhook: https://a.test\n    secret: ${SHORT}\n",
        ["9: notify[0].secret: is shorter than 16 characters; make one by: openssl rand -base64 32 (SHORT is set)"],
    ),
    ("  - url: https://a.test/PLANTED\n", ["8: notify[0].url: is not a key: write slack or webhook"]),
    ("  - webhok: https://a.test/PLANTED\n", ["8: notify[0].webhok: is not a key; did you mean webhook?"]),
    (
        "  - webhook: https://a.test/x\n  - webhook: https://a.test/x\n",
        ["9: notify[1].webhook: is the address of another target too; put both into one"],
    ),
    (ELEVEN, ["7: notify: has 11 targets; at most 10"]),
    ("  slack: ${SLACK_URL}\n", ["7: notify: must be a list (`- …` lines below it), not a mapping"]),
]


@pytest.mark.parametrize(("text", "problems"), REFUSED, ids=[problems[0][:60] for _, problems in REFUSED])
def test_what_is_wrong_is_refused_with_its_line_and_the_fix_and_without_the_address(
    text: str, problems: list[str]
) -> None:
    found = refused(text)
    assert [one[: len(wanted)] for one, wanted in zip(found, problems, strict=True)] == problems


WARNED = [
    ("https://a.test/x", "is a secret, and stands in the file; put it into a variable: ${ALERT_URL}"),
    ("http://a.test/${HALF}", "is http://, so that everybody on the way can read"),
    ("http://localhost:8080/${HALF}", None),
    ("http://10.0.0.7/${HALF}", None),
    ("http://alerts.railway.internal:3000/${HALF}", None),
    ("http://8.8.8.8/${HALF}", "is http://, so that everybody on the way can read"),
    ("https://a.test/${HALF}", None),
]


@pytest.mark.parametrize(("address", "warning"), WARNED)
def test_an_address_in_the_file_and_one_that_others_can_read_on_the_way_are_warnings(
    address: str, warning: str | None
) -> None:
    policy, document = read(f"  - webhook: {address}\n")
    found = list(notify_warnings(policy.notify, document))
    assert [text[: len(warning or "")] for _, text in found] == ([warning] if warning else [])
    assert all(place == "policy.yaml:8: notify[0].webhook" for place, _ in found)


@pytest.mark.parametrize("address", [SLACK, "${SLACK_URL}", "${HOOK}", "https://hooks.slack.com/${HALF}"])
def test_whatever_is_shown_of_a_policy_has_no_address_and_no_secret(address: str) -> None:
    policy, document = read(f"  - webhook: {address}\n    secret: ${{SECRET}}\n")
    mask = Masker(named=document.named_secrets)
    shown = [
        json.dumps(as_shown(policy, document)),
        mask.text(repr(list(effective(policy, document)))),
        repr(policy),
        policy.model_dump_json(),
        mask.text(f"POST {SLACK} failed"),
        mask.text(f"the path was /{PATH}"),
        mask.text(f"{SLACK[:40]}…"),
        mask.text(f"no such hook: {PATH.rpartition('/')[2]}"),
    ]
    assert [text for text in shown if "PLANTED" in text] == []
    assert policy.notify[0].address == SLACK


def test_what_is_shown_names_the_variable_whatever_it_is_called() -> None:
    policy, document = read("  - slack: ${HOOK}\n")
    assert as_shown(policy, document)["notify"][0]["slack"] == "${HOOK}"
    (row,) = [row for row in effective(policy, document) if row[0][-1] == "slack"]
    assert row[1:] == ("${HOOK}", "line 8, HOOK is set")


def test_a_policy_with_another_address_is_another_policy_and_its_digest_tells_nothing_of_it() -> None:
    one, other = (read(f"  - webhook: https://a.test/{path}\n")[0] for path in ("one", "other"))
    assert one != other
    assert one.digest == other.digest


def test_a_target_is_recognized_by_its_address_wherever_it_stands_in_the_list() -> None:
    one, _ = read("  - webhook: https://a.test/one\n  - webhook: https://a.test/two\n")
    other, _ = read("  - webhook: https://a.test/two\n")
    assert one.notify[1].key == other.notify[0].key
    assert one.notify[0].key != one.notify[1].key
