"""Escapes control characters in text from outside. Pure.

A service's name, an error or a row may contain an escape sequence that moves a terminal's cursor, a line break that
forges a log line, or a mark that reverses the reading direction. People see each of these spelt out; programs get JSON
that every parser accepts.
"""

from __future__ import annotations

import json
import math
from typing import Any


def visible(text: str) -> str:
    r"""The text in one line, with characters that a terminal obeys or does not show spelt out as in Python.

    These are ESC, line breaks, C1 controls, bidi marks and surrogates: `\x1b`, `\n`, `\u202e`, `\udc80`.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _spelt(one) for one in text)


def visible_lines(text: str) -> str:
    """The same for a text that may have several lines, such as a traceback."""
    return "\n".join(visible(line) for line in text.split("\n"))


def as_json(value: Any, *, indent: int | None = None, only_ascii: bool = False) -> str:
    r"""Valid JSON for any value, harmless on a terminal.

    Characters that a terminal obeys are written as JSON escapes. Surrogates, which UTF-8 cannot encode, are spelt out
    (`\\udc80`); NaN and infinity become null; a value of a type that JSON does not have becomes its str().
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
        text.encode()
    except (ValueError, TypeError):
        text = json.dumps(_valid(value), ensure_ascii=False, allow_nan=False, indent=indent)
    if only_ascii:
        return text if text.isascii() and "\x7f" not in text else _escaped(text, only_ascii=True)
    # Only indented JSON has line breaks between its values.
    return text if indent is None and text.isprintable() else _escaped(text, only_ascii=False)


def _spelt(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _escaped(text: str, *, only_ascii: bool) -> str:
    return "".join(
        one
        if one == "\n" or (one.isprintable() and (one.isascii() or not only_ascii))
        else json.dumps(one)[1:-1]
        if one != "\x7f"
        else "\\u007f"
        for one in text
    )


def _valid(value: Any) -> Any:
    if isinstance(value, str):
        return "".join(_spelt(one) if "\ud800" <= one <= "\udfff" else one for one in value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_valid(str(key)): _valid(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_valid(one) for one in value]
    return _valid(str(value))
