"""Reads a policy: its text becomes frozen models, or is refused with all that is wrong. Nothing is ever adjusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from controller.core.problems import ConfigurationError
from controller.core.text.references import References
from controller.policy.document import Document, Path, read
from controller.policy.errors import keys_at, record
from controller.policy.limits import shared_keys
from controller.policy.meanings import describe
from controller.policy.models import Policy
from controller.policy.notify import hide_addresses
from controller.policy.pools import pool_problems
from controller.policy.preset import Presets
from controller.policy.queues import AS_LIST, AS_MAPPING
from controller.policy.targets import SERVICE, written


def load_policy(
    text: str,
    environment: Mapping[str, str],
    *,
    name: str = "policy.yaml",
    presets: Presets | None = None,
    references: Sequence[References] = (),
) -> tuple[Policy, Document]:
    """The policy, and the document that tells where each of its values comes from.

    presets: where `preset:` is looked up, which takes reading files; without it, any name is taken as it is.
    references: of platforms, which the value of a variable may still hold.

    Raises:
        ConfigurationError: with everything that is wrong, each with its place.
    """
    document = read(text, environment, name=name, references=references)
    hide_addresses(document)
    policy: Policy | None = None
    try:
        policy = Policy.model_validate(document.data, context={"presets": presets})
    except ValidationError as error:
        for details in error.errors(include_url=False):
            record(document, _as_written(details, document.data), keys_at(Policy))
    for path, problem in _shared_between_workers(document.data, policy):
        document.refuse(path, problem)
    if document.problems or policy is None:
        raise ConfigurationError(document.problems)
    return policy, document


def shadow_named(text: str, environment: Mapping[str, str], *, references: Sequence[References] = ()) -> str | None:
    """What `shadow:` names in the text of a policy that may be wrong elsewhere; None: no file."""
    try:
        data = read(text, environment, name="", references=references).data
    except ConfigurationError:
        return None
    named = data.get("shadow") if isinstance(data, dict) else None
    return named if isinstance(named, str) and named else None


def _as_written(details: ErrorDetails, data: Any) -> ErrorDetails:
    """With the path as it is in the file: a column may be written as a name alone, and queues in two ways."""
    *above, last = [part for part in details["loc"] if part not in {AS_LIST, AS_MAPPING}] or [""]
    for key in above:
        if isinstance(data, list) and isinstance(key, int):
            data = data[key] if key < len(data) else None
        else:
            data = data.get(key) if isinstance(data, dict) else None
    if details["type"] == "scale_target":
        last = details.get("ctx", {})["key"]  # found at the last of the keys, and said of the one to change
    return {**details, "loc": (*above,) if last == "name" and isinstance(data, str) else (*above, last)}


def _shared_between_workers(data: Any, policy: Policy | None) -> Iterator[tuple[Path, str]]:
    """Two workers on one target would overrule each other; two budgets under one key would overwrite each other."""
    entries = data.get("workers") if isinstance(data, dict) else None
    if not isinstance(entries, dict):
        return
    seen: dict[str, str] = {}
    for name, worker in entries.items():
        for target in written(worker) if isinstance(worker, dict) else ():
            if target.key in seen:
                what = SERVICE if target.platform == SERVICE else "target"
                problem = f"is the {what} of workers.{seen[target.key]} too; one {what} has one policy"
                yield ("workers", name, target.platform), problem
            seen.setdefault(target.key, name)
    if policy is not None:
        yield from pool_problems(policy)
        yield from shared_keys(
            {name: worker.rate_limit for name, worker in policy.workers.items() if worker.rate_limit}
        )


def json_schema() -> dict[str, Any]:
    """The policy's JSON Schema, for editors; it takes any text as a preset, since the list of presets is not here."""
    schema = Policy.model_json_schema()
    describe(schema, Policy)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "worker-autoscaler policy"
    return schema


def with_presets(schema: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The schema in which a preset is one of these, a file of the user's own, or a variable."""
    for part in ("Queue", "NamedQueue"):
        preset = schema["$defs"][part]["properties"]["preset"]
        preset["anyOf"] = [{"enum": list(names)}, {"type": "string", "pattern": r"/|\.toml$|\$\{"}, {"type": "null"}]
    return schema
