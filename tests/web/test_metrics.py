"""/metrics, in both forms."""

from __future__ import annotations

from controller.loop.cycle import Outcome
from controller.web.health import Shown
from controller.web.metrics import prometheus_text
from tests.web.stand_ins import cycle


def test_the_prometheus_text_has_every_figure_and_leaves_out_what_was_not_read(shown: Shown) -> None:
    assert "autoscaler_queue_pending_jobs" not in prometheus_text(shown)
    shown.status.put(cycle())
    text = prometheus_text(shown)
    for line in (
        'autoscaler_queue_pending_jobs{worker="w"} 10',
        'autoscaler_replicas_running{worker="w"} 2',
        'autoscaler_cycles_total{worker="w",outcome="held"} 1',
        'autoscaler_failing{source="PostgreSQL"} 0',
        "autoscaler_is_leader 0",
        "# TYPE autoscaler_cycles_total counter",
    ):
        assert line in text.splitlines()


def test_the_prometheus_text_names_each_source_that_fails(shown: Shown) -> None:
    shown.status.put(cycle(Outcome.FAILED, read=False))
    samples = [line for line in prometheus_text(shown).splitlines() if line.startswith("autoscaler_failing")]
    assert samples == [
        'autoscaler_failing{source="PostgreSQL"} 1',
        'autoscaler_failing{source="Railway"} 0',
        'autoscaler_failing{source="Redis"} 0',
    ]
