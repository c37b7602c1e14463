"""Objects and their pods. What is due happens before each request, by the time that is handed in.

As in a cluster, each change of an object gives it a new resourceVersion, also one of its status alone. A change that
carries an older one is refused.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count, filterfalse
from typing import Any

from controller.fake_kubernetes.kinds import DEPLOYMENT, Kind
from controller.fake_kubernetes.timings import Timings

_COST = "controller.kubernetes.io/pod-deletion-cost"


def _cost(text: str) -> int:
    """The controller takes one that is no number for none."""
    try:
        return int(text)
    except ValueError:
        return 0


@dataclass
class Pod:
    name: str
    labels: dict[str, str]
    born: float
    ends: float | None = None
    """When it is gone; None: nobody deleted it."""
    annotations: dict[str, str] = field(default_factory=dict)
    revision: int = 1
    """Of the template that it was made from."""


@dataclass
class Workload:
    """Something that has pods.

    trouble: what keeps its pods from running: "crash", "exit", "image", "unschedulable", or "". quota: the most pods
    that it may have; None: no limit. paused: a rollout stands still, and scaling goes on. version: its resourceVersion.
    """

    kind: Kind
    namespace: str
    name: str
    replicas: int = 1
    trouble: str = ""
    quota: int | None = None
    grace_s: int = 30
    paused: bool = False
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    version: int = 1
    generation: int = 1
    revision: int = 1
    pods: list[Pod] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    born: float = 0.0
    _shown: tuple[int, ...] = ()
    _count: int = 0

    @property
    def labels(self) -> dict[str, str]:
        return {"app": self.name}

    @property
    def living(self) -> list[Pod]:
        return [pod for pod in self.pods if pod.ends is None]

    def ready(self, pod: Pod, now: float, timings: Timings) -> bool:
        return not self.trouble and pod.ends is None and now >= pod.born + timings.ready

    def ready_count(self, now: float, timings: Timings) -> int:
        return sum(self.ready(pod, now, timings) for pod in self.pods)

    def _new_pod(self, now: float) -> Pod:
        if self.has_ordinals:
            taken = {pod.name for pod in self.pods}
            name = next(filterfalse(taken.__contains__, (f"{self.name}-{number}" for number in count())))
        else:
            self._count += 1
            name = f"{self.name}-{self.revision}-{self._count:05d}"
        return Pod(name, self.labels, now, revision=self.revision)

    @property
    def has_ordinals(self) -> bool:
        return self.kind.kind == "StatefulSet"

    @property
    def updated(self) -> int:
        """Pods made from the newest template."""
        return sum(pod.revision == self.revision for pod in self.living)

    def advance(self, now: float, timings: Timings) -> bool:
        """Whether its status is another than before."""
        self.pods = [pod for pod in self.pods if pod.ends is None or pod.ends > now]
        extra = self._replace_the_old(now, timings)
        most = self.replicas + extra if self.quota is None else min(self.replicas + extra, self.quota)
        while len(self.living) < most:
            self.pods.append(self._new_pod(now))
        while len(self.living) > self.replicas + extra:
            self._end_one(self.living, now, timings)
        ready = self.ready_count(now, timings)
        shown = (self.generation, len(self.living), self.updated, ready, int(self.lacks_quota))
        changed, self._shown = shown != self._shown, shown
        return changed

    def _replace_the_old(self, now: float, timings: Timings) -> int:
        """One step of a rollout; how many pods it may have beside `replicas` now.

        A Deployment makes a new pod first (maxSurge 1, maxUnavailable 0; 25% of up to 4 is rounded to these), and a
        StatefulSet ends an old one first.
        """
        makes_first = not self.has_ordinals
        least_ready = self.replicas if makes_first else self.replicas - 1
        old = [] if self.paused else [pod for pod in self.living if pod.revision != self.revision]
        while old:
            are_ready = all(self.ready(pod, now, timings) for pod in old)
            if are_ready and self.ready_count(now, timings) <= least_ready:
                return 1 if makes_first else 0
            self._end_one(old, now, timings)
            old = [pod for pod in old if pod.ends is None]
        return 0

    def _end_one(self, pods: list[Pod], now: float, timings: Timings) -> None:
        """As a ReplicaSet chooses: one that is not ready, then the lowest deletion cost, then the youngest.

        A StatefulSet goes by the highest ordinal alone.
        """
        if self.has_ordinals:
            gone = max(pods, key=lambda pod: int(pod.name.rpartition("-")[2]))
        else:
            gone = min(
                pods,
                key=lambda pod: (self.ready(pod, now, timings), _cost(pod.annotations.get(_COST, "0")), -pod.born),
            )
        gone.ends = now + timings.ending

    @property
    def lacks_quota(self) -> bool:
        return self.quota is not None and len(self.living) < self.replicas


@dataclass
class Cluster:
    """All objects. now: set before each request; seconds, by any clock that only goes on."""

    timings: Timings = field(default_factory=Timings)
    workloads: dict[tuple[str, str, str], Workload] = field(default_factory=dict)
    scalers: list[dict[str, Any]] = field(default_factory=list)
    """HorizontalPodAutoscalers, as objects."""
    now: float = 0.0
    _version: int = 1000

    def add(self, name: str, *, kind: Kind = DEPLOYMENT, namespace: str = "default", replicas: int = 0) -> Workload:
        """One whose pods are ready already."""
        made = Workload(kind, namespace, name, replicas, born=self.now)
        self.workloads[kind.name, namespace, name] = made
        made.advance(self.now - 2 * self.timings.ready, self.timings)
        self.touch(made)
        self.advance(self.now)
        return made

    def advance(self, now: float) -> None:
        self.now = now
        for one in self.workloads.values():
            if one.advance(now, self.timings):
                self.touch(one)

    def touch(self, workload: Workload) -> None:
        """It was written."""
        self._version += 1
        workload.version = self._version

    def scale(self, workload: Workload, replicas: int) -> None:
        """The same count again writes nothing."""
        if replicas != workload.replicas:
            workload.replicas = replicas
            workload.generation += 1
            self.touch(workload)

    def roll_out(self, workload: Workload) -> None:
        """Its template was changed: new pods replace the old ones, bit by bit."""
        workload.revision += 1
        workload.generation += 1
        self.touch(workload)

    def of(self, kind: Kind, namespace: str | None = None) -> Iterator[Workload]:
        """All of that kind, in a namespace or in all of them."""
        for (name, place, _), one in self.workloads.items():
            if name == kind.name and namespace in {None, place}:
                yield one

    @property
    def version(self) -> str:
        return str(self._version)


def since(now: float, then: float) -> str:
    """The time of an event, as the API writes it; both by the cluster's clock."""
    at = datetime.now(UTC).timestamp() - (now - then)
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
