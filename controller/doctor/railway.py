"""Doctor's checks of Railway: the token and its scope, the plan, the request quota, and each service.

It sends only queries. A query that the token is not allowed, or that fails, is skipped unless a finding depends on it.

What it looks for is what Railway does silently: a count above the plan's is clamped, a file in the repository resets
the count with each deploy, a region that was removed keeps a change from being made, and with drainingSeconds 0 (the
default) a worker is killed in the middle of its job.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from controller.adapters.clock import SystemClock
from controller.adapters.railway.client import NotAuthorized
from controller.adapters.railway.platform import RailwayPlatform
from controller.adapters.railway.reading import placement
from controller.adapters.railway.settings import RailwaySettings
from controller.core.model import Replicas
from controller.core.ports import Clock, Requests, Unavailable
from controller.core.units import as_policy, in_words, money
from controller.doctor.any_platform import PlatformAsked, PlatformFindings, state
from controller.doctor.finding import Finding, Level, error, ok, warning
from controller.doctor.railway_as_code import declared_in, nearest
from controller.policy import WorkerPolicy

MOST_REPLICAS = {"trial": 2, "free": 1, "hobby": 6, "pro": 42, "enterprise": 50}
"""Replicas allowed per service, by plan (Railway's documentation, 2026-08). Railway clamps a larger count silently."""
_BY_QUOTA = {100: ("free",), 1000: ("hobby", "trial"), 10_000: ("pro",)}
"""Plans by their quota (requests per hour), for a token that is not allowed to query the plan."""
_HARD_CAP = 50
"""The most of any plan; more is an error whichever the plan is."""


async def check_railway(asked: PlatformAsked) -> PlatformFindings:
    """All of them, for the workers on Railway."""
    platform, settings = cast("RailwayPlatform", asked.platform), cast("RailwaySettings", asked.access)
    checks = RailwayChecks(platform, settings, folder=Path.cwd())
    found = PlatformFindings(await checks.look([one.target.key for one in asked.workers.values()], asked.interval_s))
    for name, worker in asked.workers.items():
        found.workers[name] = await checks.service(worker, asked.jobs.get(name))
    return found


@dataclass
class RailwayChecks:
    """Checks one environment: first look(), then service() for each worker.

    plans: the plans that it may have, the most likely first; empty if unknown.
    """

    platform: RailwayPlatform
    settings: RailwaySettings
    clock: Clock = field(default_factory=SystemClock)
    plans: tuple[str, ...] = ()
    readings: Mapping[str, Replicas | Unavailable] = field(default_factory=dict)
    folder: Path | None = None
    """The folder in which, and above which, .railway/railway.py is searched; None skips that check."""
    regions: Mapping[str, str] | None = None
    """Railway's regions. The value is "", or the region that replaces one that Railway is removing. None if unknown."""

    async def look(self, services: Collection[str], interval: float) -> list[Finding]:
        """Checks the token, the plan and the quota, and stores the readings that `service()` uses."""
        findings = [await self._token()]
        try:
            self.readings = await self.platform.observe(services)
        except Unavailable as unavailable:
            self.readings = dict.fromkeys(services, unavailable)
            if isinstance(unavailable, NotAuthorized) and findings == [self._of_no_known_kind()]:
                findings = [self._refused()]
            return [*findings, error("Railway", str(unavailable))]
        # The quota of the last answer: doctor sends too few requests for the budget to adopt it.
        told = self.platform.client.budget.told
        requests = self.platform.requests()._replace(quota=told.requests, window_s=told.window_s)
        self.plans = await self._plans(requests.quota)
        self.regions = await self._regions()
        plan = f"plan {' or '.join(self.plans)}" if self.plans else "plan unknown: the token is not allowed to query it"
        findings.append(ok("Railway", f"the environment can be read; {plan}"))
        return [*findings, budget(requests, interval, self.platform.queries_per_cycle)]

    async def service(self, worker: WorkerPolicy, longest_job_s: float | None) -> list[Finding]:
        """longest_job_s: seconds that the longest jobs take; None if unknown."""
        reading = self.readings.get(worker.target.key)
        if not isinstance(reading, Replicas):
            return [error("service", str(reading or "was not read"))]
        findings = [*state(reading, worker, self.clock.wall(), about="service")]
        try:
            reading, _ = await self.platform.read_before_change(worker.target.key)
        except Unavailable as unavailable:
            says = f"the configured count cannot be read, so that no change can be made: {unavailable}"
            findings.append(error("configuration", says, "create a project token in the environment's settings"))
        return [
            *findings,
            regions(reading, self.regions, worker),
            most_replicas(reading, self.plans, worker),
            draining(reading, longest_job_s),
            await self._config(worker.target.key),
            *limits(reading, worker),
        ]

    async def _token(self) -> Finding:
        token = self.settings.token
        if token.kind == "project":
            return await self._project_token()
        for operation, kind, reach in (
            ("Me", "an account token", "everything that the account can access"),
            ("ApiToken", "a workspace token", "everything in its workspace"),
        ):
            try:
                await self.platform.client.query(operation, {})
            except NotAuthorized:
                continue
            except Unavailable as unavailable:
                return error("token", str(unavailable))
            fix = "use a project token in RAILWAY_TOKEN: it is enough, and can access only this environment"
            return warning("token", f"{token.variable} is {kind}: it can access {reach}", fix)
        return self._of_no_known_kind()

    def _of_no_known_kind(self) -> Finding:
        says = f"{self.settings.token.variable} is a token of unknown kind"
        return warning("token", says, "use a project token in RAILWAY_TOKEN; it is enough")

    def _refused(self) -> Finding:
        says = f"{self.settings.token.variable} is refused: it was revoked or mistyped, or is a project token"
        return error("token", says, "create a project token in the environment's settings and set it as RAILWAY_TOKEN")

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
                what = key.removesuffix("Id")
                says = f"RAILWAY_TOKEN is for {what} {ids.get(key)}, but {variable} is {wanted}"
                return error("token", says, f"set {variable} to {ids.get(key)}, or create a token for {what} {wanted}")
        return ok("token", "a project token; it can access only this environment")

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
            return warning("config-as-code", f"could not be checked: {unavailable}")
        instance = instance if isinstance(instance, dict) else {}
        found = config_as_code(instance)
        return found if found.level is not Level.OK else self._infrastructure_as_code(str(instance.get("serviceName")))

    def _infrastructure_as_code(self, name: str) -> Finding:
        files = () if self.folder is None else nearest(self.folder)
        if not files:
            return ok("config-as-code", "no file sets the replica count")
        found = [_declared(file, name) for file in files]
        return next((one for one in found if one.level is not Level.OK), found[0])


def _declared(file: Path, name: str) -> Finding:
    about, shown = "config-as-code", f".railway/{file.name}"
    try:
        declared = declared_in(file, name)
    except OSError as failure:
        return warning(about, f"{shown} cannot be read: {failure.strerror}")
    if declared is None:
        return ok(about, f"{shown} does not set the replica count of {name}")
    place, apply = f"{shown}:{declared.line}", "`railway config apply` resets the count to it"
    if not declared.certain:
        fix = f"check that it does not apply to {name}; otherwise {apply}"
        return warning(about, f"{shown} names {name} and sets {declared.key} in line {declared.line}", fix)
    fix = f"remove it: {apply}, and `railway config plan` reports any other count as drift"
    return warning(about, f"{place} sets {declared.key} of {name}", fix)


def _replacement(region: Mapping[str, Any]) -> str:
    constraints = region.get("deploymentConstraints") or {}
    deprecation = constraints.get("deprecationInfo") or {}
    return str(deprecation.get("replacementRegion") or "another region") if deprecation.get("isDeprecated") else ""


def budget(requests: Requests, interval: float, per_cycle: int = 1) -> Finding:
    """Compares the requests that this interval (seconds) needs per window with the number that fits without stretching.

    A fifth of the quota is reserved for changes. Once half of the rest is used, cycles run less often (see budget.py).
    per_cycle: queries per cycle, one per page of 50 services, up to the page with the last service that is scaled.
    """
    wanted = math.ceil(requests.window_s / interval) * per_cycle
    # Half of what is not reserved, because the pace begins to stretch there.
    unstretched = (requests.quota - requests.quota // 5) // 2
    each = f", with {per_cycle} requests each" if per_cycle > 1 else ""
    says = (
        f"an interval of {in_words(interval)} reads {wanted // per_cycle} times in "
        f"{in_words(requests.window_s)}{each}; Railway allows {requests.quota} requests"
    )
    if wanted <= unstretched:
        return ok("requests", says)
    fits = math.ceil(requests.window_s * per_cycle / unstretched)
    return warning("requests", f"{says}: cycles will run less often", f"set interval to {as_policy(fits)} or more")


def regions(reading: Replicas, known: Mapping[str, str] | None, worker: WorkerPolicy) -> Finding:
    place = placement(reading)
    named = [region for region in place.regions if region]
    least = max(1, len(place.regions))
    if not named:
        return warning(
            "regions",
            "the service's region is unknown",
            "choose a region in the dashboard (Settings → Scale), so that a change can name it",
        )
    shown = ", ".join(f"{region}: {count}" for region, count in place.regions.items())
    for region in named:
        if known is not None and region not in known:
            return warning(
                "regions", f"{shown}; region {region} no longer exists", "move the service to an existing region"
            )
        if known is not None and known[region]:
            return warning("regions", f"{shown}; Railway is removing {region}", f"move the service to {known[region]}")
    if least > worker.max_replicas:
        says = f"{shown}; each region needs at least 1 replica, but max_replicas is {worker.max_replicas}"
        return error("regions", says, f"raise max_replicas to {least}, or remove regions")
    moved = set(named) != {region for region in place.deployed if region}
    if moved:
        runs = ", ".join(f"{region}: {count}" for region, count in place.deployed.items())
        says = f"configured: {shown}; deployed: {runs}; the next change of the count will move the workers"
        return warning("regions", says, "deploy the service, or restore its regions (Settings → Scale)")
    if len(named) > 1:
        says = f"{shown}; each region keeps at least 1 replica, so the smallest count above 0 is {least}"
        return warning("regions", says, "remove regions to allow fewer replicas")
    return ok("regions", shown)


def most_replicas(reading: Replicas, plans: tuple[str, ...], worker: WorkerPolicy) -> Finding:
    wanted = worker.highest_max
    if reading.largest is not None and wanted > reading.largest.count:
        return error(
            "max_replicas",
            f"is {wanted}, but Railway allows {reading.largest.count} for a service with a volume",
            f"set max_replicas to {reading.largest.count}, or {reading.largest.fix}",
        )
    most = min(_HARD_CAP, max((MOST_REPLICAS[plan] for plan in plans), default=_HARD_CAP))
    if wanted > most:
        plan = f"plan {' or '.join(plans)}" if plans else "any plan"
        return error(
            "max_replicas",
            f"is {wanted}, but {plan} allows {most} replicas per service: Railway silently clamps a larger count",
            f"set max_replicas to {most}, or change the plan",
        )
    # A quota alone may fit two plans: the larger one decided above whether it is an error, the smaller one what is
    # sure.
    surely = min((MOST_REPLICAS[plan] for plan in plans), default=0)
    if wanted > surely and len(plans) > 1:
        allowed = ", ".join(f"{MOST_REPLICAS[plan]} on {plan}" for plan in plans)
        return ok("max_replicas", f"is {wanted}; allowed: {allowed}; the token is not allowed to query the plan")
    return ok("max_replicas", f"is {wanted}; {'the plan' if plans else 'Railway'} allows at most {most}")


def limits(reading: Replicas, worker: WorkerPolicy) -> Iterator[Finding]:
    """What a budget without a worker_size counts with; nothing for other workers."""
    if worker.budget is None or worker.worker_size is not None:
        return
    fix = "write worker_size: {memory: …, vcpu: …}, what one worker uses on average, by the service's metrics"
    if reading.limits is None:
        says = "limits nothing: it has no worker_size, and the service has no limits of both memory and vCPU"
        yield warning("budget", says, fix)
        return
    a_day = reading.limits.per_second * 86_400
    says = f"counts a worker with the service's limits, {reading.limits.words}: at most {money(a_day)} a day each"
    yield warning("budget", says, fix)


def draining(reading: Replicas, longest_job_s: float | None) -> Finding:
    has, about = reading.draining_s, "draining"
    if longest_job_s is not None and not math.isfinite(longest_job_s):
        longest_job_s = None
    fix = "set RAILWAY_DEPLOYMENT_DRAINING_SECONDS on the service to {}, and deploy it"
    if longest_job_s is None and has:
        return ok(about, f"a removed worker has {in_words(has)} to finish its job; how long jobs take is unknown")
    if longest_job_s is None:
        says = "drainingSeconds is 0: a removed worker is killed in the middle of its job"
        return warning(about, says, fix.format("more seconds than a job takes"))
    if has < longest_job_s:
        took = in_words(longest_job_s)
        says = f"drainingSeconds is {has:.0f}, but jobs take up to {took}: they would be killed midway"
        return warning(about, says, fix.format(f"{math.ceil(longest_job_s * 1.5)} or more"))
    took = in_words(longest_job_s)
    return ok(about, f"a removed worker has {in_words(has)} to finish its job; jobs take up to {took}")


def config_as_code(instance: Mapping[str, Any]) -> Finding:
    """Whether a file in the service's repository sets the count: it overrides the API in each new deployment."""
    about = "config-as-code"
    deploy = dict(_file_part(instance))
    file = instance.get("railwayConfigFile") or "railway.json or railway.toml"
    overruling = [key for key in ("numReplicas", "multiRegionConfig") if deploy.get(key) is not None]
    if overruling:
        says = f"{file} in the service's repository sets {' and '.join(overruling)}: each deploy resets the count to it"
        return warning(about, says, "remove it from the file; until then the next cycle corrects the count")
    return ok(about, "no file sets the replica count")


def _file_part(instance: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    value: Any = instance
    for key in ("latestDeployment", "meta", "fileServiceManifest", "deploy"):
        value = value.get(key) if isinstance(value, dict) else None
    yield from value.items() if isinstance(value, dict) else ()
