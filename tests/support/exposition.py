"""The Prometheus text of /metrics, read by prometheus-client's own parser."""

from __future__ import annotations

from typing import TypeAlias

from prometheus_client.parser import text_string_to_metric_families

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Name and value of each, in the order of their names."""


def samples_of(text: str) -> dict[str, dict[Labels, float]]:
    """By name and labels."""
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value_of(text: str, name: str, /, **labels: str) -> float | None:
    """None: there is no such sample."""
    return samples_of(text).get(name, {}).get(tuple(sorted(labels.items())))
