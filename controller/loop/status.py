"""What the server shows: the last cycle of each worker, what fails, and whether the loop turns.

The runner and a standby's watch write it, the server reads it. No I/O. Ages are measured on the monotonic clock, across
machines too: a publication says how old its figures are, never when they were read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from controller.core.ports import Clock
from controller.core.text import bounds
from controller.core.text.masking import Masker
from controller.loop.counts import Counts
from controller.loop.cycle import LONGEST_CYCLE_S, Cycle, Outcome
from controller.loop.faults import failing_after
from controller.loop.shadow_status import ShadowStatus
from controller.loop.worker_status import Publication, WorkerStatus
from controller.policy import Policy

OLDEST_S = 120.0
"""Figures older than this count as old even while cycles are stretched because the platform's requests run out. An
interval of the policy above a third of this has precedence."""


@dataclass
class ControllerStatus:
    """Of each worker, by its name: this replica's last cycle while it leads, and the leader's while it stands by.

    seen_at: when the figures were read, by this replica's monotonic clock. failing: what fails, by name, and since when
    by the leader's wall clock (see faults.failing_after). counts: of this replica's own cycles.
    """

    clock: Clock
    interval: float
    sources: tuple[str, ...]
    """Names of the dependencies, of which a fault may be known."""
    slower: Mapping[str, float] = field(default_factory=dict)
    """By worker: the timeout of its queue in seconds, if the policy sets one; its figures may be this much older."""
    mask: Masker = field(default_factory=Masker)
    """Masks all texts that are kept here, so that what is shown and published holds no secret."""
    pace: float = 0.0
    """Least seconds between two cycles while the platform's requests run out; 0 otherwise."""
    workers: dict[str, WorkerStatus] = field(default_factory=dict)
    seen_at: dict[str, float] = field(default_factory=dict)
    failing: dict[str, dict[str, float]] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    policy: str = ""
    """The digest of this replica's policy and of the files that it names; published, so that replicas with different
    ones are noticed."""
    leader_policy: str = ""
    """That of the leader, while this replica stands by; "": unknown."""
    changes: int = 0
    """Increases with each change of the fields above."""
    _taken: dict[str, str] = field(default_factory=dict)
    _began: float = field(init=False)
    _last_turn: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self._last_turn = self.clock.monotonic()

    def put(self, cycle: Cycle) -> None:
        """This replica's newest cycle of a worker."""
        self.changes += 1
        self.leader_policy = ""
        self._taken.pop(cycle.worker, None)
        new = WorkerStatus.from_json(self.mask.value(cycle.to_json()))
        if cycle.queue is None or cycle.outcome in {Outcome.FAILED, Outcome.CRASHED, Outcome.FENCED}:
            # What could not be read keeps its last known figure; the outcome says that it is old.
            new = new.with_old(self.workers.get(cycle.worker))
        else:
            self.seen_at[cycle.worker] = self.clock.monotonic()
        self.workers[cycle.worker] = new
        self.failing[cycle.worker] = failing_after(self.failing.get(cycle.worker, {}), cycle, cycle.at)
        self.counts.cycle(cycle, self.clock.monotonic(), max(3 * self.interval, 3 * self.pace) + 1)

    def put_shadow(self, worker: str, shadow: ShadowStatus) -> None:
        """What the shadow policy says to the newest cycle; nothing if the worker has no cycle yet."""
        if worker in self.workers:
            masked = replace(shadow, message=self.mask.text(shadow.message))
            self.workers[worker] = replace(self.workers[worker], shadow=masked)

    def take_over(self, published: Mapping[str, str], age_s: float | None) -> list[str]:
        """The leader's numbers, as it left them in Redis `age_s` ago. Returns what of them could not be read.

        An entry that cannot be read is ignored, and a malformed figure is left out. Numbers of an unknown age, and
        those of an entry that is malformed in part, are shown and count as old.
        """
        now = self.clock.monotonic()
        notes: list[str] = []
        for worker, text in published.items():
            if self._taken.get(worker) == text:
                continue  # the same publication: as old as it was, plus the time since
            if len(text) > bounds.PUBLISHED:
                continue  # no leader publishes that much of a worker
            try:
                entry = Publication.from_text(text, self.mask, self.sources)
            except ValueError as unreadable:
                notes.append(f"the entry of {worker} {unreadable}; it is ignored")
                continue
            if entry.status.malformed:
                names = ", ".join(entry.status.malformed)
                notes.append(f"the entry of {worker} is malformed at {names}; the rest of it is shown")
            self.changes += 1
            self.workers[worker] = entry.status
            self.failing[worker] = dict(entry.failing)
            self.leader_policy = entry.policy
            self._taken[worker] = text
            if entry.age_s is None or age_s is None:
                self.seen_at.pop(worker, None)
            else:
                self.seen_at[worker] = now - max(0.0, age_s) - entry.age_s
        return notes

    def to_publish(self) -> dict[str, str]:
        """By worker, what the standbys are to show."""
        return {
            worker: Publication(last, self.age(worker), self.failing.get(worker, {}), self.policy).to_text()
            for worker, last in self.workers.items()
        }

    def serve(self, policy: Policy, slower: Mapping[str, float], digest: str = "") -> None:
        """Shows the workers of this policy from now on, and no other. digest: "" for that of the policy alone."""
        self.interval, self.slower, self.policy = policy.interval, slower, digest or policy.digest
        for of_worker in (self.workers, self.seen_at, self.failing, self._taken):
            for name in of_worker.keys() - policy.workers.keys():
                del of_worker[name]
        self.counts.serve(policy.workers)
        self.changes += 1

    def turned(self) -> None:
        """The loop has turned once more, successfully or not."""
        self.changes += 1
        self._last_turn = self.clock.monotonic()

    @property
    def turned_at(self) -> float:
        """Wall time of the last turn."""
        return self._wall_of(self._last_turn)

    @property
    def lag_s(self) -> float:
        """For how many seconds longer than the interval the loop has not turned; it also turns while it waits."""
        return max(0.0, self.clock.monotonic() - self._last_turn - self.interval)

    @property
    def stands_still(self) -> bool:
        """Whether the loop has stopped turning, which only a restart fixes.

        A slow cycle is no standstill: it is given up after LONGEST_CYCLE_S, and the loop turns on.
        """
        return self.clock.monotonic() - self._last_turn > self.interval + LONGEST_CYCLE_S + 30

    def age(self, worker: str) -> float | None:
        """Seconds since the figures were read; None: unknown, or never read."""
        seen = self.seen_at.get(worker)
        return None if seen is None else max(0.0, self.clock.monotonic() - seen)

    def is_old(self, worker: str) -> bool:
        """Older than three cycles, or than OLDEST_S, plus the timeout of its queue; an unknown age counts as old."""
        age = self.age(worker)
        return age is None or age > self._patience + self.slower.get(worker, 0.0)

    def last_seen(self, worker: str) -> float:
        """Wall time of the figures; if none were ever read, of the start of this process."""
        return self._wall_of(self.seen_at.get(worker, self._began))

    def _wall_of(self, monotonic: float) -> float:
        return self.clock.wall() - (self.clock.monotonic() - monotonic)

    @property
    def _patience(self) -> float:
        unstretched = 3 * self.interval + 5
        return max(unstretched, min(3 * self.pace + 5, OLDEST_S))
