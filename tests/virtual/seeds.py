"""Many seeds, on several cores, added up."""

from __future__ import annotations

import gc
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from unittest.mock import patch

from controller.adapters.http import user_agent
from controller.adapters.kubernetes import client as kubernetes_client
from controller.adapters.railway import client as railway_client
from tests.virtual.episode import Result, run
from tests.virtual.kubernetes import Kubernetes
from tests.virtual.misfortunes import kinds
from tests.virtual.mutants import mutated
from tests.virtual.queue import EFFECTS
from tests.virtual.railway import Railway

_CHUNK = 20


@dataclass
class Sum:
    """The results of several episodes, added up."""

    seeds: int = 0
    platforms: Counter[str] = field(default_factory=Counter)
    """Seeds on each."""
    hits: Counter[str] = field(default_factory=Counter)
    mutations: int = 0
    intents: int = 0
    terms: int = 0
    moves: int = 0
    spread: int = 0
    fallbacks: int = 0
    overridden: int = 0
    scheduled: int = 0
    steps: int = 0
    fenced: int = 0
    rollouts: int = 0
    queries: Counter[str] = field(default_factory=Counter)
    simulated_s: float = 0.0
    violating: list[tuple[int, list[str]]] = field(default_factory=list)

    @property
    def faults(self) -> int:
        return self.hits.total()

    def count(self, result: Result) -> None:
        self.seeds += 1
        self.platforms[result.platform] += 1
        self.hits.update(result.hits)
        self.mutations += result.mutations
        self.intents += result.intents
        self.terms += result.terms
        self.moves += result.moves
        self.spread += result.spread
        self.fallbacks += result.fallbacks
        self.overridden += result.overridden
        self.scheduled += result.scheduled
        self.steps += result.steps
        self.fenced += result.fenced
        self.rollouts += result.rollouts
        self.queries.update(result.queries)
        self.simulated_s += result.simulated_s
        if result.violations:
            self.violating.append((result.seed, result.violations))

    def add(self, other: Sum) -> None:
        self.seeds += other.seeds
        self.platforms.update(other.platforms)
        self.hits.update(other.hits)
        self.mutations += other.mutations
        self.intents += other.intents
        self.terms += other.terms
        self.moves += other.moves
        self.spread += other.spread
        self.fallbacks += other.fallbacks
        self.overridden += other.overridden
        self.scheduled += other.scheduled
        self.steps += other.steps
        self.fenced += other.fenced
        self.rollouts += other.rollouts
        self.queries.update(other.queries)
        self.simulated_s += other.simulated_s
        self.violating += other.violating

    def why_vacuous(self) -> list[str]:
        """Events that happened too rarely for the absence of violations to mean anything."""
        unhurt = sorted(EFFECTS - self.queries.keys()) if self.seeds >= 20 else []
        known = {name for platform in self.platforms for name in kinds(platform)}
        missing = sorted(known - set(self.hits)) if self.seeds >= 100 else []
        on_railway, on_kubernetes = self.platforms[Railway.name], self.platforms[Kubernetes.name]
        return [
            *(f"no {name} at all" for name in missing),
            *([f"only {self.faults} faults"] if self.faults < 3 * self.seeds else []),
            *([f"only {self.mutations} mutations"] if self.mutations < self.seeds else []),
            *([f"only {self.terms} terms of leaders"] if self.terms < self.seeds else []),
            *([f"only {self.moves} moves of regions"] if self.moves < on_railway // 3 else []),
            *([f"only {self.spread} updates of several regions"] if self.spread < on_railway // 20 else []),
            *([f"only {self.fenced} changes refused by the fence"] if self.fenced < on_kubernetes // 5 else []),
            *([f"only {self.rollouts} rollouts"] if self.rollouts < on_kubernetes // 3 else []),
            *([f"only {self.fallbacks} fallbacks"] if self.fallbacks < self.seeds // 30 else []),
            *([f"only {self.overridden} overrides were acted by"] if self.overridden < self.seeds // 10 else []),
            *([f"only {self.steps} steps of budgets"] if self.steps < self.seeds // 10 else []),
            *([f"only {self.scheduled} changes by a schedule"] if self.scheduled < self.seeds // 10 else []),
            *(f"no reading of the queue was {what}" for what in unhurt),
        ]


def run_with(mutant: str | None, seed: int, *, with_trace: bool = False, platform: str | None = None) -> Result:
    with mutated(mutant):
        return run(seed, with_trace=with_trace, platform=platform)


def run_chunk(
    seeds: Sequence[int], mutant: str | None = None, *, undisturbed: bool = False, platform: str | None = None
) -> Sum:
    """Runs them one after the other in this process, without garbage collection while a world exists.

    platform: of all of them; None: of each as it is drawn.
    """
    total = Sum()
    was_on = gc.isenabled()
    gc.collect()
    gc.freeze()  # what is here already, a whole test run perhaps, need not be looked through each time
    gc.disable()
    try:
        with _quick_start(), mutated(mutant):
            for number, seed in enumerate(seeds):
                total.count(run(seed, undisturbed=undisturbed, platform=platform))
                if number % 10 == 9:
                    gc.collect()
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()
    return total


def run_seeds(seeds: range, *, mutant: str | None = None, jobs: int, platform: str | None = None) -> Iterator[Sum]:
    chunks = [seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK)]
    if jobs == 1:
        yield from map(partial(run_chunk, mutant=mutant, platform=platform), chunks)
        return
    with multiprocessing.Pool(jobs) as pool:
        yield from pool.imap_unordered(partial(run_chunk, mutant=mutant, platform=platform), chunks)


@contextmanager
def _quick_start() -> Iterator[None]:
    """Reading the package's version takes longer than a simulated minute, and each simulated process would do it."""
    agent = user_agent()
    with (
        patch.object(railway_client, "user_agent", lambda: agent),
        patch.object(kubernetes_client, "user_agent", lambda: agent),
    ):
        yield
