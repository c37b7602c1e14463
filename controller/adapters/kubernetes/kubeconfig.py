"""One kubeconfig file: its current context, as far as it is understood; what is not is said."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from controller.adapters.kubernetes.access import KubernetesAccess, Plugin
from controller.core.problems import ConfigurationError, Problem

_MOST_BYTES = 4_000_000
_NOT_SUPPORTED = {
    "auth-provider": "write an exec plug-in or a token",
    "username": "Kubernetes has no passwords since 1.19; write a token or a certificate",
    "password": "Kubernetes has no passwords since 1.19; write a token or a certificate",
    "as": "bind the rights to the user itself",
    "as-groups": "bind the rights to the user itself",
    "proxy-url": "set HTTPS_PROXY",
    "tls-server-name": "use the name that is in the certificate as the server's",
}


def read_kubeconfig(named: str) -> KubernetesAccess:
    """Raises ConfigurationError."""
    if os.pathsep in named:
        raise _refused("names several files; write one (`kubectl config view --flatten` merges them)")
    path = Path(named).expanduser()
    try:
        text = path.read_bytes()[: _MOST_BYTES + 1]
        config = yaml.safe_load(text) if len(text) <= _MOST_BYTES else None
    except OSError as error:
        raise _refused(
            f"{named} cannot be read ({type(error).__name__}); write the path of a kubeconfig file"
        ) from None
    except (yaml.YAMLError, UnicodeError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise _refused(f"{named} is not a kubeconfig file")
    name = config.get("current-context")
    context = _entry(config, "contexts", name, "context", "set current-context to one of its contexts")
    cluster = _entry(config, "clusters", context.get("cluster"), "cluster", "add it")
    user = _entry(config, "users", context.get("user"), "user", "add it") if context.get("user") else {}
    for key, fix in _NOT_SUPPORTED.items():
        if user.get(key) or cluster.get(key):
            raise _refused(f"{key} of context {name} is not supported; {fix}")
    return _access(path.parent, cluster, user)


def _access(folder: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> KubernetesAccess:
    server = cluster.get("server")
    if not isinstance(server, str) or not server.startswith(("https://", "http://")):
        raise _refused("the cluster's server must be an https:// or http:// address")
    if "@" in server:
        raise _refused("the cluster's server holds a user or password, which is not supported; write a token")
    certificate = _pem(folder, user, "client-certificate"), _pem(folder, user, "client-key")
    if any(certificate) and not all(certificate):
        raise _refused("has one of client-certificate and client-key; write both, or neither")
    token_file = user.get("tokenFile")
    return KubernetesAccess(
        server.rstrip("/"),
        ca=_pem(folder, cluster, "certificate-authority"),
        verifies=cluster.get("insecure-skip-tls-verify") is not True,
        token="" if token_file else str(user.get("token") or ""),
        token_file=folder / str(token_file) if token_file else None,
        certificate=certificate if all(certificate) else None,
        plugin=_plugin(user.get("exec")),
    )


def _pem(folder: Path, part: Mapping[str, Any], key: str) -> str:
    """Of KEY-data in base64, or of the file that KEY names; "" if neither is there."""
    data, file = part.get(f"{key}-data"), part.get(key)
    try:
        if data:
            return base64.b64decode(str(data), validate=True).decode("ascii")
        return (folder / str(file)).read_text(encoding="ascii")[:_MOST_BYTES] if file else ""
    except (OSError, binascii.Error, UnicodeError) as error:
        raise _refused(f"{key} cannot be read ({type(error).__name__}); it must be in PEM") from None


def _plugin(given: object) -> Plugin | None:
    if not given:
        return None
    if not isinstance(given, dict) or not isinstance(given.get("command"), str):
        raise _refused("exec names no command; write it, or a token")
    pairs = [one for one in given.get("env") or () if isinstance(one, dict)]
    environment = {str(one.get("name")): str(one.get("value")) for one in pairs}
    version = str(given.get("apiVersion") or "client.authentication.k8s.io/v1")
    return Plugin(given["command"], tuple(map(str, given.get("args") or ())), environment, version)


def _entry(config: Mapping[str, Any], lists: str, name: object, kind: str, fix: str) -> dict[str, Any]:
    entries = config.get(lists)
    for one in entries if isinstance(entries, list) else ():
        if isinstance(one, dict) and one.get("name") == name and isinstance(one.get(kind), dict):
            found: dict[str, Any] = one[kind]
            return found
    raise _refused(f"has no {kind} {name!r}; {fix}")


def _refused(words: str) -> ConfigurationError:
    return ConfigurationError([Problem("KUBECONFIG", words)])
