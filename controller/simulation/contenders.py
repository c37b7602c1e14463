"""The policies that can be compared: those of a file, rules of other autoscalers, and built-in ones by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from controller.configuration import read_policy
from controller.core.problems import ConfigurationError, Problem
from controller.core.text.guesses import nearest
from controller.core.units import as_policy, seconds_of, share_of
from controller.policy import Policy, WorkerPolicy
from controller.simulation.comparison import Contender
from controller.simulation.own import OwnPolicy
from controller.simulation.peers import Hpa, Keda, Latency, Static
from controller.simulation.workload.jobs import Workload

WITHOUT_RAILWAY = {"RAILWAY_WORKER_SERVICE_ID": "simulated"}
"""Variables that a policy may use and a simulation does not need."""
_LONGEST_PLACE = 200
_BUILT_IN = re.compile(r"[a-z][a-z_-]*(:.*)?")


@dataclass(frozen=True, slots=True)
class Common:
    """Values from the command line for all contenders.

    maximum: for contenders that give none. worker: the worker of a policy. concurrency: jobs that one worker runs at
    once. queue_shares: `urgent=3,bulk=1`, of jobs among the queues of a worker; each is 1 by default.
    """

    maximum: int = 5
    worker: str | None = None
    wakes: bool = True
    concurrency: int = 1
    queue_shares: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """A built-in contender. options: each with its default, whose type is the type of the value.

    What each one does stands in the help of `autoscaler simulate`.
    """

    options: Mapping[str, float | str]
    make: Callable[[Mapping[str, Any], Common], Contender]
    bare: str | None = None
    """The option for a value without a key, as in static:5."""


def read_contender(text: str, common: Common, environment: Mapping[str, str]) -> Contender:
    """Reads a policy's file, or a built-in such as `static:5` and `keda:target=3,window=60`.

    Raises:
        ConfigurationError: it is neither, or it does not load.
    """
    name = text.partition(":")[0]
    if name in KINDS:
        return _built_in(text, KINDS[name], common)
    path = Path(text)
    if ".csv" in path.suffixes:
        raise _wrong(text, f"is a trace by its name, and not a policy; write --trace {text}")
    if not is_there(path) and _BUILT_IN.fullmatch(text) and "." not in text:
        near = nearest(name, KINDS)
        fix = f"did you mean {near}?" if near else f"built in are {', '.join(KINDS)}"
        raise _wrong(text, f"is neither a file nor a built-in policy; {fix}")
    policy, worker = read_worker(path, common.worker, environment)
    shares = _queue_shares(text, worker, common.queue_shares)
    notes = (hours_note(text, worker), budget_note(text, policy, worker))
    unlimited = worker.model_copy(update={"budget": None})
    return Contender(
        text,
        worker.highest_max,
        lambda: OwnPolicy.of(policy, unlimited, wakes=wakes(worker, common)),
        "; ".join(filter(None, notes)),
        shares,
    )


def hours_note(name: str, worker: WorkerPolicy) -> str:
    """How the hours of jobs without dates are taken; "" without schedules."""
    if not worker.schedules:
        return ""
    zone = worker.schedules[0].timezone
    return f"{name}: its schedules go by the dates of the jobs; jobs without dates begin on a Monday at 00:00 {zone}"


def budget_note(name: str, policy: Policy, worker: WorkerPolicy) -> str:
    """That neither a budget nor a pool is simulated; "" without one."""
    has = policy.budget is not None or worker.budget is not None
    said = ["its budget is not simulated: max_replicas stays, whatever is spent"] if has else []
    said += [] if worker.pool is None else [f"its pool {worker.pool} is not simulated: the worker is alone"]
    return f"{name}: {'; '.join(said)}" if said else ""


def _queue_shares(name: str, worker: WorkerPolicy, text: str) -> dict[str, float]:
    """By each of several queues, its share of the jobs, relative to the others.

    Raises:
        ConfigurationError: a name or a share is wrong.
    """
    shares = dict.fromkeys(worker.named_queues, 1.0)
    for part in filter(None, (part.strip() for part in text.split(","))):
        queue, _, value = part.partition("=")
        if queue not in shares:
            there = f"its queues are {', '.join(shares)}" if shares else "it has no queues"
            raise _wrong("--queue-shares", f"{queue!r} is not a queue of {name}; {there}")
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", value):
            raise _wrong("--queue-shares", f"{part!r} must be the name of a queue, =, and a number, such as {queue}=3")
        shares[queue] = float(value)
    if shares and not any(shares.values()):
        raise _wrong("--queue-shares", f"no queue of {name} has a share above 0")
    return shares


def queues_note(contender: Contender, workload: Workload) -> str:
    """How the jobs are split among several queues of a worker; "" if it has one."""
    shares = contender.queues
    if not shares:
        return ""
    are_equal, is_known = len(set(shares.values())) == 1, contender.knows_queues_of(workload)
    named = ", ".join(queue if are_equal else f"{queue} {share:g}" for queue, share in shares.items())
    how = "as the jobs name it" if is_known else f"drawn at random in {'equal' if are_equal else 'these'} shares"
    if workload.queues and not is_known:
        how += f", because the jobs are in the queues {', '.join(workload.queues)}"
    oldest = "workers take the oldest job of all queues"
    return f"{contender.name}: each job is in one of its queues ({named}), {how}; {oldest}"


def is_there(path: Path) -> bool:
    """Whether the file exists; False also for a name that the system refuses."""
    try:
        return path.exists()
    except OSError:
        return False


def read_worker(path: Path, name: str | None, environment: Mapping[str, str]) -> tuple[Policy, WorkerPolicy]:
    """The policy of a file and one worker of it: the named one, or the only one.

    Raises:
        ConfigurationError: the file does not load, or has several workers and none is named.
    """
    policy, _ = read_policy(path, {**WITHOUT_RAILWAY, **environment})
    if name is not None and name not in policy.workers:
        raise _wrong(str(path), f"has no worker {name}; --worker may be {', '.join(policy.workers)}")
    if name is None and len(policy.workers) > 1:
        raise _wrong(str(path), f"has {len(policy.workers)} workers; name one: --worker {', '.join(policy.workers)}")
    worker = policy.workers[name or next(iter(policy.workers))]
    if not worker.max_replicas:
        raise _wrong(str(path), "has max_replicas: 0, so that no job would ever be done; write 1 or more")
    return policy, worker


def read_both(
    old: Path, new: Path, name: str | None, environment: Mapping[str, str]
) -> tuple[tuple[str, Policy, WorkerPolicy], tuple[str, Policy, WorkerPolicy]]:
    """Both policies, and from each the worker to compare, with its name; both workers have the same service.

    It is the named worker, even if the other file gives it another name; or the only worker that both files have.

    Raises:
        ConfigurationError: a file does not load, or the worker is not clear.
    """
    before, after = (read_policy(path, {**WITHOUT_RAILWAY, **environment})[0] for path in (old, new))
    pairs = [
        (one, other)
        for one, worker in before.workers.items()
        for other, counterpart in after.workers.items()
        if worker.target == counterpart.target
    ] or [(one, one) for one in before.workers if one in after.workers]
    pairs = [pair for pair in pairs if name in {None, *pair}]
    names: tuple[str | None, str | None] = pairs[0] if len(pairs) == 1 else (name, name)
    first, second = (read_worker(path, one, environment) for path, one in zip((old, new), names, strict=True))
    called = [next(key for key, one in policy.workers.items() if one is worker) for policy, worker in (first, second)]
    return (called[0], *first), (called[1], *second)


def wakes(worker: WorkerPolicy, common: Common) -> bool:
    """Whether new jobs wake the controller: by wake_on, or because the preset's library announces its jobs.

    Of several queues, each has to be announced: which of them a simulated job is in is unknown.
    """
    announced = (one.wake_on is not None or one.preset is not None for one in worker.each_queue.values())
    return common.wakes and all(announced)


def own_worker(fields: Mapping[str, Any]) -> WorkerPolicy:
    """A worker's policy from the keys of a policy file.

    Raises:
        ValidationError: a key or a value is wrong.
    """
    return WorkerPolicy.model_validate(
        {"service": "simulated", "queue": {"table": "jobs", "wake_on": "jobs"}, **fields}
    )


def _own(fields: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Callable[[Mapping[str, Any], Common], Contender]:
    def make(options: Mapping[str, Any], common: Common) -> Contender:
        maximum = options["max"]
        limits: dict[str, Any] = {} if common.concurrency == 1 else {"jobs_per_worker": common.concurrency}
        if options["max_wait"] >= 0:
            limits["max_wait"] = as_policy(options["max_wait"])
        made = fields({**options, "concurrency": common.concurrency})
        worker = own_worker({"max_replicas": maximum, "min_replicas": options["min"], **limits, **made})
        policy = Policy.model_construct(interval=options["interval"], workers={"worker": worker})
        is_woken = common.wakes and options["wake"] > 0
        return Contender("", maximum, lambda: OwnPolicy.of(policy, worker, wakes=is_woken))

    return make


def _target_wait(options: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {"target_wait": as_policy(options["wait"])}
    if options["idle_off"] >= 0:
        fields["scale_down"] = {"idle_off": as_policy(options["idle_off"])}
    if options["service"] >= 0:
        fields["service_time"] = as_policy(options["service"])
    return fields


def _slo(options: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {"slo": {"wait": as_policy(options["wait"]), "share": options["share"]}}
    if options["idle_off"] >= 0:
        fields["scale_down"] = {"idle_off": as_policy(options["idle_off"])}
    return fields


def _tiers(options: Mapping[str, Any]) -> dict[str, Any]:
    """The tiers of the shipped policy; the last tier is the maximum."""
    tiers = [{"up_to": depth, "replicas": k} for k, depth in enumerate((0, 10, 30, 60, 100)) if k < options["max"]]
    return {**_with_cooldowns(options), "tiers": [*tiers, {"replicas": options["max"]}]}


def _recut(options: Mapping[str, Any]) -> dict[str, Any]:
    """Tiers with d_k = k x wait / service: with k workers, d_k jobs mean a wait of `wait` seconds."""
    each, most = options["wait"] * options["concurrency"] / options["service"], options["max"]
    return {**_with_cooldowns(options), "tiers": tiers_for([(k, k * each) for k in range(1, most)], most)}


def tiers_for(bounds: Iterable[tuple[int, float]], most: int) -> list[dict[str, int]]:
    """Tiers from (workers, depth) pairs; depths are rounded so that all differ, and the last tier has no limit."""
    tiers, before = [{"up_to": 0, "replicas": 0}], 0
    for replicas, bound in bounds:
        before = max(before + 1, round(bound))
        tiers.append({"up_to": before, "replicas": replicas})
    return [*tiers, {"replicas": most}]


def _per_worker(options: Mapping[str, Any]) -> dict[str, Any]:
    """One worker per N jobs; a window of 0 s is none."""
    fields = _with_cooldowns(options)
    fields["scale_down"]["stabilization_window"] = as_policy(options["window"])
    named = {name: options[name] for name in ("activation", "tolerance")}
    return {**fields, **named, "per_worker": options["jobs"]}


def _with_cooldowns(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {"scale_up": {"cooldown": as_policy(options["up"])}, "scale_down": {"cooldown": as_policy(options["down"])}}


def _keda(options: Mapping[str, Any], _: Common) -> Contender:
    return Contender(
        "",
        options["max"],
        lambda: Keda(
            options["max"],
            15.0,
            target=options["target"],
            window=options["window"],
            cooldown=options["cooldown"],
            polling=options["polling"],
            counts_running=options["count"] == "all",
            minimum=1,
        ),
    )


def _hpa(options: Mapping[str, Any], _: Common) -> Contender:
    return Contender(
        "",
        options["max"],
        lambda: Hpa(
            options["max"],
            15.0,
            target=options["target"],
            window=options["window"],
            counts_running=options["count"] == "all",
            minimum=options["min"],
        ),
    )


def _latency(options: Mapping[str, Any], _: Common) -> Contender:
    return Contender(
        "",
        options["max"],
        lambda: Latency(
            options["max"],
            10.0,
            high=options["high"],
            low=options["low"],
            step=options["step"],
            delay=options["delay"],
            frequency=options["frequency"],
            minimum=options["min"],
        ),
    )


def _static(options: Mapping[str, Any], _: Common) -> Contender:
    replicas = options["replicas"]
    maximum = max(replicas, options["max"])
    return Contender("", maximum, lambda: Static(maximum, float("inf"), replicas=replicas))


def _oracle(options: Mapping[str, Any], _: Common) -> Contender:
    return Contender("", options["max"], None)


_OF_A_POLICY = {"max": 0, "min": 0, "interval": 10.0, "wake": 1, "max_wait": -1.0}
_OF_TARGET_WAIT = {**_OF_A_POLICY, "service": -1.0}
_COOLDOWNS = {"up": 30.0, "down": 120.0}
KINDS: Mapping[str, Kind] = {
    "tiers": Kind({**_OF_A_POLICY, **_COOLDOWNS}, _own(_tiers)),
    "recut": Kind(
        {**_OF_A_POLICY, **_COOLDOWNS, "wait": 60.0, "service": 20.0},
        _own(_recut),
    ),
    "per_worker": Kind(
        {**_OF_A_POLICY, **_COOLDOWNS, "window": 0.0, "jobs": 5, "activation": 1, "tolerance": 0.0},
        _own(_per_worker),
        bare="jobs",
    ),
    "target_wait": Kind(
        {**_OF_TARGET_WAIT, "wait": 60.0, "idle_off": -1.0},
        _own(_target_wait),
        bare="wait",
    ),
    "slo": Kind({**_OF_A_POLICY, "wait": 60.0, "share": 0.99, "idle_off": -1.0}, _own(_slo), bare="wait"),
    "economy": Kind({**_OF_TARGET_WAIT, "wait": 60.0, "idle_off": -1.0}, _own(_target_wait)),
    "balanced": Kind({**_OF_TARGET_WAIT, "wait": 20.0, "idle_off": -1.0}, _own(_target_wait)),
    "fast": Kind({**_OF_TARGET_WAIT, "wait": 5.0, "idle_off": -1.0}, _own(_target_wait)),
    "static": Kind({"max": 0, "replicas": 5}, _static, bare="replicas"),
    "keda": Kind(
        {"max": 0, "target": 5.0, "window": 300.0, "cooldown": 300.0, "polling": 30.0, "count": "all"},
        _keda,
    ),
    "hpa": Kind(
        {"max": 0, "min": 1, "target": 5.0, "window": 300.0, "count": "all"},
        _hpa,
    ),
    "latency": Kind(
        {"max": 0, "min": 1, "high": 30.0, "low": 5.0, "step": 1, "delay": 600.0, "frequency": 10.0},
        _latency,
    ),
    "oracle": Kind(
        {"max": 0},
        _oracle,
    ),
}


def _built_in(text: str, kind: Kind, common: Common) -> Contender:
    name, _, rest = text.partition(":")
    options: dict[str, Any] = dict(kind.options)
    for part in filter(None, (part.strip() for part in rest.split(","))):
        key, sign, value = part.partition("=")
        if not sign and kind.bare is not None:
            key, value = kind.bare, part
        if key not in options:
            raise _wrong(text, f"{key!r} is not an option of {name}; there are {', '.join(options)}")
        options[key] = _value(text, key, value, kind.options[key])
    options["max"] = options["max"] or common.maximum
    try:
        made = kind.make(options, common)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _wrong(text, f"is not a valid policy: {'.'.join(map(str, first['loc']))} {first['msg']}") from None
    return Contender(text, made.maximum, made.make)


def _value(text: str, key: str, value: str, default: float | str) -> float | str:
    """The value with the type of the default: a whole number, seconds (a number or a duration), or a word."""
    if isinstance(default, str):
        if value not in {"all", "waiting"}:
            raise _wrong(text, f"{key} may be all (waiting and in progress) or waiting, not {value!r}")
        return value
    if isinstance(default, int):
        if not value.isascii() or not value.isdigit() or len(value) > 4 or int(value) > 1000:
            raise _wrong(text, f"{key} must be a whole number from 0 to 1000, not {value!r}")
        return int(value)
    if key in {"tolerance", "share"}:
        return _share(text, key, value)
    try:
        seconds = float(value) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) else seconds_of(value)
    except ValueError:
        raise _wrong(text, f"{key} must be a number, or a duration such as 90s or 5m, not {value!r}") from None
    if key in {"target", "interval", "polling", "service"} and seconds <= 0:
        raise _wrong(text, f"{key} must be above 0")
    return seconds


def _share(text: str, key: str, value: str) -> float:
    try:
        share = share_of(value)
    except ValueError as error:
        raise _wrong(text, f"{key} {error}, not {value!r}") from None
    if share >= 1:
        raise _wrong(text, f"{key} is not below 100%; 10 percent is written 10% or 0.1, not {value!r}")
    return share


def _wrong(place: str, words: str) -> ConfigurationError:
    shown = place if len(place) <= _LONGEST_PLACE else f"{place[:_LONGEST_PLACE]}…"
    return ConfigurationError([Problem(shown, words)])
