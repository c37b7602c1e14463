"""Random policies of our own, with every key that a simulation goes by."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from controller.policy import WorkerPolicy
from controller.simulation.contenders import own_worker

_SECONDS = st.sampled_from([0, 10, 15, 30, 60, 120, 300])


@st.composite
def policies(draw: st.DrawFn) -> WorkerPolicy:
    most = draw(st.integers(1, 6))
    fields: dict[str, Any] = {
        "max_replicas": most,
        "min_replicas": draw(st.integers(0, min(2, most))),
        "jobs_per_worker": draw(st.sampled_from([None, 1, 2])),
        "scale_up": _step(draw),
        "scale_down": _step(draw),
    }
    if draw(st.booleans()):
        fields["scale_up"]["cooldown"] = f"{draw(_SECONDS)}s"
    if draw(st.booleans()):
        fields["max_wait"] = f"{draw(st.sampled_from([5, 20, 60, 300]))}s"
    way = draw(st.sampled_from([_tiers, _wait, _per_worker]))
    return own_worker({**fields, **way(draw, fields)})


def _step(draw: st.DrawFn) -> dict[str, Any]:
    step = draw(st.sampled_from([None, None, 1, 2]))
    return {} if step is None else {"max_step": step}


def _tiers(draw: st.DrawFn, fields: dict[str, Any]) -> dict[str, Any]:
    bounds = sorted(draw(st.sets(st.integers(0, 30), max_size=5)))
    counts = sorted(draw(st.lists(st.integers(0, 7), min_size=len(bounds) + 1, max_size=len(bounds) + 1)))
    tiers: list[dict[str, int]] = [
        {"up_to": bound, "replicas": count} for bound, count in zip(bounds, counts, strict=False)
    ]
    return {"tiers": [*tiers, {"replicas": counts[-1]}], "scale_down": _delayed(draw, fields)}


def _per_worker(draw: st.DrawFn, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "per_worker": draw(st.integers(1, 8)),
        "activation": draw(st.integers(1, 6)),
        "tolerance": draw(st.sampled_from(["0%", "10%", "40%"])),
        "scale_down": _delayed(draw, fields),
    }


def _delayed(draw: st.DrawFn, fields: dict[str, Any]) -> dict[str, Any]:
    down = {"cooldown": f"{draw(_SECONDS)}s", "stabilization_window": f"{draw(_SECONDS)}s"}
    return {**fields["scale_down"], **down}


def _wait(draw: st.DrawFn, fields: dict[str, Any]) -> dict[str, Any]:
    wait: dict[str, Any] = {"target_wait": f"{draw(st.sampled_from([0, 5, 20, 60]))}s"}
    if draw(st.booleans()):
        wait["service_time"] = f"{draw(st.sampled_from([1, 10, 60]))}s"
    if draw(st.booleans()):
        wait["scale_down"] = {**fields["scale_down"], "idle_off": f"{draw(_SECONDS)}s"}
    return wait
