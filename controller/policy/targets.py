"""Where a worker runs: one key of its policy for each platform, and exactly one of them in each worker. Pure.

A new platform's target is a model here, a line in MODELS and a field of WorkerPolicy. What a target means to its
platform is known to the platform's adapter alone; everything else knows it by its key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol

from pydantic import AfterValidator, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from controller.policy.command import VARIABLE, CommandTarget
from controller.policy.types import Part, Word

SERVICE = "service"
# Lengths are not in the patterns, nor \w: a compiled {0,61} or the letters of all languages take a megabyte in all.
_PART = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_LABEL = rf"^{_PART}$"
_DNS = rf"^{_PART}(\.{_PART})*$"
_SWARM = r"^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?$"
_CLASS = r"^[A-Za-z_][A-Za-z0-9_.-]*(:[A-Za-z_][A-Za-z0-9_]*)?$"
SPELLINGS: Mapping[str, str] = {
    _LABEL: "may have lower-case letters, digits and '-' only, as Kubernetes' names do",
    _DNS: "may have lower-case letters, digits, '-' and '.' only, as Kubernetes' names do",
    _SWARM: "may have letters, digits, '-' and '_' only, as Docker's names do",
    _CLASS: "must be MODULE:CLASS, or the name of an entry point",
    VARIABLE: "must be the name of a variable: letters, digits and '_'",
}
"""What to say of a text that does not match, by the pattern."""
_WITHOUT_GROUP = "replicationcontrollers"
"""The one resource of the core group, which has no name, that can be scaled."""


_PLURALS: Mapping[str, str] = {
    "deployment": "deployments",
    "deploy": "deployments",
    "statefulset": "statefulsets",
    "sts": "statefulsets",
    "replicaset": "replicasets",
    "rs": "replicasets",
    "rollout": "rollouts",
}
"""Words that kubectl takes for a resource, and the API does not know."""


def plural_of(kind: str) -> str:
    """The resource of a kind, as the API's own rule guesses it."""
    kind = kind.lower()
    if kind.endswith("s"):
        return f"{kind}es"
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"


def _with_group(resource: str) -> str:
    """Otherwise `deployments` and `deployments.apps` could be two workers' targets, and the one thing."""
    name, _, group = resource.partition(".")
    if group and (plural := _PLURALS.get(name)):
        raise PydanticCustomError("word", "{text}", {"text": f"is no resource; write its plural, {plural}.{group}"})
    if group or resource == _WITHOUT_GROUP:
        return resource
    fix = "write it as `kubectl api-resources` names it with its group, such as deployments.apps"
    raise PydanticCustomError("word", "{text}", {"text": f"has no group; {fix}"})


DnsLabel = Annotated[str, StringConstraints(max_length=63, pattern=_LABEL)]
DnsName = Annotated[str, StringConstraints(max_length=253, pattern=_DNS)]
"""A DNS subdomain as Kubernetes checks it (RFC 1123): its parts have no length of their own."""
Resource = Annotated[DnsName, AfterValidator(_with_group)]
SwarmName = Annotated[str, StringConstraints(max_length=63, pattern=_SWARM)]
ClassName = Annotated[str, StringConstraints(max_length=200, pattern=_CLASS)]


class Given(Protocol):
    """A target as the policy gives it."""

    @property
    def ident(self) -> str:
        """What tells it from every other target on its platform; it is part of keys in Redis, so it must not change."""

    @property
    def words(self) -> str:
        """It in a sentence: `deployments.apps worker`."""


class KubernetesTarget(Part):
    """Something with a scale subresource in Kubernetes."""

    hints: ClassVar[Mapping[str, str]] = {
        "kind": "write resource, such as deployments.apps",
        "apiVersion": "write resource, such as deployments.apps",
        "deployment": "write name: DEPLOYMENT",
        "statefulset": "write resource: statefulsets.apps, and name: STATEFULSET",
    }
    namespace: DnsLabel = "default"
    """the namespace that it is in"""
    resource: Resource = "deployments.apps"
    """what kind it is, as `kubectl api-resources` names it with its group: `deployments.apps`,
    `statefulsets.apps`, `rollouts.argoproj.io`, or any other resource with a scale subresource
    """
    name: DnsName
    """the name of the Deployment, or of what `resource` says"""

    @property
    def ident(self) -> str:
        return f"{self.namespace}/{self.resource}/{self.name}"

    @property
    def words(self) -> str:
        return f"{self.resource} {self.name} in namespace {self.namespace}"


class SwarmTarget(Part):
    """A replicated service of Docker Swarm."""

    hints: ClassVar[Mapping[str, str]] = {
        "name": "write service: NAME",
        "stack": "write service: STACK_SERVICE, as `docker service ls` shows it",
    }
    service: SwarmName
    """its name, as `docker service ls` shows it; of a stack, `STACK_SERVICE`"""

    @property
    def ident(self) -> str:
        return self.service

    @property
    def words(self) -> str:
        return f"Swarm service {self.service}"


class OwnTarget(Part):
    """Something on a platform of the user's own, whose class is not in this package."""

    use: ClassName
    """the class, as MODULE:CLASS, or the name of an entry point in the group `worker_autoscaler.platforms`"""
    target: Word
    """what is scaled, in the words of that class"""

    @property
    def ident(self) -> str:
        return f"{self.use}/{self.target}"

    @property
    def words(self) -> str:
        return f"{self.target} on {self.use}"


MODELS: Mapping[str, type[Any]] = {
    "kubernetes": KubernetesTarget,
    "swarm": SwarmTarget,
    "command": CommandTarget,
    "platform": OwnTarget,
}
"""By the key of a worker's policy, besides `service`, whose value is a text."""
KEYS = (SERVICE, *MODELS)


class ScaleTarget(NamedTuple):
    """What is scaled.

    platform: the key of the worker's policy that names it, which tells the platform. key: what readings, the journal
    and messages know it by. words: it in a sentence. given: as the policy gives it, for the platform's adapter.
    """

    platform: str
    key: str
    words: str
    given: str | Given

    @classmethod
    def of(cls, platform: str, given: str | Given) -> ScaleTarget:
        if isinstance(given, str):
            # Without the platform's name in front: such keys were in Redis before there was another platform.
            return cls(platform, given, f"{platform} {given}", given)
        return cls(platform, f"{platform}:{given.ident}", given.words, given)


def written(worker: Mapping[str, Any]) -> Iterator[ScaleTarget]:
    """The targets in a worker of a parsed file, as far as they are valid."""
    for key in KEYS:
        given = worker.get(key)
        if key == SERVICE:
            if isinstance(given, str) and given:
                yield ScaleTarget.of(key, given)
        elif given is not None:
            try:
                yield ScaleTarget.of(key, MODELS[key].model_validate(given))
            except ValidationError:
                continue  # which is said by itself


def target_problem(given: Mapping[str, object]) -> tuple[str, str] | None:
    """Exactly one key names the target; else the key to look at, and what is wrong there."""
    named = [key for key in KEYS if given.get(key) is not None]
    if len(named) == 1:
        return None
    if named:
        others = " and ".join(named[:-1])
        return named[-1], f"is written together with {others}, and a worker has one target; keep one of them"
    others = " or ".join(MODELS)
    return SERVICE, f"is missing; write it, or name a target on another platform by {others}"
