"""Kubernetes' settings: in a pod those of its service account, elsewhere those of a kubeconfig file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from controller.adapters.kubernetes import SOURCE
from controller.config.platform import PlatformSettings, change_timeout
from controller.config.variables import EnvironmentVariable
from controller.core.problems import ConfigurationError, Problem
from controller.core.text.references import References
from controller.policy import web_address

if TYPE_CHECKING:
    from controller.adapters.kubernetes.access import KubernetesAccess

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts the service account's token, its CA and its namespace into each container."""
_VARIABLES = (
    EnvironmentVariable(
        "KUBECONFIG",
        "one kubeconfig file; its current context is used, see kubernetes.md",
        "in a pod: its service account",
        "outside of a pod",
    ),
    change_timeout("KUBERNETES_TIMEOUT_MS", SOURCE.name),
    EnvironmentVariable("POD_NAMESPACE", "the controller's own namespace, from the downward API", holds="id"),
    EnvironmentVariable("POD_NAME", "the controller's own pod, from the downward API", "HOSTNAME", holds="id"),
)
_REFERENCES = References(
    platform=SOURCE.name,
    opening="$(",
    closing=")",
    name="NAME",
    unreplaced=re.compile(r"^\$\(([A-Za-z_]\w*)\)$"),
    fix="in the container's env, below the variable that it names",
)


def load_kubernetes(environment: Mapping[str, str]) -> KubernetesAccess:
    """The access to one cluster.

    Raises:
        ConfigurationError: there is none, or what there is cannot be used.
    """
    named = environment.get("KUBECONFIG", "").strip()
    if named:
        from controller.adapters.kubernetes.kubeconfig import read_kubeconfig  # noqa: PLC0415  # a pod has no such file

        return read_kubeconfig(named)
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        words = (
            "is not set, and this is no pod; write the path of a kubeconfig file, or run the controller in the cluster"
        )
        raise ConfigurationError([Problem("KUBECONFIG", words)])
    missing = [name for name in ("token", "ca.crt") if not (ACCOUNT / name).is_file()]
    if missing:
        words = f"does not hold {' and '.join(missing)}; set automountServiceAccountToken: true in the pod"
        raise ConfigurationError([Problem(str(ACCOUNT), words)])
    from controller.adapters.kubernetes.access import KubernetesAccess  # noqa: PLC0415  # most processes have no cluster

    server = f"https://{f'[{host}]' if ':' in host else host}:{port}"
    if web_address(server) is None:
        raise ConfigurationError([Problem("KUBERNETES_SERVICE_HOST", f"makes no address with its port: {server}")])
    return KubernetesAccess(server, ca_file=ACCOUNT / "ca.crt", token_file=ACCOUNT / "token")


def kubernetes_warnings(environment: Mapping[str, str]) -> Iterator[Problem]:
    """What works and should be changed all the same."""
    try:
        access = load_kubernetes(environment)
    except ConfigurationError:
        return
    if not access.verifies:
        yield Problem("KUBECONFIG", "has insecure-skip-tls-verify: anybody on the way can read the token; name the CA")
    if access.server.startswith("http://") and access.has_credentials:
        yield Problem("KUBECONFIG", "has a server with http://, so the token is sent unencrypted; write https://")


KUBERNETES = PlatformSettings(
    name=SOURCE.name,
    target="kubernetes",
    variables=_VARIABLES,
    references=_REFERENCES,
    load=load_kubernetes,
    warnings=kubernetes_warnings,
    group="POD_NAMESPACE",
    group_in_words="the pod's namespace",
    replica="POD_NAME",
    change_timeout="KUBERNETES_TIMEOUT_MS",
    opens="controller.adapters.kubernetes.opening:open_kubernetes",
    checks="controller.doctor.kubernetes:check_kubernetes",
)
