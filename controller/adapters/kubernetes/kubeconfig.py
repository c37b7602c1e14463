"""One kubeconfig file: its current context, as far as it is understood; what is not is said."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controller.adapters.kubernetes.access import KubernetesAccess, Plugin, is_token
from controller.config.foreign_yaml import MOST_BYTES, NotReadableError, documents
from controller.core.problems import ConfigurationError, Problem
from controller.core.text import bounds
from controller.core.text.escaping import visible
from controller.policy import web_address

_NOT_SUPPORTED = {
    "auth-provider": "write an exec plug-in or a token",
    "username": "Kubernetes has no passwords since 1.19; write a token or a certificate",
    "password": "Kubernetes has no passwords since 1.19; write a token or a certificate",
    "as": "bind the rights to the user itself",
    "as-groups": "bind the rights to the user itself",
    "as-uid": "bind the rights to the user itself",
    "as-user-extra": "bind the rights to the user itself",
    "proxy-url": "set HTTPS_PROXY",
    "tls-server-name": "use the name that is in the certificate as the server's",
}


def read_kubeconfig(named: str) -> KubernetesAccess:
    """Raises ConfigurationError."""
    if os.pathsep in named:
        raise _refused("names several files; write one (`kubectl config view --flatten` merges them)")
    try:
        path = Path(named).expanduser()
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except (OSError, RuntimeError) as error:  # RuntimeError: ~ of a user who does not exist
        words = f"{named} cannot be read ({type(error).__name__}); write the path of a kubeconfig file"
        raise _refused(words) from None
    try:
        found = documents(text)
    except NotReadableError as error:
        raise _refused(f"{named} is not a kubeconfig file: it {error}") from None
    config = found[0] if len(found) == 1 else None
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
    parts = web_address(server) if isinstance(server, str) else None
    if parts is None or parts.query or parts.fragment:
        raise _refused("the cluster's server must be an https:// or http:// address, without query or fragment")
    if "@" in parts.netloc:
        raise _refused("the cluster's server holds a user or password, which is not supported; write a token")
    certificate = _pem(folder, user, "client-certificate"), _pem(folder, user, "client-key")
    if any(certificate) and not all(certificate):
        raise _refused("has one of client-certificate and client-key; write both, or neither")
    token_file, token = user.get("tokenFile"), user.get("token")
    if token_file and not isinstance(token_file, str):
        raise _refused("tokenFile is no path")
    if token and not token_file and not (isinstance(token, str) and is_token(token)):
        raise _refused("token holds a blank, a line break or a letter that no header can carry; write it in quotes")
    return KubernetesAccess(
        str(server).rstrip("/"),
        ca=_pem(folder, cluster, "certificate-authority"),
        verifies=cluster.get("insecure-skip-tls-verify") is not True,
        token="" if token_file else token or "",
        token_file=folder / token_file if token_file else None,
        certificate=certificate if all(certificate) else None,
        plugin=_plugin(folder, user.get("exec")),
    )


def _pem(folder: Path, part: Mapping[str, Any], key: str) -> str:
    """Of KEY-data in base64, or of the file that KEY names; "" if neither is there."""
    data, file = part.get(f"{key}-data"), part.get(key)
    try:
        if data:
            return base64.b64decode(str(data), validate=True).decode("ascii")
        return (folder / str(file)).read_text(encoding="ascii")[:MOST_BYTES] if file else ""
    except (OSError, ValueError) as error:  # among them binascii.Error, UnicodeError, and of a path with a NUL
        raise _refused(f"{key} cannot be read ({type(error).__name__}); it must be in PEM") from None


def _plugin(folder: Path, given: object) -> Plugin | None:
    if not given:
        return None
    command = given.get("command") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(command, str) or not command:
        raise _refused("exec names no command; write it, or a token")
    arguments, pairs = given.get("args") or [], given.get("env") or []
    if not isinstance(arguments, list) or any(isinstance(one, dict | list) for one in arguments):
        raise _refused("exec has args that are no list of texts; write args: [--name, value]")
    if not isinstance(pairs, list) or not all(isinstance(one, dict) and one.get("name") for one in pairs):
        raise _refused("exec has an env that is no list of names and values; write env: [{name: A, value: b}]")
    # As kubectl does it: only a word without a slash is looked for in PATH.
    program = str(folder / command) if "/" in command else command
    version = str(given.get("apiVersion") or "client.authentication.k8s.io/v1")
    environment = {str(one["name"]): str(one.get("value", "")) for one in pairs}
    return Plugin(program, tuple(map(str, arguments)), environment, version)


def _entry(config: Mapping[str, Any], lists: str, name: object, kind: str, fix: str) -> dict[str, Any]:
    entries = config.get(lists)
    for one in entries if isinstance(entries, list) else ():
        if isinstance(one, dict) and one.get("name") == name and isinstance(one.get(kind), dict):
            found: dict[str, Any] = one[kind]
            return found
    raise _refused(f"has no {kind} {visible(bounds.cut(repr(name), bounds.VALUE))}; {fix}")


def _refused(words: str) -> ConfigurationError:
    return ConfigurationError([Problem("KUBECONFIG", words)])
