"""Reads the text of a policy: YAML with ${VARIABLES}, each value with the place that it comes from.

Variables are replaced in the parsed scalars, never in the text, so that a value cannot become structure. Everything
that is wrong is collected, so that one run names it all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from controller.masking import CUT, SECRET_NAME, Masker, passwords_in
from controller.references import unresolved

_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(?:(:-)([^{}]*))?\}|\$\{")

Path = tuple[str | int, ...]

LONGEST_SHOWN = 80
"""Characters of a value in a message."""
MOST_VALUES = 20_000
"""A policy has some dozens of values; aliases that multiply into millions are an accident or an attack."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the configuration: where, and what to do about it."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class ConfigurationError(Exception):
    """The environment or the policy cannot be used as it stands; nothing was started and nothing was changed."""

    def __init__(self, problems: list[Problem] | tuple[Problem, ...]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True, slots=True)
class Variable:
    name: str
    value: str | None
    default: str | None

    @property
    def is_secret(self) -> bool:
        return bool(SECRET_NAME.search(self.name))

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
    problems: list[Problem] = field(default_factory=list)
    broken: set[Path] = field(default_factory=set)
    secrets: dict[str, str] = field(default_factory=dict)
    """By its value, the variable that holds each secret."""
    _masker: Masker | None = None

    def origin(self, path: Path) -> Origin | None:
        return self.origins.get(path)

    def line(self, path: Path) -> int:
        """The line of the value, or of the nearest thing around it that has one."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins[path].line if path in self.origins else 1

    def place(self, path: Path) -> str:
        return ":".join(part for part in (self.name, str(self.line(path)), f" {dotted(path)}") if part.strip())

    def masked(self, text: str) -> str:
        """Without the value of any variable that by its name is a secret, wherever it strayed to."""
        if self._masker is None:
            self._masker = Masker(named=self.named_secrets)
        return self._masker.text(text)

    @property
    def named_secrets(self) -> dict[str, str]:
        """By its value, what is shown in the place of each."""
        return {secret: f"${{{name}}}" for secret, name in self.secrets.items()}

    def note_secrets(self, variable: Variable) -> None:
        """Those of a variable that is one by its name, and the password in an address, whatever its name is."""
        for value in filter(None, (variable.value, variable.default)):
            for secret in [value] if variable.is_secret else passwords_in(value):
                if secret not in self.secrets:
                    self.secrets[secret] = variable.name
                    self._masker = None

    def refuse(self, path: Path, text: str) -> None:
        self.problems.append(Problem(_printable(self.place(path)), _printable(self.masked(text))))
        self.broken.add(path)

    def is_broken(self, path: Path) -> bool:
        return any(path[: len(broken)] == broken for broken in self.broken)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


class _Reader:
    def __init__(self, document: Document, loader: yaml.SafeLoader, environment: Mapping[str, str]) -> None:
        self._document = document
        self._loader = loader
        self._environment = environment
        self._open: set[int] = set()
        self._read = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._document.origins[path] = Origin(node.start_mark.line + 1)
        self._read += 1
        if self._read > MOST_VALUES:
            raise ConfigurationError([Problem(self._document.name, f"holds more than {MOST_VALUES} values")])
        if id(node) in self._open:
            self._document.refuse(path, "refers to itself; write the value out")
            return None
        self._open.add(id(node))
        try:
            return self._by_kind(node, path)
        finally:
            self._open.discard(id(node))

    def _by_kind(self, node: yaml.Node, path: Path) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        own: set[str] = set()
        for key_node, child in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            here = (*path, key)
            if key_node.tag == "tag:yaml.org,2002:merge":
                values = self._merged(child, path) | values
                continue
            if key in own:
                self._document.refuse(here, f"stands here a second time (line {line}); keep one")
                continue
            own.add(key)
            values[key] = self.value(child, here)
            self._document.origins[here] = replace(self._document.origins[here], line=line)
        return values

    def _merged(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        """What `<<:` brings, of which own keys override each; of several, the earlier one wins."""
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if not all(isinstance(part, yaml.MappingNode) for part in parts):
            self._document.refuse(path, "merges (<<) something that is no mapping")
            return {}
        values: dict[str, Any] = {}
        for part in parts:
            self._read += 1
            values = self.value(part, path) | values
        return values

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        if node.tag == "tag:yaml.org,2002:str" and "$" in node.value:
            return self._substitute(node.value, path)
        if not str(node.value).replace("\n", "").replace("\t", "").isprintable():
            self._document.refuse(path, "holds characters that cannot be printed")
            return None
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError, KeyError, AttributeError, TypeError, OverflowError) as error:
            self._document.refuse(path, f"is not a value that a policy can hold ({_first_line(error)})")
            return None

    def _substitute(self, expression: str, path: Path) -> str:
        variables: list[Variable] = []

        def one(match: re.Match[str]) -> str:
            if match.group() == "$$":
                return "$"
            name, default = match.group(1), match.group(3)
            if name is None:
                railway = "; a reference of Railway's belongs into a variable, NAME" if "${{" in expression else ""
                words = f"{expression!r} is not understood; write ${{NAME}} or ${{NAME:-default}}{railway}"
                self._document.refuse(path, words)
                return ""
            value = self._environment.get(name) or None
            if value is not None and (problem := unresolved(value.strip())) is not None:
                self._document.refuse(path, f"{name} {problem}")
            variables.append(Variable(name, value, default))
            self._document.note_secrets(variables[-1])
            if value is None and default is None:
                self._document.refuse(
                    path, f"{name} is not set and has no default; set {name}, or write ${{{name}:-default}}"
                )
            return value or default or ""

        text = _VARIABLE.sub(one, expression)
        self._document.origins[path] = Origin(self._document.line(path), expression, tuple(variables))
        return text


def _brief(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}{CUT}"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def read(text: str, environment: Mapping[str, str], *, name: str) -> Document:
    """Parses the text; what is wrong with it is in `problems`, never raised, except where no data remains.

    Raises:
        ConfigurationError: the text is not YAML, or not one mapping.
    """
    document = Document(name)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigurationError([Problem(place, f"is not YAML: {error.problem or error.context}")]) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigurationError([Problem(name, f"is not YAML: {_first_line(error)}")]) from None
    if not isinstance(node, yaml.MappingNode):
        raise ConfigurationError([Problem(name, "is not a policy: it starts with `interval:` and `workers:`")])
    try:
        document.data = _Reader(document, loader, environment).value(node, ())
    except RecursionError:
        raise ConfigurationError([Problem(name, "is nested too deeply to be a policy")]) from None
    except yaml.YAMLError as error:
        raise ConfigurationError([Problem(name, f"is not YAML: {_first_line(error)}")]) from None
    return document
