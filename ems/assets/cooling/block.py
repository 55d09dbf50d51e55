"""How cooling enters the plan: a share of IT power that follows the weather, what is left of its lag, and cold stored ahead in the loop."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.assets.cooling.model import Cooling
from ems.assets.cooling.plant import LEAST_LOAD, CoolingPlant

Array = NDArray[np.float64]
TIE_BREAK_PER_KWH = 1e-5  # of heat: two equal plans, the one that leaves the loop alone


class CoolingBlock:
    """Power = fraction x IT power + the fading difference between the measured power and that, + what the loop's store takes. One value
    per step.

    A chilled-water plant enters as the tangent of its power at the heat foreseen. The lag (minutes) is short against the steps: only its
    free response from the measured state is kept, not its dynamics.
    """

    def __init__(self, cooling: Cooling, it_kw: cp.Expression, duration_h: cp.Parameter | None = None) -> None:
        self.cooling = cooling
        self.fraction = cp.Parameter(it_kw.size, nonneg=True)
        self.fading_kw = cp.Parameter(it_kw.size)
        self.power_kw = cp.multiply(self.fraction, it_kw) + self.fading_kw
        self.cost: cp.Expression = cp.Constant(0.0)
        self.constraints: dict[str, cp.Constraint] = {}
        self.cold = (
            ColdStore(cooling.plant, duration_h) if cooling.plant is not None and cooling.is_led and duration_h is not None else None
        )
        if self.cold is not None:
            self.power_kw = self.power_kw + self.cold.power_kw
            self.cost, self.constraints = self.cold.cost, self.cold.constraints

    def update(
        self, outdoor_temp_c: Array, it_now_kw: float, power_now_kw: float | None, duration_h: Array, foreseen_kw: Array | None = None
    ) -> None:
        """Sets the share per step from the outdoor temperature, and how the measured power fades into it. `foreseen_kw` is the heat a
        plant's curve is followed at."""
        if self.cooling.plant is not None and foreseen_kw is not None:
            self._follow_plant(outdoor_temp_c, foreseen_kw)
            steady_kw, _ = self.cooling.steady(it_now_kw, float(outdoor_temp_c[0]))
            gap_kw = 0.0 if power_now_kw is None else power_now_kw - steady_kw
            self.fading_kw.value = self._intercept_kw + gap_kw * fading_share(self.cooling.lag_s, duration_h)
            return
        self.fraction.value = np.array([self.cooling.fraction(float(t)) for t in outdoor_temp_c])
        gap_kw = 0.0 if power_now_kw is None else power_now_kw - self.fraction.value[0] * it_now_kw
        self.fading_kw.value = gap_kw * fading_share(self.cooling.lag_s, duration_h)

    def _follow_plant(self, outdoor_temp_c: Array, foreseen_kw: Array) -> None:
        pairs = zip(foreseen_kw.tolist(), outdoor_temp_c.tolist(), strict=True)
        tangents = np.array([self.cooling.steady(kw, t) for kw, t in pairs])
        self.fraction.value = np.maximum(tangents[:, 1], 0.0)
        self._intercept_kw = tangents[:, 0] - self.fraction.value * foreseen_kw


class ColdStore:
    """The loop of a plant that may be led as a store of cold: N powers, N+1 energies, all of them heat.

    `cold_kwh` is what the water takes until it is as warm as commissioned. Charging takes out more heat than comes in and costs `draws`
    kW of power per kW of heat, discharging takes out less and saves `saves`, and a colder supply costs `holding` kW of power per kWh
    stored (more lift, less economiser). All three are chords of the plant's curve at the heat and weather foreseen.

    A stratified tank stores with the loop: its usable water, less what walls and thermocline take in each step (`kept`). It keeps its cold
    apart, so that only the loop's part makes the machines lift more.
    """

    def __init__(self, plant: CoolingPlant, duration_h: cp.Parameter) -> None:
        n = duration_h.size
        self.plant = plant
        self.charge_kw, self.discharge_kw = cp.Variable(n, nonneg=True), cp.Variable(n, nonneg=True)
        self.cold_kwh = cp.Variable(n + 1, nonneg=True)
        self.cold_now_kwh = cp.Parameter(nonneg=True)
        self.ceiling_kwh = cp.Parameter(n + 1, nonneg=True)
        self.max_charge_kw, self.max_discharge_kw = cp.Parameter(n, nonneg=True), cp.Parameter(n, nonneg=True)
        self.draws, self.saves, self.holding = (cp.Parameter(n, nonneg=True) for _ in range(3))
        self.left_value_per_kwh = cp.Parameter(nonneg=True)
        mean_kwh = 0.5 * (self.cold_kwh[1:] + self.cold_kwh[:-1])
        self.power_kw = (
            cp.multiply(self.draws, self.charge_kw) - cp.multiply(self.saves, self.discharge_kw) + cp.multiply(self.holding, mean_kwh)
        )
        moved_kwh = duration_h @ (self.charge_kw + self.discharge_kw)
        self.cost = TIE_BREAK_PER_KWH * moved_kwh - self.left_value_per_kwh * self.cold_kwh[n]
        gained_kwh = cp.multiply(duration_h, self.charge_kw - self.discharge_kw)
        self.kept = cp.Parameter(n, nonneg=True) if plant.store_loss_per_h > 0.0 else None
        kept_kwh = self.cold_kwh[:-1] if self.kept is None else cp.multiply(self.kept, self.cold_kwh[:-1])
        self.constraints: dict[str, cp.Constraint] = {
            "the loop starts as cold as it is": self.cold_kwh[0] == self.cold_now_kwh,
            "heat balance of the loop": self.cold_kwh[1:] == kept_kwh + gained_kwh,
            "the supply stays above the dew point and its lowest": self.cold_kwh <= self.ceiling_kwh,
            "cools ahead within its firm capacity and rate": self.charge_kw <= self.max_charge_kw,
            "lets the loop warm within its rate and least load": self.discharge_kw <= self.max_discharge_kw,
        }

    def update(
        self,
        outdoor_temp_c: Array,
        dew_point_c: Array | None,
        foreseen_kw: Array,
        supply_now_c: float | None,
        duration_h: Array,
        price_at_end_per_kwh: float,
    ) -> None:
        """Sets limits and chords. Without a dew point nothing is stored. A loop whose supply nobody measures is left alone; one that is
        warmer than commissioned recovers by itself within minutes and starts empty. What it starts with beyond its ceiling may be given
        back at its rate."""
        plant, n = self.plant, len(duration_h)
        coldest_c = np.array([self.plant.coldest_c(c) for c in ([None] * n if dew_point_c is None else dew_point_c.tolist())])
        at_ends_c = np.maximum(np.r_[coldest_c[:1], coldest_c], np.r_[coldest_c, coldest_c[-1:]])
        ceiling_kwh = plant.store_kwh_per_k * (plant.supply_temp_c - at_ends_c)
        is_known = supply_now_c is not None
        now_kwh = 0.0 if supply_now_c is None else max(0.0, plant.store_kwh_per_k * (plant.supply_temp_c - supply_now_c))
        rate_kw = 60.0 * plant.supply_rate_k_per_min * plant.store_kwh_per_k
        if self.kept is not None:
            self.kept.value = np.exp(-plant.store_loss_per_h * duration_h)
        self.max_charge_kw.value = is_known * np.clip(plant.firm_kw - foreseen_kw, 0.0, rate_kw)
        self.max_discharge_kw.value = np.clip((1.0 - LEAST_LOAD) * foreseen_kw, 0.0, rate_kw)
        given_kwh = np.concatenate([[0.0], np.cumsum(self.max_discharge_kw.value * duration_h)])
        self.cold_now_kwh.value, self.ceiling_kwh.value = now_kwh, np.maximum(ceiling_kwh, now_kwh - given_kwh)
        draws, saves, holding = self._chords(outdoor_temp_c, foreseen_kw, coldest_c)
        self.draws.value, self.saves.value, self.holding.value = draws, saves, holding
        self.left_value_per_kwh.value = max(0.0, price_at_end_per_kwh) * float(saves[-1])

    def _chords(self, outdoor_temp_c: Array, foreseen_kw: Array, coldest_c: Array) -> Array:
        """Rows draws, saves and holding: chords over what the loop would take in an hour, at least a twentieth of the plant."""
        plant, rows = self.plant, []
        most_kw, least_kw = plant.store_kwh_per_k * (plant.supply_temp_c - coldest_c), 0.05 * plant.capacity_kw
        loop_share = plant.loop_kwh_per_k / plant.store_kwh_per_k
        for heat, temp, most, coldest in zip(foreseen_kw, outdoor_temp_c, most_kw, coldest_c, strict=True):
            at_kw, step_kw = plant.power_kw(heat, temp), max(most, least_kw)
            span_k = plant.supply_temp_c - coldest
            at_coldest_kw = plant.power_kw(heat, temp, span_k)
            draws = (plant.power_kw(heat + step_kw, temp, span_k) - at_coldest_kw) / step_kw  # what is made cold is made at the cold end
            saves = max(0.0, (at_kw - plant.power_kw(max(0.0, heat - step_kw), temp)) / min(step_kw, max(heat, 1e-9)))
            rows.append((max(draws, saves), saves, loop_share * max(0.0, at_coldest_kw - at_kw) / most if most > 0.0 else 0.0))
        return np.array(rows).T


def fading_share(lag_s: float, duration_h: Array) -> Array:
    """Mean over each step of exp(-t / lag)."""
    if lag_s <= 0.0:
        return np.zeros(len(duration_h))
    end_h = np.cumsum(duration_h)
    lag_h = lag_s / 3600.0
    return np.asarray((np.exp(-(end_h - duration_h) / lag_h) - np.exp(-end_h / lag_h)) * lag_h / duration_h)
