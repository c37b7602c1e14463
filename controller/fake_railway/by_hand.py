"""What a person does in the dashboard: without the API, so that the autoscaler does not know of it.

Also what happens by itself: workers crash or exit. An autoscaler must notice all of it by reading. A key of a change is
an action (`replicas`, `stopped`, `crash` …), a stored setting, or a switch: behaviour of Railway's that is disputed or
may change, such as what a change of the count does to the deployment.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from controller.fake_railway import config
from controller.fake_railway.state import STARTING, Mode, Switches

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.fake_railway.lifecycle import Lifecycle
    from controller.fake_railway.scaling import Scaling
    from controller.fake_railway.state import Service

STORED = frozenset(
    {"cronSchedule", "drainingSeconds", "overlapSeconds", "sleepApplication", "restartPolicyType", "multiRegionConfig"}
)
"""Settings that the API stores, too."""
SWITCHES = {each.name: type(getattr(Switches(), each.name)) for each in fields(Switches)}


class BadChangeError(ValueError):
    """The message says what is allowed."""


class Dashboard:
    """Carries out changes of one service; the keys of one change are made in their order."""

    def __init__(self, lifecycle: Lifecycle, scaling: Scaling) -> None:
        self._lifecycle = lifecycle
        self._scaling = scaling
        self._actions: dict[str, Callable[[Service, Any], None]] = {
            "replicas": self._replicas,
            "stopped": self._stopped,
            "deploy": self._deploy,
            "removed": self._removed,
            "sleeping": self._sleeping,
            "never_deployed": self._never_deployed,
            "crash": self._crash,
            "exit": self._exit,
            "volume": self._volume,
            "config_file": self._config_file,
        }

    def change(self, service: Service, change: Any) -> None:
        """Checks all keys before it changes anything."""
        if not isinstance(change, dict) or not change:
            raise BadChangeError('a change is an object such as {"replicas": 2}')
        for key, value in change.items():
            self._check(key, value)
        for key, value in change.items():
            if key in self._actions:
                self._actions[key](service, value)
            elif key in SWITCHES:
                setattr(service.switches, key, Mode(value) if key == "mode" else value)
            else:
                self._scaling.update_instance(service, {key: value})

    def _check(self, key: str, value: Any) -> None:
        if key not in {*self._actions, *SWITCHES, *STORED}:
            known = ", ".join([*self._actions, *SWITCHES, *sorted(STORED)])
            raise BadChangeError(f"there is no {key!r}; there are: {known}")
        if key == "mode" and value not in set(Mode):
            raise BadChangeError(f"there is no mode {value!r}; there are: {', '.join(Mode)}")
        if key == "over_limit" and value not in {"clamp", "ignore"}:
            raise BadChangeError(f"over_limit is clamp or ignore, not {value!r}")
        if key == "on_start" and value not in {"run", "crash", "exit"}:
            raise BadChangeError(f"on_start is run, crash or exit, not {value!r}")
        if key == "hangs_in" and value not in {"", *STARTING}:
            raise BadChangeError(f"hangs_in is one of {', '.join(sorted(STARTING))}, or empty, not {value!r}")
        if key in SWITCHES and key != "mode" and type(value) is not SWITCHES[key]:
            raise BadChangeError(f"{key} can't be {value!r}")
        if key == "replicas" and (type(value) is not int or value < 0):
            raise BadChangeError(f"replicas can't be {value!r}")

    def _replicas(self, service: Service, wanted: int) -> None:
        if wanted == 0:
            self._stopped(service, wanted=True)
            return
        region = next(iter(config.counts(service.deploy)))
        others = {each: None for each in config.counts(service.deploy) if each != region}
        self._scaling.update_instance(service, {"multiRegionConfig": {**others, region: {"numReplicas": wanted}}})
        self._stopped(service, wanted=False)

    def _stopped(self, service: Service, wanted: bool) -> None:  # noqa: FBT001 -- the value of a JSON key
        current = service.current
        if current is None:
            if not wanted:
                self._lifecycle.deploy(service)
        elif wanted != current.halted:
            (self._lifecycle.stop if wanted else self._lifecycle.restart)(current)

    def _deploy(self, service: Service, _: Any) -> None:
        self._lifecycle.deploy(service)

    def _removed(self, service: Service, _: Any) -> None:
        for each in service.deployments:
            self._lifecycle.remove(each)

    def _sleeping(self, service: Service, wanted: Any) -> None:
        current = service.current
        if current is None or wanted == (current.status == "SLEEPING"):
            return
        (self._lifecycle.sleep if wanted else self._lifecycle.wake)(current)

    def _never_deployed(self, service: Service, _: Any) -> None:
        """As if it had just been created: whatever was there goes without leaving a trace."""
        for each in service.deployments:
            self._lifecycle.cancel(each)
        service.deployments = []

    def _crash(self, service: Service, number: Any) -> None:
        current = service.current
        running = [each.process for each in current.members if each.process] if current else []
        for process in running[: int(number)]:
            process.kill()

    def _exit(self, service: Service, number: Any) -> None:
        """By themselves, as workers do that have nothing left to do: code 0 where they end well after a SIGTERM."""
        current = service.current
        running = [each.process for each in current.members if each.process] if current else []
        for process in running[: int(number)]:
            process.terminate()

    def _volume(self, service: Service, attached: Any) -> None:
        service.has_volume = bool(attached)

    def _config_file(self, service: Service, deploy: Any) -> None:
        service.config_file = dict(deploy or {})
