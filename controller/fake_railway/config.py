"""The arithmetic of replica counts: pure, and strict where Railway is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

HARD_CAP = 50
"""Railway's limit over all regions, for every plan."""
DEFAULT_REGION = "us-west2"
SCALING_KEYS = frozenset({"numReplicas", "multiRegionConfig"})


class InvalidInputError(ValueError):
    """Carries the name of the field that Railway complains about."""


def counts(deploy: Mapping[str, Any]) -> dict[str, int]:
    """Replicas per region; the map counts; the flat number only counts without a map."""
    regions = deploy.get("multiRegionConfig")
    if regions:
        return {name: each["numReplicas"] for name, each in regions.items()}
    return {deploy.get("region") or DEFAULT_REGION: deploy.get("numReplicas") or 1}


def as_map(replicas: Mapping[str, int]) -> dict[str, dict[str, int]]:
    return {region: {"numReplicas": number} for region, number in replicas.items()}


def check_flat(number: Any) -> int:
    if not isinstance(number, int) or number < 1:
        raise InvalidInputError("numReplicas")
    return number


def with_regions(existing: Mapping[str, int], change: Any, *, keep_omitted: bool) -> dict[str, int]:
    """The counts after a change of the map: null drops a region; zero does not."""
    if not isinstance(change, dict):
        raise InvalidInputError("multiRegionConfig")
    result = dict(existing) if keep_omitted else {}
    for region, wish in change.items():
        if wish is None:
            result.pop(region, None)
        else:
            result[region] = _number(wish)
    if not result:
        # Railway's answer to a map without a region is not documented.
        raise InvalidInputError("multiRegionConfig")
    return result


def _number(wish: Any) -> int:
    number = wish.get("numReplicas") if isinstance(wish, dict) else None
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise InvalidInputError("multiRegionConfig")
    return number


def clamped(replicas: Mapping[str, int], limit: int) -> dict[str, int]:
    """At most `limit` in all, taken from the last region first."""
    result = dict(replicas)
    for region in reversed(list(result)):
        excess = sum(result.values()) - limit
        if excess <= 0:
            break
        result[region] = max(result[region] - excess, 0)
    return {region: number for region, number in result.items() if number}


def overridden(deploy: Mapping[str, Any], config_file: Mapping[str, Any]) -> dict[str, Any]:
    """What a new deployment gets: the file wins over the stored values, its flat number over their map too."""
    result = {**deploy, **config_file}
    if "numReplicas" in config_file and "multiRegionConfig" not in config_file:
        region = next(iter(counts(deploy)))
        result["multiRegionConfig"] = as_map({region: config_file["numReplicas"]})
    return result


def merged(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge that keeps nulls: they mean something later, when the patch is applied."""
    result = dict(base)
    for key, value in patch.items():
        known = result.get(key)
        result[key] = merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return result
