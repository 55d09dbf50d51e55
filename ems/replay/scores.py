"""How good the forecasts behind the plans were, scored against the truth once the window is over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from ems.forecast.quantiles import Quantiles
from ems.horizon import Horizon
from ems.kpi.scores import coverage, mean_absolute_error, mean_percent_error, pinball_loss
from ems.plan.plan import Plan
from ems.replay.future import TrueSeries, true_loads, true_prices
from ems.replay.world import World
from ems.site.tariff_prices import step_prices

LEADS_MIN = {"10min": 10, "1h": 60, "24h": 1440}
PRICE_LEADS = ("1h", "24h")
LEVELS = (0.1, 0.5, 0.9, 0.99)


class ForecastScores:
    """Collects, per lead, the step of each plan that ends the lead; targets beyond the window are left out."""

    def __init__(self, world: World) -> None:
        self.end = world.scenario.model.end
        self.loads = true_loads(world)
        self.prices = true_prices(world)
        self.site = world.site
        self.load_rows: dict[str, list[tuple[float, ...]]] = {lead: [] for lead in LEADS_MIN}  # actual, q10, q50, q90, q99
        self.price_rows: dict[str, list[tuple[float, float]]] = {lead: [] for lead in PRICE_LEADS}  # actual, expected

    def take(self, forecasts: dict[str, Quantiles], plan: Plan) -> None:
        """Notes one plan's forecasts."""
        horizon = plan.horizon
        for lead, minutes in LEADS_MIN.items():
            index = horizon.index_at(plan.made_at + timedelta(minutes=minutes, microseconds=-1))
            if index is None or horizon.starts[index] + timedelta(hours=horizon.duration_h[index]) > self.end:
                continue
            for cluster, quantiles in forecasts.items():
                values = tuple(float(quantiles.q(level)[index]) for level in LEVELS)
                self.load_rows[lead].append((self._actual(self.loads[cluster], horizon, index), *values))
            if lead in self.price_rows:
                actual = self._actual(self.prices, horizon, index) + self._own_price(horizon, index)
                self.price_rows[lead].append((actual, plan.price_per_kwh[index]))

    def report(self) -> dict[str, Any]:
        """The `forecast` part of summary.json. Loads in kW, pooled over the clusters; an empty lead had no target in the window."""
        return {
            "load_kw": {lead: _load_scores(rows) for lead, rows in self.load_rows.items()},
            "price": {lead: _price_scores(rows) for lead, rows in self.price_rows.items()},
        }

    def _own_price(self, horizon: Horizon, index: int) -> float:
        """What the tariff adds to the market."""
        tariff = self.site.tariff
        period = step_prices(tariff, self.site.time_zone, [horizon.starts[index]], [horizon.duration_h[index]])[0]
        return tariff.energy_price_per_kwh + float(period[0])

    def _actual(self, series: TrueSeries, horizon: Horizon, index: int) -> float:
        return float(series.means([horizon.starts[index]], [horizon.duration_h[index]])[0])


def _load_scores(rows: list[tuple[float, ...]]) -> dict[str, float]:
    if not rows:
        return {}
    actual, q10, q50, q90, q99 = np.array(rows).T
    return {
        "mae_pct": mean_percent_error(actual, q50),
        "pinball_q50": pinball_loss(actual, q50, 0.5),
        "pinball_q90": pinball_loss(actual, q90, 0.9),
        "coverage_q10_q90": coverage(actual, q10, q90),
        "coverage_q99": coverage(actual, np.full(len(actual), -np.inf), q99),
    }


def _price_scores(rows: list[tuple[float, float]]) -> dict[str, float]:
    if not rows:
        return {}
    actual, expected = np.array(rows).T
    return {"mae_per_kwh": mean_absolute_error(actual, expected), "bias_per_kwh": float(np.mean(expected - actual))}
