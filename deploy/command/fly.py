#!/usr/bin/env python3
"""Fly Machines: starts and stops the machines of one process group. Needs scaling.py beside it.

    web:
      command:
        name: shop-worker
        read: [/opt/scale/fly.py, read, shop, worker, "30"]   # the app, the process group, its kill_timeout
        scale: [/opt/scale/fly.py, scale, shop, worker]
        environment: [FLY_API_TOKEN]                          # fly tokens create deploy
        timeout: 30s

No machine is created or destroyed: `fly scale count worker=5` makes them, and max_replicas must not be higher. Leave
auto_stop_machines and auto_start_machines off. Fly has no count, so `configured` is how many are started or starting;
a machine that ended by itself is not among them.
"""

import os
from collections import Counter
from typing import Any

from scaling import REFUSED, Api, Failed, one_by_one, run, seconds, secret

ON, OFF = {"started", "starting", "restarting"}, {"stopped", "suspended", "created"}


class ProcessGroup:
    """The machines of an app with the metadata fly_process_group=GROUP."""

    def __init__(self, app: str, group: str, draining: str = "5") -> None:
        self.path, self.group, self.draining = f"/v1/apps/{app}/machines", group, seconds(draining)
        self.machines: list[dict[str, Any]] = []
        self.api = Api(os.environ.get("FLY_API_HOSTNAME", "https://api.machines.dev"), secret("FLY_API_TOKEN"))

    def read(self) -> dict[str, Any]:
        self.machines = [one for one in self.api.ask("GET", self.path) if self.is_ours(one)]
        if not self.machines:
            raise Failed(f"no machine has fly_process_group={self.group}", REFUSED)
        states = Counter(one["state"] for one in self.machines)
        return {
            "configured": sum(states[state] for state in ON),
            "running": states["started"],
            "alive": sum(states[state] for state in (*ON, "stopping", "suspending")),
            "draining": self.draining,
        }

    def scale(self, desired: int) -> None:
        """The oldest are started first. Of those to stop, first the ones that have not started yet, then the newest."""
        self.machines.sort(key=lambda one: (one["state"] != "started", one["created_at"], one["id"]))
        on, off = ([one["id"] for one in self.machines if one["state"] in states] for states in (ON, OFF))
        if desired > len(on) + len(off):
            raise Failed(f"{self.group} has {len(on) + len(off)} machines, {desired} wanted: fly scale count", REFUSED)
        calls = [f"{one}/start" for one in off[: max(0, desired - len(on))]] + [f"{one}/stop" for one in on[desired:]]
        one_by_one(lambda call: self.api.ask("POST", f"{self.path}/{call}"), calls)

    def is_ours(self, machine: dict[str, Any]) -> bool:
        metadata = (machine.get("config") or {}).get("metadata") or {}
        return bool(metadata.get("fly_process_group") == self.group)


if __name__ == "__main__":
    run(ProcessGroup, "APP GROUP [DRAINING]")
