"""Generated workloads: at random, by the time of day, in bursts, by the clock; the same seed gives the same jobs.

Arrivals and service times have separate random generators, so that another service time keeps the same arrivals.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random

from controller.core.problems import ConfigurationError, Problem
from controller.core.text import bounds
from controller.core.text.guesses import nearest
from controller.core.units import seconds_of
from controller.simulation.workload.jobs import DAY_S, Job, Workload

MOST_JOBS = 100_000_000
_PLACE = "--workload"
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)/([smhd])")
_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY_S}

Options = Mapping[str, float]
Arrivals = Callable[[Options, float, Random], Iterator[float]]
"""Arrivals up to the end of the window, in seconds, in order."""


def generate(text: str, *, seed: int, span_s: float) -> Workload:
    """The workload of `NAME` or `NAME:KEY=VALUE,…`; the defaults keep about two workers busy.

    poisson, diurnal, bursts, cron; each knows rate (`6/m`), service (mean, a duration) and cv (of the service times: 0
    constant, 1 exponential, any other lognormal).

    Raises:
        ConfigurationError: with all the problems of the text.
    """
    name, options = _parsed(text)
    shape = _SHAPES[name]
    expected = shape.jobs_per_s(options) * span_s
    if expected > MOST_JOBS:
        fix = f"more than the limit of {MOST_JOBS:,}; lower the rate, or the span"
        raise ConfigurationError([Problem(f"{_PLACE} {name}", f"makes some {expected:,.0f} jobs, {fix}")])

    def jobs() -> Iterator[Job]:
        services = _services(options["service"], options["cv"], Random(f"{seed}/services"))
        return zip(shape.arrivals(options, span_s, Random(f"{seed}/arrivals")), services, strict=False)

    return Workload(text, jobs, span_s)


def _services(mean: float, cv: float, dice: Random) -> Iterator[float]:
    """Without end."""
    if cv == 0:
        while True:
            yield mean
    elif cv == 1:
        random, log = dice.random, math.log
        while True:
            yield -mean * log(1.0 - random())
    else:
        gauss, exp = dice.gauss, math.exp
        variance = math.log1p(cv * cv)
        mu, sigma = math.log(mean) - variance / 2, math.sqrt(variance)
        while True:
            yield exp(mu + sigma * gauss(0.0, 1.0))


def _at_random(rate: float, span_s: float, dice: Random) -> Iterator[float]:
    """A Poisson process with `rate` jobs per second."""
    if not rate:
        return
    random, log, mean = dice.random, math.log, 1.0 / rate
    at = -mean * log(1.0 - random())
    while at < span_s:
        yield at
        at -= mean * log(1.0 - random())


def _poisson(options: Options, span_s: float, dice: Random) -> Iterator[float]:
    return _at_random(options["rate"], span_s, dice)


def _diurnal(options: Options, span_s: float, dice: Random) -> Iterator[float]:
    """Thinned from the highest rate; it begins at midnight, with the lowest rate."""
    rate, swing = options["rate"], options["swing"]
    random, cos, turn, most = dice.random, math.cos, 2 * math.pi / DAY_S, 1 + swing
    for at in _at_random(rate * most, span_s, dice):
        if random() * most < 1 - swing * cos(turn * at):
            yield at


def _bursts(options: Options, span_s: float, dice: Random) -> Iterator[float]:
    """All jobs of a burst arrive at the same time."""
    trickle, bursts = Random(dice.random()), Random(dice.random())
    size = options["size"]
    # The number of jobs is geometric, 1 or more; this is the chance of one more.
    more = math.log1p(-1 / size) if size > 1 else -math.inf

    def all_bursts() -> Iterator[float]:
        for at in _at_random(1 / options["every"], span_s, bursts):
            for _ in range(1 + int(math.log(1.0 - bursts.random()) / more)):
                yield at

    return heapq.merge(_at_random(options["rate"], span_s, trickle), all_bursts())


def _cron(options: Options, span_s: float, dice: Random) -> Iterator[float]:
    """Runs at fixed times, the first at the beginning, as if that were a full hour."""
    every, jobs = options["every"], int(options["jobs"])

    def runs() -> Iterator[float]:
        for run in range(math.ceil(span_s / every)):
            for _ in range(jobs):
                yield run * every

    return heapq.merge(_at_random(options["rate"], span_s, dice), runs())


def _rate(text: str) -> float:
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError("is not a rate; write jobs per second, minute, hour or day: 0.1/s, 6/m, 360/h, 8640/d")
    return float(match[1]) / _UNIT_S[match[2]]


def _some(read: Callable[[str], float]) -> Callable[[str], float]:
    def more_than_none(text: str) -> float:
        number = read(text)
        if not number:
            raise ValueError("is 0; give more than 0")
        return number

    return more_than_none


def _between(least: float, most: float, *, whole: bool = False) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = float(text) if text.isascii() and "_" not in text else math.nan
        except ValueError:
            number = math.nan
        if not least <= number <= most or (whole and not number.is_integer()):
            kind = "whole number" if whole else "number"
            raise ValueError(f"is not a {kind} from {least:g} to {most:g}")
        return number

    return read


_COMMON: Mapping[str, tuple[Callable[[str], float], str]] = {
    "service": (_some(seconds_of), "20s"),
    "cv": (_between(0, 100), "1"),
}


@dataclass(frozen=True, slots=True)
class _Shape:
    """options: how each is parsed, and its default."""

    arrivals: Arrivals
    jobs_per_s: Callable[[Options], float]
    options: Mapping[str, tuple[Callable[[str], float], str]]


_SHAPES: Mapping[str, _Shape] = {
    "poisson": _Shape(_poisson, lambda o: o["rate"], {"rate": (_some(_rate), "6/m"), **_COMMON}),
    "diurnal": _Shape(
        _diurnal, lambda o: o["rate"], {"rate": (_some(_rate), "6/m"), "swing": (_between(0, 1), "0.8"), **_COMMON}
    ),
    "bursts": _Shape(
        _bursts,
        lambda o: o["rate"] + o["size"] / o["every"],
        {
            "rate": (_rate, "5/m"),
            "every": (_some(seconds_of), "1h"),
            "size": (_between(1, 1_000_000), "60"),
            **_COMMON,
        },
    ),
    "cron": _Shape(
        _cron,
        lambda o: o["rate"] + o["jobs"] / o["every"],
        {
            "rate": (_rate, "4/m"),
            "every": (_some(seconds_of), "30m"),
            "jobs": (_between(1, 1_000_000, whole=True), "60"),
            **_COMMON,
        },
    ),
}
NAMES = tuple(_SHAPES)


def _parsed(text: str) -> tuple[str, dict[str, float]]:
    name, colon, rest = text.partition(":")
    if name not in _SHAPES:
        words = f"{_shown(name)} is not a known workload; {_known(name, _SHAPES)}"
        raise ConfigurationError([Problem(_PLACE, words)])
    known = _SHAPES[name].options
    problems: list[Problem] = []
    given: dict[str, str] = {}
    for part in rest.split(",") if colon else ():
        key, equals, value = (word.strip() for word in part.partition("="))
        if key not in known:
            words = f"{_shown(key)} is not a key of {name}; {_known(key, known)}"
            problems.append(Problem(f"{_PLACE} {name}", words))
        elif not equals or key in given:
            words = "is given twice; keep one" if equals else f"has no value; write {key}={known[key][1]}"
            problems.append(Problem(f"{_PLACE} {name}:{key}", words))
        else:
            given[key] = value
    options: dict[str, float] = {}
    for key, (read, default) in known.items():
        try:
            options[key] = read(given.get(key, default))
        except ValueError as error:
            problems.append(Problem(f"{_PLACE} {name}:{key}", f"{_shown(given[key])} {error}"))
    if problems:
        raise ConfigurationError(problems)
    return name, options


def _known(name: str, names: Mapping[str, object]) -> str:
    near = nearest(name, names)
    return f"{f'did you mean {near}? ' if near else ''}known are {', '.join(names)}"


def _shown(text: str) -> str:
    return repr(text[: bounds.VALUE])
