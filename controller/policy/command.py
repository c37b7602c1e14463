"""A target that programs or an address read and scale: for every platform that has no adapter here. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from controller.policy.types import Duration, IfUnset, Name, Part, web_address

SHORTEST_S, LONGEST_S = 1.0, 60.0
"""Of `timeout`. A change may land late by that time; another leader waits LANDING_BOUND_MS, 60 s, for it to show."""
_MOST_WORDS, _LONGEST_WORD = 64, 4_096
_LONGEST_ADDRESS = 2_000
_SHOWN = 60
_USUAL_PORTS: Mapping[str, str] = {"http": ":80", "https": ":443"}
_ITEMS = {"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 1, "maxItems": _MOST_WORDS}


def _argv(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise PydanticCustomError("argv", "must be a list: [PROGRAM, ARGUMENT, …]; no shell reads it")
    words = [str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in value]
    if not words or len(words) > _MOST_WORDS:
        raise PydanticCustomError("argv", f"must have 1 to {_MOST_WORDS} words, of which the first is the program")
    for word in words:
        if not isinstance(word, str) or "\0" in word or len(word) > _LONGEST_WORD:
            problem = f"has a word that is no text of at most {_LONGEST_WORD:,} characters; put each word in quotes"
            raise PydanticCustomError("argv", "{text}", {"text": problem})
    if not words[0].strip():
        raise PydanticCustomError("argv", "begins with an empty word; the first is the program")
    return tuple(words)


def _address(value: str) -> str:
    parts = web_address(value)
    if parts is None or any(one.isspace() or not one.isprintable() for one in value):
        raise PydanticCustomError("address", "is not an address; write https://HOST/PATH")
    if "@" in parts.netloc:
        raise PydanticCustomError("address", "contains a user or password; put a token into a variable, see bearer")
    return value


def _same_for_all(address: str) -> str:
    """Scheme and host are the same in any case, with or without the usual port and an empty path; the rest is not."""
    parts = urlsplit(address)
    scheme, host = parts.scheme.lower(), parts.netloc.lower()
    path = "" if parts.path == "/" and not parts.query else parts.path
    return parts._replace(scheme=scheme, netloc=host.removesuffix(_USUAL_PORTS[scheme]), path=path).geturl()


def _limited(seconds: float) -> float:
    if not SHORTEST_S <= seconds <= LONGEST_S:
        problem = f"must be {SHORTEST_S:.0f}s to {LONGEST_S:.0f}s: another leader waits no longer for a change to show"
        raise PydanticCustomError("timeout", "{text}", {"text": problem})
    return seconds


Argv = Annotated[tuple[str, ...], BeforeValidator(_argv), WithJsonSchema(_ITEMS)]
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"
Variable = Annotated[str, StringConstraints(pattern=VARIABLE)]
"""The name of an environment variable."""
Address = Annotated[
    str,
    StringConstraints(max_length=_LONGEST_ADDRESS),
    AfterValidator(_address),
    WithJsonSchema({"type": "string", "pattern": r"^https?://|\$\{", "maxLength": _LONGEST_ADDRESS}),
]


def _without_null(schema: dict[str, Any]) -> None:
    """A key that is either written or left out."""
    schema.pop("default", None)
    (of_value,) = (one for one in schema.pop("anyOf") if one != {"type": "null"})
    schema.update(of_value)


class CommandTarget(Part):
    """Either two programs, or an address."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["scale", "read"]}, {"required": ["url"]}]})
    hints: ClassVar[Mapping[str, str]] = {
        "env": "write environment: [NAME], with names of variables only",
        "args": "write scale: [PROGRAM, ARGUMENT]",
        "token": "write bearer: NAME, the name of the variable that holds it",
        "headers": "write bearer: NAME; there are no others",
        "shell": "there is none; write scale: [sh, -c, …] if one is needed",
        "get": "write read",
        "set": "write scale",
    }
    scale: Annotated[Argv | None, Field(json_schema_extra=_without_null)] = None
    """program and arguments that set the count, see docs/command.md#what-does-scale-get; no shell reads them"""
    read: Annotated[Argv | None, Field(json_schema_extra=_without_null)] = None
    """program and arguments that print the count, see docs/command.md#what-does-read-print"""
    url: Annotated[Address | None, Field(json_schema_extra=_without_null)] = None
    """instead of `scale` and `read`: an address that is read by GET and changed by POST, see
    docs/command.md#how-do-i-use-an-address
    """
    timeout: Annotated[Duration, AfterValidator(_limited)] = 20.0
    """of one reading, and of one change; 1s to 60s"""
    environment: Annotated[tuple[Variable, ...], IfUnset("none")] = Field(default=(), max_length=_MOST_WORDS)
    """names of the variables that the programs get from the controller's environment, besides PATH, HOME and LANG"""
    bearer: Annotated[Variable | None, Field(json_schema_extra=_without_null)] = None
    """only with `url`: name of the variable whose value is sent as `Authorization: Bearer …`"""
    name: Annotated[Name | None, Field(json_schema_extra=_without_null)] = None
    """what the target is called in messages and in Redis; by default its program and arguments, or its address: so give
    it a name where these may change
    """

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        problems = list(self._problems())
        if problems:
            raise PydanticCustomError("target", "incomplete", {"problems": problems})
        return self

    def _problems(self) -> Any:
        programs = [key for key in ("scale", "read") if getattr(self, key) is not None]
        if self.url is None and not programs:
            yield (), "has neither programs nor an address; write scale: and read:, or url:"
        elif self.url is not None:
            yield from (((key,), "has an effect only without url; leave one of them out") for key in programs)
            if self.environment:
                yield ("environment",), "has an effect only with scale and read; leave it out"
        elif len(programs) == 1:
            (missing,) = {"scale", "read"} - {*programs}
            what = "prints the count" if missing == "read" else "sets the count"
            yield (), f"has no {missing}; write {missing}: [PROGRAM, ARGUMENT, …], which {what}"
        if self.bearer is not None and self.url is None:
            yield ("bearer",), "has an effect only with url; programs get it by environment: [NAME]"

    @property
    def ident(self) -> str:
        if self.name is not None:
            return self.name
        written = _same_for_all(self.url) if self.url is not None else json.dumps(self.scale)
        return hashlib.sha256(str(written).encode()).hexdigest()[:16]

    @property
    def words(self) -> str:
        """Without the query of an address, in which a secret may be."""
        if self.name is not None:
            return f"command {self.name}"
        if self.url is not None:
            parts = urlsplit(self.url)
            written = f"{parts.netloc}{parts.path}"
        else:
            program, *arguments = self.scale or ("",)
            written = " ".join([program.rsplit("/", 1)[-1], *arguments])
        return f"command {written if len(written) <= _SHOWN else f'{written[: _SHOWN - 1]}…'}"
