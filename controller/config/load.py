"""The policy of a file, and the masker that knows every secret of it and of the environment."""

from __future__ import annotations

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
from controller.policy import Document, Policy, WorkerPolicy, load_policy, own_keys, with_presets

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
    missing: str = "name the policy on the command line, or in AUTOSCALER_POLICY",
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
    place = document.place(("shadow",))
    missing = f"correct the name at {place}, or leave the key out"
    other, of_other = read_policy(file, environment, adapters, missing=missing)
    if other.shadow is not None:
        of_other.refuse(("shadow",), "is in a policy that is itself a shadow, and has no effect there; leave it out")
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


def schema_text(presets: Sequence[str]) -> str:
    """The policy's JSON Schema as it ships, with the names of the presets that ship."""
    # What it says of each key are docstrings, which `python -OO` does not have: so it is a file.
    schema = json.loads(files("controller").joinpath("policy", "schema.json").read_text(encoding="utf-8"))
    return json.dumps(with_presets(schema, presets), indent=2)
