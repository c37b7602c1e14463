"""The root fields of Mutation, each recorded with its effect.

Each is planned first and carried out afterwards. A plan finds the service and makes Railway's checks, so a refusal has
changed nothing. With the fault `not_honoured`, the same checks are made and the same answer is given, and only the act
is left out: the controller cannot tell the two apart by the answer, as it cannot at Railway.

The effect in the record is not what was asked for: it is the difference between the services before and after.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.fake_railway import config, errors, ids, views
from controller.fake_railway.queries import Context, Info, find_deployment, find_service
from controller.fake_railway.state import GONE, STARTING

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.fake_railway.lifecycle import Lifecycle
    from controller.fake_railway.record import Mutation
    from controller.fake_railway.scaling import Scaling
    from controller.fake_railway.state import RailwayState, Service


@dataclass
class Plan:
    """A mutation that its caller may make, not carried out yet."""

    services: list[Service]
    act: Callable[[], Any]
    instead: Any = True
    """What it answers when it is not honoured."""


class Mutations:
    def __init__(self, state: RailwayState, lifecycle: Lifecycle, scaling: Scaling) -> None:
        self._state = state
        self._lifecycle = lifecycle
        self._scaling = scaling

    def resolvers(self) -> dict[str, Callable[..., Any]]:
        plans = {
            "serviceInstanceUpdate": self._update,
            "serviceInstanceDeploy": self._deploy,
            "serviceInstanceDeployV2": self._deploy_v2,
            "serviceInstanceRedeploy": self._redeploy,
            "deploymentStop": self._stop,
            "deploymentRestart": self._restart,
            "deploymentRemove": self._remove,
            "deploymentCancel": self._cancel,
            "deploymentRedeploy": self._redeploy_one,
            "environmentPatchCommit": self._commit,
            "environmentPatchCommitStaged": self._commit_staged,
            "environmentStageChanges": self._stage,
        }
        return {name: _recorded(plan) for name, plan in plans.items()}

    # --- services

    def _update(self, context: Context, **arguments: Any) -> Plan:
        context.caller.environment(arguments.get("environmentId"))
        service = find_service(self._state, context.caller, arguments["serviceId"])
        limit = _limit_of(context)
        return _yes(service, lambda: self._scaling.update_instance(service, arguments["input"], limit=limit))

    def _deploy_v2(self, context: Context, **arguments: Any) -> Plan:
        context.caller.environment(arguments["environmentId"])
        service = find_service(self._state, context.caller, arguments["serviceId"])
        return Plan([service], lambda: self._lifecycle.deploy(service).id, instead=ids.fresh())

    def _deploy(self, context: Context, **arguments: Any) -> Plan:
        plan = self._deploy_v2(context, **arguments)
        return Plan(plan.services, lambda: bool(plan.act()))

    def _redeploy(self, context: Context, **arguments: Any) -> Plan:
        plan = self._deploy(context, **arguments)
        if not plan.services[0].deployments:
            raise errors.nothing_to_redeploy()
        return plan

    # --- deployments

    def _stop(self, context: Context, **arguments: Any) -> Plan:
        deployment = find_deployment(self._state, context.caller, arguments["id"])
        if deployment.status not in {"SUCCESS", "CRASHED"}:
            raise errors.not_stoppable()
        # Twice is once: a second stop says true as well.
        return _yes(deployment.service, lambda: None if deployment.halted else self._lifecycle.stop(deployment))

    def _restart(self, context: Context, **arguments: Any) -> Plan:
        deployment = find_deployment(self._state, context.caller, arguments["id"])
        if deployment.status not in {"SUCCESS", "CRASHED"} or deployment.service.switches.not_restartable:
            raise errors.not_restartable()
        return _yes(deployment.service, lambda: self._lifecycle.restart(deployment))

    def _remove(self, context: Context, **arguments: Any) -> Plan:
        deployment = find_deployment(self._state, context.caller, arguments["id"])
        return _yes(deployment.service, lambda: self._lifecycle.remove(deployment))

    def _cancel(self, context: Context, **arguments: Any) -> Plan:
        deployment = find_deployment(self._state, context.caller, arguments["id"])
        if deployment.status not in STARTING:
            raise errors.not_cancellable()
        return _yes(deployment.service, lambda: self._lifecycle.cancel(deployment))

    def _redeploy_one(self, context: Context, **arguments: Any) -> Plan:
        deployment = find_deployment(self._state, context.caller, arguments["id"])
        service = deployment.service
        return Plan(
            [service],
            lambda: views.deployment(self._state, self._lifecycle.deploy(service)),
            instead=views.deployment(self._state, deployment),
        )

    # --- environment patches

    def _commit(self, context: Context, **arguments: Any) -> Plan:
        context.caller.environment(arguments["environmentId"])
        changes = self._changes(context, arguments.get("patch") or {})
        return self._committing(context, changes, deploys=True)

    def _commit_staged(self, context: Context, **arguments: Any) -> Plan:
        context.caller.environment(arguments["environmentId"])
        plan = self._committing(
            context, self._changes(context, self._state.staged), deploys=not arguments.get("skipDeploys")
        )

        def act() -> str:
            answer = str(plan.act())
            self._state.staged, self._state.patch_id = {}, ids.fresh()
            return answer

        return Plan(plan.services, act, instead=ids.fresh())

    def _stage(self, context: Context, **arguments: Any) -> Plan:
        context.caller.environment(arguments["environmentId"])
        base = self._state.staged if arguments.get("merge") else {}

        def act() -> views.View:
            self._state.staged = config.merged(base, arguments["input"])
            return views.staged_patch(self._state)

        return Plan([], act, instead=views.staged_patch(self._state))

    def _committing(self, context: Context, changes: list[tuple[Service, Any]], *, deploys: bool) -> Plan:
        def act() -> str:
            self._scaling.commit(changes, deploys=deploys, limit=_limit_of(context))
            return ids.fresh()

        return Plan([service for service, _ in changes], act, instead=ids.fresh())

    def _changes(self, context: Context, patch: dict[str, Any]) -> list[tuple[Service, Any]]:
        services = patch.get("services") or {}
        return [
            (find_service(self._state, context.caller, service_id), (change or {}).get("deploy") or {})
            for service_id, change in services.items()
        ]


def _yes(service: Service, do: Callable[[], None]) -> Plan:
    def act() -> bool:
        do()
        return True

    return Plan([service], act)


def _limit_of(context: Context) -> int | None:
    fault = context.fault
    return fault.limit if fault is not None and fault.kind == "plan_clamp" else None


def _recorded(planned: Callable[..., Plan]) -> Callable[..., Any]:
    def resolve(info: Info, **arguments: Any) -> Any:
        context = info.context
        entry = context.entries[str(info.path.key)]
        try:
            plan = planned(context, **arguments)
            return _carry_out(plan, entry, honoured=context.fault is None or context.fault.kind != "not_honoured")
        except errors.RefusalError as refused:
            entry.effect = f"refused: {refused}"
            raise

    return resolve


def _carry_out(plan: Plan, entry: Mutation, *, honoured: bool) -> Any:
    before = [_Seen(each) for each in plan.services]
    if before:
        _name(entry, before[0])
    answer = plan.act() if honoured else plan.instead
    if before:
        entry.to = plan.services[0].configured
    entry.applied = honoured
    entry.applied_at_s = time.time() if honoured else None
    entry.effect = "; ".join(each.difference() for each in before) if honoured else "none: answered, not honoured"
    entry.effect = entry.effect or "none"
    current = plan.services[0].current if plan.services else None
    entry.deployment = current.id if current else entry.deployment
    return answer


def _name(entry: Mutation, seen: _Seen) -> None:
    entry.service = seen.service.name
    entry.from_ = seen.configured
    entry.deployment = seen.deployment


class _Seen:
    """A service before a mutation, to tell afterwards what it changed."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.configured = service.configured
        self.stored = config.counts(service.deploy)
        self.deployed = len(service.deployments)
        self.deployment = next((each.id for each in reversed(service.deployments) if each.status not in GONE), None)

    def difference(self) -> str:
        now, stored = self.service.configured, config.counts(self.service.deploy)
        text = (
            f"{self.service.name}: {self.configured} → {now}"
            if now != self.configured
            else f"{self.service.name}: {now}"
        )
        if len(self.service.deployments) > self.deployed:
            text += ", a new deployment"
        if stored != self.stored and sum(stored.values()) != now:
            text += f", stored {sum(stored.values())}"
        return text
