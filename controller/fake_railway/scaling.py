"""Changes of a service's configuration, and what each mode makes of them.

The count can be written in two ways: `numReplicas` with `region` (flat, about one region), and `multiRegionConfig` (a
map of regions). Stored are both, and the map decides where it is there. What a change does to the running deployment
has changed at Railway (in 2026-02), so it is a switch (Mode): the controller has to get along with each, without being
told which it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.fake_railway import config
from controller.fake_railway.errors import invalid_input
from controller.fake_railway.state import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.fake_railway.lifecycle import Lifecycle
    from controller.fake_railway.state import Service


class Scaling:
    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle

    def update_instance(self, service: Service, change: Mapping[str, Any], *, limit: int | None = None) -> None:
        """serviceInstanceUpdate: counts take effect as the mode says, everything else with the next deployment."""
        wanted = _counts_after(service, change, keep_omitted=service.switches.keeps_omitted_regions)
        _store(service, change)
        self._scale(service, wanted, change, limit)

    def commit(
        self, services: list[tuple[Service, dict[str, Any]]], *, deploys: bool = True, limit: int | None = None
    ) -> None:
        """An environment patch: a merge, in which null drops a region. Refused as a whole or applied as a whole."""
        wanted = [_counts_after(service, change, keep_omitted=True) for service, change in services]
        for (service, change), count in zip(services, wanted, strict=True):
            _store(service, change)
            self._scale(service, count, change, limit)
            if deploys and set(change) - config.SCALING_KEYS and service.current is not None:
                self._lifecycle.deploy(service)

    def _scale(
        self, service: Service, wanted: dict[str, int] | None, change: Mapping[str, Any], limit: int | None
    ) -> None:
        allowed = None if wanted is None else _within_limit(service, wanted, limit)
        if allowed is None:
            return
        flat = "multiRegionConfig" not in change
        if flat:
            region = change.get("region") or next(iter(allowed))
            service.deploy["numReplicas"] = allowed.get(region, 1)
        if not flat or service.deploy.get("multiRegionConfig"):
            service.deploy["multiRegionConfig"] = config.as_map(allowed)
        if flat and service.switches.flat_redeploys and service.current is not None:
            self._lifecycle.deploy(service)
        else:
            self._honour(service, allowed)

    def _honour(self, service: Service, wanted: dict[str, int]) -> None:
        current = service.current
        if current is None or service.switches.mode is Mode.NOOP_UNTIL_DEPLOY:
            return
        if service.switches.mode is Mode.REDEPLOY:
            self._lifecycle.deploy(service)
            return
        if service.switches.moves_need_a_deploy and not current.target.keys() >= wanted.keys():
            return
        before = sum(current.target.values())
        current.target = dict(wanted)
        if service.switches.meta_in_place:
            current.manifest["multiRegionConfig"] = config.as_map(wanted)
        if service.switches.mode is Mode.DEPLOYLESS:
            self._lifecycle.settle(current)
        elif sum(wanted.values()) > before and not current.halted:
            self._lifecycle.add_one_that_crashes(current, next(iter(wanted)))


def _counts_after(service: Service, change: Mapping[str, Any], *, keep_omitted: bool) -> dict[str, int] | None:
    """None where the change is not about replicas. Refuses before anything is stored."""
    try:
        if change.get("numReplicas") is not None:
            flat = config.check_flat(change["numReplicas"])
        if change.get("multiRegionConfig") is not None:
            existing = config.counts(service.deploy)
            return config.with_regions(existing, change["multiRegionConfig"], keep_omitted=keep_omitted)
    except config.InvalidInputError as refused:
        raise invalid_input(str(refused), service.switches.bad_input_code) from refused
    if change.get("numReplicas") is not None:
        # The flat number is about one region, whichever the service is configured for.
        regions = config.counts(service.deploy)
        others = regions if service.deploy.get("multiRegionConfig") else {}
        return {**others, (change.get("region") or next(iter(regions))): flat}
    if change.get("cronSchedule"):
        # As on the real Railway: a schedule resets the replicas.
        return {next(iter(config.counts(service.deploy))): 1}
    return None


def _store(service: Service, change: Mapping[str, Any]) -> None:
    service.deploy.update({key: value for key, value in change.items() if key not in config.SCALING_KEYS})


def _within_limit(service: Service, wanted: dict[str, int], limit: int | None) -> dict[str, int] | None:
    """More than the plan, a volume or a schedule allows is clamped, or ignored (None), silently in both cases."""
    allowed = service.replica_limit if limit is None else limit
    if sum(wanted.values()) <= allowed:
        return wanted
    return None if service.switches.over_limit == "ignore" else config.clamped(wanted, allowed)
