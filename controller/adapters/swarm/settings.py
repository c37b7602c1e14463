"""Where the Engine is, from the variables that Docker's own tools read: DOCKER_HOST and those of its TLS.

SWARM declares all that other rooms need to know of them: a variable of Swarm's is a row here and nowhere else.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from controller.adapters.swarm import SOURCE
from controller.config.platform import PlatformSettings, change_timeout
from controller.config.settings import EnvironmentReader
from controller.config.variables import EnvironmentVariable
from controller.core.problems import ConfigurationError, Problem

DEFAULT_HOST = "unix:///var/run/docker.sock"
CERTIFICATES = ("ca.pem", "cert.pem", "key.pem")
"""The files in DOCKER_CERT_PATH: whom to trust, and who we are."""
_VARIABLES = (
    EnvironmentVariable(
        "DOCKER_HOST",
        "a manager's Engine: `unix:///PATH` of its socket, or `tcp://HOST:PORT`",
        f"`{DEFAULT_HOST}`",
        see="swarm.md",
        holds="address",
    ),
    EnvironmentVariable(
        "DOCKER_TLS_VERIFY", "any value: `tcp://` with TLS, and the Engine's certificate is verified", see="swarm.md"
    ),
    EnvironmentVariable(
        "DOCKER_CERT_PATH",
        f"folder of {', '.join(f'`{one}`' for one in CERTIFICATES)} for it",
        "`~/.docker`",
        see="swarm.md",
    ),
    change_timeout("SWARM_TIMEOUT_MS", SOURCE.name),
)


@dataclass(frozen=True, slots=True)
class SwarmSettings:
    """socket: the path of a Unix socket; "": url is used. certificates: the folder of CERTIFICATES; None: no TLS."""

    socket: str = ""
    url: str = "http://docker"
    certificates: Path | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        return ()

    @property
    def shown(self) -> str:
        return self.socket or self.url


def load_swarm(environment: Mapping[str, str]) -> SwarmSettings:
    """Where the Engine is.

    Raises:
        ConfigurationError: names every malformed variable.
    """
    reader = EnvironmentReader(environment, [])
    host = reader.get("DOCKER_HOST") or DEFAULT_HOST
    with_tls = bool(reader.get("DOCKER_TLS_VERIFY"))
    found = SwarmSettings()
    if host.startswith("unix://"):
        found = _socket(reader, host.removeprefix("unix://"))
    elif (parts := _tcp(host)) is not None:
        certificates = _certificates(reader) if with_tls else None
        found = SwarmSettings(url=f"http{'s' if with_tls else ''}://{parts.netloc}", certificates=certificates)
    else:
        reader.refuse("DOCKER_HOST", _not_supported(host))
    if reader.problems:
        raise ConfigurationError(reader.problems)
    return found


def swarm_warnings(environment: Mapping[str, str]) -> Iterator[Problem]:
    """What works but should be changed: the API without TLS gives root on the machine to everyone who reaches it."""
    parts = _tcp(environment.get("DOCKER_HOST", "").strip())
    if parts is None or environment.get("DOCKER_TLS_VERIFY") or _is_near(parts.hostname or ""):
        return
    yield Problem(
        "DOCKER_HOST",
        "is tcp:// without TLS to another network: everyone who reaches that port controls the machine; set "
        "DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, or use a proxy of the socket that allows only what is needed",
    )


SWARM = PlatformSettings(
    name=SOURCE.name,
    target="swarm",
    variables=_VARIABLES,
    load=load_swarm,
    warnings=swarm_warnings,
    change_timeout="SWARM_TIMEOUT_MS",
    opens="controller.adapters.swarm.opening:open_swarm",
    checks="controller.doctor.swarm:check_swarm",
)


def _socket(reader: EnvironmentReader, path: str) -> SwarmSettings:
    if not path.startswith("/"):
        reader.refuse("DOCKER_HOST", f"has no absolute path after unix://; write it like {DEFAULT_HOST}")
    return SwarmSettings(socket=path)


def _certificates(reader: EnvironmentReader) -> Path:
    """The folder with the three files. Without them, TLS would reach an Engine and be refused by it."""
    written = Path(reader.get("DOCKER_CERT_PATH") or "~/.docker")
    try:
        folder = written.expanduser()
    except RuntimeError:  # ~ of a user who does not exist
        folder = written
    missing = [one for one in CERTIFICATES if not os.access(folder / one, os.R_OK)]
    if missing:
        reader.refuse(
            "DOCKER_CERT_PATH",
            f"is {folder}, where {' and '.join(missing)} cannot be read; put the files of Docker's TLS there",
        )
    return folder


def _not_supported(host: str) -> str:
    if host.startswith("ssh://"):
        return (
            "is ssh://, which is not supported; forward the socket (`ssh -NL /run/swarm.sock:/var/run/docker.sock "
            "HOST`) and write unix:///run/swarm.sock, or use tcp:// with TLS"
        )
    return f"must be unix:///PATH or tcp://HOST:PORT, for example {DEFAULT_HOST}"


def _tcp(host: str) -> SplitResult | None:
    try:
        parts = urlsplit(host)
        has_port = parts.port is not None
    except ValueError:
        return None
    plain = not parts.path.strip("/") and not parts.query and not parts.fragment and "@" not in parts.netloc
    return parts if parts.scheme == "tcp" and parts.hostname and has_port and plain else None


def _is_near(host: str) -> bool:
    """This machine, or a name within a container network, such as that of a proxy of the socket."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return "." not in host or host.endswith(".localhost")
