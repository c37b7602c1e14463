"""What stands at the other end of the scripts in deploy/command: three APIs as they are documented, and a systemctl."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

TOKEN = "a-token-of-a-test"  # it opens nothing


@dataclass
class FakeApi:
    """fault: a method, and what its requests get instead: a status, `html`, `redirect`, `lost` or `hang`.

    spared: how many requests of that method are answered first.
    """

    fault: tuple[str, str] | None = None
    spared: int = 0
    requests: list[str] = field(default_factory=list)
    changes: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        answer = await self._faulty(request)
        if answer is not None:
            return answer
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.refuse(401, "Invalid credentials provided.")
        body = await request.json() if request.can_read_body else None
        answer = self.answer(request, request.path.strip("/").split("/"), body)
        if request.method != "GET" and answer.status < 300:
            self.changes += 1
        return answer

    async def _faulty(self, request: web.Request) -> web.Response | None:
        if self.fault is None or self.fault[0] != request.method:
            return None
        if self.spared:
            self.spared -= 1
            return None
        kind = self.fault[1]
        if kind == "hang":
            await asyncio.sleep(3600)
        if kind == "lost" and request.transport is not None:
            request.transport.abort()
        if kind in {"html", "lost"}:
            return web.Response(text="<html>bad gateway</html>")
        if kind == "redirect":
            return web.Response(status=302, headers={"Location": "https://elsewhere.example"})
        return self.refuse(int(kind), "as ordered")

    def refuse(self, status: int, text: str) -> web.Response:
        return web.json_response({"id": "some_id", "message": text}, status=status)

    def answer(self, request: web.Request, path: list[str], body: Any) -> web.Response:
        raise NotImplementedError

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


@dataclass
class FakeHeroku(FakeApi):
    """The app `shop`. A dyno that is new is `starting` in the first list that has it. is_listed: at 0, too."""

    counts: dict[str, int] = field(default_factory=lambda: {"one": 2, "two": 1})
    started: dict[str, int] = field(default_factory=lambda: {"one": 2, "two": 1})
    is_listed: bool = False

    def answer(self, request: web.Request, path: list[str], body: Any) -> web.Response:
        if request.headers["Accept"] != "application/vnd.heroku+json; version=3":
            return self.refuse(406, "set the Accept header")
        if path[:2] != ["apps", "shop"]:
            return self.refuse(404, "Couldn't find that app.")
        if path[2:] == ["dynos"]:
            return web.json_response(list(self._dynos()))
        shown = [
            {"type": kind, "quantity": count, "size": "standard-1X", "app": {"name": "shop"}}
            for kind, count in self.counts.items()
            if count or self.is_listed
        ]
        if request.method == "GET":
            return web.json_response(shown)
        if path[3] not in self.counts:
            return self.refuse(404, "Couldn't find that process type.")
        self.counts[path[3]] = body["quantity"]
        return web.json_response({"type": path[3], "quantity": body["quantity"]})

    def _dynos(self) -> Iterator[dict[str, Any]]:
        for kind, count in self.counts.items():
            for number in range(1, count + 1):
                state = "up" if number <= self.started[kind] else "starting"
                yield {"name": f"{kind}.{number}", "type": kind, "state": state, "release": {"version": 7}}
            self.started[kind] = count


@dataclass
class FakeRender(FakeApi):
    services: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {name: _render(name, count) for name, count in (("one", 2), ("two", 1))}
    )

    def answer(self, request: web.Request, path: list[str], body: Any) -> web.Response:
        service = self.services.get(path[2])
        if service is None:
            return self.refuse(404, "not found: service")
        details = service["serviceDetails"]
        what = path[3] if len(path) > 3 else ""
        if what == "instances":
            count = 0 if service["suspended"] == "suspended" else details["numInstances"]
            return web.json_response(
                [{"id": f"{path[2]}-{at}", "createdAt": "2026-11-30T07:00:00Z"} for at in range(count)]
            )
        if not what:
            return web.json_response(service)
        if what == "scale":
            if not 1 <= body["numInstances"] <= 100:
                return self.refuse(400, "invalid numInstances")
            details["numInstances"] = body["numInstances"]
        else:
            service["suspended"] = {"suspend": "suspended", "resume": "not_suspended"}[what]
        return web.Response(status=202)


def _render(name: str, count: int) -> dict[str, Any]:
    details = {"numInstances": count, "plan": "starter", "maxShutdownDelaySeconds": 60}
    return {"id": name, "type": "background_worker", "suspended": "not_suspended", "serviceDetails": details}


@dataclass
class FakeFly(FakeApi):
    """The app `shop`. What starts or stops has done so in the list after the next one."""

    machines: list[dict[str, Any]] = field(
        default_factory=lambda: [
            *(_machine(f"m{at}", "one", "started" if at < 2 else "stopped") for at in range(4)),
            _machine("n0", "two", "started"),
        ]
    )

    def refuse(self, status: int, text: str) -> web.Response:
        return web.json_response({"error": text}, status=status)

    def answer(self, request: web.Request, path: list[str], body: Any) -> web.Response:
        if path[:4] != ["v1", "apps", "shop", "machines"]:
            return self.refuse(404, "app not found")
        if request.method == "GET":
            shown = json.dumps(self.machines)
            for machine in self.machines:
                machine["state"] = {"starting": "started", "stopping": "stopped"}.get(
                    machine["state"], machine["state"]
                )
            return web.Response(text=shown, content_type="application/json")
        machine = next(one for one in self.machines if one["id"] == path[4])
        if path[5] == "start" and machine["state"] not in {"stopped", "suspended", "created"}:
            return self.refuse(412, f"unable to start machine from current state: '{machine['state']}'")
        machine["state"] = {"start": "starting", "stop": "stopping"}[path[5]]
        return web.json_response({"ok": True})

    def by_state(self) -> dict[str, str]:
        return {one["id"]: one["state"] for one in self.machines}


def _machine(ident: str, group: str, state: str) -> dict[str, Any]:
    config = {"image": "worker:1", "metadata": {"fly_process_group": group}}
    created = f"2026-11-30T07:00:0{ident[-1]}Z"
    return {"id": ident, "name": ident, "state": state, "region": "fra", "created_at": created, "config": config}


SYSTEMCTL = r"""#!/bin/sh
# A systemctl that knows templates NAME@ and keeps the state of each unit in a file: ActiveState SubState.
cd "$(dirname "$0")/../units" || exit 1
echo "$*" >> ../calls
[ "$1" = --user ] && shift
verb=$1; shift
show() {
    state="inactive dead"; load=not-found
    [ -f "${1%%@*}@" ] && load=loaded
    [ -f "$1" ] && read -r state < "$1"
    printf 'Id=%s\nLoadState=%s\nActiveState=%s\nSubState=%s\n\n' "$1" "$load" "${state% *}" "${state#* }"
}
for word in "$@"; do
    case $verb:$word in
    *:--*) continue ;;
    show:*) for unit in $word; do case $unit in *\**) ;; *) show "$unit" ;; esac; done; continue ;;
    esac
    [ -f "${word%%@*}@" ] || { echo "Failed to $verb $word: Unit $word not found." >&2; exit 5; }
    case $verb in start) echo active running > "$word" ;; stop) rm -f "$word" ;; esac
done
"""


class FakeSystemd:
    """The program as a file to put on PATH, with the templates `one` and `two`."""

    def __init__(self, folder: Path) -> None:
        self.path, self.units = folder / "bin", folder / "units"
        self.path.mkdir()
        self.units.mkdir()
        (self.path / "systemctl").write_text(SYSTEMCTL)
        (self.path / "systemctl").chmod(0o755)
        for name, count in (("one", 2), ("two", 1)):
            (self.units / f"{name}@").touch()
            for number in range(1, count + 1):
                self.set(name, number)

    def set(self, name: str, number: int, state: str | None = "active running") -> None:
        unit = self.units / f"{name}@{number}.service"
        if state is None:
            unit.unlink(missing_ok=True)
        else:
            unit.write_text(f"{state}\n")

    @property
    def calls(self) -> str:
        return (self.units.parent / "calls").read_text()

    def running(self, name: str) -> list[int]:
        found = [one.name for one in self.units.glob(f"{name}@*.service") if one.read_text().startswith("active ")]
        return sorted(int(one.split("@")[1].removesuffix(".service")) for one in found)
