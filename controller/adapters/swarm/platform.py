"""Docker Swarm as a Platform: a list of services and a list of their tasks in each cycle, and one update for a change.

The update sends the whole spec of the reading back, with only the count changed, and with the version of that reading.
So it is refused if anything has changed the service since: another leader, a person, a deployment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

from pydantic import ValidationError

from controller.adapters.swarm import SOURCE, reading
from controller.adapters.swarm.client import SwarmClient
from controller.adapters.swarm.reading import Service, Task
from controller.core.model import Change, Replicas
from controller.core.ports import NotSent, Receipt, Refused, Unavailable
from controller.core.text import bounds
from controller.core.text.escaping import visible
from controller.policy import Policy, SwarmTarget

_AT_ONCE = 50
"""Services in one request, so that its answer stays within the client's limit."""


class SwarmPlatform:
    """Reads and scales services of one Swarm, by their names."""

    source = SOURCE

    def __init__(self, client: SwarmClient, policy: Policy) -> None:
        self.client = client
        self.serve(policy)

    def serve(self, policy: Policy) -> None:
        self._names = {key: cast("SwarmTarget", one.given).service for key, one in policy.on("swarm").items()}

    @property
    def sent(self) -> Mapping[tuple[str, str], int]:
        return self.client.sent

    async def close(self) -> None:
        await self.client.close()

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        wanted = {key: self._names[key] for key in services}
        names = sorted({*wanted.values()})
        found: dict[str, Replicas | Unavailable] = {}
        for first in range(0, len(names), _AT_ONCE):
            found |= await self._readings(names[first : first + _AT_ONCE])
        return {key: found[name] for key, name in wanted.items()}

    async def scale(self, service: str, change: Change, observed: Replicas) -> Receipt:
        del service  # the reading knows it by its id: another one may have its name by now
        at = reading.position(observed)
        if at.paused:
            raise Refused(SOURCE, at.paused)
        if at.held:
            raise NotSent(SOURCE, at.held)
        await self.client.update(at.service, at.version, reading.with_count(at.spec, change.after), change)
        return Receipt.ACCEPTED

    def requests(self) -> None:
        """A Swarm sets no limit."""
        return

    def chooser(self, service: str) -> None:
        """A Swarm chooses the tasks that go."""

    async def _readings(self, names: Sequence[str]) -> dict[str, Replicas | Unavailable]:
        """By name. The Engine's filter finds every service whose name begins with one of these."""
        found = _by(_name_of, await self.client.list("services", {"name": names}))
        services: dict[str, Service] = {}
        readings: dict[str, Replicas | Unavailable] = {}
        for name in names:
            if name not in found:
                readings[name] = _missing(name)
                continue
            try:
                services[name] = Service.model_validate(found[name][0])
            except ValidationError as error:
                readings[name] = _not_understood(name, error)
        tasks = await self._tasks([one.ID for one in services.values()])
        now = self.client.told_at
        short = [one.ID for one in services.values() if _is_short(one, tasks.get(one.ID, []), now)]
        ended = await self._tasks(short, reading.ENDING)
        return readings | {
            name: _replicas(one, [*tasks.get(one.ID, []), *ended.get(one.ID, [])], now)
            for name, one in services.items()
        }

    async def _tasks(self, ids: Sequence[str], desired: Sequence[str] = reading.SERVING) -> dict[str, list[Any]]:
        """By the service's id, as the Engine's JSON. A service that does not exist would make the Engine answer 404."""
        if not ids:
            return {}
        return _by(_service_of, await self.client.list("tasks", {"service": ids, "desired-state": desired}))


def _is_short(service: Service, tasks: Sequence[Any], now: float | None) -> bool:
    try:
        return reading.is_short(service, [Task.model_validate(one) for one in tasks], now)
    except ValueError:
        return False  # which its reading says


def _replicas(service: Service, tasks: Sequence[Any], now: float | None) -> Replicas | Unavailable:
    try:
        return reading.replicas(service, [Task.model_validate(one) for one in tasks], now)
    except ValidationError as error:
        return _not_understood(service.name, error)
    except ValueError as error:
        return Unavailable(SOURCE, f"service {service.name} cannot be scaled: {bounds.cut(str(error), bounds.WORDS)}")


def _by(key: Callable[[Any], Any], found: Sequence[Any]) -> dict[str, list[Any]]:
    """What has a key, by it; what has none belongs to no service that was asked for."""
    grouped: dict[str, list[Any]] = {}
    for one in found:
        if isinstance(name := key(one), str):
            grouped.setdefault(name, []).append(one)
    return grouped


def _name_of(service: Any) -> Any:
    spec = service.get("Spec") if isinstance(service, dict) else None
    return spec.get("Name") if isinstance(spec, dict) else None


def _service_of(task: Any) -> Any:
    return task.get("ServiceID") if isinstance(task, dict) else None


def _missing(name: str) -> Unavailable:
    return Unavailable(SOURCE, f"there is no service {name}; `docker service ls` lists their names")


def _not_understood(name: str, error: ValidationError) -> Unavailable:
    """Which field is wrong, without its value."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = visible(bounds.cut(".".join(map(str, first["loc"])), bounds.NAME))
    return Unavailable(SOURCE, f"answered in an unknown format: service {name} ({place}: {first['msg']})")
