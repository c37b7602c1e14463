"""Docker Swarm as the controller opens it."""

from __future__ import annotations

from typing import cast

from controller.adapters.http import can_be_called
from controller.adapters.swarm.client import SwarmClient
from controller.adapters.swarm.platform import SwarmPlatform
from controller.adapters.swarm.settings import SwarmSettings
from controller.config.platform import Opening
from controller.core.problems import ConfigurationError, Problem


def open_swarm(opening: Opening) -> SwarmPlatform:
    """Raises ConfigurationError: the address or the files of TLS cannot be used."""
    access = cast("SwarmSettings", opening.access)
    if not can_be_called(access.url):
        raise ConfigurationError([Problem("DOCKER_HOST", "has a host name that does not exist")])
    try:
        client = SwarmClient(access, may_act=opening.may_act, timeout_s=opening.timeout_s)
    except OSError as error:  # ssl.SSLError is one
        problem = f"has files that cannot be used ({type(error).__name__}); are they PEM, and does the key fit?"
        raise ConfigurationError([Problem("DOCKER_CERT_PATH", problem)]) from None
    return SwarmPlatform(client, opening.policy)
