"""The data of a Redis server, and the commands that our scripts use, within one atomic step at the time `now`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Store:
    run_id: str
    now: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)

    def copy(self) -> Store:
        data = {key: dict(held) if isinstance(held, dict) else held for key, held in self.data.items()}
        return Store(self.run_id, self.now, data, dict(self.ends))

    def value(self, key: str) -> Any:
        end = self.ends.get(key)
        if end is not None and end <= self.now:
            self.delete(key)
        return self.data.get(key)

    def get(self, key: str) -> str | None:
        value: str | None = self.value(key)
        return value

    def set(self, key: str, value: str, *, px: int | None = None) -> None:
        self.data[key] = value
        self.ends.pop(key, None)
        if px is not None:
            self.ends[key] = self.now + px

    def delete(self, key: str) -> int:
        self.ends.pop(key, None)
        return 0 if self.data.pop(key, None) is None else 1

    def pexpire(self, key: str, milliseconds: int) -> int:
        if self.value(key) is None:
            return 0
        if milliseconds <= 0:
            self.delete(key)
        else:
            self.ends[key] = self.now + milliseconds
        return 1

    def pttl(self, key: str) -> int:
        if self.value(key) is None:
            return -2
        return self.ends[key] - self.now if key in self.ends else -1

    def hash(self, key: str) -> dict[str, str]:
        return self.value(key) or {}

    def hget(self, key: str, name: str) -> str | None:
        return self.hash(key).get(name)

    def hset(self, key: str, **fields: str) -> None:
        if self.value(key) is None:
            self.data[key] = {}
        self.data[key].update(fields)

    def hsetnx(self, key: str, name: str, value: str) -> None:
        if self.hget(key, name) is None:
            self.hset(key, **{name: value})

    def hdel(self, key: str, *names: str) -> None:
        held = self.value(key)
        if held is None:
            return
        for name in names:
            held.pop(name, None)
        if not held:
            self.delete(key)

    def members(self, key: str) -> list[str]:
        """Of a sorted set, by score and then by name."""
        held: dict[str, float] = self.value(key) or {}
        return sorted(held, key=lambda member: (held[member], member))

    def zadd(self, key: str, score: float, member: str) -> None:
        if self.value(key) is None:
            self.data[key] = {}
        self.data[key][member] = score
