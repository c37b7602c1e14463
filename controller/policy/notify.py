"""`notify:`: who is told of what, and where. Pure.

An address is a secret: anyone who has it can post there. So addresses and secrets are kept as pydantic's SecretStr,
which shows itself nowhere, and load.py tells the document of each before anything of them can be shown.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, SecretStr, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from controller.core.notices import BY_DEFAULT, Kind
from controller.core.text import bounds
from controller.core.text.guesses import nearest
from controller.policy.document import Document, Path
from controller.policy.types import Duration, IfUnset, Name, Part, is_near, web_address

MOST_TARGETS = 10
_LONGEST = 2_000
_SHORTEST_SECRET = 16
_LONG_PART = 16
"""The path of an address, or a part of it, of this many characters or more may be all that is secret."""
_DISCORD = ("discord.com", "discordapp.com")
_SECRET_KEYS = ("slack", "webhook", "secret")
_TEXT = {"type": "string"}


def some_of(schema: dict[str, Any]) -> None:
    """A list that is left out, or has at least one item."""
    schema["minItems"] = 1
    del schema["default"]


def _hidden(value: object) -> SecretStr:
    # Never with the value in the message, as other refusals have it.
    if not isinstance(value, str):
        raise PydanticCustomError("hidden", "must be a text; put it in quotes")
    if not value or len(value) > _LONGEST or any(one.isspace() or not one.isprintable() for one in value):
        words = f"must be a word of at most {_LONGEST:,} characters without spaces"
        raise PydanticCustomError("hidden", "{text}", {"text": words})
    return SecretStr(value)


def _address(value: object) -> SecretStr:
    hidden = _hidden(value)
    parts = web_address(hidden.get_secret_value())
    if parts is None:
        raise PydanticCustomError(
            "hidden", "is not an address; write https://HOST/PATH, best in a variable such as ${SLACK_URL}"
        )
    return hidden


def _slack(address: SecretStr) -> SecretStr:
    parts = web_address(address.get_secret_value())
    host = "" if parts is None else parts.hostname or ""
    is_discord = any(host == name or host.endswith(f".{name}") for name in _DISCORD)
    if parts is not None and is_discord and not parts.path.rstrip("/").endswith("/slack"):
        raise PydanticCustomError("hidden", "is Discord's own form, which takes no such message; add /slack at its end")
    return address


def some(value: object) -> object:
    """An empty list is refused; pydantic's own minimum also counts the items that are wrong."""
    if value == []:
        raise PydanticCustomError("empty", "is empty; write at least one, or leave the key out")
    return value


def _kinds(value: object) -> object:
    if not isinstance(some(value), list):
        return value  # which is refused as every text in the place of a list
    assert isinstance(value, list)
    every = [kind.value for kind in Kind]
    problems = []
    for index, one in enumerate(value):
        if one in every:
            continue
        near = nearest(str(one), every)
        known = f"did you mean {near}?" if near else f"known are {', '.join(every)}"
        problems.append(((index,), f"is not a kind: {str(one)[: bounds.VALUE]!r}; {known}"))
    if problems:
        raise PydanticCustomError("kinds", "unknown", {"problems": problems})
    return list(dict.fromkeys(value))


Secret = Annotated[SecretStr, BeforeValidator(_hidden), WithJsonSchema(_TEXT)]
Address = Annotated[
    SecretStr,
    BeforeValidator(_address),
    WithJsonSchema({**_TEXT, "pattern": r"^https?://|\$\{", "maxLength": _LONGEST}),
]
SlackAddress = Annotated[Address, AfterValidator(_slack)]


class Target(Part):
    """One place that is told."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["slack"]}, {"required": ["webhook"]}]})
    hints: ClassVar[Mapping[str, str]] = {
        "url": "write slack or webhook",
        "discord": "write slack, and the address with /slack at its end",
        "mattermost": "write slack",
        "teams": "write webhook, with a flow that takes JSON",
        "channel": "the address says which channel it is",
        "events": "write on",
        "worker": "write workers: […]",
    }
    slack: SlackAddress | None = None
    """address of an incoming webhook of Slack, Mattermost, or Discord (with /slack at its end); put it into a variable,
    because it is a secret; either `slack` or `webhook`
    """
    webhook: Address | None = None
    """address that takes JSON by POST, see docs/notifications.md#what-does-a-webhook-get"""
    format: Literal["json", "cloudevents"] = "json"
    """only with `webhook`: `json` or `cloudevents` (1.0, structured)"""
    secret: Secret | None = None
    """only with `webhook`: signs each message, see docs/notifications.md#how-do-i-verify-the-signature"""
    on: Annotated[
        tuple[Kind, ...], BeforeValidator(_kinds), IfUnset(f"`[{', '.join(kind.value for kind in BY_DEFAULT)}]`")
    ] = Field(default=BY_DEFAULT, json_schema_extra=some_of)
    """of what it is told, see docs/notifications.md#what-can-i-be-told-of"""
    workers: Annotated[tuple[Name, ...], BeforeValidator(some), IfUnset("all")] = Field(
        default=(), json_schema_extra=some_of
    )
    """of which workers it is told; of what concerns the controller itself, always"""
    failing_after: Duration = 300.0
    """`failing` is told once it has lasted this long"""
    at_max_after: Duration = 900.0
    """`at_max` is told once it has lasted this long"""

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        if self.slack is None and self.webhook is None:
            raise PydanticCustomError("target", "has no address; write slack: or webhook:")
        if self.slack is not None and self.webhook is not None:
            raise PydanticCustomError("target", "has two addresses; make two targets of slack and webhook")
        without = [key for key in ("format", "secret") if key in self.model_fields_set and self.webhook is None]
        if without:
            problems = [((key,), "has an effect only with webhook; leave it out") for key in without]
            raise PydanticCustomError("target", "without effect", {"problems": problems})
        if self.secret is not None and len(self.secret.get_secret_value()) < _SHORTEST_SECRET:
            words = f"is shorter than {_SHORTEST_SECRET} characters; make one by: openssl rand -base64 32"
            raise PydanticCustomError("target", "short", {"problems": [(("secret",), words)]})
        return self

    @property
    def without_effect(self) -> tuple[str, ...]:
        """Keys that mean nothing beside the others."""
        return ("format",) if self.webhook is None else ()

    @property
    def kind(self) -> str:
        """The key that has its address."""
        return "slack" if self.slack is not None else "webhook"

    @property
    def address(self) -> str:
        address = self.slack or self.webhook
        assert address is not None, "the validator refuses a target without"
        return address.get_secret_value()

    @property
    def key(self) -> str:
        """12 characters that tell targets apart, also after the policy was edited, and do not tell the address."""
        return hashlib.sha256(f"{self.kind} {self.address}".encode()).hexdigest()[:12]


def names(targets: Sequence[Target]) -> list[str]:
    """`slack-1`, `slack-2`, `webhook-1`: what each target is called, which tells nothing of its address."""
    counts: dict[str, int] = {}
    found = []
    for target in targets:
        counts[target.kind] = counts.get(target.kind, 0) + 1
        found.append(f"{target.kind}-{counts[target.kind]}")
    return found


def target_problems(targets: Sequence[Target], workers: Collection[str]) -> Iterator[tuple[Path, str]]:
    """What does not fit together. workers: those of the policy."""
    if len(targets) > MOST_TARGETS:
        yield (), f"has {len(targets)} targets; at most {MOST_TARGETS}"
    seen: set[str] = set()
    for index, target in enumerate(targets):
        if target.key in seen:
            yield (index, target.kind), "is the address of another target too; put both into one"
        seen.add(target.key)
        for place, name in enumerate(target.workers):
            if name not in workers:
                near = nearest(name, workers)
                known = f"did you mean {near}?" if near else f"there is {', '.join(workers)}"
                yield (index, "workers", place), f"{name} is no worker of the policy; {known}"


def hide_addresses(document: Document) -> None:
    """Tells the document which of its values are secret, before anything of them can be shown."""

    def walk(value: Any, path: Path) -> None:
        if isinstance(value, dict):
            for key, child in value.items():
                walk(child, (*path, key))
        elif isinstance(value, list):
            for index, child in enumerate(value):
                walk(child, (*path, index))
        elif isinstance(value, str) and ("://" in value or path[-1] in _SECRET_KEYS):
            document.hide(path, value)
            rest = value.partition("://")[2].partition("/")[2]
            for part in (rest, *re.split(r"[/?&=#]", rest)):
                if len(part) >= _LONG_PART:
                    document.hide(path, part)

    notify = document.data.get("notify") if isinstance(document.data, dict) else None
    walk(notify, ("notify",))


def notify_warnings(targets: Sequence[Target], document: Document) -> Iterator[tuple[str, str]]:
    """Places, and what should be changed there, though it works."""
    for index, target in enumerate(targets):
        for key in _SECRET_KEYS:
            path: Path = ("notify", index, key)
            origin = document.origin(path)
            if getattr(target, key) is not None and origin is not None and not origin.variables:
                name = {"slack": "SLACK_URL", "webhook": "ALERT_URL"}.get(key, "ALERT_SECRET")
                yield document.place(path), f"is a secret, and stands in the file; put it into a variable: ${{{name}}}"
        parts = web_address(target.address)
        if parts is not None and parts.scheme == "http" and not is_near(parts.hostname or ""):
            words = "is http://, so that everybody on the way can read the messages and the address; write https://"
            yield document.place(("notify", index, target.kind)), words
