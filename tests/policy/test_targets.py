"""Targets that a policy may not have: each is refused in one message, with its place and the fix."""

from __future__ import annotations

import pytest

from controller.policy import load_policy, plural_of
from tests.policy.test_policy import refused

WORKER = """\
  {name}:
    {target}
    queue: {{table: {name}}}
    tiers: [{{replicas: 1}}]
    max_replicas: 1
"""


def policy(*targets: str) -> str:
    workers = (WORKER.format(name=name, target=target) for name, target in zip("ab", targets, strict=False))
    return "workers:\n" + "".join(workers)


PROGRAMS = "scale: [set-it], read: [read-it]"
ALIKE = {
    "the namespace left out": ("kubernetes: {name: w}", "kubernetes: {namespace: default, name: w}"),
    "the resource left out": ("kubernetes: {name: w}", "kubernetes: {resource: deployments.apps, name: w}"),
    "a swarm service": ("swarm: {service: w}", "swarm: {service: w}"),
    "programs that differ only in what reads": (
        f"command: {{{PROGRAMS}}}", "command: {scale: [set-it], read: [other]}"
    ),
    "programs of one name": (f"command: {{name: n, {PROGRAMS}}}", "command: {name: n, scale: [other], read: [other]}"),
    "a host in another case": ("command: {url: 'https://h/x'}", "command: {url: 'HTTPS://H/x'}"),
    "a port that is the usual one": ("command: {url: 'https://h/x'}", "command: {url: 'https://h:443/x'}"),
    "a path that is empty": ("command: {url: 'http://h'}", "command: {url: 'http://h:80/'}"),
    "a platform of one's own": (
        "platform: {use: 'm:C', target: x}", "platform: {use: 'm:C', target: x}"
    ),
}  # fmt: skip
"""Two ways to write one target."""


@pytest.mark.parametrize("written", ALIKE.values(), ids=ALIKE)
def test_two_workers_on_one_target_are_refused_however_it_is_written(written: tuple[str, str]) -> None:
    key = written[1].partition(":")[0]
    assert refused(policy(*written)) == [
        f"policy.yaml:8: workers.b.{key}: is the target of workers.a too; one target has one policy"
    ]


DIFFERENT = {
    "a service in another case": ("service: X", "service: x"),
    "another namespace": ("kubernetes: {name: w}", "kubernetes: {namespace: other, name: w}"),
    "another path": ("command: {url: 'https://h/x'}", "command: {url: 'https://h/X'}"),
    "one name on two platforms": ("kubernetes: {name: w}", "swarm: {service: w}"),
}


@pytest.mark.parametrize("written", DIFFERENT.values(), ids=DIFFERENT)
def test_what_is_another_target_is_not_refused(written: tuple[str, str]) -> None:
    load_policy(policy(*written), {})


BAD = {
    "two targets": (
        "service: x\n    swarm: {service: y}",
        "policy.yaml:4: workers.a.swarm: is written together with service, and a worker has one target; keep one",
    ),
    "three targets": (
        "service: x\n    swarm: {service: y}\n    kubernetes: {name: z}",
        "workers.a.swarm: is written together with service and kubernetes",
    ),
    "no target": (
        "pool: p",
        "policy.yaml:2: workers.a.service: is missing; write it, or name a target on another platform by kubernetes or",
    ),
    "a resource without its group": (
        "kubernetes: {resource: deployments, name: w}",
        "workers.a.kubernetes.resource: 'deployments' has no group; write it as `kubectl api-resources` names it",
    ),
    "a kind for a resource": (
        "kubernetes: {resource: Deployment, name: w}",
        "policy.yaml:3: workers.a.kubernetes.resource: 'Deployment' may have lower-case letters, digits, '-' and '.'",
    ),
    "a name in capitals": ("kubernetes: {name: W}", "workers.a.kubernetes.name: 'W' may have lower-case letters"),
    "a namespace with a dot": (
        "kubernetes: {namespace: a.b, name: w}", "namespace: 'a.b' may have lower-case letters, digits and '-' only"
    ),
    "a service with a slash": ("swarm: {service: a/b}", "'a/b' may have letters, digits, '-' and '_' only"),
    "a class without a module": ("platform: {use: ':C', target: x}", "':C' must be MODULE:CLASS, or the name of an"),
    "a variable with its value": (
        f"command: {{{PROGRAMS}, environment: [KEY=1]}}",
        "policy.yaml:3: workers.a.command.environment[0]: 'KEY=1' must be the name of a variable: letters, digits and",
    ),
    "a name with a space": (f"command: {{{PROGRAMS}, name: a b}}", "workers.a.command.name: 'a b' is no name; it may"),
}  # fmt: skip


@pytest.mark.parametrize(("target", "says"), BAD.values(), ids=BAD)
def test_a_bad_target_is_told_in_one_message_with_place_and_fix(target: str, says: str) -> None:
    (problem,) = refused(policy(target))
    assert says in problem


def test_the_resource_of_the_core_group_that_can_be_scaled_needs_no_group() -> None:
    load_policy(policy("kubernetes: {resource: replicationcontrollers, name: w}"), {})


@pytest.mark.parametrize(
    ("kind", "resource"),
    [("Deployment", "deployments"), ("Proxy", "proxies"), ("Redis", "redises"), ("StatefulSet", "statefulsets")],
)
def test_the_resource_of_a_kind_is_its_plural_as_the_api_guesses_it(kind: str, resource: str) -> None:
    assert plural_of(kind) == resource
