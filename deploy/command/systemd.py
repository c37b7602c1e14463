#!/usr/bin/env python3
"""systemd: starts and stops instances of a template unit on this machine. Needs scaling.py beside it.

    web:
      command:
        name: shop-worker
        read: [/opt/scale/systemd.py, read, worker, "90"]     # worker@1.service and so on; their TimeoutStopSec
        scale: [/opt/scale/systemd.py, scale, worker]

worker@.service needs Restart=always, StartLimitIntervalSec=0 (otherwise one that crashes often stays failed, which is
no instance) and, if it exits with 143 on SIGTERM, SuccessExitStatus=143. As a user that is not root, allow it by a
polkit rule for org.freedesktop.systemd1.manage-units; for units of a user, add --user and environment:
[XDG_RUNTIME_DIR].
"""

import re
import subprocess
from typing import Any

from scaling import REFUSED, Failed, run, seconds

ON = {"active", "activating", "reloading", "refreshing"}
"""Of ActiveState. A unit that is started again after a crash is `activating`, with SubState=auto-restart."""
NOT_FOUND = 5
PATIENCE_S = 15


class Template:
    """NAME@.service. The lowest instances that do not run are started first, and the highest stopped first."""

    def __init__(self, name: str, draining: str = "90", *options: str) -> None:
        self.name, self.draining, self.options = name, seconds(draining), options
        self.on: list[int] = []

    def read(self) -> dict[str, Any]:
        """The pattern shows only units that are loaded; the first one is named, so that a missing template is seen."""
        properties = "--property=Id,LoadState,ActiveState,SubState"
        shown = self.systemctl("show", properties, f"{self.name}@*.service", f"{self.name}@1.service")
        units = [dict(line.split("=", 1) for line in unit.splitlines()) for unit in shown.strip().split("\n\n")]
        states = {int(number[1]): unit for unit in units if (number := re.search(r"@(\d+)\.service$", unit["Id"]))}
        if states[1]["LoadState"] != "loaded":
            raise Failed(f"{self.name}@1.service is {states[1]['LoadState']}", REFUSED)
        self.on = sorted(number for number, unit in states.items() if unit["ActiveState"] in ON)
        return {
            "configured": len(self.on),
            "running": sum(unit["ActiveState"] == "active" for unit in states.values()),
            "alive": sum(unit["ActiveState"] in {*ON, "deactivating"} for unit in states.values()),
            "crashed": sum(unit["SubState"].startswith("auto-restart") for unit in states.values()),
            "draining": self.draining,
        }

    def scale(self, desired: int) -> None:
        free = [number for number in range(1, desired + len(self.on) + 1) if number not in self.on]
        for verb, numbers in (("start", free[: max(0, desired - len(self.on))]), ("stop", self.on[desired:])):
            if numbers:
                self.systemctl(verb, "--no-block", *(f"{self.name}@{number}.service" for number in numbers))

    def systemctl(self, *words: str) -> str:
        try:
            ended = subprocess.run(
                ["systemctl", *self.options, *words], capture_output=True, text=True, timeout=PATIENCE_S, check=False
            )
        except FileNotFoundError:
            raise Failed("systemctl is not in PATH", REFUSED) from None
        except subprocess.TimeoutExpired:
            raise Failed(f"systemctl {words[0]} did not end within {PATIENCE_S} s") from None
        if ended.returncode:
            text = " ".join(ended.stderr.split()) or f"systemctl {words[0]} ended with {ended.returncode}"
            raise Failed(text, REFUSED if ended.returncode == NOT_FOUND else 1)
        return ended.stdout


if __name__ == "__main__":
    run(Template, "TEMPLATE [DRAINING] [--user]")
