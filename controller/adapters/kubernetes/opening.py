"""Kubernetes as the controller opens it."""

from __future__ import annotations

from typing import cast

from controller.adapters.http import can_be_called, httpx
from controller.adapters.kubernetes.access import KubernetesAccess
from controller.adapters.kubernetes.client import KubernetesClient
from controller.adapters.kubernetes.platform import KubernetesPlatform
from controller.config.platform import Opening
from controller.core.problems import ConfigurationError, Problem


def open_kubernetes(opening: Opening) -> KubernetesPlatform:
    """Raises ConfigurationError: the address, the CA or a certificate cannot be used."""
    access = cast("KubernetesAccess", opening.access)
    if not can_be_called(access.server):
        raise ConfigurationError([Problem("KUBECONFIG", "the cluster's server has a host name that does not exist")])
    try:
        client = KubernetesClient(
            access,
            opening.clock,
            may_change=opening.may_act,
            timeout_s=opening.timeout_s,
            clean=opening.mask.text,
        )
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        words = f"the cluster's CA or the client's certificate cannot be used ({type(error).__name__}); check both"
        raise ConfigurationError([Problem("KUBECONFIG", words)]) from None
    return KubernetesPlatform(client, opening.policy)
