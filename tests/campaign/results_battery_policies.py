"""What to do with a battery under a price forecast: marginal values of stored energy by dynamic programmes over courses of prices.

`mean` is what the plan does: one course of expected prices, taken as certain. `median` and `chain` put other courses in its place: in
`chain` the rank of a price among its forecast's quantiles is a Markov chain, whose correlation between leads a < b is (a / b) ** 0.8, as
measured on the development months. `told` is given the truth so far ahead: what a better short forecast could be worth at most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from ems.assets.battery.model import Battery
from ems.forecast.price_source import EDGES, HORIZON_H, MEAN_WEIGHTS
from ems.forecast.protocol import Floats, Ints

LEVELS = 41  # of stored energy
RANK_POWER = 0.8
NEVER = 1e6  # money per kWh: beyond full or empty


@dataclass(frozen=True)
class Market:
    """One market's prices per kWh, and what was forecast: `said[end]` holds `[quantile, lead]` from the cells before `end`."""

    name: str
    prices: Floats
    first: int
    step_s: float
    leads: Ints
    said: Floats

    @property
    def hours(self) -> float:
        """Length of a settlement."""
        return self.step_s / 3600.0


@dataclass(frozen=True)
class Courses:
    """The steps ahead of some settlements: centre in leads and hours per step, and prices `[settlement, quantile, step]`."""

    leads: Floats
    hours: Floats
    prices: Floats

    @property
    def means(self) -> Floats:
        """Expected price `[settlement, step]`."""
        return np.einsum("q,bqs->bs", MEAN_WEIGHTS, self.prices)


Policy = Callable[[Market, Ints, Courses, Battery, Floats], Floats]  # marginal value `[settlement, level]` before the courses begin


def courses(market: Market, ends: Ints, first_lead: int) -> Courses:
    """Steps as in a plan: the market's own for 4 hours, quarter hours to a day, then hours; quantiles interpolated between leads."""
    centres, hours, lead = [], [], float(first_lead)
    while lead * market.hours < HORIZON_H - 1.5:
        length_h = max(market.hours, 0.0 if lead * market.hours <= 4.0 else 0.25 if lead * market.hours <= 24.0 else 1.0)
        cells = round(length_h / market.hours)
        centres.append(lead + 0.5 * (cells - 1))
        hours.append(length_h)
        lead += cells
    between = np.array([np.interp(centres, market.leads, row) for row in np.eye(len(market.leads))])
    return Courses(np.array(centres), np.array(hours), market.said[ends].astype(float) @ between)


def before(value: Floats, price: Floats, hours: float, battery: Battery) -> Floats:
    """Marginal value of stored energy before a step at `price`, from `value[..., level]` after it (Zheng, Jaworski and Xu 2022)."""
    level_kwh, way = battery.energy_kwh / (LEVELS - 1), (battery.charge_efficiency, battery.discharge_efficiency)
    buy, sell = price[..., None] / way[0], price[..., None] * way[1]
    filled = moved(value, battery.power_kw * hours * way[0] / level_kwh, -NEVER)
    drawn = moved(value, -battery.power_kw * hours / way[1] / level_kwh, NEVER)
    return np.where(value > buy, np.maximum(filled, buy), np.where(value < sell, np.minimum(drawn, sell), value))


def moved(value: Floats, levels: float, outside: float) -> Floats:
    """The value so many levels further up, interpolated; `outside` beyond full or empty."""
    whole = int(np.floor(levels))
    padded = np.pad(value, [(0, 0)] * (value.ndim - 1) + [(max(-whole, 0), max(whole + 1, 0))], constant_values=outside)
    begin = max(whole, 0)
    low, high = padded[..., begin : begin + LEVELS], padded[..., begin + 1 : begin + 1 + LEVELS]
    return low if levels - whole < 1e-9 else low + (levels - whole) * (high - low)


def wanted_kw(value: Floats, held_kwh: float, price: float, hours: float, battery: Battery) -> float:
    """Power, positive charging, until a stored kWh is worth no more than what it costs, or no less than what it earns."""
    grid, way = np.linspace(0.0, battery.energy_kwh, LEVELS), (battery.charge_efficiency, battery.discharge_efficiency)
    worth = float(np.interp(held_kwh, grid, value))
    if worth > price / way[0]:
        most = min(held_kwh + battery.power_kw * hours * way[0], battery.energy_kwh)
        return (crossing(grid, value, price / way[0], held_kwh, most) - held_kwh) / way[0] / hours
    if worth < price * way[1]:
        least = max(held_kwh - battery.power_kw * hours / way[1], 0.0)
        return (crossing(grid, value, price * way[1], least, held_kwh) - held_kwh) * way[1] / hours
    return 0.0


def crossing(grid: Floats, value: Floats, worth: float, low: float, high: float) -> float:
    """Where a falling marginal value passes `worth`, between two energies."""
    for _ in range(18):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if np.interp(middle, grid, value) > worth else (low, middle)
    return 0.5 * (low + high)


def one_course(prices: Floats, hours: Floats, battery: Battery, left: Floats) -> Floats:
    """Marginal value before a course `[settlement, step]` that is taken as certain; `left`: of a kWh at its end."""
    value = np.repeat(left[:, None], LEVELS, axis=1)
    for step in range(len(hours) - 1, -1, -1):
        value = before(value, prices[:, step], float(hours[step]), battery)
    return value


def mean(market: Market, ends: Ints, ahead: Courses, battery: Battery, left: Floats) -> Floats:
    """The expected prices as if certain: what the plan does."""
    return one_course(ahead.means, ahead.hours, battery, left)


def median(market: Market, ends: Ints, ahead: Courses, battery: Battery, left: Floats) -> Floats:
    """The medians as if certain."""
    return one_course(ahead.prices[:, len(MEAN_WEIGHTS) // 2], ahead.hours, battery, left)


def told(for_h: float) -> Policy:
    """The true prices for so long, then the expected ones."""

    def policy(market: Market, ends: Ints, ahead: Courses, battery: Battery, left: Floats) -> Floats:
        steps = np.flatnonzero(ahead.leads * market.hours <= for_h)
        cells = np.minimum(ends[:, None] + ahead.leads[steps].astype(int)[None] - 1, len(market.prices) - 1)
        prices = ahead.means
        prices[:, steps] = market.prices[cells]
        return one_course(prices, ahead.hours, battery, left)

    return policy


def chain(market: Market, ends: Ints, ahead: Courses, battery: Battery, left: Floats) -> Floats:
    """Stochastic: the price of a step is one of the forecast's quantiles, its rank a Markov chain over the steps."""
    value = np.repeat(np.repeat(left[:, None, None], len(MEAN_WEIGHTS), axis=1), LEVELS, axis=2)
    for step in range(len(ahead.hours) - 1, 0, -1):
        known = before(value, ahead.prices[:, :, step], float(ahead.hours[step]), battery)
        value = ranks(float(ahead.leads[step - 1] / ahead.leads[step]) ** RANK_POWER) @ known
    return np.einsum("q,bql->bl", MEAN_WEIGHTS, before(value, ahead.prices[:, :, 0], float(ahead.hours[0]), battery))


def ranks(correlation: float) -> Floats:
    """Probability of each quantile's share of the next step, given that of this one, by a Gaussian copula."""
    middle, edges = norm.ppf(0.5 * (EDGES[1:] + EDGES[:-1])), norm.ppf(EDGES)
    spread = np.sqrt(1.0 - correlation**2)
    return np.diff(norm.cdf((edges[None, :] - correlation * middle[:, None]) / spread), axis=1)


POLICIES: dict[str, Policy] = {"mean": mean, "median": median, "chain": chain, "told 15 min": told(0.25), "told 60 min": told(1.0)}
