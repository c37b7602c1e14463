"""Reads the text of a policy: YAML with ${VARIABLES}, each value with the place that it comes from.

Variables are replaced in the parsed scalars, never in the text, so that a value cannot become structure. Everything
that is wrong is collected, so that one run names it all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

from controller.core.problems import ConfigurationError, Problem
from controller.core.text import bounds
from controller.core.text.masking import CUT, MASK, SECRET_NAME, Masker, passwords_in
from controller.core.text.references import References, unresolved, unusable
from controller.policy.strict_yaml import (
    DEEPEST,
    MOST_CHARACTERS,
    Node,
    NotYamlError,
    NoValueError,
    Scalar,
    parse,
    value_of,
)
from controller.policy.strict_yaml import Mapping as MappingNode
from controller.policy.strict_yaml import Sequence as SequenceNode

_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(?:(:-)([^{}]*))?\}|\$\{")

Path = tuple[str | int, ...]
_MAY_BE_OFF: frozenset[Path] = frozenset({("ahead",)})
"""The ends of paths at which `off` and false mean the same, so that `off` is no trap of YAML there."""

MOST_VALUES = 100_000
"""As many as there are when each alias is written out; a thousand workers like the shipped one have 36,000."""
MOST_PROBLEMS = 100
"""More are not looked for: after these are fixed, the policy is checked again anyway."""
_LONGEST_PLACE = 300
_LONGEST_TEXT = 1_000


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    value: str | None
    default: str | None
    is_hidden: bool = False
    """It is a secret whatever its name is, because of the place that it is used in."""

    @property
    def is_secret(self) -> bool:
        return self.is_hidden or bool(SECRET_NAME.search(self.name))

    def __str__(self) -> str:
        if self.value:
            return f"{self.name} is {'set' if self.is_secret else repr(_brief(self.value))}"
        default = "not shown" if self.is_secret else repr(_brief(self.default or ""))
        return f"{self.name} is not set, its default is {default}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from: its line (from 1), and the variables in it."""

    line: int
    expression: str | None = None
    variables: tuple[Variable, ...] = ()

    @property
    def holds_a_secret(self) -> bool:
        return any(variable.is_secret for variable in self.variables)

    @property
    def shown(self) -> str:
        """The value as it may be shown: with the name of each variable that is a secret in the place of its value."""
        variables = iter(self.variables)

        def one(match: re.Match[str]) -> str:
            if match[1] is None:
                return "$" if match[0] == "$$" else ""
            variable = next(variables)
            return f"${{{variable.name}}}" if variable.is_secret else variable.value or variable.default or ""

        return _VARIABLE.sub(one, self.expression or "")

    def __str__(self) -> str:
        if not self.variables:
            return f"line {self.line}"
        return f"line {self.line}, {', '.join(str(variable) for variable in self.variables)}"


def dotted(path: Path) -> str:
    """`workers.generation-worker.tiers[2].up_to`, as a person would say it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass
class Document:
    """A parsed policy text: plain data, where each value came from, and what was wrong so far."""

    name: str
    data: Any = None
    origins: dict[Path, Origin] = field(default_factory=dict)
    found: list[tuple[int, Problem]] = field(default_factory=list)
    """What was wrong so far, each with its line, in the order in which it was found: the YAML first, then the types,
    then what only fits together or not. `problems` has them in the order of the file."""
    broken: set[Path] = field(default_factory=set)
    """Where something is wrong; what is wrong below follows from it, and is not told again."""
    secrets: dict[str, str] = field(default_factory=dict)
    """By its value, the variable that holds each secret; "" for one that stands in the file itself."""
    _masker: Masker | None = None

    @property
    def problems(self) -> list[Problem]:
        """By line, so that a person can fix the file from top to bottom; those of one line as they were found."""
        return [problem for _, problem in sorted(self.found, key=itemgetter(0))]

    def origin(self, path: Path) -> Origin | None:
        return self.origins.get(path)

    def line(self, path: Path) -> int:
        """The line of the value, or of the nearest thing around it that has one."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins[path].line if path in self.origins else 1

    def place(self, path: Path) -> str:
        where = dotted(path)
        where = where if len(where) <= _LONGEST_PLACE else f"{where[:_LONGEST_PLACE]}…"
        return ":".join(part for part in (self.name, str(self.line(path)), f" {where}") if part.strip())

    def masked(self, text: str) -> str:
        """Without the value of any variable that by its name is a secret, wherever it strayed to."""
        if self._masker is None:
            self._masker = Masker(named=self.named_secrets)
        return self._masker.text(text)

    @property
    def named_secrets(self) -> dict[str, str]:
        """By its value, what is shown in the place of each."""
        return {secret: f"${{{name}}}" if name else MASK for secret, name in self.secrets.items()}

    def note_secrets(self, variable: Variable) -> None:
        """Those of a variable that is one by its name, and the password in an address, whatever its name is."""
        for value in filter(None, (variable.value, variable.default)):
            for secret in [value] if variable.is_secret else passwords_in(value):
                if secret not in self.secrets:
                    self.secrets[secret] = variable.name
                    self._masker = None

    def hide(self, path: Path, value: str) -> None:
        """Notes that what stands there, or a part of it, is a secret, whatever its variable is called."""
        origin = self.origins.get(path, Origin(0))
        if origin.variables:
            hidden = tuple(replace(one, is_hidden=True) for one in origin.variables)
            self.origins[path] = replace(origin, variables=hidden)
        if value and value not in self.secrets:
            self.secrets[value] = origin.variables[0].name if len(origin.variables) == 1 else ""
            self._masker = None

    def refusal(self, text: str) -> ConfigurationError:
        """With what was wrong so far: for what ends the reading."""
        return ConfigurationError([*self.problems, Problem(_printable(self.name), text)])

    def refuse(self, path: Path, text: str) -> None:
        """Notes what is wrong.

        Raises:
            ConfigurationError: there are MOST_PROBLEMS of them; the rest is not looked at.
        """
        if len(self.found) == MOST_PROBLEMS:
            raise self.refusal(f"has more than these {MOST_PROBLEMS} problems; fix them and check again")
        words = self.masked(text)
        words = words if len(words) <= _LONGEST_TEXT else f"{words[:_LONGEST_TEXT]}…"
        self.found.append((self.line(path), Problem(_printable(self.place(path)), _printable(words))))
        self.broken.add(path)

    def is_broken(self, path: Path) -> bool:
        return any(path[:length] in self.broken for length in range(len(path) + 1))


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


class _Reader:
    """Turns nodes into plain data, and notes the line and the variables of each.

    Aliases are written out, each at its own path. Ten lines of aliases of aliases can stand for a billion values
    ("billion laughs"), so values, depth and the text of variables are counted, and too much ends the reading.
    """

    def __init__(self, document: Document, environment: Mapping[str, str], references: Sequence[References]) -> None:
        self._document = document
        self._environment = environment
        self._references = references
        self._depth = 0
        self._read = 0
        self._filled_in = 0
        self._texts: dict[int, Any] = {}

    def value(self, node: Node, path: Path) -> Any:
        self._document.origins[path] = Origin(node.line)
        self._count()
        self._depth += 1
        # Deeper than the text itself, where aliases stand in what aliases stand for.
        if self._depth > 2 * DEEPEST:
            raise self._document.refusal(f"is nested more than {DEEPEST} deep, which no policy is")
        try:
            return self._by_kind(node, path)
        finally:
            self._depth -= 1

    def _count(self) -> None:
        self._read += 1
        if self._read > MOST_VALUES:
            raise self._document.refusal(f"holds more than {MOST_VALUES:,} values, by its aliases; write them out")

    def _by_kind(self, node: Node, path: Path) -> Any:
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.value(child, (*path, index)) for index, child in enumerate(node.items)]
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        line = self._document.origins[path]
        values: dict[str, Any] = {}
        for key_node, child in node.pairs:
            if key_node.is_merge:
                self._merge(child, path, values)
        self._document.origins[path] = line
        own: set[str] = set()
        for key_node, child in node.pairs:
            if key_node.is_merge:
                continue
            key, here = key_node.text, (*path, key_node.text)
            if key in own:
                self._document.refuse(here, f"is here a second time (line {key_node.line}); keep one")
                continue
            own.add(key)
            values[key] = self.value(child, here)
            self._document.origins[here] = replace(self._document.origins[here], line=key_node.line)
        return values

    def _merge(self, node: Node, path: Path, values: dict[str, Any]) -> None:
        """Adds what `<<:` brings, of which own keys override each; of several, the earlier one wins."""
        parts = node.items if isinstance(node, SequenceNode) else [node]
        for part in parts:
            if not isinstance(part, MappingNode):
                self._document.refuse(
                    path, "merges (<<) something that is not a mapping; write <<: *NAME, the name of a mapping"
                )
                return
            self._count()
            for key, value in self.value(part, path).items():
                values.setdefault(key, value)

    def _scalar(self, node: Scalar, path: Path) -> Any:
        """An alias of a long text is not looked through again at each of its places."""
        if id(node) not in self._texts:
            value = self._checked(node, path)
            if isinstance(value, str) and _has_variables(node):
                return self._substitute(node.text, path)
            self._texts[id(node)] = value
        return self._texts[id(node)]

    def _checked(self, node: Scalar, path: Path) -> Any:
        if node.is_plain and not node.tag and node.text.lower() == "off" and path[-1:] in _MAY_BE_OFF:
            return "off"
        try:
            value = value_of(node)
        except NoValueError as problem:
            self._document.refuse(path, str(problem))
            return None
        if not isinstance(value, str):
            return value
        if not _has_variables(node) and not value.replace("\n", "").replace("\t", "").isprintable():
            self._document.refuse(path, "holds characters that cannot be printed; leave them out")
            return None
        return value

    def _substitute(self, expression: str, path: Path) -> str:
        variables: list[Variable] = []

        def one(match: re.Match[str]) -> str:
            if match.group() == "$$":
                return "$"
            name, default = match.group(1), match.group(3)
            if name is None:
                platforms = (one.platform for one in self._references if one.opening in expression)
                hint = "".join(
                    f"; put a reference of {one}'s into a variable, and write the variable's name here"
                    for one in platforms
                )
                shown = repr(expression[: bounds.VALUE])
                words = f"{shown} is not understood; write ${{NAME}} or ${{NAME:-default}}{hint}"
                self._document.refuse(path, words)
                return ""
            value = self._environment.get(name) or None
            if (
                value is not None
                and (problem := unusable(value) or unresolved(value.strip(), self._references)) is not None
            ):
                self._document.refuse(path, f"{name[: bounds.VALUE]} {problem}")
                value = "" if unusable(value) else value
            variables.append(Variable(name, value, default))
            self._document.note_secrets(variables[-1])
            if value is None and default is None:
                unset = name[: bounds.VALUE]
                self._document.refuse(
                    path, f"{unset} is not set and has no default; set {unset}, or write ${{{unset}:-default}}"
                )
            filled_in = value or default or ""
            self._fill_in(filled_in)
            return filled_in

        self._fill_in(expression)
        text = _VARIABLE.sub(one, expression)
        self._document.origins[path] = Origin(self._document.line(path), expression, tuple(variables))
        return text

    def _fill_in(self, text: str) -> None:
        self._filled_in += len(text)
        if self._filled_in > MOST_CHARACTERS:
            words = f"is longer than {MOST_CHARACTERS:,} characters once its variables are filled in; shorten them"
            raise self._document.refusal(words)


def _brief(text: str) -> str:
    return text if len(text) <= bounds.VALUE else f"{text[: bounds.VALUE]}{CUT}"


def _has_variables(node: Scalar) -> bool:
    return "$" in node.text


def read(text: str, environment: Mapping[str, str], *, name: str, references: Sequence[References] = ()) -> Document:
    """Parses the text; what is wrong with it is in `problems`, never raised, except where no data remains.

    Raises:
        ConfigurationError: the text is not YAML, or not one mapping, or more than a policy holds.
    """
    document = Document(name)
    try:
        node = parse(text)
    except NotYamlError as error:
        place = ":".join(str(part) for part in (name, error.line, error.column) if part is not None)
        raise ConfigurationError([Problem(_printable(place), _printable(error.text))]) from None
    if not isinstance(node, MappingNode):
        raise ConfigurationError([Problem(name, "is not a policy: it starts with `interval:` and `workers:`")])
    document.data = _Reader(document, environment, references).value(node, ())
    return document
