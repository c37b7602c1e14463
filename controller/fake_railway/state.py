"""What Railway knows: services, their stored configuration, their deployments."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from controller.fake_railway import config, ids

if TYPE_CHECKING:
    from controller.fake_railway.replica import Replica

STARTING = frozenset({"INITIALIZING", "QUEUED", "WAITING", "NEEDS_APPROVAL", "BUILDING", "DEPLOYING"})
ACTIVE = frozenset({"DEPLOYING", "SUCCESS", "SLEEPING", "CRASHED"})
GONE = frozenset({"REMOVING", "REMOVED"})
UP = frozenset({"RUNNING", "CRASHED", "RESTARTING"})
"""Instances that count as not stopped: a crashed one is about to come back."""


class Mode(StrEnum):
    """What an accepted change of the replica count does."""

    DEPLOYLESS = "deployless"
    """Since 2026-02: instances come and go, the deployment stays."""
    REDEPLOY = "redeploy"
    """A new deployment replaces the old one; a stopped one is thereby un-stopped."""
    NOOP_UNTIL_DEPLOY = "noop-until-deploy"
    """Only stored; the next deploy uses it."""
    ACCEPTED_NOT_HONOURED = "accepted-not-honoured"
    """Answered with true; upwards a single instance comes, and crashes, and downwards none goes."""


@dataclass
class Switches:
    """Switches for behaviour that is disputed or unknown, and for known traps; each can be changed at any time."""

    mode: Mode = Mode.DEPLOYLESS
    meta_in_place: bool = True
    """A change without a deployment shows in the running deployment's meta."""
    legacy_meta: bool = False
    """Meta of a very old deployment: only region and numReplicas."""
    keeps_omitted_regions: bool = True
    """serviceInstanceUpdate keeps the regions that its map leaves out."""
    moves_need_a_deploy: bool = False
    """A change that adds a region is only stored, until the next deploy: users report so, the manual does not."""
    flat_redeploys: bool = False
    """The flat numReplicas deploys, as one report has it."""
    plan_limit: int = config.HARD_CAP
    over_limit: Literal["clamp", "ignore"] = "clamp"
    bad_input_code: str = "BAD_USER_INPUT"
    never_report_stop: bool = False
    """A stop ends the processes, and the API goes on showing them."""
    not_restartable: bool = False
    """Every restart is refused, as after the image's retention has run out."""
    deploys_fail: bool = False
    on_start: Literal["run", "crash", "exit"] = "run"
    """What a process does as soon as it has started: go on, end with exit code 1, or end with 0."""
    hangs_in: str = ""
    """A new deployment stays in this status, such as BUILDING, for as long as it stands here."""
    image_declares_volume: bool = False
    """The image has a VOLUME: its deployments name a mount, and no volume is attached."""
    deploy_resets_replicas: bool = False
    """A deploy without a stored multiRegionConfig falls back to one replica in the default region."""


@dataclass(eq=False)
class Deployment:
    service: Service
    manifest: dict[str, Any]
    """The `deploy` part of meta.serviceManifest."""
    target: dict[str, int]
    """How many instances per region it is to have while it is not halted."""
    id: str = field(default_factory=ids.fresh)
    status: str = "INITIALIZING"
    halted: bool = False
    placed: bool = False
    """Its instances exist or are about to: from here on a scale acts on them."""
    replicas: list[Replica] = field(default_factory=list)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    status_updated_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    rollout: asyncio.Task[None] | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Stops and restarts take effect one after the other, in the order they were answered."""

    @property
    def stopped(self) -> bool:
        """`deploymentStopped`, which is also true of what starts, what sleeps and what goes."""
        if self.status in STARTING | GONE | {"SLEEPING", "FAILED"}:
            return True
        return not any(each.status in UP for each in self.replicas)

    @property
    def members(self) -> list[Replica]:
        return [each for each in self.replicas if each.is_member]

    def mark(self, status: str) -> None:
        self.status = status
        self.status_updated_at = datetime.now(UTC)


@dataclass(eq=False)
class Service:
    name: str
    id: str
    deploy: dict[str, Any] = field(default_factory=dict)
    """The stored deploy configuration, as environment.config shows it."""
    config_file: dict[str, Any] = field(default_factory=dict)
    """The deploy part of a railway.json: wins over the stored values in each new deployment, never written back."""
    has_volume: bool = False
    switches: Switches = field(default_factory=Switches)
    deployments: list[Deployment] = field(default_factory=list)
    """Oldest first."""
    instance_id: str = field(default_factory=ids.fresh)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def latest(self) -> Deployment | None:
        return next((each for each in reversed(self.deployments) if each.status != "REMOVED"), None)

    @property
    def active(self) -> list[Deployment]:
        return [each for each in reversed(self.deployments) if each.status in ACTIVE]

    @property
    def current(self) -> Deployment | None:
        """The one that serves or is about to: a failed attempt leaves its predecessor in charge."""
        return next((each for each in reversed(self.deployments) if each.status in STARTING | ACTIVE), None)

    @property
    def replica_limit(self) -> int:
        if self.deploy.get("cronSchedule") or self.has_volume:
            return 1
        return min(self.switches.plan_limit, config.HARD_CAP)

    @property
    def configured(self) -> int:
        """The count that was last asked for; 0 while nothing is deployed or it is stopped."""
        current = self.current
        return 0 if current is None or current.halted else sum(current.target.values())

    @property
    def running(self) -> int:
        """Instances with something running inside, whatever is reported of them."""
        return sum(replica.process is not None for each in self.deployments for replica in each.replicas)


@dataclass
class RailwayState:
    services: dict[str, Service] = field(default_factory=dict)
    plan: str = "hobby"
    """What the project's subscription is; no limit follows from it, see Switches.plan_limit."""
    staged: dict[str, Any] = field(default_factory=dict)
    """The environment patch that waits to be committed."""
    patch_id: str = field(default_factory=ids.fresh)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def deployment(self, deployment_id: str) -> Deployment | None:
        every = (each for service in self.services.values() for each in service.deployments)
        return next((each for each in every if each.id == deployment_id), None)
