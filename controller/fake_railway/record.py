"""What the fake received: every mutation with its result, and the latest requests.

Every mutation is kept, since tests ask for all of them; of the requests only the newest, since a controller reads all
day.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT_REQUESTS = 200
"""The newest requests at /requests."""


@dataclass
class Mutation:
    """One root field of one request. The names are those of the JSON at /mutations."""

    n: int
    at: str
    at_s: float
    operation: str | None
    mutation: str
    caller: str
    variables: dict[str, Any]
    epoch: int | None = None
    intent: str | None = None
    """Who sent it and for which decision, by the headers that the autoscaler adds."""
    effect: str = "none"
    service: str | None = None
    from_: int | None = None
    to: int | None = None
    deployment: str | None = None
    applied: bool = False
    """It was carried out as asked."""
    applied_at_s: float | None = None
    """When; later than it came where it was ordered to be late."""
    answered: bool = False
    """An answer went out, if only an error."""

    def as_json(self) -> dict[str, Any]:
        return {key.rstrip("_"): value for key, value in asdict(self).items()}


@dataclass
class Record:
    mutations: list[Mutation] = field(default_factory=list)
    by_hand: list[dict[str, Any]] = field(default_factory=list)
    """A change in the dashboard, which is not a mutation of the API."""
    total: int = 0
    by_operation: Counter[str] = field(default_factory=Counter)
    by_status: Counter[int] = field(default_factory=Counter)
    latest: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT_REQUESTS))

    def request(self, operation: str | None) -> None:
        self.total += 1
        self.by_operation[operation or "(no operationName)"] += 1
        self.latest.append({"operationName": operation, "at": iso(datetime.now(UTC))})

    def mutation(
        self,
        operation: str | None,
        mutation: str,
        caller: str,
        variables: dict[str, Any],
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Mutation:
        now = datetime.now(UTC)
        entry = Mutation(len(self.mutations) + 1, iso(now), now.timestamp(), operation, mutation, caller, variables)
        epoch = headers.get("X-Autoscaler-Epoch", "")
        entry.epoch = int(epoch) if epoch.isascii() and epoch.isdigit() else None
        entry.intent = headers.get("X-Autoscaler-Intent")
        self.mutations.append(entry)
        return entry

    def hand(self, service: str, change: dict[str, Any]) -> None:
        self.by_hand.append({"at": iso(datetime.now(UTC)), "service": service, "change": change})

    def requests_as_json(self) -> dict[str, Any]:
        return {
            "total": self.total,
            "by_operation": dict(self.by_operation),
            "by_status": {str(status): count for status, count in self.by_status.items()},
            "latest": list(self.latest),
        }


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
