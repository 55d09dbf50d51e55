"""What a tariff's charges remember of the metered months, and the commitments that follow from it for the horizon of a plan.

Energy and the plain demand charge are in tariff.py. Peaks already billed, ratchets and minima are free: nothing is gained below them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from ems.commitment import Commitment, Per, Span
from ems.horizon import Horizon
from ems.kpi.bills.demand import is_charged_in, ratchet_kw
from ems.kpi.bills.yearly import pair_for
from ems.plan.hours_use import has_tiers_per_kw, price_per_peak_kw, tier_days
from ems.plan.tariff import CARBON, COINCIDENT, CONTRACT, MINIMUM_TAKE, NETWORK_ENERGY, RAMP, TIER_PEAK, UTILISATION, dearer_tiers
from ems.plan.tariff_memory import KNOWN_H, TariffMemory, higher
from ems.plan.tariff_peaks import CalendarPredictor, PeakPredictor
from ems.plan.tariff_ratchet import later_price_per_kw
from ems.site.model import Site
from ems.site.tariff import NEXT, NEXT_YEAR, DemandCharge, Window
from ems.site.tariff_calendar import LocalTimes, month_hours, month_number, month_start
from ems.timegrid import interval_columns, interval_rows

Array = NDArray[np.float64]
GRID, HOUR, DAY = timedelta(minutes=30), timedelta(hours=1), timedelta(days=1)

Expected = Callable[[Sequence[Window], float], float]  # the peak in kW that some hours of a month with so many days left will set anyway


class TariffBook:
    """Takes minute means of the import; gives the commitments of a site's tariff. `predictor`: when the system peaks."""

    def __init__(self, site: Site, predictor: PeakPredictor | None = None) -> None:
        self.tariff, self.time_zone = site.tariff, site.time_zone
        rule = site.tariff.coincident_peak
        self.predictor = predictor or (CalendarPredictor(self.tariff, rule, self.time_zone) if rule else None)
        self.month_kwh: dict[int, float] = {}
        self.month_h: dict[int, float] = {}
        self.peaks_kw: dict[str, dict[int, float]] = {}  # charge -> month -> highest mean
        self._running: dict[int, tuple[int, float]] = {}  # interval in min -> number of the running one, kWh so far
        self._until: datetime | None = None  # what was metered before is counted
        for past in self.tariff.past_peaks:
            self.peaks_kw.setdefault(past.charge, {})[month_number(past.month)] = past.kw

    def observe(self, start: datetime, duration_s: float, poc_kw: float | None) -> None:
        """Takes the mean import of a minute; what was not measured is left out."""
        if poc_kw is None or self.tariff.is_plain or (self._until is not None and start < self._until):
            return
        self._until = start + timedelta(seconds=duration_s)
        kwh = max(0.0, poc_kw) * duration_s / 3600.0
        month = int(self._times([start]).month_index[0])
        self.month_kwh[month] = self.month_kwh.get(month, 0.0) + kwh
        self.month_h[month] = self.month_h.get(month, 0.0) + duration_s / 3600.0
        for minutes in self._intervals():
            self._meter(minutes, start, kwh)

    def memory(self) -> TariffMemory:
        """All of it."""
        return TariffMemory(self._until, self.month_kwh, self.month_h, self.peaks_kw, self._running)

    def remember(self, memory: TariffMemory) -> None:
        """Takes back what `memory` gave before a restart; peaks that the tariff's page names stay."""
        self._until, self.month_kwh, self.month_h, self._running = memory.until, memory.month_kwh, memory.month_h, memory.running
        for name, months in memory.peaks_kw.items():
            self.peaks_kw[name] = higher(self.peaks_kw.get(name, {}), months)

    def interval_energy_kwh(self, now: datetime) -> dict[int, float]:
        """Energy metered so far in the running interval of each length."""
        return {m: kwh for m, (index, kwh) in self._running.items() if index == int(now.timestamp() // (60 * m))}

    def expected_month_kwh(self, now: datetime) -> dict[int, float]:
        """What the running month and the next will come to at the mean so far, of the month before until that is known; for the tier and
        the minimum they end in."""
        month = int(self._times([now]).month_index[0])
        known = [m for m in (month, month - 1) if self.month_h.get(m, 0.0) >= KNOWN_H]
        if not known:
            return {}
        mean_kw = self.month_kwh[known[0]] / self.month_h[known[0]]
        return {m: mean_kw * month_hours(m, self.time_zone) for m in (month, month + 1)}

    def tier_kwh(self, now: datetime, expected_kw: Expected = lambda windows, days_left: 0.0) -> dict[int, float]:
        """The same in the unit of the tiers: per day of the month, per kW of its peak so far or expected (at least its mean), or both."""
        found = {}
        for month, kwh in self.expected_month_kwh(now).items():
            per_kw = 1.0
            if has_tiers_per_kw(self.tariff):
                per_kw = max(self._tier_peak_kw(now, month, expected_kw), kwh / month_hours(month, self.time_zone), 1e-9)
            found[month] = kwh / per_kw / tier_days(self.tariff, month, self.time_zone)
        return found

    def _tier_peak_kw(self, now: datetime, month: int, expected_kw: Expected) -> float:
        return max(expected_kw((), self._days_left(now, month)), self.peaks_kw.get(TIER_PEAK, {}).get(month, 0.0))

    def commitments(
        self,
        now: datetime,
        horizon: Horizon,
        expected_kw: Expected,
        carbon_g_per_kwh: Array | None = None,
        settle_at: datetime | None = None,
    ) -> tuple[Commitment, ...]:
        """Every charge beyond energy and the plain demand charge, over the horizon (or the part of it before the accounts close)."""
        if self.tariff.is_plain:
            return ()
        return tuple(
            [
                *self._demand(now, horizon, expected_kw, settle_at),
                *self._tier_peak(now, horizon, expected_kw),
                *self._contract(horizon),
                *self._utilisation(horizon, expected_kw),
                *self._coincident(now, horizon),
                *self._carbon(horizon, carbon_g_per_kwh),
                *self._minimum_take(now, horizon, settle_at),
                *self._ramp(horizon),
            ]
        )

    # -- peaks ----------------------------------------------------------------------------------------------------------------------

    def _demand(self, now: datetime, horizon: Horizon, expected_kw: Expected, settle_at: datetime | None) -> Iterator[Commitment]:
        end = sys.maxsize if settle_at is None else int(self._times([settle_at - GRID]).month_index[0]) + 1
        for charge in self.tariff.demand_charges:
            windows = charge.windows if charge.billed_on == "window" else ()
            for month, suffix in self._two_months(horizon):
                hours = [w for w in windows if month % 12 + 1 in w.months] or windows  # another season's are not looked into
                free_kw = max(expected_kw(hours, self._days_left(now, month)), self._billed_anyway_kw(charge, month))
                later = 0.0
                if charge.ratchet is not None:
                    peaks, later_kw = self.peaks_kw.get(charge.name, {}), expected_kw(windows, math.inf)
                    later = later_price_per_kw(charge, month, free_kw, peaks, later_kw, end)
                spans = self._spans(horizon, windows, month)
                for name, from_kw, price in _steps(charge, free_kw):
                    price = (price if is_charged_in(charge, month) else 0.0) + (later if name == charge.name else 0.0)
                    yield Commitment(name + suffix, Per.PEAK, (from_kw,), (price,), (0.0,), charge.interval_min, spans)

    def _billed_anyway_kw(self, charge: DemandCharge, month: int) -> float:
        peaks = self.peaks_kw.get(charge.name, {})
        return max(peaks.get(month, 0.0), charge.minimum_kw, ratchet_kw(charge.ratchet, month, peaks))

    def _tier_peak(self, now: datetime, horizon: Horizon, expected_kw: Expected) -> Iterator[Commitment]:
        """What the month's peak costs where it makes energy tiers wider; nothing until it is known in which tier the month ends."""
        if not has_tiers_per_kw(self.tariff):
            return
        amounts = self.tier_kwh(now, expected_kw)
        for month, suffix in self._two_months(horizon):
            free_kw = self._tier_peak_kw(now, month, expected_kw)
            price = price_per_peak_kw(self.tariff, month, amounts.get(month, 0.0), self.time_zone)
            spans, minutes = self._spans(horizon, (), month), self.tariff.demand_interval_min
            yield Commitment(TIER_PEAK + suffix, Per.PEAK, (free_kw,), (price,), (0.0,), minutes, spans)

    def _contract(self, horizon: Horizon) -> Iterator[Commitment]:
        contract = self.tariff.contract_capacity
        if contract is None:
            return
        for month, suffix in self._two_months(horizon):
            free_kw = max(contract.kw, self.peaks_kw.get(CONTRACT, {}).get(month, 0.0))
            spans, price = self._spans(horizon, (), month), contract.breach_price_per_kw_month
            yield Commitment(CONTRACT + suffix, Per.PEAK, (free_kw,), (price,), (0.0,), contract.interval_min, spans)

    def _utilisation(self, horizon: Horizon, expected_kw: Expected) -> Iterator[Commitment]:
        """The pair of prices of the hours the year is heading for, on the year's peak and on the next year's. The horizon itself does not
        move them."""
        rule = self.tariff.utilisation_hours
        if rule is None:
            return
        month = int(self._times([horizon.starts[0]]).month_index[0])
        year = range(month // 12 * 12, month // 12 * 12 + 12)
        expected = expected_kw((), math.inf)
        free_kw = max([expected, *(kw for m, kw in self.peaks_kw.get(UTILISATION, {}).items() if m in year)])
        pair = pair_for(rule, self._year_kwh(year) / free_kw if self._is_known(year) and free_kw > 0.0 else rule.expected_h)
        price = pair.demand_price_per_kw_year
        for months, baseline_kw, suffix in ((year, free_kw, ""), (range(year.stop, year.stop + 12), expected, NEXT_YEAR)):
            span = ((month_start(months.start, self.time_zone), month_start(months.stop, self.time_zone)),)
            yield Commitment(UTILISATION + suffix, Per.PEAK, (baseline_kw,), (price,), (0.0,), rule.interval_min, span)
        yield _on_import(NETWORK_ENERGY, np.full(horizon.n, pair.energy_price_per_kwh))

    def _is_known(self, year: range) -> bool:
        return sum(self.month_h.get(m, 0.0) for m in year) >= KNOWN_H

    def _year_kwh(self, year: range) -> float:
        """What a year (of months) will come to at its mean so far."""
        kwh, hours = (sum(of.get(m, 0.0) for m in year) for of in (self.month_kwh, self.month_h))
        return kwh / hours * sum(month_hours(m, self.time_zone) for m in year)

    # -- prices per step ------------------------------------------------------------------------------------------------------------

    def _coincident(self, now: datetime, horizon: Horizon) -> Iterator[Commitment]:
        rule = self.tariff.coincident_peak
        if rule is None or self.predictor is None:
            return
        hours = np.array(horizon.duration_h)
        per_peak = rule.price_per_kw_year / (rule.per_year or rule.per_month * len(rule.months))
        yield _on_import(COINCIDENT, self.predictor.probability(now, horizon.starts, horizon.duration_h) * per_peak / hours)

    def _carbon(self, horizon: Horizon, grams: Array | None) -> Iterator[Commitment]:
        price = self.tariff.carbon
        if price is not None and grams is not None:
            yield _on_import(CARBON, np.asarray(grams, float) / 1000.0 * price.price_per_kg)

    # -- other --------------------------------------------------------------------------------------------------------------------------

    def _minimum_take(self, now: datetime, horizon: Horizon, settle_at: datetime | None) -> Iterator[Commitment]:
        """Energy of the horizon paid for anyway: the month's minimum less what the rest of the month takes at its mean so far, metered or
        not yet, past or to come."""
        take = self.tariff.minimum_take
        month_kwh = self.expected_month_kwh(now)
        if take is None or not month_kwh:
            return
        month, kwh = next(iter(month_kwh.items()))
        paid_h = max(0.0, (min(horizon.end, settle_at or horizon.end) - horizon.starts[0]) / HOUR)
        inside_h = min(paid_h, (month_start(month + 1, self.time_zone) - horizon.starts[0]) / HOUR)
        mean_kw = kwh / month_hours(month, self.time_zone)
        next_month_kwh = mean_kw * (paid_h - inside_h)
        free_kwh = max(0.0, take.kwh_per_month - (kwh - mean_kw * inside_h)) + next_month_kwh
        yield Commitment(MINIMUM_TAKE, Per.TOTAL, (free_kwh,), (0.0,), (-take.price_per_kwh,))

    def _ramp(self, horizon: Horizon) -> Iterator[Commitment]:
        ramp = self.tariff.ramp
        if ramp is None:
            return
        interval_s = ramp.interval_min * 60
        hours = np.array(horizon.duration_h[interval_columns(interval_s) :])
        between_min = 30.0 * (hours[1:] + hours[:-1])  # from the middle of one longer step to that of the next
        minutes = np.r_[np.full(interval_rows(interval_s), float(ramp.interval_min)), between_min]
        none, price = (0.0,) * len(minutes), (ramp.price_per_kw,) * len(minutes)
        yield Commitment(RAMP, Per.CHANGE, tuple((ramp.free_kw_per_min * minutes).tolist()), price, none, ramp.interval_min)

    # -- metering -------------------------------------------------------------------------------------------------------------------

    def _intervals(self) -> set[int]:
        t = self.tariff
        parts = [*t.demand_charges, t.contract_capacity, t.utilisation_hours, t.ramp]
        return {t.demand_interval_min, *(p.interval_min for p in parts if p is not None)}

    def _meter(self, minutes: int, start: datetime, kwh: float) -> None:
        index = int(start.timestamp() // (60 * minutes))
        before, so_far = self._running.get(minutes, (index, 0.0))
        if before != index:
            self._close(minutes, before, so_far)
            so_far = 0.0
        self._running[minutes] = (index, so_far + kwh)

    def _close(self, minutes: int, index: int, kwh: float) -> None:
        at = datetime.fromtimestamp(index * 60 * minutes, UTC)
        kw, times = kwh * 60.0 / minutes, self._times([at])
        month = int(times.month_index[0])
        for charge in self.tariff.demand_charges:
            windows = charge.windows if charge.billed_on == "window" else ()
            if charge.interval_min == minutes and times.within(windows)[0]:
                self._raise(charge.name, month, kw)
        contract, rule = self.tariff.contract_capacity, self.tariff.utilisation_hours
        if has_tiers_per_kw(self.tariff) and self.tariff.demand_interval_min == minutes:
            self._raise(TIER_PEAK, month, kw)
        if contract is not None and contract.interval_min == minutes:
            self._raise(CONTRACT, month, kw)
        if rule is not None and rule.interval_min == minutes:
            self._raise(UTILISATION, month, kw)

    def _raise(self, name: str, month: int, kw: float) -> None:
        peaks = self.peaks_kw.setdefault(name, {})
        peaks[month] = max(peaks.get(month, 0.0), kw)

    # -- calendar -------------------------------------------------------------------------------------------------------------------

    def _times(self, at: Sequence[datetime]) -> LocalTimes:
        return LocalTimes(np.array([t.timestamp() for t in at]), self.time_zone, self.tariff)

    def _two_months(self, horizon: Horizon) -> list[tuple[int, str]]:
        month = int(self._times([horizon.starts[0]]).month_index[0])
        return [(month, ""), (month + 1, NEXT)]

    def _days_left(self, now: datetime, month: int) -> float:
        return (month_start(month + 1, self.time_zone) - now) / DAY

    def _spans(self, horizon: Horizon, windows: Sequence[Window], month: int) -> tuple[Span, ...]:
        """The times of the horizon, from its running interval on, that lie in the windows and in the month; runs of half hours."""
        first = datetime.fromtimestamp(horizon.starts[0].timestamp() // 3600 * 3600, UTC)
        count = int(np.ceil((horizon.end - first) / GRID))
        slots = [first + GRID * k for k in range(count + 1)]
        times = self._times(slots)
        inside = times.within(windows) & (times.month_index == month)
        edges = np.flatnonzero(np.diff(np.r_[False, inside[:-1], False].astype(int)))
        return tuple((slots[a], slots[b]) for a, b in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _on_import(name: str, price: Array) -> Commitment:
    """A price per step on what is imported; nothing is paid for exports."""
    return Commitment(name, Per.STEP, (0.0,) * len(price), tuple(price.tolist()), (0.0,) * len(price))


def _steps(charge: DemandCharge, free_kw: float) -> Iterator[tuple[str, float, float]]:
    """Name, start in kW and price per kW: of the next kW above what is free, and of each tier above that what it is dearer. A cheaper tier
    to come is not convex: it counts at the price before it. As many for every demand, since the plan's terms are compiled once."""
    price = next(t.price for t in charge.tiers if t.up_to is None or free_kw < t.up_to)
    yield charge.name, free_kw, price
    for name, (from_kw, tier_price) in dearer_tiers(charge).items():
        dearer = max(0.0, tier_price - price) if from_kw > free_kw else 0.0
        yield name, max(from_kw, free_kw), dearer
        price += dearer
