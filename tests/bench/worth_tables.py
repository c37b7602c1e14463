"""The tables and the sentence that `make worth` makes of its runs, and how they get into the pages.

All means are geometric, over the traces of a setting. A lead is what a rival pays more than a preset at the preset's
own v, in per cent of what the preset pays; below 0 the rival is ahead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from controller.simulation.figures import WORTHS, Figures
from controller.simulation.report import total_worth
from tests.bench.rivals import PRESETS, standard, sweep
from tests.bench.worth_settings import Case, Scaling

Rows = Sequence[Sequence[str]]
_BEST_OF_THE_SWEEP = 3
_BETWEEN = re.compile(r"^(<!-- worth: ([a-z]+) -->)\n.*?^(<!-- end of worth -->)$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Run:
    """One policy in one case. took_s: of CPU."""

    figures: Figures
    jobs: int
    span_s: float
    took_s: float


Runs = Mapping[Case, Mapping[str, Run]]


@dataclass(frozen=True, slots=True)
class _Group:
    """The cases that are one row: all traces in one setting, or one generated workload."""

    name: str
    runs: Runs

    @property
    def scaling(self) -> Scaling:
        return next(iter(self.runs)).scaling

    def mean(self, policy: str, value: float) -> float:
        return geometric([by_policy[policy].figures.worth(value) for by_policy in self.runs.values()])

    def best(self, policies: Iterable[str], value: float) -> tuple[str, float]:
        means = [(self.mean(policy, value), policy) for policy in policies]
        least, name = min(means, default=(math.inf, "-"))
        return name, least

    def listed_rivals(self) -> list[str]:
        return [name for name in standard(self.scaling.service_s) if name not in PRESETS and name != "oracle"]


@dataclass(frozen=True, slots=True)
class Tables:
    """swept: whether the runs contain the sweep. listed: policies named by the user; None: the standard list."""

    runs: Runs
    swept: bool
    listed: tuple[str, ...] | None = None

    def shown(self) -> Iterator[Rows]:
        groups = self._groups()
        if len(groups) == 1:
            policies = self.listed or standard(groups[0].scaling.service_s)
            yield of_policies(groups[0].runs, policies)
        if self.listed is None:
            if self.swept:
                yield _of_the_sweep(groups[0])
            if len(groups) > 1:
                yield _of_all(groups, swept=self.swept)

    def by_name(self) -> dict[str, Rows | str]:
        """What can be written into a page, by the name in its marks."""
        groups = self._groups()
        found: dict[str, Rows | str] = {}
        if self.listed is not None or groups[0].scaling != Scaling():
            return found
        found["policies"] = of_policies(groups[0].runs, standard(Scaling().service_s), each=False)
        if self.swept:
            found["sweep"] = _of_the_sweep(groups[0])
            found["claim"] = _claim(groups[0])
        if len(groups) > 1:
            found["all"] = _of_all(groups, swept=self.swept)
        return found

    def speeds(self) -> Iterator[str]:
        for case, by_policy in self.runs.items():
            run = next(iter(by_policy.values()))
            took = sum(one.took_s for one in by_policy.values()) or 1e-9
            jobs, days = run.jobs * len(by_policy) / took, run.span_s / 86_400
            yield (
                f"{case.name} ({case.scaling.words}): {run.jobs:,} jobs in {days:.1f} days; "
                f"{len(by_policy)} policies at {jobs:,.0f} jobs/s"
            )

    def _groups(self) -> list[_Group]:
        groups: dict[str, dict[Case, Mapping[str, Run]]] = {}
        for case, by_policy in self.runs.items():
            name = case.scaling.words if not isinstance(case.source, tuple) else case.name
            groups.setdefault(name, {})[case] = by_policy
        return [_Group(name, runs) for name, runs in groups.items()]


def of_policies(runs: Runs, policies: Sequence[str], *, each: bool = True) -> Rows:
    """A row for each policy: J(v), what it costs, how long jobs wait. each: also a column for each trace."""
    names = [case.name for case in runs] if each else []
    rows = [["policy", *(f"J({value:g})" for value in WORTHS), "cost/W", "avoidable wait", "actions a day", *names]]
    for name in policies:
        figures = [by_policy[name].figures for by_policy in runs.values()]
        worths = [_number(geometric([one.worth(value) for one in figures])) for value in WORTHS]
        cost = f"{geometric([one.cost_over_work for one in figures]):.2f}"
        wait = f"{sum(one.avoidable.mean for one in figures) / len(figures):.1f} s"
        actions = f"{sum(one.per_day(one.ups + one.downs) for one in figures) / len(figures):,.0f}"
        columns = [_each(one) for one in figures] if each else []
        rows.append([f"`{name}`", *worths, cost, wait, actions, *columns])
    return rows


def _each(figures: Figures) -> str:
    return " / ".join(f"{figures.worth(value):.2f}" for value in WORTHS)


def _of_the_sweep(group: _Group) -> Rows:
    """By v, the settings that are the best in hindsight, and how far our preset for this v is ahead of them."""
    settings = sweep(group.scaling.service_s)
    rows = [["preset", "J", f"best of {len(settings)} settings, chosen in hindsight", "its J", "the preset's lead"]]
    for preset, value in PRESETS.items():
        ours = group.mean(preset, value)
        ranked = sorted((group.mean(name, value), name) for name in settings)
        for place, (theirs, name) in enumerate(ranked[:_BEST_OF_THE_SWEEP]):
            of_ours = (f"`{preset}`, v = {value:g}", _number(ours)) if not place else ("", "")
            rows.append([*of_ours, f"`{name}`", _number(theirs), _lead(ours, theirs)])
    return rows


def _of_all(groups: Sequence[_Group], *, swept: bool) -> Rows:
    """A row for each setting and preset, against the best rival of the list, and in hindsight of the sweep."""
    head = ["setting", "preset", "J", "best rival of the list", "its J", "lead", "traces lost"]
    rows = [[*head, "best in hindsight", "its J", "lead"] if swept else head]
    for group in groups:
        for preset, value in PRESETS.items():
            ours = group.mean(preset, value)
            rival, theirs = group.best(group.listed_rivals(), value)
            first = group.name if preset == next(iter(PRESETS)) else ""
            row = [first, f"`{preset}`", _number(ours), f"`{rival}`", _number(theirs), _lead(ours, theirs)]
            row.append(f"{_lost(group, preset, value)} of {len(group.runs)}")
            if swept:
                rival, theirs = group.best(sweep(group.scaling.service_s), value)
                row += [f"`{rival}`", _number(theirs), _lead(ours, theirs)]
            rows.append(row)
    return rows


def _lost(group: _Group, preset: str, value: float) -> int:
    """Traces on which any rival of the list is ahead."""
    rivals = group.listed_rivals()
    return sum(
        by_policy[preset].figures.worth(value) > min(by_policy[name].figures.worth(value) for name in rivals)
        for by_policy in group.runs.values()
    )


def _claim(group: _Group) -> str:
    """The sentence of the README: all three presets, ahead or not."""
    rivals, settings = group.listed_rivals(), sweep(group.scaling.service_s)
    parts = []
    for preset, value in PRESETS.items():
        ours = group.mean(preset, value)
        listed, hindsight = group.best(rivals, value)[1], group.best(settings, value)[1]
        parts.append(f"`{preset}` {_number(ours)} ({_number(listed)}, {_number(hindsight)})")
    count = {4: "four"}.get(len(group.runs), str(len(group.runs)))
    return (
        f"On {count} public traces, cost and waits together (J, at the worth of waiting that each setting of "
        f"`target_wait` is made for) come to: {'; '.join(parts)}. In brackets: the best of {len(rivals)} rivals' "
        f"customary settings, and the best of {len(settings)} settings chosen in hindsight."
    )


def over_the_least(runs: Runs, least: Mapping[Case, Mapping[float, float]], policies: Sequence[str]) -> Rows:
    """A row for each policy: by v, its J_of_all_waits / the least one, in the geometric mean over the traces."""
    rows = [["policy", *(f"J/least({value:g})" for value in WORTHS)]]
    for policy in policies:
        row = [f"`{policy}`"]
        for value in WORTHS:
            ratios = [_over_least(one[policy].figures, value, least[case]) for case, one in runs.items()]
            row.append("-" if None in ratios else f"{geometric([ratio for ratio in ratios if ratio]):.3f}")
        rows.append(row)
    return rows


def _over_least(figures: Figures, value: float, least: Mapping[float, float]) -> float | None:
    """None where jobs were left undone: the bound is one for all of them."""
    return None if figures.unfinished else total_worth(figures, value) / least[value]


def written(page: str, tables: Mapping[str, Rows | str]) -> str:
    """The page with each of its marked parts as the runs have it; parts that were not computed stay as they are."""
    from controller.core.text.layout import markdown, wrap

    def part(match: re.Match[str]) -> str:
        made = tables.get(match[2])
        if made is None:
            return match[0]
        lines = wrap(made, 130) if isinstance(made, str) else markdown(made, right=range(1, len(made[0])))
        text = "\n".join(lines)
        return f"{match[1]}\n{text}\n{match[3]}"

    return _BETWEEN.sub(part, page)


def geometric(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values)) if all(values) else 0.0


def _number(value: float) -> str:
    """J of a policy that leaves jobs undone is infinite."""
    return f"{value:.3f}" if math.isfinite(value) else "-"


def _lead(ours: float, theirs: float) -> str:
    return f"{100 * (theirs / ours - 1):+.1f} %" if math.isfinite(theirs) else "-"
