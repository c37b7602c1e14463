"""The policies that `make worth` compares: our presets, a standard list of rivals, and a sweep of rivals' settings.

The standard list was written before any figure was known. The best of the sweep is chosen in hindsight, on the traces
that it is then measured on: nobody could have known it beforehand, so it is an upper bound for a rival that was tuned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

PRESETS: Mapping[str, float] = {"economy": 0.05, "balanced": 0.2, "fast": 1.0}
"""By name, the v (worker-seconds for a second of waiting) that the preset is made for."""
_CUSTOMARY_SERVICE_S = 20.0


def standard(service_s: float) -> tuple[str, ...]:
    """Rivals and presets. service_s: the mean time per job, which re-cut tiers have to know."""
    return (
        *("tiers", _recut(60, 30, 120, service_s), "keda:target=3,window=60", "keda:target=3,window=60,cooldown=60"),
        *("keda:target=3,window=300", "hpa:target=3,window=60", "latency", "latency:high=10,step=2,delay=120,min=0"),
        *PRESETS,
        *("static:1", "static:2", "static:5", "oracle"),
    )


def sweep(service_s: float) -> tuple[str, ...]:
    """About 200 settings of the rivals: KEDA, HPA, re-cut tiers, latency, and a fixed number of workers."""
    return (*_keda(), *_hpa(), *_recuts(service_s), *_latency(), *(f"static:{count}" for count in range(1, 6)))


def _keda() -> Iterator[str]:
    for target in range(1, 7):
        for window in (30, 60, 120, 300):
            yield from (f"keda:target={target},window={window},cooldown={cooldown}" for cooldown in (30, 60, 300))
    for target in (1, 2, 3, 5):
        yield from (f"keda:target={target},window={window},cooldown=60,count=waiting" for window in (60, 300))


def _hpa() -> Iterator[str]:
    for target in range(1, 7):
        yield from (f"hpa:target={target},window={window}" for window in (30, 60, 120, 300))


def _recuts(service_s: float) -> Iterator[str]:
    for wait in (10, 15, 20, 30, 45, 60, 90, 120):
        for up in (0, 30):
            yield from (_recut(wait, up, down, service_s) for down in (0, 30, 60, 120))


def _latency() -> Iterator[str]:
    for high in (10, 20, 30):
        for step in (1, 2):
            for delay in (60, 120, 600):
                yield from (f"latency:high={high},step={step},delay={delay},min={least}" for least in (0, 1))


def _recut(wait: int, up: int, down: int, service_s: float) -> str:
    """The shortest name for it: options that have their default are left out."""
    each = "" if service_s == _CUSTOMARY_SERVICE_S else f",service={service_s:g}"
    cooldowns = "" if (up, down) == (30, 120) else f",up={up},down={down}"
    return f"recut:wait={wait}{each}{cooldowns}"
