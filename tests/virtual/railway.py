"""Railway, simulated: one service whose answers have the shape and the delays of the real ones, and its faults.

The verdict looks at what it was asked for (`asked`). Its answers lag behind: a stop is visible after seconds, instances
start, a deployment takes its time. Every change, from any sender, is in `changes`, and every change of the regions in
`moved`.

The environment's configuration has a map of regions (`stored`), and the deployment another one (`regions`). They differ
while a move waits for its deployment. Two things are not documented, so there is a switch for each: whether an update
keeps the regions that it leaves out (`keeps_omitted_regions`), and whether it also makes a move that waits
(`an_update_moves`), or is only stored like it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

import httpx

from controller.adapters.railway import SOURCE
from tests.support.misfortunes import Fate, Move
from tests.support.record import Change, Moved, Placing, Written
from tests.virtual.loop import Kernel
from tests.virtual.network import Answer, Reply
from tests.virtual.trace import Trace
from tests.virtual.wire import ERRORS, Wire

SERVICE = "service-1"
ENVIRONMENT = "environment-1"
PROJECT = "project-1"
REGION = "us-west2"
REGIONS = (REGION, "europe-west4-drams3a", "asia-southeast1-eqsg3a")

_QUOTA = {"ratelimit-policy": '"default";q=1000;w=3600'}


FATES_OF_READS = (
    *(Fate.TOO_MANY, Fate.CLOUDFLARE, Fate.BAD_GATEWAY, Fate.HANG, Fate.PROBLEM),
    *(Fate.NO_DATA, Fate.DELAYED, Fate.STALE),
)
FATES_OF_MUTATIONS = (
    *(Fate.TOO_MANY, Fate.CLOUDFLARE, Fate.BAD_GATEWAY, Fate.HANG, Fate.PROBLEM, Fate.NO_DATA, Fate.DELAYED),
    *(Fate.LOST_ANSWER, Fate.LATE, Fate.NOT_HONOURED, Fate.REFUSED),
)


class Origin(NamedTuple):
    """The sender of a change, and the intent and epoch that it is for."""

    who: str
    epoch: int = 0
    intent: str = ""


_UNKNOWN = Origin("")
_BY_HAND = Origin("by hand")
_DEPLOY = Origin("deploy")


@dataclass
class Deployment:
    id: str
    status: str = "SUCCESS"
    stopped: bool = False
    regions: dict[str, int] = field(default_factory=dict)
    instances: dict[str, str] = field(default_factory=dict)

    @property
    def as_json(self) -> dict[str, Any]:
        regions = {name: {"numReplicas": count} for name, count in self.regions.items()}
        return {
            "id": self.id,
            "status": self.status,
            "deploymentStopped": self.stopped,
            "meta": {"serviceManifest": {"deploy": {"multiRegionConfig": regions}}},
            "instances": [{"id": name, "status": status} for name, status in self.instances.items()],
        }


class Shown(NamedTuple):
    since: float
    body: bytes
    configured: int
    regions: int
    node: dict[str, Any]


class Railway:
    """The server. `reads` and `mutations` are the fates that are in force at the moment, until `bad_until`."""

    name = "railway"
    source = SOURCE
    errors = ERRORS
    bad_reads = FATES_OF_READS
    bad_mutations = (*FATES_OF_MUTATIONS, Fate.LATE, Fate.LOST_ANSWER)
    written: tuple[Written, ...] = ()
    fenced = rollouts = 0
    """It has no fence, and its deployments are none of these."""

    def __init__(self, kernel: Kernel, random: Random, trace: Trace, *, replicas: int, land_s: float) -> None:
        self.kernel = kernel
        self.random = random
        self.trace = trace
        self.land_s = land_s
        self.draining_s = 0
        self._leaving: list[str] = []
        self.regions = {REGION: max(1, replicas)}
        self.stored = dict(self.regions)
        self.keeps_omitted_regions = False
        self.an_update_moves = False
        self.moved: list[Moved] = []
        self._waiting_since: float | None = None
        self.asked_to_stop = replicas == 0
        self.changes: list[Change] = []
        self.applied = 0
        self.under_way = 0
        self.hits: dict[Fate, int] = {}
        self.when_applied: list[Callable[[], None]] = []
        self._bad_reads: tuple[Fate, float] | None = None
        self._bad_operation: str | None = None
        self._bad_mutations: tuple[Fate, float] | None = None
        self._number = 1
        self._deployment = Deployment("deployment-1", regions=dict(self.regions), stopped=self.asked_to_stop)
        self._history: list[Shown] = []
        self._told: dict[bytes, Shown] = {}
        self._converge("RUNNING")

    # What is true

    @property
    def asked(self) -> int:
        return 0 if self.asked_to_stop else sum(self.regions.values())

    @property
    def shown(self) -> int:
        return self._history[-1].configured

    def told_in(self, body: bytes) -> Shown | None:
        """What an answer to EnvironmentState told; None where it told nothing."""
        return self._told.get(body)

    @property
    def running(self) -> int:
        return sum(status == "RUNNING" for status in self._deployment.instances.values())

    @property
    def fewest_running(self) -> int:
        """The smallest count but 0: one in each region."""
        return len(self.stored)

    @property
    def settles_s(self) -> float:
        return 2.0 * self.draining_s

    # Bad days

    def have_bad_reads(self, fate: str, seconds: float, of: str | None = None) -> None:
        """Of one operation, or of all of them."""
        self._bad_reads, self._bad_operation = (Fate(fate), self.kernel.now + seconds), of

    def have_bad_mutations(self, fate: str, seconds: float) -> None:
        self._bad_mutations = (Fate(fate), self.kernel.now + seconds)

    def be_well(self) -> None:
        self._bad_reads = self._bad_mutations = None
        self._deploy_what_waits(self._waiting_since)

    def change_by_hand(self, replicas: int) -> None:
        """In the regions that there are, as far as they are not more than the replicas."""
        if replicas:
            self._update(_evenly(replicas, list(self.stored)[:replicas]), _BY_HAND)
            if self.asked_to_stop:
                self._restart(_BY_HAND)
        else:
            self._stop(_BY_HAND)

    def let_drain(self, seconds: int) -> None:
        """From now on, a removed instance has this long to finish its jobs."""
        self.draining_s = seconds
        self._show()

    def deploy_by_hand(self, *, reset: bool) -> None:
        before = self.asked
        if reset:
            self._store({REGION: 1}, _DEPLOY)
        self._deploy(_DEPLOY, before)

    def move(self, regions: Sequence[str], move: Move, *, waits_s: float = 0.0) -> None:
        """By hand: the count stays, but there is at least one in each region."""
        before, wanted = self.asked, _evenly(max(len(regions), sum(self.stored.values())), regions)
        self.trace.note("railway", "moved", f"{_listed(self.stored)} → {_listed(wanted)} {move.value}")
        if move is Move.AT_ONCE:
            self._end_waiting()
            self._update(wanted, _BY_HAND)
            return
        if move is Move.WAITING:
            self._waiting_since = self.kernel.now if self._waiting_since is None else self._waiting_since
            self.kernel.after(waits_s, self._deploy_what_waits, self._waiting_since)
        self._store(wanted, _BY_HAND)
        if move is Move.DEPLOYED:
            self._deploy(_DEPLOY, before)

    def _deploy_what_waits(self, since: float | None) -> None:
        if since is not None and self._waiting_since == since:
            self._deploy(_DEPLOY, self.asked)

    def _end_waiting(self) -> None:
        """What was moved while a move waited has reached the deployment now."""
        since, self._waiting_since = self._waiting_since, None
        if since is not None:
            now = self.kernel.now
            self.moved = [one._replace(until=now) if one.at >= since else one for one in self.moved]

    @property
    def all_moved(self) -> list[Moved]:
        """With those that still wait."""
        since = self._waiting_since
        if since is None:
            return self.moved
        return [one._replace(until=self.kernel.now) if one.at >= since else one for one in self.moved]

    # Requests

    def receive(self, operation: str, variables: dict[str, Any], origin: Origin, reply: Reply) -> None:
        mutation = operation in _MUTATIONS
        fate = self._fate(operation, mutation=mutation)
        if fate is not Fate.DONE:
            self.hits[fate] = self.hits.get(fate, 0) + 1
            self.trace.note("railway", "bad day", f"{operation} of {origin.who or 'unknown'}: {fate.value}")
        if fate is Fate.TOO_MANY:
            return self._answer(reply, 429, b"", {"retry-after": str(self.random.choice([1, 3, 8, 20]))})
        if fate is Fate.CLOUDFLARE:
            return self._answer(reply, 429, b"error code: 1015")
        if fate is Fate.PROBLEM:
            return self._answer(reply, 200, _error("Problem processing request"))
        if fate is Fate.HANG:
            return None
        if fate is Fate.NO_DATA:
            return self._answer(reply, 200, b'{"data": null}')
        if fate is Fate.DELAYED:
            reply = self._later(reply)
        if mutation:
            return self._mutate(operation, variables, origin, reply, fate)
        if fate is Fate.BAD_GATEWAY:
            return self._answer(reply, 502, b"<html>Bad Gateway</html>")
        return self._answer(reply, 200, self._read(operation, stale=fate is Fate.STALE))

    def _fate(self, operation: str, *, mutation: bool) -> Fate:
        bad = self._bad_mutations if mutation else self._bad_reads
        if not mutation and self._bad_operation not in {None, operation}:
            return Fate.DONE
        return bad[0] if bad is not None and self.kernel.now < bad[1] else Fate.DONE

    def _answer(self, reply: Reply, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        response = (status, {**_QUOTA, **(headers or {})}, body)
        self.kernel.after(0.05 + 0.25 * self.random.random(), reply, Answer(response))

    def _later(self, reply: Reply) -> Reply:
        def answer_later(answer: Answer) -> None:
            self.kernel.after(self.random.uniform(0.5, 4.0), reply, answer)

        return answer_later

    def _read(self, operation: str, *, stale: bool) -> bytes:
        if operation == "PastDeployments":
            return _data({"deployments": {"edges": [{"node": {"id": "deployment-1", "status": "SUCCESS"}}]}})
        shown, old = self._history[-1], self.kernel.now - 20
        if stale:
            shown = next((one for one in reversed(self._history) if one.since <= old), self._history[0])
        if operation == "EnvironmentState":
            return shown.body
        regions = {name: {"numReplicas": count} for name, count in self.stored.items()}
        config = {"services": {SERVICE: {"deploy": {"multiRegionConfig": regions}}}}
        return _data({"environment": {"id": ENVIRONMENT, "config": config}, "serviceInstance": shown.node})

    def _mutate(self, operation: str, variables: dict[str, Any], origin: Origin, reply: Reply, fate: Fate) -> None:
        def apply(reply: Reply) -> None:
            self.under_way -= 1
            answer = self._apply(operation, variables, origin)
            if fate in {Fate.DONE, Fate.DELAYED}:
                self._answer(reply, 200, answer)
            elif fate is Fate.BAD_GATEWAY:
                self._answer(reply, 502, b"<html>Bad Gateway</html>")

        if fate is Fate.NOT_HONOURED:
            value: Any = "deployment-x" if operation == "ServiceInstanceDeployV2" else True
            return self._answer(reply, 200, _data({operation[0].lower() + operation[1:]: value}))
        if fate is Fate.REFUSED:
            return self._answer(reply, 200, _error("Not allowed in this state"))
        if fate is Fate.BAD_GATEWAY and self.random.random() < 0.5:
            return self._answer(reply, 502, b"<html>Bad Gateway</html>")
        self.under_way += 1
        if fate is Fate.LATE:
            self.kernel.after(self.land_s * (0.05 + 0.9 * self.random.random()), apply, reply)
            return None
        return apply(reply)

    def _apply(self, operation: str, variables: dict[str, Any], origin: Origin) -> bytes:
        field_name = operation[0].lower() + operation[1:]
        before, changes = self.asked, len(self.changes)
        if operation == "ServiceInstanceUpdate":
            change = variables["input"]
            regions = change.get("multiRegionConfig") or {REGION: {"numReplicas": change.get("numReplicas")}}
            wanted = {name: count for name, count in self.stored.items() if name not in regions}
            wanted = wanted if self.keeps_omitted_regions else {}
            wanted |= {name: one["numReplicas"] for name, one in regions.items() if one}
            if not wanted or min(wanted.values()) < 1:
                return _error("Error in multiRegionConfig - Invalid input")
            self._update(wanted, origin)
        elif operation == "ServiceInstanceDeployV2":
            self._deploy(origin, before)
        elif variables["id"] != self._deployment.id:
            return _error("Deployment not found")
        elif operation == "DeploymentStop":
            if self._deployment.status != "SUCCESS":
                return _error("Deployment is not stoppable")
            self._stop(origin)
        else:
            if self._deployment.status != "SUCCESS":
                return _error("Deployment is not restartable")
            self._restart(origin)
        self.applied += 1
        if len(self.changes) == changes:
            self.trace.note("railway", "applied", f"{operation} of {origin.who}: {self.asked} as before")
        for trigger in self.when_applied:
            trigger()
        value = self._deployment.id if operation == "ServiceInstanceDeployV2" else True
        return _data({field_name: value})

    # What changes

    def _update(self, regions: dict[str, int], origin: Origin) -> None:
        before = self.asked
        self._store(regions, origin)
        if self.an_update_moves:
            self._end_waiting()
        if self._waiting_since is not None and not regions.keys() <= self.regions.keys():
            self.trace.note("railway", "stored", f"{_listed(regions)} of {origin.who}, until the next deployment")
            return
        self.regions = dict(regions)
        self._note(before, origin)
        self.kernel.after(2.5 * self.random.random(), self._show_count)

    def _store(self, regions: dict[str, int], origin: Origin) -> None:
        before, after = frozenset(self.stored), frozenset(regions)
        self.stored = dict(regions)
        if before != after:
            now = self.kernel.now
            self.moved.append(Moved(now, now, origin.who, origin.intent, before, after))

    def _stop(self, origin: Origin) -> None:
        before, self.asked_to_stop = self.asked, True
        self._note(before, origin)
        self.kernel.after(self.random.uniform(1.6, 7.0) + self.draining_s, self._show_stop)

    def _restart(self, origin: Origin) -> None:
        before, self.asked_to_stop = self.asked, False
        self._note(before, origin)
        self.kernel.after(self.random.uniform(0.3, 8.0), self._show_stop)

    def _deploy(self, origin: Origin, before: int) -> None:
        self._number += 1
        self._end_waiting()
        self.regions = dict(self.stored)
        self.asked_to_stop = False
        self._note(before, origin)
        self._deployment = Deployment(
            f"deployment-{self._number}", "INITIALIZING", stopped=True, regions=dict(self.regions)
        )
        self._show()
        self.kernel.after(self.random.uniform(6, 16), self._show_deployed, self._deployment)

    def _note(self, before: int, origin: Origin) -> None:
        if before == self.asked:
            return
        self.changes.append(Change(self.kernel.now, before, self.asked, origin.who, origin.epoch, origin.intent))
        by = f"{origin.who} (epoch {origin.epoch}, intent {origin.intent[:8]})" if origin.intent else origin.who
        self.trace.note("railway", "applied", f"{before} → {self.asked} by {by}")

    # What is shown of it

    def _show_count(self) -> None:
        self._deployment.regions = dict(self.regions)
        self._converge("CREATED")
        self.kernel.after(self.random.uniform(2, 5), self._show_started)

    def _show_started(self) -> None:
        if self._deployment.status == "SUCCESS" and not self._deployment.stopped:
            self._converge("RUNNING")

    def _show_stop(self) -> None:
        if self._deployment.status != "SUCCESS":
            return
        self._deployment.stopped = self.asked_to_stop
        self._deployment.regions = dict(self.regions)
        self._converge("RUNNING")

    def _show_deployed(self, deployment: Deployment) -> None:
        if deployment is not self._deployment:
            return
        deployment.status = "SUCCESS"
        deployment.stopped = self.asked_to_stop
        deployment.regions = dict(self.regions)
        self._converge("RUNNING")

    def _converge(self, status: str) -> None:
        """Starts or removes instances until the number is right; new ones get this status."""
        deployment = self._deployment
        instances = deployment.instances
        if deployment.stopped:
            deployment.instances = dict.fromkeys(instances, "EXITED")
        else:
            known: dict[str, str] = {}
            for region, count in deployment.regions.items():
                there = [name for name in instances if name.startswith(f"{region}-")]
                kept = there[:count] if deployment.status == "SUCCESS" else []
                known |= {name: ("RUNNING" if status == "RUNNING" else instances[name]) for name in kept}
                known |= {f"{region}-{self._number}-{index}": status for index in range(len(kept), count)}
            self._drain([name for name in instances if name not in known])
            deployment.instances = {
                name: (status if one in {"EXITED", "REMOVING"} else one) for name, one in known.items()
            }
        self._show()

    def _drain(self, names: list[str]) -> None:
        """Removed instances finish their jobs, and are shown until then."""
        if self.draining_s and self._deployment.status == "SUCCESS":
            self._leaving += [f"{name}-leaving" for name in names]
            self.kernel.after(self.draining_s, self._end, len(names))

    def _end(self, count: int) -> None:
        del self._leaving[:count]
        self._show()

    def _show(self) -> None:
        deployment = self._deployment.as_json
        deployment["instances"] += [{"id": name, "status": "REMOVING"} for name in self._leaving]
        node = {
            "serviceId": SERVICE,
            "serviceName": "worker",
            "numReplicas": None,
            "region": None,
            "cronSchedule": None,
            "drainingSeconds": self.draining_s or None,
            "latestDeployment": deployment,
            "activeDeployments": [deployment],
        }
        page = {"edges": [{"node": node}], "pageInfo": {"hasNextPage": False, "endCursor": None}}
        body = _data({"environment": {"id": ENVIRONMENT, "name": "simulated", "serviceInstances": page}})
        at_rest = self._deployment.stopped and self._deployment.status == "SUCCESS"
        configured = 0 if at_rest else sum(self._deployment.regions.values())
        shown = Shown(self.kernel.now, body, configured, len(self._deployment.regions), node)
        self._told[body] = shown
        self._history.append(shown)


_MUTATIONS = frozenset({"ServiceInstanceUpdate", "ServiceInstanceDeployV2", "DeploymentStop", "DeploymentRestart"})


@dataclass
class RailwayWire(Wire):
    """`sending` is told of each mutation as it leaves, and answers with the epoch and the intent that it is made for.

    `answered` is told of each answer, and of when its request left.
    """

    railway: Railway
    sending: Callable[[str, Mapping[str, Any], Mapping[str, str]], Origin]
    answered: Callable[[str, bytes | None, float], None]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        operation, variables = body["operationName"], body["variables"]
        await self.connect(request)
        origin = self.sending(operation, variables, request.headers) if operation in _MUTATIONS else _UNKNOWN
        sent_at = self.railway.kernel.now
        status, found, text = await self.ask(
            lambda reply: self.railway.receive(operation, variables, origin, reply), request
        )
        self.answered(operation, text if status == httpx.codes.OK else None, sent_at)
        return httpx.Response(status, headers=found, stream=httpx.ByteStream(text))


def placing(update: Mapping[str, Any], read: bytes, read_at: float) -> Placing:
    """An update, and the answer to EnvironmentConfig that its sender had read right before it."""
    asked = {name: one and one["numReplicas"] for name, one in (update.get("multiRegionConfig") or {}).items()}
    data = json.loads(read)["data"]
    stored = data["environment"]["config"]["services"][SERVICE]["deploy"]["multiRegionConfig"]
    deployed = data["serviceInstance"]["latestDeployment"]["meta"]["serviceManifest"]["deploy"]["multiRegionConfig"]
    return Placing(asked, frozenset(stored), frozenset(deployed), read_at)


def _listed(regions: Mapping[str, int]) -> str:
    return ", ".join(f"{count} in {name}" for name, count in regions.items())


def _evenly(replicas: int, regions: Sequence[str]) -> dict[str, int]:
    """The first of them have one more where it does not divide."""
    each, more = divmod(replicas, len(regions))
    return {name: each + (number < more) for number, name in enumerate(regions)}


def _data(data: dict[str, Any]) -> bytes:
    return json.dumps({"data": data}).encode()


def _error(message: str) -> bytes:
    error = {"message": message, "extensions": {"code": "BAD_USER_INPUT"}, "traceId": "1"}
    return json.dumps({"errors": [error], "data": None}).encode()
