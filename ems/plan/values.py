"""Numbers between the inputs and the Parameters: what a stored kWh is worth, how far the month reaches, how IT power becomes import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from ems.assets.battery.model import Battery
from ems.assets.cooling.model import Cooling
from ems.horizon import Horizon
from ems.plan.inputs import PlanInputs, stores_of
from ems.site.model import Site
from ems.timegrid import interval_start

Array = NDArray[np.float64]
READINESS_PER_KWH_H = 0.005  # worth of a stored kWh standing ready for an hour; 0.002-0.02 did equally well in nine replayed weeks


@dataclass(frozen=True)
class PlanValues:
    """One value per step unless said otherwise."""

    starts: tuple[datetime, ...]
    duration_h: Array
    open_share: Array  # share of each step before the accounts close (1 where they don't)
    settle_h: float  # hours until they do, inf when never
    next_month_at: datetime | None
    gain: Array  # kW of import per kW of IT
    extra_kw: Array  # import at the upper load quantile above import at the median
    deferrable_kw: Array  # IT demand of deferrable classes
    stored_value: dict[str, float]  # money per kWh left in each store at the end
    readiness: Array  # money per kWh in a store at the end of each step
    recovery_price: float  # money per kWh of work left waiting at the end
    waiting_price: Array
    it_now_kw: float
    local_days: tuple[Array, int] = (np.zeros((1, 0)), 0)  # hours of each step in each local day, and the number of today

    def months(self, interval_s: int, rows: int, columns: int) -> tuple[Array, Array]:
        """For averaged intervals and for the longer steps: 1 in this billing month, 2 in the next, 0 after the accounts closed."""
        first_s = interval_start(self.starts[0], interval_s).timestamp()
        averaged = np.array([first_s + interval_s * k for k in range(rows)])
        direct = np.array([s.timestamp() for s in self.starts[columns:]])
        return self._month(averaged), self._month(direct)

    def _month(self, at_s: Array) -> Array:
        turns_s = np.inf if self.next_month_at is None else self.next_month_at.timestamp()
        closes_s = self.starts[0].timestamp() + self.settle_h * 3600
        return np.where(at_s >= closes_s, 0, np.where(at_s >= turns_s, 2, 1))


def plan_values(site: Site, inputs: PlanInputs) -> PlanValues:
    """Derives them; no state, no clock."""
    duration_h = np.array(inputs.horizon.duration_h)
    open_share, settle_h = open_shares(inputs)
    spread_kw = sum((np.asarray(inputs.load_q90_kw[k]) - q50 for k, q50 in inputs.load_q50_kw.items()), start=np.zeros(len(duration_h)))
    gain = import_gain(site, inputs.outdoor_temp_c)
    paid_h = duration_h * open_share
    mean_price = float(paid_h @ inputs.import_price_per_kwh / max(paid_h.sum(), 1e-9))
    is_uncertain = bool(np.any(spread_kw > 0.0))  # without load there is nothing to stand ready for
    readiness = READINESS_PER_KWH_H * paid_h * is_uncertain
    extra_kw = gain * np.maximum(spread_kw, 0.0) + inputs.generation.uncertain_kw(len(duration_h))
    return PlanValues(
        starts=inputs.horizon.starts,
        duration_h=duration_h,
        open_share=open_share,
        settle_h=settle_h,
        next_month_at=inputs.meter.next_month_at,
        gain=gain,
        extra_kw=extra_kw,
        deferrable_kw=deferrable_kw(site, inputs),
        stored_value={s.id: max(mean_price, 0.0) * s.discharge_efficiency for s in stores_of(site)},
        readiness=readiness,
        recovery_price=max(mean_price, 0.0) * float(gain.max()),
        waiting_price=readiness,
        it_now_kw=sum(float(q50[0]) for q50 in inputs.load_q50_kw.values()),
        local_days=local_days(site.time_zone, inputs.horizon),
    )


def local_days(time_zone: str, horizon: Horizon) -> tuple[Array, int]:
    """Hours of each step in each local day (a step belongs to the day it starts in), today first, and the ordinal of today."""
    zone = ZoneInfo(time_zone)
    ordinals = np.array([start.astimezone(zone).toordinal() for start in horizon.starts])
    days = ordinals - ordinals[0]
    hours = np.zeros((int(days[-1]) + 1, len(days)))
    hours[days, np.arange(len(days))] = horizon.duration_h
    return hours, int(ordinals[0])


def foreseen_kw(site: Site, inputs: PlanInputs, clusters: Sequence[str]) -> Array:
    """The load foreseen for some clusters together, each within its rating: where curves are followed by their tangents."""
    total = np.zeros(inputs.horizon.n)
    for cluster in site.clusters:
        if cluster.id in clusters:
            total += np.clip(inputs.load_q50_kw[cluster.id], cluster.idle_kw, cluster.rating_kw)
    return total


def cooling_share(site: Site, inputs: PlanInputs, cooling: Cooling) -> float:
    """The part of the site's heat, and so of its measured cooling power, that is this system's: by the load of what it cools."""
    if len(site.coolings) <= 1:
        return 1.0
    now_kw = {name: float(kw[0]) for name, kw in inputs.load_q50_kw.items()}
    return sum(now_kw.get(name, 0.0) for name in cooling.cools) / max(sum(now_kw.values()), 1e-9)


def ambient_share(battery: Battery, outdoor_temp_c: Array) -> Array:
    """The share of a battery's rating the forecast temperature leaves, per step."""
    if not battery.limit_by_ambient_c:
        return np.ones(len(outdoor_temp_c))
    return np.array([battery.ambient_share(float(t)) for t in outdoor_temp_c])


def open_shares(inputs: PlanInputs) -> tuple[Array, float]:
    """Share of each step before the accounts close, and hours until they do."""
    duration_h = np.array(inputs.horizon.duration_h)
    if inputs.settle_at is None:
        return np.ones(len(duration_h)), np.inf
    settle_h = (inputs.settle_at - inputs.horizon.starts[0]).total_seconds() / 3600
    begin_h = np.cumsum(duration_h) - duration_h
    return np.clip((settle_h - begin_h) / duration_h, 0.0, 1.0), max(settle_h, 0.0)


def import_gain(site: Site, outdoor_temp_c: Array, counts_plants: bool = True) -> Array:
    """kW of import per kW of IT: itself, what UPS and feeders lose on it, what cools it; the mean over clusters by rating. A chilled-water
    plant counts with the worst share over its load, or not at all."""
    rating_kw = {c.id: c.rating_kw for c in site.clusters}
    total_kw = max(sum(rating_kw.values()), 1e-9)
    gain = np.ones(len(outdoor_temp_c))
    for ups in site.upses:
        gain += ups.loss_fraction * sum(rating_kw.get(i, 0.0) for i in ups.carries) / total_kw
    for cooling in site.coolings:
        share = sum(rating_kw.get(i, 0.0) for i in cooling.cools) / total_kw * (counts_plants or cooling.plant is None)
        gain += share * np.array([cooling.fraction(float(t)) for t in outdoor_temp_c])
    lost = sum(site.losses.get(i, 0.0) * kw for i, kw in rating_kw.items()) / total_kw
    return gain * (1.0 + lost)


def lowest_gain(site: Site) -> float:
    """The least import one kW of IT costs: what cutting it surely frees."""
    return float(min(import_gain(site, np.array([t]), counts_plants=False)[0] for t in (10.0, 40.0)))


def deferrable_kw(site: Site, inputs: PlanInputs) -> Array:
    """IT demand above idle of the classes that can wait."""
    total = np.zeros(inputs.horizon.n)
    for cluster in site.clusters:
        share = sum(k.share for k in cluster.classes.values() if k.defer_price_per_kwh is not None)
        total += share * np.maximum(np.asarray(inputs.load_q50_kw[cluster.id], float) - cluster.idle_kw, 0.0)
    return total
