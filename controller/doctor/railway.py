"""What doctor looks at on Railway: the token and its reach, the plan, and each service as a cycle would read it.

Only queries. What the token may not ask, or Railway does not answer, is passed over where nothing depends on it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from controller.adapters.clock import SystemClock
from controller.adapters.railway.client import NotAuthorized
from controller.adapters.railway.platform import RailwayPlatform
from controller.adapters.railway.reading import placement
from controller.adapters.railway.settings import RailwaySettings
from controller.core.conditions import Look, conditions, watched
from controller.core.model import History, Reason, Replicas
from controller.core.ports import Clock, Requests, Unavailable
from controller.core.units import in_words
from controller.doctor.finding import Finding, Level, error, ok, warning
from controller.doctor.railway_as_code import declared_in, nearest
from controller.policy import WorkerPolicy

MOST_REPLICAS = {"trial": 2, "free": 1, "hobby": 6, "pro": 42, "enterprise": 50}
"""Of one service, by plan; Railway's documentation of 2026-08. Beyond it a change is clamped without a word."""
_BY_QUOTA = {100: ("free",), 1000: ("hobby", "trial"), 10_000: ("pro",)}
"""The plans that allow so many requests an hour, for a token that may not ask which plan it is."""
_HARD_CAP = 50


@dataclass
class RailwayChecks:
    """One look at an environment. plans: which ones it may be, the most likely first; none where nobody can tell."""

    platform: RailwayPlatform
    settings: RailwaySettings
    clock: Clock = field(default_factory=SystemClock)
    plans: tuple[str, ...] = ()
    readings: Mapping[str, Replicas | Unavailable] = field(default_factory=dict)
    folder: Path | None = None
    """Where to look for a .railway/railway.py of the user's; None for nowhere."""
    regions: Mapping[str, str] | None = None
    """The regions that there are: "", or which one takes the place of one that is being given up."""

    async def look(self, services: Collection[str], interval: float) -> list[Finding]:
        """At everything that is no single service's; `service()` then goes by what was seen here."""
        findings = [await self._token()]
        try:
            self.readings = await self.platform.observe(services)
        except Unavailable as unavailable:
            self.readings = dict.fromkeys(services, unavailable)
            if isinstance(unavailable, NotAuthorized) and findings == [self._of_no_known_kind()]:
                findings = [self._refused()]
            return [*findings, error("Railway", str(unavailable))]
        told = self.platform.client.budget.told  # doctor sends too few requests for it to be in force
        requests = self.platform.requests()._replace(quota=told.requests, window_s=told.window_s)
        self.plans = await self._plans(requests.quota)
        self.regions = await self._regions()
        plan = f"plan {' or '.join(self.plans)}" if self.plans else "a plan that this token may not ask for"
        findings.append(ok("Railway", f"the environment can be read; {plan}"))
        return [*findings, budget(requests, interval, self.platform.queries_per_cycle)]

    async def service(self, worker: WorkerPolicy, longest_job_s: float | None) -> list[Finding]:
        """longest_job_s: how long jobs are known to take; None where nobody knows."""
        reading = self.readings.get(worker.service)
        if not isinstance(reading, Replicas):
            return [error("service", str(reading or "was not read"))]
        findings = [*fares(reading, worker, self.clock.wall())]
        try:
            reading, _ = await self.platform.read_before_change(worker.service)
        except Unavailable as unavailable:
            says = f"each change of the count begins with reading what is configured: {unavailable}"
            findings.append(error("configuration", says, "make a project token in the environment's settings"))
        return [
            *findings,
            regions(reading, self.regions, worker),
            most_replicas(reading, self.plans, worker),
            draining(reading, longest_job_s),
            await self._config(worker.service),
        ]

    async def _token(self) -> Finding:
        token = self.settings.token
        if token.kind == "project":
            return await self._project_token()
        for operation, kind, reach in (
            ("Me", "an account token", "everything that the account can do"),
            ("ApiToken", "a workspace token", "everything in its workspace"),
        ):
            try:
                await self.platform.client.query(operation, {})
            except NotAuthorized:
                continue
            except Unavailable as unavailable:
                return error("token", str(unavailable))
            mend = "a project token, in RAILWAY_TOKEN, reaches this one environment, and is enough"
            return warning("token", f"{token.variable} is {kind}: it reaches {reach}", mend)
        return self._of_no_known_kind()

    def _of_no_known_kind(self) -> Finding:
        says = f"{self.settings.token.variable} is of a kind that is not known here"
        return warning("token", says, "a project token, in RAILWAY_TOKEN, is enough")

    def _refused(self) -> Finding:
        says = f"{self.settings.token.variable} is refused: it was revoked or mistyped, or is a project token"
        return error("token", says, "make a project token in the environment's settings, and put it into RAILWAY_TOKEN")

    async def _project_token(self) -> Finding:
        try:
            found = (await self.platform.client.query("ProjectToken", {})).get("projectToken")
        except Unavailable as unavailable:
            return error("token", str(unavailable))
        ids = found if isinstance(found, dict) else {}
        for key, variable, wanted in (
            ("projectId", "RAILWAY_PROJECT_ID", self.settings.project_id),
            ("environmentId", "RAILWAY_ENVIRONMENT_ID", self.settings.environment_id),
        ):
            if ids.get(key) != wanted:
                says = f"RAILWAY_TOKEN is for {key.removesuffix('Id')} {ids.get(key)}, and {variable} is {wanted}"
                return error("token", says, f"set {variable} to the token's, or make a token there")
        return ok("token", "a project token, which reaches this environment and nothing else")

    async def _plans(self, quota: int) -> tuple[str, ...]:
        try:
            project = (await self.platform.client.query("ProjectPlan", {"id": self.settings.project_id})).get("project")
        except Unavailable:
            project = None
        plan = project.get("subscriptionType") if isinstance(project, dict) else None
        return (plan,) if plan in MOST_REPLICAS else _BY_QUOTA.get(quota, ())

    async def _regions(self) -> Mapping[str, str] | None:
        try:
            found = (await self.platform.client.query("Regions", {"projectId": self.settings.project_id})).get(
                "regions"
            )
        except Unavailable:
            return None
        entries = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
        return {str(entry.get("name")): _replacement(entry) for entry in entries} or None

    async def _config(self, service: str) -> Finding:
        variables = {"serviceId": service, "environmentId": self.settings.environment_id}
        try:
            instance = (await self.platform.client.query("ServiceConfig", variables)).get("serviceInstance")
        except Unavailable as unavailable:
            return warning("config-as-code", f"could not be looked at: {unavailable}")
        instance = instance if isinstance(instance, dict) else {}
        found = config_as_code(instance)
        return found if found.level is not Level.OK else self._infrastructure_as_code(str(instance.get("serviceName")))

    def _infrastructure_as_code(self, name: str) -> Finding:
        files = () if self.folder is None else nearest(self.folder)
        if not files:
            return ok("config-as-code", "no file sets the replicas")
        found = [_declared(file, name) for file in files]
        return next((one for one in found if one.level is not Level.OK), found[0])


def _declared(file: Path, name: str) -> Finding:
    about, shown = "config-as-code", f".railway/{file.name}"
    try:
        declared = declared_in(file, name)
    except OSError as failure:
        return warning(about, f"{shown} cannot be read: {failure.strerror}")
    if declared is None:
        return ok(about, f"{shown} sets no replicas of {name}")
    place, apply = f"{shown}:{declared.line}", "`railway config apply` sets the count back to that"
    if not declared.certain:
        mend = f"see that it sets none of {name}; else {apply}"
        return warning(about, f"{shown} names {name}, and sets {declared.key} in line {declared.line}", mend)
    mend = f"take it out: {apply}, and `railway config plan` shows each other count as drift"
    return warning(about, f"{place} sets {declared.key} of {name}", mend)


def _replacement(region: Mapping[str, Any]) -> str:
    constraints = region.get("deploymentConstraints") or {}
    deprecation = constraints.get("deprecationInfo") or {}
    return str(deprecation.get("replacementRegion") or "another one") if deprecation.get("isDeprecated") else ""


def budget(requests: Requests, interval: float, per_cycle: int = 1) -> Finding:
    """What cycles of this interval ask within the window, against what is allowed before they are stretched.

    A fifth is kept for changes; from half of the rest on, cycles come less often (see budget.py). per_cycle: one query
    reads 50 services of the environment, so that it takes as many as there are pages up to the last one that is scaled.
    """
    wanted = math.ceil(requests.window_s / interval) * per_cycle
    unstretched = (requests.quota - requests.quota // 5) // 2
    each = f" in {per_cycle} requests each" if per_cycle > 1 else ""
    says = (
        f"an interval of {in_words(interval)} reads {wanted // per_cycle} times in "
        f"{in_words(requests.window_s)}{each}, of {requests.quota} requests that Railway allows"
    )
    if wanted <= unstretched:
        return ok("requests", says)
    fits = math.ceil(requests.window_s * per_cycle / unstretched)
    return warning("requests", f"{says}: cycles will be stretched", f"set interval to {fits}s or more")


def fares(reading: Replicas, worker: WorkerPolicy, now: float) -> Iterator[Finding]:
    """What a cycle would say of it, at first sight: since when, only a deployment tells of itself."""
    look = Look(worker, reading, None, History(), now, landing_bound=0.0)
    look = replace(look, history=History(watch=watched(look)))
    found = [condition for condition in conditions(look) if condition.degrades]
    for condition in found:
        level = error if condition.reason is Reason.WORKERS_CRASH else warning
        yield level("service", condition.says, condition.fix)
    if not found:
        says = f"is {reading.state.value}; replicas configured: {reading.configured}, running: {reading.running}"
        yield ok("service", says)


def regions(reading: Replicas, known: Mapping[str, str] | None, worker: WorkerPolicy) -> Finding:
    place = placement(reading)
    named = [region for region in place.regions if region]
    least = max(1, len(place.regions))
    if not named:
        return warning(
            "regions",
            "nothing says in which region the service runs",
            "choose one in the dashboard (Settings → Scale), so that a change names it",
        )
    shown = ", ".join(f"{region}: {count}" for region, count in place.regions.items())
    for region in named:
        if known is not None and region not in known:
            return warning(
                "regions", f"{shown}; there is no region {region} any more", "move the service to one there is"
            )
        if known is not None and known[region]:
            return warning("regions", f"{shown}; Railway is giving up {region}", f"move the service to {known[region]}")
    if least > worker.max_replicas:
        says = f"{shown}; each region keeps at least 1 replica, and max_replicas is {worker.max_replicas}"
        return error("regions", says, f"raise max_replicas to {least}, or take regions away")
    moved = set(named) != {region for region in place.deployed if region}
    if moved:
        runs = ", ".join(f"{region}: {count}" for region, count in place.deployed.items())
        says = f"configured is {shown}, and deployed is {runs}: the next change of the count moves the workers"
        return warning("regions", says, "deploy the service, or set its regions back (Settings → Scale)")
    if len(named) > 1:
        says = f"{shown}; each keeps at least 1 replica, so that {least} is the least but 0"
        return warning("regions", says, "take regions away, if fewer shall be possible")
    return ok("regions", shown)


def most_replicas(reading: Replicas, plans: tuple[str, ...], worker: WorkerPolicy) -> Finding:
    wanted = worker.max_replicas
    if reading.largest is not None and wanted > reading.largest.count:
        return error(
            "max_replicas",
            f"is {wanted}, and a service with a volume can have {reading.largest.count} on Railway",
            f"set max_replicas to {reading.largest.count}, or {reading.largest.fix}",
        )
    most = min(_HARD_CAP, max((MOST_REPLICAS[plan] for plan in plans), default=_HARD_CAP))
    if wanted > most:
        plan = f"plan {' or '.join(plans)}" if plans else "any plan"
        return error(
            "max_replicas",
            f"is {wanted}, and {plan} allows {most} replicas of a service: Railway clamps the rest without a word",
            f"set max_replicas to {most}, or change the plan",
        )
    surely = min((MOST_REPLICAS[plan] for plan in plans), default=0)
    if wanted > surely and len(plans) > 1:
        allowed = ", ".join(f"{MOST_REPLICAS[plan]} on {plan}" for plan in plans)
        return ok("max_replicas", f"is {wanted}; allowed are {allowed}, and this token may not ask which it is")
    return ok("max_replicas", f"is {wanted}, of {most} that {'the plan allows' if plans else 'Railway ever allows'}")


def draining(reading: Replicas, longest_job_s: float | None) -> Finding:
    has, about = reading.draining_s, "draining"
    if longest_job_s is not None and not math.isfinite(longest_job_s):
        longest_job_s = None
    mend = "set RAILWAY_DEPLOYMENT_DRAINING_SECONDS on the service to {}, and deploy it"
    if longest_job_s is None and has:
        return ok(about, f"a worker that is taken away may go on for {in_words(has)}; nobody knows how long jobs take")
    if longest_job_s is None:
        says = "drainingSeconds is 0: a worker that is taken away is killed in the middle of its job"
        return warning(about, says, mend.format("longer than a job takes"))
    if has < longest_job_s:
        says = (
            f"drainingSeconds is {has:.0f}, and jobs take up to {in_words(longest_job_s)}: they would be killed midway"
        )
        return warning(about, says, mend.format(f"{math.ceil(longest_job_s * 1.5)} or more"))
    return ok(
        about, f"a worker that is taken away may go on for {in_words(has)}; jobs take up to {in_words(longest_job_s)}"
    )


def config_as_code(instance: Mapping[str, Any]) -> Finding:
    """The part of a deployment that came from a file in its repository wins over the API in each new deployment."""
    about = "config-as-code"
    deploy = dict(_file_part(instance))
    file = instance.get("railwayConfigFile") or "railway.json or railway.toml"
    overruling = [key for key in ("numReplicas", "multiRegionConfig") if deploy.get(key) is not None]
    if overruling:
        says = f"{file} of the service's repository sets {' and '.join(overruling)}: each deploy goes back to that"
        return warning(about, says, "take it out of the file; the next cycle corrects the count meanwhile")
    return ok(about, "no file sets the replicas")


def _file_part(instance: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    value: Any = instance
    for key in ("latestDeployment", "meta", "fileServiceManifest", "deploy"):
        value = value.get(key) if isinstance(value, dict) else None
    yield from value.items() if isinstance(value, dict) else ()
