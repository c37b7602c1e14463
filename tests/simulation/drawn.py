"""A small comparison to be drawn: half an hour of jobs, three policies that were simulated and the clairvoyant."""

from __future__ import annotations

import math
from collections.abc import Sequence

from controller.simulation.comparison import Comparison, Contender, Setting, compare
from controller.simulation.peers import Hpa, Keda, Static
from controller.simulation.workload.jobs import Workload

CAP = 4
BURSTS = [(start + number, 15.0) for start in (30.0, 400.0, 1100.0) for number in range(20)]
CONTENDERS = (
    Contender("static", CAP, lambda: Static(CAP, math.inf, replicas=CAP)),
    Contender("keda & co <script>alert(1)</script>", CAP, lambda: Keda(CAP, 15.0, target=2.0, cooldown=60.0)),
    Contender("hpa costs $1 or $2", CAP, lambda: Hpa(CAP, 15.0, target=2.0, window=60.0)),
    Contender("oracle", CAP, None),
)


def comparison(
    contenders: Sequence[Contender] = CONTENDERS, *, began: float | None = None, series: bool = True
) -> Comparison:
    workload = Workload(
        "bursts <b>bold</b>", lambda: iter(BURSTS), 1800.0, began, ("a note with <i>markup</i> & more",)
    )
    return compare(workload, contenders, Setting(series=series))
