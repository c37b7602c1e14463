"""Reads a policy: its text becomes frozen models, or is refused with all that is wrong. Nothing is ever adjusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from controller.core.problems import ConfigurationError
from controller.policy.document import Document, Path, read
from controller.policy.errors import Keys, record
from controller.policy.limits import shared_keys
from controller.policy.models import Policy
from controller.policy.types import Part, keys_of


def load_policy(text: str, environment: Mapping[str, str], *, name: str = "policy.yaml") -> tuple[Policy, Document]:
    """The policy, and the document that tells where each of its values comes from.

    Raises:
        ConfigurationError: with everything that is wrong, each with its place.
    """
    document = read(text, environment, name=name)
    policy: Policy | None = None
    try:
        policy = Policy.model_validate(document.data)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            record(document, _as_written(details, document.data), _keys_at)
    for path, problem in _shared_between_workers(document.data, policy):
        document.refuse(path, problem)
    if document.problems or policy is None:
        raise ConfigurationError(document.problems)
    return policy, document


def _as_written(details: ErrorDetails, data: Any) -> ErrorDetails:
    """A column may be written as a name alone, and then its name is no key of the file."""
    *above, last = details["loc"] or ("",)
    for key in above:
        data = data.get(key) if isinstance(data, dict) else None
    return {**details, "loc": tuple(above)} if last == "name" and isinstance(data, str) else details


def _keys_at(path: Path) -> Keys | None:
    """Which keys a model that stands at the path knows, and what to say of those that people write by mistake."""
    part = part_at(path)
    return None if part is None else Keys(tuple(keys_of(part)), part.hints)


def part_at(path: Path) -> type[Part] | None:
    """The model that stands at a path of the policy's file; None where none does: at a number, a text, nowhere."""
    kinds: list[Any] = [Policy]
    for step in path:
        kinds = [inner for kind in kinds for inner in _below(kind, step)]
    return next((kind for kind in kinds if _is_part(kind)), None)


def _is_part(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Part)


def _below(kind: Any, step: str | int) -> Iterator[Any]:
    """What may stand there in a value of this kind: of a list, by its index; of a mapping or a model, by the key."""
    inside = get_args(kind)
    if _is_part(kind):
        name = keys_of(kind).get(str(step))
        if name is not None:
            yield from _kinds(kind.model_fields[name].annotation)
    elif get_origin(kind) is tuple and isinstance(step, int):
        yield from _kinds(inside[0])
    elif get_origin(kind) is dict:
        yield from _kinds(inside[1])


def _kinds(annotation: Any) -> Iterator[Any]:
    """Each kind of value that a field takes, without what it is annotated with."""
    if get_origin(annotation) is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif get_origin(annotation) in {Union, UnionType}:
        for one in get_args(annotation):
            yield from _kinds(one)
    else:
        yield annotation


def _shared_between_workers(data: Any, policy: Policy | None) -> Iterator[tuple[Path, str]]:
    """Two workers on one service would pull it to and fro; two budgets under one key would overwrite each other."""
    entries = data.get("workers") if isinstance(data, dict) else None
    if not isinstance(entries, dict):
        return
    seen: dict[str, str] = {}
    for name, worker in entries.items():
        service = worker.get("service") if isinstance(worker, dict) else None
        if not isinstance(service, str) or not service:
            continue
        if service in seen:
            yield (
                ("workers", name, "service"),
                f"is the service of workers.{seen[service]} too; one service has one policy",
            )
        seen.setdefault(service, name)
    if policy is not None:
        yield from shared_keys(
            {name: worker.rate_limit for name, worker in policy.workers.items() if worker.rate_limit}
        )


def json_schema() -> dict[str, Any]:
    """The policy's JSON Schema, for editors."""
    schema = Policy.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "worker-autoscaler policy"
    return schema
