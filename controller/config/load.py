"""The policy of a file, and the masker that knows every secret of it and of the environment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from controller.config.adapters import Adapters
from controller.config.plain_files import CannotReadError, read, shown, text_of
from controller.config.settings import key_prefix
from controller.core.problems import ConfigurationError, Problem
from controller.core.shadow_policy import beside, differing_queue
from controller.core.text.masking import Masker, secrets_of
from controller.policy import (
    Document,
    Policy,
    WorkerPolicy,
    is_own,
    load_policy,
    own_keys,
    shadow_named,
    with_presets,
)

_MOST_BYTES = 16_000_000
"""Of four each, the most characters that the parser takes (policy/strict_yaml.py)."""


def masker(
    environment: Mapping[str, str], document: Document | None = None, secrets: Iterable[str] = (), *, adapters: Adapters
) -> Masker:
    """Knows the secrets of the environment, of a policy that was read with it, and `secrets` besides."""
    tokens = [name for platform in adapters.platforms for name in platform.names("token")]
    addresses = [name for platform in adapters.platforms for name in platform.names("address")]
    every = [*secrets_of(environment, tokens=tokens, addresses=addresses), *secrets]
    return Masker(every, document.named_secrets if document else None)


def read_policy(
    path: Path,
    environment: Mapping[str, str],
    adapters: Adapters,
    *,
    missing: str = "name the policy on the command line, or in AUTOSCALER_POLICY; `autoscaler init` writes one",
) -> tuple[Policy, Document]:
    """The policy of a file. missing: what to do where there is none.

    Raises:
        ConfigurationError: it cannot be read, or is not a policy.
    """
    name = shown(path)
    try:
        text = text_of(read(path, _MOST_BYTES, missing=missing))
    except CannotReadError as error:
        line = "" if error.line is None else f":{error.line}"
        raise ConfigurationError([Problem(f"{name}{line}", str(error))]) from None
    policy, document = load_policy(
        text, environment, name=name, presets=adapters.presets(path.parent), references=adapters.references
    )
    limits = {name: worker.rate_limit for name, worker in policy.workers.items() if worker.rate_limit}
    for place, problem in own_keys(limits, key_prefix(environment)):
        document.refuse(place, problem)
    if document.problems:
        raise ConfigurationError(document.problems)
    return policy, document


@dataclass(frozen=True, slots=True)
class ShadowFile:
    """The policy that `shadow:` names. workers: see core/shadow_policy.Beside. notes: what of it has no effect."""

    name: str
    path: Path
    policy: Policy
    workers: Mapping[str, WorkerPolicy]
    notes: tuple[str, ...]


def read_both(
    path: Path, environment: Mapping[str, str], adapters: Adapters
) -> tuple[Policy, Document, ShadowFile | None]:
    """The policy of a file, and its shadow; None: it has none. The secrets of both are those of the document.

    Raises:
        ConfigurationError: with what is wrong in either file.
    """
    try:
        policy, document = read_policy(path, environment, adapters)
    except ConfigurationError as error:
        try:
            refuse_shadow(path, environment, adapters)
        except ConfigurationError as of_shadow:
            raise ConfigurationError([*error.problems, *of_shadow.problems]) from None
        raise
    return policy, document, read_shadow(path, policy, document, environment, adapters)


def refuse_shadow(path: Path, environment: Mapping[str, str], adapters: Adapters) -> None:
    """Of a policy that is wrong itself, so that all that is wrong is said at once.

    Raises:
        ConfigurationError: its shadow is no policy.
    """
    try:
        text = text_of(read(path, _MOST_BYTES, missing=""))
    except CannotReadError:
        return
    name = shadow_named(text, environment, references=adapters.references)
    if name is not None:
        _read_other(path.parent / name, f"{shown(path)}: shadow", environment, adapters)


def _read_other(file: Path, place: str, environment: Mapping[str, str], adapters: Adapters) -> tuple[Policy, Document]:
    """The policy of a shadow. place: where its file is named."""
    missing = f"correct the name at {place}, or leave the key out"
    other, document = read_policy(file, environment, adapters, missing=missing)
    if other.shadow is not None:
        document.refuse(("shadow",), "is in a policy that is itself a shadow, and has no effect there; leave it out")
        raise ConfigurationError(document.problems)
    return other, document


def read_shadow(
    path: Path, policy: Policy, document: Document, environment: Mapping[str, str], adapters: Adapters
) -> ShadowFile | None:
    """The shadow of the policy at `path`; None: it has none. Its secrets are added to those of the document.

    Raises:
        ConfigurationError: it cannot be read, is not a policy, or counts other queues.
    """
    if policy.shadow is None:
        return None
    file = path.parent / policy.shadow
    other, of_other = _read_other(file, document.place(("shadow",)), environment, adapters)
    for name, worker in other.workers.items():
        differs = name in policy.workers and differing_queue(policy.workers[name], worker)
        if differs:
            words = f"is not the queue of workers.{name} in {shown(path)}, and a shadow decides on the same reading; "
            of_other.refuse(("workers", name, *differs.split(".")), f"{words}write the same")
    if of_other.problems:
        raise ConfigurationError(of_other.problems)
    document.secrets.update({text: name for text, name in of_other.secrets.items() if text not in document.secrets})
    workers, notes = beside(policy, other, shown(file))
    return ShadowFile(shown(file), file, other, workers, notes)


def digest(path: Path, policy: Policy, shadow: ShadowFile | None, adapters: Adapters) -> str:
    """12 characters that differ if two replicas go by different values, also in a file that the policy names."""
    presets = adapters.presets(path.parent)
    every = [policy, *([] if shadow is None else [shadow.policy])]
    queues = [queue for one in every for worker in one.workers.values() for queue in worker.each_queue.values()]
    own = {queue.preset for queue in queues if queue.preset is not None and is_own(queue.preset)}
    beside = [repr(presets.load(name)) for name in sorted(own)]
    beside += [] if shadow is None else [shadow.policy.digest]
    if not beside:
        return policy.digest
    return hashlib.sha256("\n".join([policy.digest, *beside]).encode()).hexdigest()[:12]


def schema_text(presets: Sequence[str]) -> str:
    """The policy's JSON Schema as it ships, with the names of the presets that ship."""
    # What it says of each key are docstrings, which `python -OO` does not have: so it is a file.
    schema = json.loads(files("controller").joinpath("policy", "schema.json").read_text(encoding="utf-8"))
    return json.dumps(with_presets(schema, presets), indent=2)
