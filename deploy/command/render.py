#!/usr/bin/env python3
"""Render: scales a service, down to suspended. Needs scaling.py beside it.

    web:
      command:
        name: shop-worker
        read: [/opt/scale/render.py, read, srv-abc123]        # the service's id, as in its address in the dashboard
        scale: [/opt/scale/render.py, scale, srv-abc123]
        environment: [RENDER_API_KEY]
        timeout: 30s

Render takes 1 to 100 instances, so 0 is: suspended. It ignores the count while its own autoscaling is on: that is
refused. Two requests a reading; Render allows 100 a minute for each user, so at 10 s up to 8 workers.
"""

import os
from typing import Any

from scaling import REFUSED, Api, Failed, one_by_one, run, secret

DRAINING_S = 30
"""From SIGTERM to SIGKILL, unless the service sets maxShutdownDelaySeconds."""


class Service:
    """A background worker, private service or web service."""

    def __init__(self, service: str) -> None:
        self.path = f"/services/{service}"
        self.seen: dict[str, Any] = {}
        self.api = Api(os.environ.get("RENDER_API_URL", "https://api.render.com/v1"), secret("RENDER_API_KEY"))

    def read(self) -> dict[str, Any]:
        self.seen = self.api.ask("GET", self.path)
        running = len(self.api.ask("GET", f"{self.path}/instances"))
        return {
            "configured": 0 if self.is_suspended else self.seen["serviceDetails"]["numInstances"],
            "running": running,
            "draining": self.seen["serviceDetails"].get("maxShutdownDelaySeconds") or DRAINING_S,
        }

    def scale(self, desired: int) -> None:
        """A service is left with 1 before it is suspended: so it resumes with 1, not with all that it once had."""
        details = self.seen["serviceDetails"]
        if (details.get("autoscaling") or {}).get("enabled"):
            raise Failed("Render's own autoscaling is on and ignores the count; turn it off", REFUSED)
        steps: list[tuple[str, Any]] = [("resume", None)] if self.is_suspended and desired else []
        if details["numInstances"] != max(1, desired):
            steps.append(("scale", {"numInstances": max(1, desired)}))
        if not desired:
            steps.append(("suspend", None))
        one_by_one(lambda step: self.api.ask("POST", f"{self.path}/{step[0]}", step[1]), steps)

    @property
    def is_suspended(self) -> bool:
        return bool(self.seen["suspended"] == "suspended")


if __name__ == "__main__":
    run(Service, "SERVICE")
