"""Which service of Railway's `autoscaler init` proposes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.cli.init_text import SERVICE_VARIABLE, short
from controller.core.ports import Unavailable
from controller.core.problems import ConfigurationError, Problem

_WORKER = re.compile(r"work|job|queue|consum|celery|sidekiq|render|process|runner|background", re.IGNORECASE)
_NO_WORKER = re.compile(r"autoscal|postgres|redis|mysql|mongo|pgbouncer|scheduler|cron", re.IGNORECASE)
_MOST_LISTED = 12
_ID = re.compile(r"[\w-]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Chosen:
    """ident: None: the variable names it. comments: for the file. said: for the person."""

    ident: str | None
    remark: str
    comments: tuple[str, ...] = ()
    said: tuple[str, ...] = ()


async def service_of(environment: Mapping[str, str], given: str | None) -> Chosen:
    """The worker's service: the one that is given, or the only one that is named like a worker."""
    if given is not None and not _ID.fullmatch(given):
        raise ConfigurationError([Problem("--service", "is not an id; find it in the dashboard's address")])
    names, why = await _names(environment)
    if given is not None:
        if names and given not in names:
            known = ", ".join(f"{short(name)} is {ident}" for ident, name in list(names.items())[:_MOST_LISTED])
            raise ConfigurationError([Problem("--service", f"{given} is not in this environment; {known}")])
        return Chosen(given, f"{short(names[given])} on Railway" if names else "the Railway service to scale")
    unset = f"{SERVICE_VARIABLE} is the id of the Railway service to scale"
    if not names:
        return Chosen(None, "an environment variable: the id of the Railway service to scale", said=(why,) * bool(why))
    likely = {one: name for one, name in names.items() if _WORKER.search(name) and not _NO_WORKER.search(name)}
    if len(likely) == 1:
        ((ident, name),) = likely.items()
        if _ID.fullmatch(ident):
            said = f"Railway: service {short(name)} looks like the worker; --service ID takes another."
            return Chosen(ident, f"{short(name)} on Railway", said=(said,))
    listed = likely or names
    comments = [f"{short(name)} is {short(ident)}" for ident, name in list(listed.items())[:_MOST_LISTED]]
    if len(listed) > _MOST_LISTED:
        comments.append(f"and {len(listed) - _MOST_LISTED} more")
    what = f"{len(listed)} services look like workers" if likely else "no service is named like a worker"
    said = f"Railway: {what}, so {unset}; --service ID writes one into the policy."
    return Chosen(None, "an environment variable: one of these ids on Railway", tuple(comments), (said,))


async def _names(environment: Mapping[str, str]) -> tuple[Mapping[str, str], str]:
    """The environment's services, by id; and why they are unknown."""
    from controller.adapters.railway.settings import RAILWAY, railway_if_set

    settings = railway_if_set(environment)
    if settings is None:
        if not any(environment.get(name) for name in RAILWAY.names("token")):
            return {}, ""
        problems = _problems(environment)
        return {}, f"Railway was not asked for services: {problems}"
    from controller.adapters.clock import SystemClock
    from controller.adapters.railway.client import RailwayClient
    from controller.adapters.railway.platform import RailwayPlatform

    client = RailwayClient(settings.api_url, settings.token, SystemClock())
    try:
        platform = RailwayPlatform(client, project=settings.project_id, environment=settings.environment_id)
        return await platform.services(), ""
    except Unavailable as unavailable:
        return {}, f"{unavailable}; so the policy takes the service's id from {SERVICE_VARIABLE}"
    finally:
        await client.close()


def _problems(environment: Mapping[str, str]) -> str:
    from controller.adapters.railway.settings import load_railway

    try:
        load_railway(environment)
    except ConfigurationError as error:
        problems: Sequence[Problem] = error.problems
        return "; ".join(map(str, problems))
    return ""
