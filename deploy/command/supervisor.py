#!/usr/bin/env python3
"""supervisor: starts and stops processes of one program with numprocs on this machine. Needs scaling.py beside it.

    web:
      command:
        name: shop-worker
        read: [/opt/scale/supervisor.py, read, worker, "30"]  # [program:worker] or [group:worker]; its stopwaitsecs
        scale: [/opt/scale/supervisor.py, scale, worker]

[program:worker] needs numprocs=5 (max_replicas must not be higher), process_name=%(program_name)s_%(process_num)02d,
autostart=false, autorestart=true. Elsewhere than at /var/run/supervisor.sock: environment: [SUPERVISOR_URL], which is
unix:///PATH or http://USER:PASSWORD@HOST:9001.

Over XML-RPC, because supervisorctl waits for one process to end before it tells the next one to.
"""

import os
import socket
from collections import Counter
from http.client import HTTPConnection
from typing import Any
from xmlrpc.client import Error, ServerProxy, Transport

from scaling import NOT_NOW, REFUSED, Failed, one_by_one, run, seconds

ON, OFF = {"STARTING", "RUNNING", "BACKOFF"}, {"STOPPED", "EXITED", "FATAL"}
PATIENCE_S = 8


class OverSocket(Transport):
    """XML-RPC over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def make_connection(self, host: Any) -> HTTPConnection:
        connection = HTTPConnection(host)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(PATIENCE_S)
        connection.sock.connect(self.path)
        return connection


class Group:
    """The processes of a program or group. The first by name that do not run are started, and the last ones stopped."""

    def __init__(self, name: str, draining: str = "10") -> None:
        self.name, self.draining, self.states = name, seconds(draining), dict[str, str]()
        url = os.environ.get("SUPERVISOR_URL", "unix:///var/run/supervisor.sock")
        is_socket = url.startswith("unix://")
        self.server = ServerProxy(
            "http://localhost/RPC2" if is_socket else f"{url}/RPC2",
            OverSocket(url.removeprefix("unix://")) if is_socket else None,
        )

    def read(self) -> dict[str, Any]:
        found = [one for one in self.call("getAllProcessInfo") if one["group"] == self.name]
        if not found:
            raise Failed(f"there is no program or group {self.name}", REFUSED)
        found.sort(key=lambda one: (len(one["name"]), one["name"]))
        self.states = {one["name"]: one["statename"] for one in found}
        states = Counter(self.states.values())
        return {
            "configured": sum(states[state] for state in ON),
            "running": states["RUNNING"],
            "alive": states["RUNNING"] + states["STARTING"] + states["STOPPING"],
            "crashed": states["BACKOFF"],
            "draining": self.draining,
        }

    def scale(self, desired: int) -> None:
        if desired > len(self.states):
            raise Failed(f"{self.name} has {len(self.states)} processes, {desired} wanted: raise numprocs", REFUSED)
        on, off = ([name for name, state in self.states.items() if state in states] for states in (ON, OFF))
        if desired > len(on) + len(off):
            raise Failed(f"only {len(on) + len(off)} processes of {self.name} can run: others still end", NOT_NOW)
        # The last argument of a call is whether it waits until the process runs, or has ended.
        calls = [("startProcess", name) for name in off[: max(0, desired - len(on))]]
        calls += [("stopProcess", name) for name in reversed(on[desired:])]
        one_by_one(lambda call: self.call(call[0], f"{self.name}:{call[1]}", False), calls)

    def call(self, method: str, *given: Any) -> Any:
        try:
            return getattr(self.server.supervisor, method)(*given)
        except Error as error:  # supervisor refused it
            raise Failed(str(getattr(error, "faultString", error)), REFUSED) from None
        except OSError as error:
            raise Failed(f"supervisor cannot be reached: {error}") from None


if __name__ == "__main__":
    run(Group, "NAME [DRAINING]")
