"""Random limits of a worker's policy: what stands beside its tiers, its per_worker or its target_wait."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


@st.composite
def limits(draw: st.DrawFn, most: int) -> dict[str, Any]:
    """Keys of a policy, with max_replicas up to `most`."""
    maximum, steps = draw(st.integers(0, most)), st.none() | st.integers(1, 3)
    return {
        "max_replicas": maximum,
        "min_replicas": draw(st.integers(0, maximum)),
        "jobs_per_worker": draw(st.none() | st.integers(1, 60)),
        "scale_up": {"cooldown": f"{draw(st.integers(0, 300))}s", "max_step": draw(steps)},
        "scale_down": {
            "cooldown": f"{draw(st.integers(0, 600))}s",
            "max_step": draw(steps),
            "stabilization_window": f"{draw(st.sampled_from([0, 0, 60, 300]))}s",
        },
    }
