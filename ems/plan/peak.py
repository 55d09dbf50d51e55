"""Which billing peak the month will set anyway: shaving below it is worth nothing, defending less than it loses work in vain.

The least peak of the days seen (one linear program with perfect hindsight, the bound's) times a factor: the rest of the month holds worse
days than those seen, and no plan has hindsight. Measured on ten weeks of real load and prices, three days of history each: factor 1.10
reached 0.73 of the possible saving in the median and 0.64 at worst; 1.05 and 1.15 about 0.05-0.1 less, no floor at all 0.49 and 0.30.
With the days of the loads permuted, so that the history may already hold the surge, the factor alone fell to 0.39 at worst: see `tempered`.
In closed loop on four development weeks (tests/benchmarks/uncertainty.md) 1.12 and a first guess of 0.86 of the limit are better than 1.15
and 0.88 in all four, 1.09 and 0.84 worse in the three tried: too low costs more than too high, for storage is then spent below the peak
that comes.

Tried since and not kept, on three development weeks (tests/benchmarks/uncertainty.md): days seen looked at anew every day, with days left
that end where the accounts do (0.2 % cheaper in all, a July week 1 % dearer); a peak priced by tiers as an expectation (dearer).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from ems.plan.bound import BoundInputs
from ems.plan.hours_use import has_tiers_per_kw, price_per_peak_kw, tier_days
from ems.plan.inputs import stores_of
from ems.plan.look import Look
from ems.plan.sources import PriceSource, WeatherSource
from ems.plan.tariff import TIER_PEAK, dearer_tiers
from ems.site.model import Site
from ems.site.tariff import DemandCharge, Tariff, Tier, Window
from ems.site.tariff_calendar import LocalTimes, month_hours
from ems.timegrid import interval_start

Array = NDArray[np.float64]
FACTOR = 1.12
FIRST_GUESS = 0.86  # of the import limit, until a day has been seen
WHOLE_AFTER_D = 10.0  # with fewer days left in the month the factor shrinks towards 1: so few days seldom hold a worse one than those seen
DAYS = 3
BRIDGED = 4  # quarters: a planner that was down for an hour has not forgotten the days before
QUARTER_S = 900


class PeakExpectation:
    """Collects demand as 15-min means and expects the peak once a month, earlier again while the history is short.

    A plan waits `wait_s` wall seconds for it, without end when None (replay); what takes longer is there for a plan after this one.
    """

    def __init__(self, site: Site, wait_s: float | None = None) -> None:
        self.site, self._wait_s = site, wait_s
        self._sums: dict[int, dict[str, tuple[float, float]]] = {}  # quarter -> cluster -> (kWs, s)
        self._seen_kw: float | None = None  # least peak of the days seen; None: no whole day seen, or it cannot be replayed
        self._made_for: tuple[str, int, int] | None = None
        self._seen: tuple[Array, Array] | None = None  # starts and import of the least course of the days seen
        self._unseen = False  # a window of this month of which the days seen hold no hour
        self._looked_at = -1  # hour of the last look at the history
        self._look: tuple[Array, Look] | None = None  # under way: starts, and the least course of import from there on

    def observe(self, start: datetime, duration_s: float, demand_kw: Mapping[str, float | None]) -> None:
        """Takes the mean demand of a minute; what was not measured is left out."""
        quarter = int(start.timestamp()) // QUARTER_S
        sums = self._sums.setdefault(quarter, {})
        for cluster, kw in demand_kw.items():
            if kw is not None:
                energy, seconds = sums.get(cluster, (0.0, 0.0))
                sums[cluster] = (energy + kw * duration_s, seconds + duration_s)
        for old in sorted(self._sums)[: -DAYS * 96 - 1]:
            del self._sums[old]

    def expected_kw(self, now: datetime, prices: PriceSource, weather: WeatherSource, days_left: float = math.inf) -> float:
        """The peak to expect in a month, or in what is left of it, in kW of import. The history is looked at when a month begins, when
        another day of it is there, and daily while it holds no hour of a window of this month."""
        hour = int(now.timestamp()) // 3600
        if hour != self._looked_at:
            self._looked_at = hour
            quarters = self._complete_quarters(now)
            local = now.astimezone(ZoneInfo(self.site.time_zone))
            made_for = (f"{local:%Y-%m}", len(quarters) // 96, local.day if self._unseen else 0)
            if made_for != self._made_for:
                self._look_at(now, quarters, prices, weather)
                self._made_for = made_for
                self._take_look(self._wait_s)
        self._take_look(0.0)
        limit_kw = self.site.point_of_connection.import_limit_kw
        return FIRST_GUESS * limit_kw if self._seen_kw is None else tempered(self._seen_kw, limit_kw, days_left)

    def expected_within_kw(self, windows: Sequence[Window], overall_kw: float, days_left: float = math.inf) -> float:
        """The peak to expect in the hours of some windows: of the same least course of import, at most the overall one."""
        if self._seen is None:
            return overall_kw
        at_s, import_kw = self._seen
        inside = LocalTimes(at_s, self.site.time_zone, self.site.tariff).within(_any_month(windows))
        if not inside.any():
            return overall_kw
        return min(overall_kw, tempered(float(import_kw[inside].max()), self.site.point_of_connection.import_limit_kw, days_left))

    def _complete_quarters(self, now: datetime) -> list[int]:
        """The newest run of quarters, oldest first, at most DAYS, in which every cluster was measured but for gaps of at most BRIDGED."""
        newest = int(interval_start(now, QUARTER_S).timestamp()) // QUARTER_S - 1
        count, missing = 0, 0
        for back in range(DAYS * 96):
            missing = 0 if self._is_complete(newest - back) else missing + 1
            if missing > BRIDGED:
                break
            if missing == 0:
                count = back + 1
        return list(range(newest - count + 1, newest + 1))

    def _is_complete(self, quarter: int) -> bool:
        return all(c.id in self._sums.get(quarter, {}) for c in self.site.clusters)

    def _look_at(self, now: datetime, quarters: list[int], prices: PriceSource, weather: WeatherSource) -> None:
        """The least course of the days seen, under this month's charges. Where there is no whole day, or the days cannot be replayed, what
        was expected before stands, or else the guess: the plan is still a plan."""
        if len(quarters) < 96:
            return
        first = interval_start(now, QUARTER_S) - timedelta(seconds=QUARTER_S * len(quarters))
        starts = tuple(first + timedelta(seconds=QUARTER_S * k) for k in range(len(quarters)))
        at_s, hours = np.array([s.timestamp() for s in starts]), (0.25,) * len(starts)
        month = int(LocalTimes([now.timestamp()], self.site.time_zone, self.site.tariff).month_index[0])
        tariff = at_full_price(charged_in(self.site.tariff, month % 12 + 1), month, self.site.time_zone)
        self._unseen = any(not LocalTimes(at_s, self.site.time_zone, tariff).within(c.windows).any() for c in tariff.demand_charges)
        inputs = BoundInputs(
            starts=starts,
            class_demand_kw={c.id: self._class_demand_kw(c.id, quarters) for c in self.site.clusters},
            price_per_kwh=np.asarray(prices.forecast(now, starts, hours)),
            outdoor_temp_c=np.asarray(weather.forecast(now, starts, hours)),
            energy_kwh={s.id: s.initial_soc * s.energy_kwh for s in stores_of(self.site)},
        )
        self._look = (at_s, Look(replace(self.site, tariff=tariff), inputs))

    def _take_look(self, wait_s: float | None) -> None:
        if self._look is None or not self._look[1].is_done(wait_s):
            return
        (at_s, look), self._look = self._look, None
        made_for, self._made_for = self._made_for, None
        seen = look.result()  # a defect is looked at again within the hour
        self._made_for = made_for
        if seen is not None:
            self._seen, self._seen_kw = (at_s, np.asarray(seen.import_kw, float)), seen.peak_kw

    def _class_demand_kw(self, cluster_id: str, quarters: list[int]) -> dict[str, Array]:
        cluster = next(c for c in self.site.clusters if c.id == cluster_id)
        sums = [self._sums.get(q, {}).get(cluster_id, (0.0, 0.0)) for q in quarters]
        known = np.array([seconds > 0.0 for _, seconds in sums])
        means = [energy / seconds for energy, seconds in sums if seconds > 0.0]
        mean_kw = np.interp(quarters, np.array(quarters)[known], means)  # a gap is bridged by a straight line
        dynamic_kw = np.clip(mean_kw, cluster.idle_kw, cluster.rating_kw) - cluster.idle_kw
        return {name: kind.share * dynamic_kw for name, kind in cluster.classes.items()}


def charged_in(tariff: Tariff, month: int) -> Tariff:
    """The tariff with the demand charges of a month of the year, in force whenever their days and hours come: the days seen may lie before
    their season, and were not shaved for them."""
    charged = [c for c in tariff.demand_charges if not c.windows or any(month in w.months for w in c.windows)]
    windows = [_any_month([w for w in c.windows if month in w.months]) for c in charged]
    return replace(tariff, demand_charges=tuple(replace(c, windows=w) for c, w in zip(charged, windows, strict=True)))


def at_full_price(tariff: Tariff, month: int, time_zone: str) -> Tariff:
    """Peaks at the price a kW may have: rising tiers at their dearest, energy tiers per kW as in a month of flat load. Days replayed
    at the cheapest would not be shaved, and what they reach counts as free."""
    dearest = [replace(c, tiers=(Tier(None, max(t.price for t in c.tiers)),)) if dearer_tiers(c) else c for c in tariff.demand_charges]
    if has_tiers_per_kw(tariff):
        flat = month_hours(month, time_zone) / tier_days(tariff, month, time_zone)
        price = price_per_peak_kw(tariff, month, flat, time_zone)
        dearest.append(DemandCharge(TIER_PEAK, (Tier(None, price),), tariff.demand_interval_min, (), 0.0, None, "window"))
    return replace(tariff, demand_charges=tuple(dearest))


def _any_month(windows: Sequence[Window]) -> tuple[Window, ...]:
    return tuple(replace(w, months=tuple(range(1, 13))) for w in windows)


def tempered(seen_kw: float, limit_kw: float, days_left: float = math.inf) -> float:
    """The least peak of the days seen times the factor, less of it when few days are left; where that lies above the first guess, halfway
    back to it (a surge in three days of history is often the month's peak already). Never below the peak seen, never above the limit."""
    factor = 1.0 + (FACTOR - 1.0) * min(1.0, days_left / WHOLE_AFTER_D)
    expected_kw = factor * seen_kw
    halfway_kw = 0.5 * (expected_kw + FIRST_GUESS * limit_kw)
    return min(max(seen_kw, min(expected_kw, halfway_kw)), limit_kw)
