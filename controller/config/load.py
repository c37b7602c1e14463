"""The policy of a file, and the masker that knows every secret of it and of the environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from controller.config.plain_files import CannotReadError, read, shown
from controller.config.settings import key_prefix
from controller.core.text.masking import Masker, secrets_of
from controller.policy.document import ConfigurationError, Document, Problem
from controller.policy.limits import own_keys
from controller.policy.models import Policy, load_policy

_MOST_BYTES = 16_000_000
"""Of four each, the most characters that the parser takes (policy_yaml.py)."""


def masker(environment: Mapping[str, str], document: Document | None = None, secrets: Iterable[str] = ()) -> Masker:
    """Knows the secrets of the environment, of a policy that was read with it, and `secrets` besides."""
    every = [*secrets_of(environment), *secrets]
    return Masker(every, document.named_secrets if document else None)


def read_policy(path: Path, environment: Mapping[str, str]) -> tuple[Policy, Document]:
    """The policy of a file.

    Raises:
        ConfigurationError: it cannot be read, or is not a policy.
    """
    name = shown(path)
    try:
        data = read(path, _MOST_BYTES, missing="name the policy on the command line, or in AUTOSCALER_POLICY")
    except CannotReadError as error:
        raise ConfigurationError([Problem(name, str(error))]) from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data[:4]:
        raise ConfigurationError([Problem(name, "is UTF-16 or UTF-32; save it as UTF-8")])
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = f"holds a byte that is not UTF-8 (0x{data[error.start]:02x}); save it as UTF-8"
        raise ConfigurationError([Problem(f"{name}:{line}", problem)]) from None
    policy, document = load_policy(text, environment, name=name)
    limits = {name: worker.rate_limit for name, worker in policy.workers.items() if worker.rate_limit}
    for place, problem in own_keys(limits, key_prefix(environment)):
        document.refuse(place, problem)
    if document.problems:
        raise ConfigurationError(document.problems)
    return policy, document
