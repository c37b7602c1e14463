"""How long things take in a cluster, in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timings:
    """The defaults are those of a small image that is on the node already; a test scales them down."""

    ready: float = 2.0
    """From a pod's creation to its readiness."""
    ending: float = 1.5
    """From a pod's deletion to its end: a worker that stops when it is told to."""
    backs_off: float = 1.0
    """From a pod's creation to its first CrashLoopBackOff or ImagePullBackOff."""

    def scaled(self, factor: float) -> Timings:
        return Timings(self.ready * factor, self.ending * factor, self.backs_off * factor)
