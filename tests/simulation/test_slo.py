"""A promise in the simulator: it is kept where a target wait can, and the cap's own late jobs move nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from controller.core.slo import Promise
from controller.policy import Slo
from controller.simulation.comparison import Comparison, Contender, Setting, compare
from controller.simulation.contenders import Common, read_contender
from controller.simulation.fleet import Platform
from controller.simulation.own import OwnPolicy
from controller.simulation.scaler import Scaler
from controller.simulation.workload.generators import generate

SLO = Slo.model_validate({"wait": "60s", "share": "99%"})


@dataclass
class Kept:
    """A contender that keeps its scalers."""

    contender: Contender
    made: list[OwnPolicy] = field(default_factory=list)

    @property
    def watched(self) -> Contender:
        def make() -> Scaler:
            assert self.contender.make is not None
            scaler: Any = self.contender.make()
            self.made.append(scaler)
            return scaler  # type: ignore[no-any-return]  # its fields are read afterwards

        return Contender(self.contender.name, self.contender.maximum, make)

    @property
    def promise(self) -> Promise:
        return self.made[-1]._promise


def kept(cap: int) -> Kept:
    return Kept(read_contender(f"slo:wait=60s,share=99%,max={cap}", Common(cap), {}))


def compared(workload: str, span_s: float, *contenders: Contender) -> Comparison:
    setting = Setting(Platform(start_up_s=20.0), slo_s=60.0)
    return compare(generate(workload, seed=1, span_s=span_s), contenders, setting)


def late(comparison: Comparison) -> dict[str, float]:
    return {one.name: one.late / one.jobs for one in comparison.figures}


@pytest.mark.costly
def test_the_promised_share_is_kept_within_a_point_where_a_target_can() -> None:
    one = kept(20)
    shares = late(compared("diurnal:rate=6/m,service=20s,swing=1", 86_400, one.watched))
    assert shares[one.contender.name] == pytest.approx(0.01, abs=0.01)
    assert one.promise.tally.counted == 500


@pytest.mark.costly
def test_a_target_that_is_too_long_for_the_jobs_is_shortened() -> None:
    one = kept(20)
    cron = "cron:rate=4/m,every=10m,jobs=30,service=30s"
    shares = late(compared(cron, 43_200, one.watched, read_contender("target_wait:wait=60,max=20", Common(20), {})))
    assert one.promise.target(SLO) < 30
    assert shares[one.contender.name] < shares["target_wait:wait=60,max=20"] - 0.02


@pytest.mark.costly
def test_where_max_replicas_alone_makes_jobs_late_the_target_does_not_run_away() -> None:
    one, most = kept(1), read_contender("static:1", Common(1), {})
    shares = late(compared("cron:rate=0.5/m,every=30m,jobs=20,service=20s", 14_400, one.watched, most))
    assert shares["static:1"] > 0.3, "no target can keep it"
    assert one.promise.tally.at_max > 50
    assert one.promise.target(SLO) > 30, "no job that counts was late"


def test_the_contender_may_be_written_with_its_wait_alone() -> None:
    (figures,) = compared("poisson:rate=1/m,service=5s", 3600, read_contender("slo:60", Common(3), {})).figures
    assert figures.jobs > 20
