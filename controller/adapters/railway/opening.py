"""Railway as the controller opens it."""

from __future__ import annotations

import functools
from typing import cast

from controller.adapters.http import httpx
from controller.adapters.railway.client import RailwayClient
from controller.adapters.railway.platform import RailwayPlatform
from controller.adapters.railway.settings import RAILWAY, RailwaySettings
from controller.config.platform import Opening
from controller.core.problems import ConfigurationError, Problem


def open_railway(opening: Opening) -> RailwayPlatform:
    """Raises ConfigurationError: a variable of the HTTP client's cannot be used."""
    access, policy = cast("RailwaySettings", opening.access), opening.policy
    ids = {access.project_id, access.environment_id, *policy.on(RAILWAY.target)}
    try:
        client = RailwayClient(
            access.api_url,
            access.token,
            opening.clock,
            may_mutate=opening.may_act,
            timeout_s=opening.timeout_s,
            clean=functools.partial(opening.mask.json_text, ids=ids),
        )
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        variables = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR"
        problem = f"one of them cannot be used ({type(error).__name__}); unset or fix it"
        raise ConfigurationError([Problem(variables, problem)]) from None
    project, environment = access.project_id, access.environment_id
    return RailwayPlatform(client, project=project, environment=environment, interval_s=policy.interval)
