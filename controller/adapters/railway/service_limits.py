"""Reads a service's draining time and the request quota from Railway, once, for a simulation."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from controller.adapters.clock import SystemClock
from controller.adapters.http import httpx
from controller.adapters.railway import SOURCE
from controller.adapters.railway.client import RailwayClient
from controller.adapters.railway.platform import RailwayPlatform
from controller.adapters.railway.settings import RailwaySettings
from controller.core.ports import Unavailable
from controller.core.units import in_words

_HOUR_S = 3600.0


class ServiceLimits(NamedTuple):
    """drain_s: the service's drainingSeconds. requests_an_hour: Railway's quota for the token."""

    drain_s: float
    requests_an_hour: int


async def service_limits(access: RailwaySettings, service: str, *, within_s: float) -> ServiceLimits:
    """One reading of the environment.

    Raises:
        Unavailable: the service cannot be read within `within_s` seconds.
    """
    try:
        client = RailwayClient(access.api_url, access.token, SystemClock())
    except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
        raise Unavailable(SOURCE, f"cannot be asked ({type(error).__name__}: check the proxy settings)") from None
    try:
        async with asyncio.timeout(within_s):
            platform = RailwayPlatform(client, project=access.project_id, environment=access.environment_id)
            reading = (await platform.observe([service]))[service]
    except TimeoutError:
        raise Unavailable(SOURCE, f"did not answer within {in_words(within_s)}") from None
    finally:
        await client.close()
    if isinstance(reading, Unavailable):
        raise reading
    told = client.budget.told
    return ServiceLimits(reading.draining_s, round(told.requests * _HOUR_S / told.window_s))
