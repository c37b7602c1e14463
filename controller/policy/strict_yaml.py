"""YAML as far as a policy needs it, within limits that apply while the text is parsed, before anything is built of it.

Plain values, lists, mappings, anchors and merges. What YAML 1.1 and 1.2 read differently (010, 1:30, yes, 1e3) is
refused with what to write, and so is every tag but those of plain values. No class of PyYAML's builds a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

MOST_CHARACTERS = 4_000_000
LONGEST = 65_536
"""Characters of one value: three times the longest query."""
MOST_NODES = 200_000
"""A policy has some dozens of values; a thousand workers like the shipped one have 80,000, keys counted."""
DEEPEST = 50
_MOST_DIGITS = 30
_LONGEST_SHOWN = 80

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""By libyaml where it is there: a hundred times as fast."""
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAGS = "tag:yaml.org,2002:"

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)")
_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# What is a number, a date or a truth in YAML 1.1, in 1.2, or in both with another value: refused, with what to write.
_SWITCHES = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_BASED = re.compile(r"[-+]?0(?:o[0-7_]+|x[0-9a-fA-F_]+|b[01_]+)")
_GROUPED = re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?")
_CLOCK = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_POWER = re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9_]+)[eE][-+]?[0-9]+")
_UNBOUNDED = re.compile(r"[-+]?\.(?:inf|nan)", re.IGNORECASE)
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt\s].*)?", re.DOTALL)


class NotYamlError(Exception):
    """The text is not YAML, or exceeds the limits of a policy. line, column: from 1, where they are known."""

    def __init__(self, text: str, line: int | None = None, column: int | None = None) -> None:
        self.text, self.line, self.column = text, line, column
        super().__init__(text)


class NoValueError(Exception):
    """A scalar that a policy cannot hold: what is wrong with it, and what to write."""


@dataclass(eq=False, slots=True)
class Scalar:
    """tag: as it is written (!!int), empty where none is. is_plain: without quotes."""

    line: int
    text: str
    is_plain: bool
    tag: str = ""

    @property
    def is_merge(self) -> bool:
        return self.is_plain and self.text == "<<"


@dataclass(eq=False, slots=True)
class Sequence:
    line: int
    items: list[Node] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Mapping:
    line: int
    pairs: list[tuple[Scalar, Node]] = field(default_factory=list)


Node = Scalar | Sequence | Mapping


def parse(text: str) -> Node | None:
    """What the text holds; None where it holds nothing. An alias is the very node that it stands for; none has a cycle.

    Raises:
        NotYamlError: also where the text is too long, too deep or of too many values; no more of it is read then.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > MOST_CHARACTERS:
        raise NotYamlError(f"is longer than {MOST_CHARACTERS:,} characters, which no policy is; name the right file")
    if (odd := _UNREADABLE.search(text)) is not None:
        before = text[: odd.start()]
        line, column = before.count("\n") + 1, odd.start() - (before.rfind("\n") + 1) + 1
        raise NotYamlError(
            f"holds the character U+{ord(odd[0]):04X}, which YAML does not allow; delete it", line, column
        )
    builder = _Builder()
    loader = _LOADER(text)
    try:
        while loader.check_event():
            builder.take(loader.get_event())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = f"is not YAML: {error.problem or error.context}; {_fix(error, text)}"
        if mark is None:
            raise NotYamlError(words, builder.line) from None
        raise NotYamlError(words, mark.line + 1, mark.column + 1) from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        # Such as an escape that is no character, which PyYAML's own scanner hands to chr().
        words = str(error).strip().split("\n", 1)[0][:_LONGEST_SHOWN]
        raise NotYamlError(f"is not YAML: {words}; look at this line and the next", builder.line) from None
    finally:
        loader.dispose()
    return builder.root


def _fix(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark or error.context_mark
    line = text.split("\n")[mark.line :][:1] if mark is not None else []
    words = f"{error.problem} {error.context}"
    if any("\t" in one[: len(one) - len(one.lstrip())] for one in line):
        return "indent with spaces, not with tabs"
    if "escape" in words:
        return "write the text in 'single quotes', where a backslash means nothing"
    if "nesting" in words:
        return f"no policy is nested more than {DEEPEST} deep"
    return "look at this line and the one before: indentation by spaces, quotes, brackets"


class _Builder:
    """Puts the parser's events together, and counts them."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.line = 1
        self._open: list[Sequence | Mapping] = []
        self._keys: list[Scalar | None] = []
        self._anchors: dict[str, Node] = {}
        self._nodes = 0
        self._documents = 0

    def take(self, event: Any) -> None:
        self.line = event.start_mark.line + 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise NotYamlError("begins a second document (---); a policy is one: keep one", self.line)
        elif isinstance(event, yaml.NodeEvent):
            self._nodes += 1
            if self._nodes > MOST_NODES:
                raise NotYamlError(f"holds more than {MOST_NODES:,} values, which no policy does", self.line)
            self._take_node(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()

    def _take_node(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._add(self._aliased(str(event.anchor)))
            return
        node = self._node(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._add(node)
        if not isinstance(node, Scalar):
            if len(self._open) == DEEPEST:
                raise NotYamlError(f"is nested more than {DEEPEST} deep, which no policy is", self.line)
            self._open.append(node)
            self._keys.append(None)

    def _node(self, event: Any) -> Node:
        tag = _shown_tag(event.tag)
        if isinstance(event, yaml.ScalarEvent):
            if len(event.value) > LONGEST:
                words = f"holds a value of {len(event.value):,} characters, and {LONGEST:,} are the most; shorten it"
                raise NotYamlError(words, self.line)
            return Scalar(self.line, event.value, is_plain=bool(event.implicit[0]), tag=tag)
        kind, known = (Mapping, "!!map") if isinstance(event, yaml.MappingStartEvent) else (Sequence, "!!seq")
        if tag not in {"", "!", known}:
            raise NotYamlError(f"has the tag {tag}, which means nothing in a policy; leave it out", self.line)
        return kind(self.line)

    def _aliased(self, name: str) -> Node:
        node = self._anchors.get(name)
        if node is None:
            raise NotYamlError(
                f"*{name[:_LONGEST_SHOWN]} refers to nothing; write &{name[:_LONGEST_SHOWN]} first", self.line
            )
        if any(node is one for one in self._open):
            raise NotYamlError(f"*{name[:_LONGEST_SHOWN]} refers to itself; write the value out", self.line)
        return node

    def _add(self, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        if isinstance(top, Sequence):
            top.items.append(node)
        elif (key := self._keys[-1]) is not None:
            top.pairs.append((key, node))
            self._keys[-1] = None
        elif isinstance(node, Scalar) and node.tag in {"", "!", "!!str"}:
            self._keys[-1] = Scalar(self.line, node.text, node.is_plain, node.tag)
        else:
            raise NotYamlError("has a key that is not a plain word; write `key: value`", self.line)

    def _close(self) -> None:
        self._open.pop()
        self._keys.pop()


def _shown_tag(tag: str | None) -> str:
    if tag is None:
        return ""
    return f"!!{tag.removeprefix(_TAGS)}"[:_LONGEST_SHOWN] if tag.startswith(_TAGS) else tag[:_LONGEST_SHOWN]


def value_of(scalar: Scalar) -> str | int | float | bool | None:
    """What a scalar means.

    Raises:
        NoValueError: nothing in a policy, or something else to every other reader of YAML.
    """
    text = scalar.text
    if scalar.tag in {"!", "!!str"} or (not scalar.tag and not scalar.is_plain):
        return _text(text)
    if scalar.tag:
        kinds: dict[str, Callable[[object], bool]] = {
            "!!int": lambda value: isinstance(value, int) and not isinstance(value, bool),
            "!!float": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
            "!!bool": lambda value: isinstance(value, bool),
            "!!null": lambda value: value is None,
        }
        is_kind = kinds.get(scalar.tag)
        if is_kind is None:
            raise NoValueError(f"has the tag {scalar.tag}, which means nothing in a policy; leave it out")
        if not is_kind(value := _plain(text)):
            raise NoValueError(f"is {_quoted(text)}, which is not {scalar.tag}; leave the tag out, or write one")
        return value
    return _plain(text)


def _plain(text: str) -> str | int | float | bool | None:
    if text in _NOTHING:
        return None
    if text in _TRUTHS:
        return _TRUTHS[text]
    if text[0] not in "0123456789+-." and text.lower() not in _SWITCHES:
        return _text(text)
    if _INTEGER.fullmatch(text) or _DECIMAL.fullmatch(text):
        if len(text) > _MOST_DIGITS:
            raise NoValueError(
                f"is a number of {len(text):,} digits, and {_MOST_DIGITS} are the most; put a text in quotes"
            )
        return int(text) if _INTEGER.fullmatch(text) else float(text)
    _refuse_traps(text)
    return _text(text)


def _refuse_traps(text: str) -> None:
    """Values that one YAML reader takes as a number or a date, and another as a text.

    Raises:
        NoValueError: with what to write for each that may be meant.
    """
    quoted = _quoted(text)
    if (switch := _SWITCHES.get(text.lower())) is not None:
        raise NoValueError(
            f"is {text}, which some read as {switch}; write {switch}, or {quoted} in quotes for the text"
        )
    if _DATE.fullmatch(text):
        raise NoValueError(f"is {_cut(text)}, which some read as a date; write {quoted} in quotes for the text")
    if _UNBOUNDED.fullmatch(text):
        raise NoValueError(f"is {text}, which is not a number that a policy can hold; write a finite one")
    for pattern, says in (
        (_OCTAL, f"some read as octal ({_octal(text)}), and some as decimal"),
        (_BASED, "some read as a number of another base"),
        (_CLOCK, "some read as hours, minutes and seconds"),
        (_GROUPED, "some read as a number"),
        (_POWER, "some read as a number, and some as a text"),
    ):
        if pattern.fullmatch(text):
            number = _meant(text)
            write = f"write {number} for the number, or {quoted} in quotes for the text"
            time = f", or {number}s for a time" if pattern is _CLOCK and number else ""
            raise NoValueError(
                f"is {_cut(text)}, which {says}; {write if number else f'write {quoted} in quotes'}{time}"
            )


def _octal(text: str) -> str:
    digits = text.replace("_", "").lstrip("+-")
    return str(int(digits, 8)) if re.fullmatch("[0-7]{1,30}", digits) else "or no number"


def _meant(text: str) -> str:
    """The likeliest number, in the digits of a policy; empty where it is too long or none."""
    plain = text.replace("_", "").lower()
    if len(plain) > _MOST_DIGITS:
        return ""
    try:
        if _CLOCK.fullmatch(plain):
            seconds = 0.0
            for part in plain.lstrip("+-").split(":"):
                seconds = seconds * 60 + float(part)
            return f"{seconds:.15g}"
        if _BASED.fullmatch(plain):
            return str(int(plain, 0))
        if _OCTAL.fullmatch(plain):
            return str(int(plain))
        return f"{float(plain):.15g}" if 1e-4 <= abs(float(plain)) < 1e15 else ""
    except ValueError:
        return ""


def _text(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise NoValueError("holds half of a character (a surrogate); write the character itself")
    return text


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _quoted(text: str) -> str:
    return f'"{_cut(text)}"'
