"""What happens after an answer of true: deployments roll over, instances come and go.

Railway answers `true` before anything has happened, and that is what makes scaling it hard: for seconds to minutes, the
readings show what was, in statuses that come in a certain order. This file is that time in between. How long each step
takes is in timings.py, near what was measured on the real API; tests scale all of it by one factor.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from controller.fake_railway import config
from controller.fake_railway.processes import Place
from controller.fake_railway.replica import Replica
from controller.fake_railway.state import GONE, STARTING, Deployment, Service

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from controller.fake_railway.processes import Launcher
    from controller.fake_railway.timings import Timings


class Lifecycle:
    """Every method returns at once, as the API does; the consequences follow on their own time."""

    def __init__(self, launcher: Launcher, timings: Timings) -> None:
        self.launcher = launcher
        self.timings = timings
        self._pending: set[asyncio.Task[None]] = set()
        self._alive: list[Replica] = []

    # --- deployments

    def deploy(self, service: Service) -> Deployment:
        deploy = config.overridden(service.deploy, service.config_file)
        if service.switches.deploy_resets_replicas and not deploy.get("multiRegionConfig"):
            deploy = {**deploy, "numReplicas": 1, "region": None}
        target = config.counts(deploy)
        new = Deployment(service, manifest(deploy, target), target)
        service.deployments.append(new)
        new.rollout = self._soon(self._roll_out(new))
        return new

    def adopt(self, deployment: Deployment) -> None:
        """One that has been up for long: SUCCESS, its instances running, or EXITED where it is halted."""
        deployment.mark("SUCCESS")
        deployment.placed = True
        for region, number in deployment.target.items():
            deployment.replicas += [self._replica(deployment, region) for _ in range(number)]
        for each in deployment.replicas:
            if deployment.halted:
                each.status = "EXITED"
            else:
                each.begin()

    def remove(self, deployment: Deployment) -> None:
        if deployment.status not in GONE:
            self._abandon(deployment)
            deployment.mark("REMOVING")
            self._soon(self._remove(deployment))

    # Of the four ways for a deployment to end, only remove() drains it in the status REMOVING: a cancelled or failed
    # one has nothing that serves, and a stopped one stays the service's current deployment, without a running instance.

    def cancel(self, deployment: Deployment) -> None:
        self._abandon(deployment)
        deployment.mark("REMOVED")
        for each in deployment.members:
            self._soon(self._end(each, deployment, "REMOVED", 0))

    def fail(self, deployment: Deployment) -> None:
        deployment.mark("FAILED")
        for each in deployment.members:
            self._soon(self._end(each, deployment, "REMOVED", 0))

    # --- instances

    def settle(self, deployment: Deployment) -> None:
        """Start what is missing, drain what is too much, leave the others alone; nothing while it is stopped."""
        if deployment.halted or not deployment.placed or deployment.status not in {"DEPLOYING", "SUCCESS", "CRASHED"}:
            return
        for region, missing in self._missing(deployment):
            for _ in range(missing):
                self._add(deployment, region).begin(self._arrival())

    def add_one_that_crashes(self, deployment: Deployment, region: str) -> None:
        replica = self._add(deployment, region)
        self._soon(self._never_run(replica))

    def stop(self, deployment: Deployment) -> None:
        deployment.halted = True
        self._soon(self._stop(deployment))

    def restart(self, deployment: Deployment) -> None:
        """On the same deployment, with as many instances as its meta says."""
        deployment.halted = False
        self._soon(self._restart(deployment))

    def sleep(self, deployment: Deployment) -> None:
        """Its instances go on reading RUNNING, without a process."""
        deployment.mark("SLEEPING")
        for each in deployment.members:
            self._soon(each.end(self.draining(deployment)))

    def wake(self, deployment: Deployment) -> None:
        deployment.mark("SUCCESS")
        self._soon(self._restart(deployment))

    def draining(self, deployment: Deployment) -> float:
        return (deployment.manifest.get("drainingSeconds") or 0) * self.timings.second

    async def close(self, grace: float) -> None:
        """End every process, also those of forgotten deployments, and waits for each."""
        for task in list(self._pending):
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)
        await asyncio.gather(*(each.close(grace) for each in self._alive))

    # --- the consequences

    async def _roll_out(self, new: Deployment) -> None:
        await asyncio.sleep(self.timings.queued)
        switches = new.service.switches
        if switches.hangs_in:
            new.mark(switches.hangs_in)
        while switches.hangs_in:  # noqa: ASYNC110 -- a switch is no event
            await asyncio.sleep(self.timings.queued)
        new.mark("DEPLOYING")
        await asyncio.sleep(self.timings.placing)
        new.placed = True
        self.settle(new)
        await asyncio.gather(*(each.tried.wait() for each in new.replicas))
        await asyncio.sleep(self.timings.settling)
        if new.service.switches.deploys_fail:
            self.fail(new)
            return
        if new.status == "DEPLOYING":
            new.mark("SUCCESS")
        await asyncio.sleep(self.timings.handover + (new.manifest.get("overlapSeconds") or 0) * self.timings.second)
        for old in new.service.deployments[: new.service.deployments.index(new)]:
            self.remove(old)

    async def _remove(self, deployment: Deployment) -> None:
        # Instances read RUNNING up to the end here, unlike those that a scale takes away.
        ends = (each.end(self.draining(deployment)) for each in deployment.members)
        await asyncio.gather(asyncio.sleep(self.timings.removing), *ends)
        for each in deployment.replicas:
            each.status = "REMOVED"
        deployment.mark("REMOVED")

    async def _stop(self, deployment: Deployment) -> None:
        async with deployment.lock:
            ends = (each.end(self.draining(deployment)) for each in deployment.members)
            await asyncio.gather(asyncio.sleep(self.timings.stopping), *ends)
            # While a worker drains, its instance still reads RUNNING; then all of them read EXITED at once.
            if deployment.status in GONE or deployment.service.switches.never_report_stop:
                return
            for each in deployment.members:
                each.status = "EXITED"

    async def _restart(self, deployment: Deployment) -> None:
        async with deployment.lock:
            up = not deployment.stopped
            await asyncio.gather(*(each.end(self.draining(deployment)) for each in deployment.members))
            if deployment.halted or deployment.status not in {"SUCCESS", "CRASHED"}:
                return
            deployment.mark("SUCCESS")
            deployment.target = config.counts(deployment.manifest)
            for region, missing in self._missing(deployment):
                for _ in range(missing):
                    self._add(deployment, region)
            for each in deployment.members:
                each.restarts = 0
                each.begin(self._comeback(up=up))

    async def _end(self, replica: Replica, deployment: Deployment, status: str, at_least: float) -> None:
        await asyncio.gather(asyncio.sleep(at_least), replica.end(self.draining(deployment)))
        replica.status = status

    async def _leave(self, replica: Replica, deployment: Deployment) -> None:
        await self._end(replica, deployment, "REMOVED", self.timings.removing)
        await asyncio.sleep(self.timings.forgotten)
        if replica in deployment.replicas:
            deployment.replicas.remove(replica)

    async def _never_run(self, replica: Replica) -> None:
        for status, seconds in self._arrival():
            replica.status = status
            await asyncio.sleep(seconds)
            if not replica.is_member:
                return
        replica.status = "CRASHED"

    # --- pieces

    def _missing(self, deployment: Deployment) -> list[tuple[str, int]]:
        """Removes the surplus, newest first (Railway's order is unknown), and returns how many are missing."""
        lacking = []
        regions = dict.fromkeys([*deployment.target, *(each.region for each in deployment.members)])
        for region in regions:
            wanted = deployment.target.get(region, 0)
            there = [each for each in deployment.members if each.region == region]
            for surplus in there[wanted:]:
                surplus.status = "REMOVING"
                self._soon(self._leave(surplus, deployment))
            lacking.append((region, max(wanted - len(there), 0)))
        return lacking

    def _add(self, deployment: Deployment, region: str) -> Replica:
        replica = self._replica(deployment, region)
        deployment.replicas.append(replica)
        return replica

    def _replica(self, deployment: Deployment, region: str) -> Replica:
        def place(replica: Replica) -> Place:
            return Place(replica.id, replica.region, deployment.service.id, deployment.id)

        def given_up() -> None:
            if deployment.status == "SUCCESS":
                deployment.mark("CRASHED")

        def begins() -> str:
            return deployment.service.switches.on_start

        replica = Replica(region, place, self.launcher, self.timings, begins)
        replica.restart_policy = deployment.manifest["restartPolicyType"]
        replica.restart_limit = deployment.manifest["restartPolicyMaxRetries"]
        replica.on_given_up = given_up
        self._alive = [*(each for each in self._alive if each.is_alive), replica]
        return replica

    def _arrival(self) -> list[tuple[str, float]]:
        # In this order: that is how live probes saw it.
        return [("INITIALIZING", self.timings.initializing), ("CREATED", self.timings.created)]

    def _comeback(self, *, up: bool) -> list[tuple[str, float]]:
        if up:
            return [("RESTARTING", self.timings.restarting)]
        return [("INITIALIZING", self.timings.restarting / 2), ("CREATED", self.timings.restarting / 2)]

    def _abandon(self, deployment: Deployment) -> None:
        # The rollout of a deployment removes its predecessors last of all, and must not take itself down with them.
        if deployment.rollout is not None and deployment.status in STARTING:
            deployment.rollout.cancel()

    def _soon(self, consequence: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(consequence)
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
        return task


def manifest(deploy: dict[str, Any], target: dict[str, int]) -> dict[str, Any]:
    """The deploy part of a new deployment's meta."""
    return {
        "runtime": "V2",
        "useLegacyStacker": False,
        "sleepApplication": False,
        "restartPolicyType": "ON_FAILURE",
        "restartPolicyMaxRetries": 10,
        **{key: value for key, value in deploy.items() if value is not None},
        "numReplicas": deploy.get("numReplicas") or 1,
        "multiRegionConfig": config.as_map(target),
    }
