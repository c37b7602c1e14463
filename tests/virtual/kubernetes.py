"""Kubernetes, simulated: the fake's cluster and API (controller/fake_kubernetes) in virtual time, and its faults.

The fake decides what is answered, refused and written; here it is decided when, by whom, and what goes wrong. One
workload is scaled: a Deployment, a StatefulSet, or a custom resource, of which only its Scale can be read. Every change
of its count, from any sender, is in `changes`, and every write that a controller's request made is in `written`.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, cast

import httpx

from controller.adapters.kubernetes import SOURCE
from controller.adapters.kubernetes.access import KubernetesAccess
from controller.adapters.kubernetes.client import KubernetesClient
from controller.adapters.kubernetes.platform import KubernetesPlatform
from controller.core.ports import Clock
from controller.fake_kubernetes import Cluster, Timings
from controller.fake_kubernetes.answers import Answer as Answered
from controller.fake_kubernetes.api import Api, Request
from controller.fake_kubernetes.faults import Fault
from controller.fake_kubernetes.kinds import SCALED, Kind
from controller.policy import Policy
from tests.support.record import Change, Moved, Written
from tests.virtual.loop import Kernel
from tests.virtual.network import Answer, Reply
from tests.virtual.trace import Trace
from tests.virtual.wire import ERRORS, Wire

NAME = "worker"
_ANYTHING_WRONG = ("401", "403", "404", "429", "500", "503", "html", "hang", "lost", "slow")
_MAYBE_DONE = frozenset({"500", "503", "html"})
"""Each of these can come after the write: etcd's timeout, a server that ends, a gateway that waited long enough."""
_EVERY_S = 0.5
"""How often the cluster's own controllers look after their pods."""
_GRACE_S = 30


class Sender(NamedTuple):
    """Of a request that changes something. read: the resourceVersion that its sender had read last."""

    who: str
    epoch: int = 0
    intent: str = ""
    read: str = ""


_BY_HAND = Sender("by hand")
_DEPLOY = Sender("deploy")


class Told(NamedTuple):
    """What a reading of the workload told, by the rules of the API: an absent count is 0 in a Scale, and 1 elsewhere.

    The program's own functions for this may be a mutant's.
    """

    configured: int
    version: str

    @classmethod
    def by(cls, body: bytes) -> Told | None:
        """None where it told nothing."""
        try:
            found = json.loads(body)
            absent = 0 if found["kind"] == "Scale" else 1
            return cls(found["spec"].get("replicas", absent), found["metadata"]["resourceVersion"])
        except (ValueError, KeyError, TypeError):
            return None


class Kubernetes:
    """The server, the rest of the cluster, and the people at its keyboards."""

    name = "kubernetes"
    source = SOURCE
    errors = ERRORS
    bad_reads = _ANYTHING_WRONG
    bad_mutations = (*_ANYTHING_WRONG, "409", "422", "late", "late", "lost")
    fewest_running = 1
    all_moved: tuple[Moved, ...] = ()

    def __init__(
        self, kernel: Kernel, random: Random, trace: Trace, *, replicas: int, land_s: float, resource: str
    ) -> None:
        """resource: of SCALED, as a policy names it. land_s: a late change lands within it."""
        self.kernel, self.random, self.trace, self.land_s = kernel, random, trace, land_s
        kind: Kind = next(one for one in SCALED if one.name == resource)
        self.cluster = Cluster(Timings(ready=random.choice([1.0, 2.0, 5.0, 12.0])))
        self.workload = self.cluster.add(NAME, kind=kind, replicas=replicas)
        self.token_file = TokenFile("token-1")
        self.api = Api(self.cluster, self.token_file.token)
        self.changes: list[Change] = []
        self.written: list[Written] = []
        self.under_way = 0
        self.fenced = 0
        """Changes that were refused because somebody else had written."""
        self.rollouts = 0
        self.hits: Counter[str] = Counter()
        self.when_applied: list[Callable[[], None]] = []
        self._bad: dict[str, tuple[Fault, float]] = {}
        kernel.after(_EVERY_S, self._look_after_the_pods)

    def _look_after_the_pods(self) -> None:
        self.cluster.advance(self.kernel.now)
        self.kernel.after(_EVERY_S, self._look_after_the_pods)

    # What is true

    @property
    def asked(self) -> int:
        return self.workload.replicas

    @property
    def shown(self) -> int:
        """A read after a write shows it."""
        return self.workload.replicas

    @property
    def running(self) -> int:
        return self.workload.ready_count(self.kernel.now, self.cluster.timings)

    @property
    def draining_s(self) -> float:
        """By what the API shows."""
        return float(self.workload.grace_s)

    @property
    def settles_s(self) -> float:
        """A rollout of eight pods, one after the other, and those that drain."""
        return 2 * self.draining_s + 8 * self.cluster.timings.ready

    # Bad days

    def have_bad_reads(self, kind: str, seconds: float) -> None:
        """Of all, or of those of pods alone."""
        on = self.random.choice(["read", "read", "read", "/pods"])
        self._bad["GET"] = Fault(kind, on=on), self.kernel.now + seconds

    def have_bad_mutations(self, kind: str, seconds: float) -> None:
        self._bad["PATCH"] = Fault(kind), self.kernel.now + seconds

    def be_well(self) -> None:
        self._bad.clear()
        self.token_file.token = self.api.token
        self.workload.trouble, self.workload.quota, self.workload.paused = "", None, False
        self.cluster.advance(self.kernel.now)

    def let_drain(self, seconds: int) -> None:
        """From now on, a pod that is deleted takes this long to end."""
        self.workload.grace_s = seconds or _GRACE_S
        self.cluster.timings = replace(self.cluster.timings, ending=float(seconds or 1))

    def change_by_hand(self, replicas: int) -> None:
        self._scale(replicas, _BY_HAND)

    def annotate(self) -> None:
        """A write that leaves the count alone."""
        self.cluster.touch(self.workload)
        self.trace.note("kubernetes", "annotated", f"resourceVersion {self.workload.version}")

    def deploy_by_hand(self, *, reset: bool) -> None:
        """A new template; reset: of a manifest that names a count, too, and sometimes the object is made anew."""
        if reset:
            self._scale(1, _DEPLOY)
        if reset and self.random.random() < 0.3:
            self.workload.uid = str(uuid.uuid4())
            self.workload.pods.clear()
        self.rollouts += 1
        self.cluster.roll_out(self.workload)
        self.cluster.advance(self.kernel.now)
        self.trace.note("kubernetes", "rolls out", f"revision {self.workload.revision}")

    def _scale(self, replicas: int, sender: Sender) -> None:
        before = self.asked
        self.cluster.scale(self.workload, replicas)
        self.cluster.advance(self.kernel.now)
        self._note(before, sender)

    def rotate_the_token(self, late_s: float) -> None:
        """From now on another one is valid, and the file has it this much later."""
        number = int(self.api.token.rpartition("-")[2]) + 1
        self.api.token = f"token-{number}"
        self.kernel.after(late_s, self._write_the_token, self.api.token)

    def _write_the_token(self, token: str) -> None:
        self.token_file.token = token

    # Requests

    def receive(self, request: Request, sender: Sender, reply: Reply) -> None:
        fault, until = self._bad.get(request.method, (None, 0.0))
        if fault is None or self.kernel.now >= until or not fault.matches(request.method, request.path):
            return self._answer(reply, self._carry_out(request, sender))
        self.hits[fault.kind] += 1
        self.trace.note("kubernetes", "bad day", f"{request.method} of {sender.who}: {fault.kind}")
        if fault.answer is not None:
            if fault.kind in _MAYBE_DONE and self.random.random() < 0.5:
                self._carry_out(request, sender)
            if fault.kind == "429":
                fault = replace(fault, seconds=self.random.choice([1, 3, 8, 20]))
            return self._answer(reply, fault.answer)
        if fault.kind == "late":
            self.under_way += 1
            self.kernel.after(self.land_s * self.random.uniform(0.05, 0.95), self._land, request, sender, reply)
        elif fault.kind == "slow":
            answer = self._carry_out(request, sender)
            self.kernel.after(self.random.uniform(0.5, 4.0), self._answer, reply, answer)
        elif fault.kind == "lost":
            self._carry_out(request, sender)
            self.kernel.after(self._takes_s(), reply, Answer(error=httpx.ReadError("simulated")))
        return None  # to "hang", nothing

    def _land(self, request: Request, sender: Sender, reply: Reply) -> None:
        self.under_way -= 1
        self._answer(reply, self._carry_out(request, sender))

    def _answer(self, reply: Reply, answer: Answered | None) -> None:
        self.kernel.after(self._takes_s(), reply, Answer(answer))

    def _takes_s(self) -> float:
        return 0.005 + 0.05 * self.random.random()

    def _carry_out(self, request: Request, sender: Sender) -> Answered:
        self.cluster.advance(self.kernel.now)
        before, found, writes = self.asked, str(self.workload.version), len(self.api.changes)
        answer = self.api.answer(request)
        if request.method != "PATCH":
            return answer
        if answer.status == httpx.codes.CONFLICT:
            self.fenced += 1
            self.trace.note("kubernetes", "refused", f"a change of {sender.who}: read {sender.read}, now {found}")
        if len(self.api.changes) > writes:
            self.written.append(
                Written(self.kernel.now, sender.who, sender.intent, before, self.asked, sender.read, found)
            )
            self._note(before, sender)
            for trigger in list(self.when_applied):
                trigger()
        return answer

    def _note(self, before: int, sender: Sender) -> None:
        if before == self.asked:
            return
        self.changes.append(Change(self.kernel.now, before, self.asked, sender.who, sender.epoch, sender.intent))
        by = f"{sender.who} (epoch {sender.epoch}, intent {sender.intent[:8]})" if sender.intent else sender.who
        self.trace.note("kubernetes", "applied", f"{before} → {self.asked} by {by}")


@dataclass
class TokenFile:
    """As the kubelet writes it into a container; it is read like a file."""

    token: str

    def read_text(self, encoding: str) -> str:
        del encoding
        return self.token


@dataclass
class KubernetesWire(Wire):
    """`sending` is told of each change as it leaves, and answers with who sends it and what that is for.

    `answered` is told what a reading of the workload told; None: nothing, or there was no answer.
    """

    kubernetes: Kubernetes
    sending: Callable[[], Sender]
    answered: Callable[[Told | None], None]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        named, path = request.headers.get, request.url.path
        asked = Request(
            request.method,
            path,
            request.content,
            authorization=named("authorization"),
            agent=named("user-agent", ""),
            content_type=named("content-type", ""),
            query=dict(request.url.params),
        )
        is_reading = request.method == "GET" and NAME in path.split("/")
        told: Told | None = None
        try:
            await self.connect(request)
            sender = self.sending() if request.method == "PATCH" else Sender(self.who)
            answer: Answered = await self.ask(lambda reply: self.kubernetes.receive(asked, sender, reply), request)
            told = Told.by(answer.body) if answer.status == httpx.codes.OK else None
        finally:
            if is_reading:
                self.answered(told)
        return httpx.Response(answer.status, headers=dict(answer.headers), stream=httpx.ByteStream(answer.body))


def opened(
    wire: KubernetesWire, clock: Clock, policy: Policy, may_act: Callable[[int], bool], timeout_s: float
) -> KubernetesPlatform:
    """The adapter, as its opening.py opens it, but for the connections and the file of the token."""
    access = KubernetesAccess("http://kubernetes.simulated", token_file=cast("Path", wire.kubernetes.token_file))
    client = KubernetesClient(access, clock, may_change=may_act, timeout_s=timeout_s, transport=wire)
    return KubernetesPlatform(client, policy)


def target(resource: str) -> dict[str, Any]:
    """Of a worker in a policy."""
    return {"kubernetes": {"resource": resource, "name": NAME}}
