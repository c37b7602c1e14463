"""Programs and addresses as the controller opens them."""

from __future__ import annotations

from typing import cast

from controller.adapters.command.platform import CommandPlatform, Means
from controller.adapters.command.settings import CommandSettings
from controller.adapters.http import httpx
from controller.config.platform import Opening
from controller.core.problems import ConfigurationError, Problem


def open_command(opening: Opening) -> CommandPlatform:
    """Raises ConfigurationError: a variable of the HTTP client's cannot be used."""
    access = cast("CommandSettings", opening.access)
    means = Means(access.variables, opening.clock, opening.may_act, opening.mask)
    try:
        return CommandPlatform(means, opening.policy)
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        variables = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR"
        problem = f"one of them cannot be used ({type(error).__name__}); unset or fix it"
        raise ConfigurationError([Problem(variables, problem)]) from None
