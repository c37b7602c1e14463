"""What is wrong with a policy, in words: from pydantic's complaints to a place, a problem and its fix.

pydantic names a path through its models, and says "Input should be a valid integer, unable to parse string as an
integer". A person who edits a file needs the line, the key as it stands there, the value (but not that of a secret),
the variable it came from, and what to write. A kind of error that _WORDS does not have is told in pydantic's own words:
right, without fix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pydantic_core import ErrorDetails

from controller.core.text import bounds
from controller.core.text.guesses import nearest
from controller.core.text.masking import CUT
from controller.policy.document import Document, Path
from controller.policy.targets import SPELLINGS
from controller.policy.types import Part, keys_of, part_at


class Keys(NamedTuple):
    """The keys that may stand at a place, and the fix for those that people write there by mistake."""

    known: tuple[str, ...]
    hints: Mapping[str, str]


KeysAt = Callable[[Path], Keys | None]


def keys_at(root: type[Part]) -> KeysAt:
    """Which keys the model that stands at a path knows, in a file that is one of these."""

    def keys(path: Path) -> Keys | None:
        part = part_at(root, path)
        return None if part is None else Keys(tuple(keys_of(part)), part.hints)

    return keys


def record(document: Document, details: ErrorDetails, keys_at: KeysAt) -> None:
    """Notes one of pydantic's complaints in our words; a validator of ours may have packed several into one."""
    path = tuple(part for part in details["loc"] if part != "[key]")
    if document.is_broken(path):
        return  # it is wrong because its variable is not set, and that has been said
    inner: Iterable[tuple[Path, str]] = details.get("ctx", {}).get("problems") or [
        ((), _words(document, path, details, keys_at))
    ]
    for below, text in inner:
        document.refuse((*path, *below), f"{text}{_variables(document, (*path, *below))}")


# By pydantic's type of error; the last ones are raised by validators of ours, whose text already says what to write.
_WORDS: Mapping[str, str] = {
    "missing": "is missing",
    "too_short": "is empty; write at least one, or leave the key out",
    "too_long": "has more than {max_length} entries; write fewer",
    "int_parsing": "must be a whole number, not {shown}",
    "int_type": "must be a whole number, not {shown}",
    "int_from_float": "must be a whole number, not {shown}",
    "whole": "must be a whole number, not {shown}",
    "greater_than_equal": "must be at least {ge}, not {shown}",
    "less_than_equal": "must be at most {le}, not {shown}",
    "string_too_long": "is longer than {max_length} characters; shorten it",
    "int_parsing_size": "must be a whole number, not {shown}",
    "string_pattern_mismatch": "{shown} {spelling}",
    "string_type": "must be a text, not {shown}; put it in quotes",
    "string_too_short": "is empty",
    "string_unicode": "{shown} holds a character that cannot be printed; leave it out",
    "dict_type": "must be a mapping (`key: value` lines below it), not {shown}",
    "model_type": "must be a mapping (`key: value` lines below it), not {shown}",
    "tuple_type": "must be a list (`- …` lines below it), not {shown}",
    "after": "{shown} {msg}",
    "cron": "{shown} {msg}",
    "duration": "{shown} {msg}",
    "interval": "{shown} {msg}",
    "name": "{shown} {msg}",
    "preset": "{shown} {msg}",
    "word": "{shown} {msg}",
    "share": "{shown} {msg}",
    "window": "{shown} {msg}",
    "zone": "{shown} {msg}",
}


_NAME = "is no name; it may have letters, digits, '-', '_' and '.' only, at most 63"
"""Of what has the pattern of types.Name, such as a worker's name."""


def _words(document: Document, path: Path, details: ErrorDetails, keys_at: KeysAt) -> str:
    if details["type"] == "extra_forbidden":
        return _unknown_key(str(path[-1])[: bounds.VALUE], keys_at(path[:-1]))
    shown = _shown(document, path, details["input"])
    words = _WORDS.get(details["type"], "{msg}")
    spelling = SPELLINGS.get(details.get("ctx", {}).get("pattern", ""), _NAME)
    return words.format(shown=shown, msg=details["msg"], spelling=spelling, **_bounds(details))


def _bounds(details: ErrorDetails) -> dict[str, Any]:
    return {name: details.get("ctx", {}).get(name) for name in ("ge", "le", "max_length")}


def _shown(document: Document, path: Path, value: object) -> str:
    origin = document.origin(path)
    if origin is not None and origin.holds_a_secret:
        return str(origin.expression)[: bounds.VALUE]
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = "nothing" if value is None else repr(value[: bounds.VALUE + 1] if isinstance(value, str) else value)
    return text if len(text) <= bounds.VALUE else f"{text[: bounds.VALUE]}{CUT}"


def _variables(document: Document, path: Path) -> str:
    origin = document.origin(path)
    if origin is None or not origin.variables:
        return ""
    return f" ({', '.join(str(variable) for variable in origin.variables)})"


def _unknown_key(key: str, keys: Keys | None) -> str:
    if keys is None:
        return "is not known"
    if key in keys.hints:
        return f"is not a key: {keys.hints[key]}"
    # One guess, and only a close one: a wrong guess costs more time than the list of all keys.
    near = nearest(key, keys.known)
    return f"is not a key; {f'did you mean {near}?' if near else 'known here are ' + ', '.join(keys.known)}"
