"""The peaks of a tariff's windows as seconds-by-second goals: in each step, the lowest mean that a charge in force there defends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ems.commitment import Commitment, Per
from ems.horizon import Horizon
from ems.plan.inputs import PlanInputs
from ems.plan.tariff import MINIMUM_BILL

Array = NDArray[np.float64]
TOUCHES_KW = 0.05


@dataclass(frozen=True)
class WindowGoals:
    """Per step the mean to hold, the mean that costs nothing more, and which charge says so; None and "" where no window is in force."""

    goal_kw: tuple[float | None, ...]
    free_kw: tuple[float | None, ...]
    charge: tuple[str, ...]

    def binding(self, sources: tuple[str, ...], import_kw: Array) -> tuple[str, ...]:
        """What import stands on, the windows' charges filled in where nothing else does."""
        rows = zip(sources, self.goal_kw, self.charge, import_kw.tolist(), strict=True)
        return tuple(
            f"demand charge ({charge})" if not source and goal is not None and kw >= goal - TOUCHES_KW else source
            for source, goal, charge, kw in rows
        )


def window_goals(inputs: PlanInputs, reach_kw: Mapping[str, float], more: Sequence[tuple[Commitment, float]] = ()) -> WindowGoals:
    """From what each priced peak reaches in the plan, `more` with theirs; charges without a price say nothing."""
    n = inputs.horizon.n
    goal, free = np.full(n, np.inf), np.full(n, np.inf)
    charge = np.full(n, "", object)
    own = [(c, reach_kw[c.name]) for c in inputs.commitments if c.per is Per.PEAK and c.name in reach_kw]
    for c, kw in (*own, *more):
        if c.up_price[0] > 0.0:
            lower = in_force(c, inputs.horizon) & (kw < goal)
            goal[lower], free[lower], charge[lower] = kw, c.baseline_kw[0], c.name
    return WindowGoals(_known(goal), _known(free), tuple(str(name) for name in charge))


def in_force(commitment: Commitment, horizon: Horizon) -> NDArray[np.bool_]:
    """True in the steps that touch the spans of a commitment."""
    begin = np.array([s.timestamp() for s in horizon.starts])
    end = begin + 3600.0 * np.array(horizon.duration_h)
    if commitment.spans is None:
        return np.ones(len(begin), bool)
    inside = np.zeros(len(begin), bool)
    for start, stop in commitment.spans:
        inside |= (end > start.timestamp()) & (begin < stop.timestamp())
    return inside


def goal_lines(inputs: PlanInputs, reach_kw: Mapping[str, float]) -> tuple[str, ...]:
    """A line for a person per peak that is priced within the horizon."""
    lines = []
    for c in inputs.commitments:
        if c.per is Per.PEAK and c.up_price[0] > 0.0 and c.name in reach_kw and c.spans:
            kw, free_kw = reach_kw[c.name], c.baseline_kw[0]
            held = f"holds {c.name} at {kw:,.0f} kW, which costs nothing more"
            lines.append(held if kw <= free_kw + 0.1 else f"lets {c.name} rise from {free_kw:,.0f} to {kw:,.0f} kW: less would cost more")
    return tuple(lines)


def minimum_line(inputs: PlanInputs, cost: Mapping[str, float]) -> tuple[str, ...]:
    """A line for a person where the bill stays under its minimum, the month's or the year's."""
    missing = cost.get(MINIMUM_BILL, 0.0)
    if inputs.minimum_left is None or missing < 1.0:
        return ()
    return (f"the bill stays {missing:,.0f} under its minimum: saving energy or a peak is worth nothing before that",)


def _known(values: Array) -> tuple[float | None, ...]:
    return tuple(round(v, 6) if np.isfinite(v) else None for v in values.tolist())
