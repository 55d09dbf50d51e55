"""How a feeder enters the plan: what flows through it, either way, within what it may carry."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.assets.ups.model import Ups
from ems.site.model import Feeder, Site

Array = NDArray[np.float64]
OVER_PRICE_PER_KWH = 20.0  # as a breach of the import limit
# On top, in each step however short: no peak, ramp, tier or lost work that a kW could save there is worth so much. Equipment comes first.
OVER_PRICE_PER_KW = 200.0
PARTNER_SHARE = 0.25  # of these prices where a partner's failure would overload it: below what a true overload costs, also at both partners


class FeederTerm:
    """Soft both ways: a load may be there that nobody can take away. `both_kw`: together with its partner's, which either must carry.

    `back_kw` and `both_back_kw` are what could at most flow back: rows that cannot bind are left out. Forward and back are the two sides
    of one row, so a feeder that may turn round costs the solver a column more, no row.
    """

    def __init__(
        self,
        feeder: Feeder,
        flow_kw: cp.Expression,
        both_kw: cp.Expression | None,
        back_kw: float,
        both_back_kw: float,
        duration_h: cp.Parameter,
    ) -> None:
        n, lowest_kw = duration_h.size, feeder.limit_kw * min((share for _, share in feeder.limit_by_ambient_c), default=1.0)
        self.feeder = feeder
        self.limit_kw = cp.Parameter(n, nonneg=True) if feeder.limit_by_ambient_c else None
        limit_kw = feeder.limit_kw if self.limit_kw is None else self.limit_kw
        self._slack_kw: list[tuple[cp.Variable, float]] = []
        turns, both_turn = back_kw > lowest_kw, both_back_kw > lowest_kw
        beyond_kw = self._beyond_kw(n, turns, 1.0)
        self.constraints = {"stays within the feeder limit": flow_kw - beyond_kw <= limit_kw}
        if turns:
            self.constraints["feeds back within the feeder limit"] = -(flow_kw - beyond_kw) <= limit_kw
        if both_kw is not None:  # what is beyond for both must not be pushed back for one
            both_beyond_kw = self._beyond_kw(n, both_turn, PARTNER_SHARE) if turns or both_turn else beyond_kw
            self.constraints["carries its partner too"] = both_kw - both_beyond_kw <= limit_kw
            if both_turn:
                self.constraints["feeds back its partner's too"] = -(both_kw - both_beyond_kw) <= limit_kw
        costs = (OVER_PRICE_PER_KWH * share * (duration_h @ kw) + OVER_PRICE_PER_KW * share * cp.sum(kw) for kw, share in self._slack_kw)
        self.cost: cp.Expression = sum(costs, start=cp.Constant(0.0))

    def _beyond_kw(self, n: int, turns: bool, share: float) -> cp.Expression:
        """What flows beyond the limit, below 0 what flows back beyond it; at a share of the prices."""
        over_kw = cp.Variable(n, nonneg=True)
        back_kw = cp.Variable(n, nonneg=True) if turns else None
        self._slack_kw += [(kw, share) for kw in (over_kw, back_kw) if kw is not None]
        return over_kw if back_kw is None else over_kw - back_kw

    def update(self, outdoor_temp_c: Array) -> None:
        """Sets what it may carry at the temperatures foreseen."""
        if self.limit_kw is not None:
            self.limit_kw.value = np.array([self.feeder.allowed_kw(float(t)) for t in outdoor_temp_c])


def most_back_kw(site: Site, *feeders: Feeder) -> float:
    """The most that could flow back through some feeders together, in kW: every source and store below gives all it can, no load runs. A
    UPS that only relieves what it carries gives nothing back where that hangs below too."""
    gains = {asset: gain for feeder in feeders for asset, gain in site.gains(feeder).items()}
    gives = {b.id: b.power_kw for b in site.batteries} | {g.id: g.power_kw for g in site.generators}
    gives |= {r.id: r.power_kw for r in site.renewables} | {u.id: u.rating_kw for u in site.upses if _may_feed_back(u, gains)}
    return sum(gain * gives.get(asset, 0.0) for asset, gain in gains.items())


def _may_feed_back(ups: Ups, below: dict[str, float]) -> bool:
    return ups.is_grid_interactive and not ups.is_lead_acid and (ups.is_bidirectional or not set(ups.carries) <= set(below))
