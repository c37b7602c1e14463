"""What each key of the policy means, for the JSON Schema and the documentation: the text below the key in its model.

Read from the source, where it stands beside the key, and only when somebody asks: no command that reads a policy does.
A text may name a page (docs/queues.md). A default that is no value stands in the key's annotation (IfUnset).
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from controller.core.units import as_policy
from controller.policy.types import IfUnset, Part

_NAMED = {"workers", "queues", "pools"}
"""Mappings whose keys are names of the user's own."""


def meanings(part: type[BaseModel]) -> dict[str, str]:
    """By the model's name of the key; of a part that extends another one, also those of the other."""
    (extended,) = part.__bases__
    found = {} if extended in {Part, BaseModel} else meanings(extended)
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
    assert isinstance(definition, ast.ClassDef)
    for field, text in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _is_text(text):
            found[field.target.id] = " ".join(ast.literal_eval(text.value).split())  # type: ignore[attr-defined]  # it is an Expr
    return found


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def describe(schema: dict[str, Any], root: type[BaseModel]) -> None:
    """Adds to a JSON Schema what each of its keys means."""
    parts = {part.__name__: part for part in (root, *parts_of(root))}
    for name, definition in (*schema.get("$defs", {}).items(), (root.__name__, schema)):
        if name in parts:
            told = meanings(parts[name])
            for key, field in parts[name].model_fields.items():
                if key in told:
                    unset = _if_unset(field)
                    default = f". Default: {unset}." if unset else ""
                    definition["properties"][field.alias or key]["description"] = f"{told[key]}{default}"


def parts_of(part: type[BaseModel]) -> Iterator[type[Part]]:
    """The models within a model, at any depth."""
    for field in part.model_fields.values():
        for inner in dict.fromkeys(_models(field.annotation)):
            yield inner
            yield from parts_of(inner)


def _models(annotation: Any) -> Iterator[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def described_keys(
    part: type[BaseModel], *before: str, is_required: bool = True
) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Every key that has a meaning, in the order of the models: its path, its meaning, its default.

    The default is in words where the key says so (IfUnset), else as it would be written; "required" where there is
    none, and "" where it does not matter. is_required: whether the part itself has to be there.
    """
    told = meanings(part)
    for name, field in part.model_fields.items():
        if any(name in getattr(base, "model_fields", ()) for base in part.__bases__):
            continue  # the part that this one extends has its rows
        path = (*before, field.alias or name)
        must = is_required and field.is_required()
        if name in told:
            default = "required" if must and name != "workers" else _written(field.default)
            yield path, told[name], _if_unset(field) or default
        for inner in dict.fromkeys(_models(field.annotation)):
            yield from described_keys(inner, *path, *(["NAME"] if name in _NAMED else []), is_required=must)


def _if_unset(field: FieldInfo) -> str | None:
    return next((one.words for one in field.metadata if isinstance(one, IfUnset)), None)


def _written(default: object) -> str:
    if isinstance(default, float):
        return as_policy(default)
    if isinstance(default, tuple) and default:
        return f"`[{', '.join(map(str, default))}]`"
    if isinstance(default, str):
        return f"`{default}`"
    return str(default) if isinstance(default, int) else ""
