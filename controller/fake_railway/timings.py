"""How long things take on Railway, in seconds."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Timings:
    """The defaults are near measurements of the real API; a test or a demo runs the same states with `scaled(0.01)`."""

    queued: float = 1.0
    """A new deployment reads INITIALIZING, without instances."""
    placing: float = 0.8
    """It reads DEPLOYING, still without instances."""
    initializing: float = 1.3
    """An instance reads INITIALIZING."""
    created: float = 1.4
    """An instance reads CREATED, then its process starts and it reads RUNNING."""
    settling: float = 5.5
    """All instances run and the deployment still reads DEPLOYING, then SUCCESS."""
    handover: float = 3.0
    """From a deployment's SUCCESS to its predecessor's REMOVING; the configured overlap is added."""
    removing: float = 2.0
    """A deployment or an instance reads REMOVING at least this long."""
    stopping: float = 4.0
    """From an accepted stop (the signal goes out at once) to the report that says so."""
    restarting: float = 2.0
    """From an accepted restart to the first RUNNING."""
    crashed: float = 1.0
    """A crashed instance reads CRASHED before it is restarted."""
    revived: float = 1.0
    """It then reads RESTARTING."""
    forgotten: float = 30.0
    """A REMOVED instance stays in its deployment's list."""
    second: float = 1.0
    """What a configured second of draining or overlap takes."""

    def scaled(self, factor: float) -> Timings:
        return replace(self, **{each.name: getattr(self, each.name) * factor for each in fields(self)})
