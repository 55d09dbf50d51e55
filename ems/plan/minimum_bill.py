"""A bill that is never less than a minimum, of the month or of the calendar year: how much of it the horizon must still reach, and the
term that makes money below it worth nothing.

A month pays the more of its bill and its minimum, December what the year then misses of the year's: so of the two what the horizon must
reach is the more, and one term weighs both.

Weighed where the bill is energy, demand and contract capacity. Beside any other charge, tiers of energy or a ratchet, as before a day of
the month is metered, the bill counts as above its minimum: to shave for nothing costs less than to let a peak rise for nothing. Under tiers
of energy the plan knows the price of the next kWh, not what those before it cost: with falling ones a bill far above its minimum would look
below. With a ratchet the price of a kW holds what later months pay for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import cvxpy as cp
import numpy as np

from ems.commitment import Commitment, Per
from ems.horizon import Horizon
from ems.kpi.bills.demand import is_charged_in, tiered
from ems.plan.tariff import CONTRACT, dearer_tiers
from ems.plan.tariff_memory import KNOWN_H, amount, instant
from ems.site.model import Site
from ems.site.tariff import NEXT, Tariff
from ems.site.tariff_calendar import LocalTimes, month_hours, month_start

COUNTED = 0.999  # of what a plan pays below the minimum is free; the rest tells equal plans apart
NO_MINIMUM = -1e9  # what is left to reach where nothing is known of it
YEAR_DOUBT = 0.1  # of the year's minimum, times the part of the year not billed yet: only a year surely below it counts as that
YEAR_MONTHS = 12


def is_weighed(tariff: Tariff) -> bool:
    """True for a minimum of the month or year that a plan can compare its bill with."""
    others = (tariff.coincident_peak, tariff.utilisation_hours, tariff.minimum_take, tariff.carbon, tariff.ramp)
    is_known = all(len(p.tiers) == 1 for p in tariff.energy_periods) and all(c.ratchet is None for c in tariff.demand_charges)
    return max(tariff.minimum_charge_per_month, tariff.minimum_charge_per_year) > 0.0 and is_known and not any(others)


class MonthMoney:
    """What the energy of the running month cost so far, the bills of the year's months before, and what of a minimum is left for a
    horizon."""

    def __init__(self, site: Site) -> None:
        self.tariff, self.time_zone = site.tariff, site.time_zone
        self._month, self._money, self._hours = -1, 0.0, 0.0
        self._until: datetime | None = None  # what was metered before is counted
        self._lost = 0.0  # for peaks of the running month, as the last plan knew them
        self._mean_per_h: float | None = None  # money for energy, of the last month that was known
        self._bills: dict[int, float] = {}  # of months that are over

    def memory(self) -> dict[str, Any]:
        """All of it as plain data."""
        until = None if self._until is None else self._until.isoformat()
        year = {"lost": self._lost, "mean_per_h": self._mean_per_h, "bills": {str(month): bill for month, bill in self._bills.items()}}
        return {"until": until, "month": self._month, "money": self._money, "hours": self._hours, **year}

    def remember(self, data: Mapping[str, Any]) -> None:
        """Takes back what `memory` gave. Raises KeyError, TypeError or ValueError on anything else, and is as before."""
        until = instant(data["until"])
        month, money, hours = int(data["month"]), float(data["money"]), amount(data["hours"])
        lost, mean_per_h = float(data.get("lost", 0.0)), data.get("mean_per_h")
        bills = {int(m): float(bill) for m, bill in data.get("bills", {}).items()}
        if not all(math.isfinite(x) for x in (money, lost, *bills.values(), 0.0 if mean_per_h is None else float(mean_per_h))):
            raise ValueError(f"expected money, not {money!r}, {lost!r}, {mean_per_h!r}, {bills!r}")
        self._lost, self._mean_per_h, self._bills = lost, None if mean_per_h is None else float(mean_per_h), bills
        self._until, self._month, self._money, self._hours = until, month, money, hours

    def observe(self, start: datetime, duration_s: float, poc_kw: float | None, price_per_kwh: float) -> None:
        """Takes the mean import of a minute at its price; what was not measured is left out."""
        if self._until is not None and start < self._until:
            return
        self._until = start + timedelta(seconds=duration_s)
        month = self._month_of(start)
        if month != self._month:
            self._close()
            self._month, self._money, self._hours = month, 0.0, 0.0
        if poc_kw is not None:
            self._money += price_per_kwh * max(0.0, poc_kw) * duration_s / 3600.0
            self._hours += duration_s / 3600.0

    def left(self, horizon: Horizon, peaks: Iterable[Commitment], settle_at: datetime | None = None) -> float | None:
        """Money of a minimum that the horizon must reach before a unit spent in it counts; None until a day is metered. The rest of the
        month, past or to come, pays for energy as in its mean so far, and for `peaks` (this month's) what is lost of them already, which is
        remembered for the month's bill. Energy of the horizon in the next month counts as free as well."""
        month = self._month_of(horizon.starts[0])
        if month != self._month:
            return None
        ends = min(horizon.end, settle_at or horizon.end)
        inside_h = max(0.0, (ends - horizon.starts[0]) / timedelta(hours=1))
        self._lost = sum(self._lost_for(c, month) for c in peaks if c.name != CONTRACT and not c.name.endswith(NEXT))
        left = [*self._left_of_month(month, inside_h), *self._left_of_year(month, inside_h)]
        return max(left, default=None)

    def _lost_for(self, peak: Commitment, month: int) -> float:
        """Money owed for a peak already. Of a charge in tiers each kW at its own tier, once."""
        charges = {name: charge for charge in self.tariff.demand_charges for name in (charge.name, *dearer_tiers(charge))}
        charge = charges.get(peak.name)
        if charge is None:
            return peak.up_price[0] * peak.baseline_kw[0]
        return tiered(peak.baseline_kw[0], charge.tiers) if peak.name == charge.name and is_charged_in(charge, month) else 0.0

    def _left_of_month(self, month: int, inside_h: float) -> Iterator[float]:
        if self.tariff.minimum_charge_per_month > 0.0 and self._hours >= KNOWN_H:
            mean_per_h, hours = self._money / self._hours, month_hours(month, self.time_zone)
            yield self.tariff.minimum_charge_per_month - self._fixed(month) - self._lost - mean_per_h * (hours - inside_h)

    def _left_of_year(self, month: int, inside_h: float) -> Iterator[float]:
        """Months that are over pay what they were billed; those to come, and those nobody metered, as the running one."""
        least, mean_per_h = self.tariff.minimum_charge_per_year, self._known_mean()
        if least <= 0.0 or mean_per_h is None:
            return
        year = range(month // YEAR_MONTHS * YEAR_MONTHS, (month // YEAR_MONTHS + 1) * YEAR_MONTHS)
        others = sum(self._bills[m] if m in self._bills else self._bill_of(m, mean_per_h) for m in year if m != month)
        own = self._fixed(month) + self._lost + mean_per_h * (month_hours(month, self.time_zone) - inside_h)
        doubt = YEAR_DOUBT * least * sum(m not in self._bills for m in year) / YEAR_MONTHS
        yield least - doubt - others - own

    def _known_mean(self) -> float | None:
        """Money for energy per hour of the running month, of the one before until a day of it is metered."""
        return self._money / self._hours if self._hours >= KNOWN_H else self._mean_per_h

    def _bill_of(self, month: int, mean_per_h: float) -> float:
        paid = self._fixed(month) + self._lost + mean_per_h * month_hours(month, self.time_zone)
        return max(self.tariff.minimum_charge_per_month, paid)

    def _close(self) -> None:
        """The running month is over; one of which less than a day was metered is not known."""
        if self._hours >= KNOWN_H:
            self._mean_per_h = self._money / self._hours
            self._bills = {m: bill for m, bill in self._bills.items() if m > self._month - YEAR_MONTHS}
            self._bills[self._month] = self._bill_of(self._month, self._mean_per_h)

    def _fixed(self, month: int) -> float:
        tariff, contract = self.tariff, self.tariff.contract_capacity
        days = (month_start(month + 1, self.time_zone) - month_start(month, self.time_zone)) / timedelta(days=1)
        paid = 0.0 if contract is None else contract.kw * contract.price_per_kw_month
        return paid + tariff.fixed_price_per_month + round(days) * tariff.fixed_price_per_day

    def _month_of(self, at: datetime) -> int:
        return int(LocalTimes(np.array([at.timestamp()]), self.time_zone, self.tariff).month_index[0])


class MinimumBillTerm:
    """What the month's bill misses of its minimum, paid on top: cost = max(0, left - bill), of which COUNTED counts."""

    def __init__(self, bill: cp.Expression) -> None:
        self.missing = cp.Variable(nonneg=True)
        self.left = cp.Parameter()
        self.cost: cp.Expression = self.missing
        self.constraints = {"pays what is missing of the minimum": self.missing >= COUNTED * (self.left - bill)}

    def update(self, left: float | None) -> None:
        """Sets what is left of the minimum in money; None: the bill is above it."""
        self.left.value = NO_MINIMUM if left is None else max(left, NO_MINIMUM)


def demand_peaks(demand: Commitment, others: Iterable[Commitment]) -> list[Commitment]:
    """The priced peaks of this month: the plain demand charge and those of windows."""
    return [demand, *(c for c in others if c.per is Per.PEAK)]
