"""A replay's window on the bill: 5-minute means of the plant's truth, billed by the engine where a tariff needs more than one price."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from ems.kpi.bills.bill import make_bills
from ems.kpi.bills.lines import CARBON, DEMAND, ENERGY, MonthlyBill
from ems.kpi.bills.metered import Metered
from ems.signals.carbon import CarbonRow
from ems.site.model import Site
from ems.site.tariff import BASIC_CHARGE, MARKET, PastPeak, Tariff
from ems.site.tariff_calendar import LocalTimes, month_name
from ems.site.tariff_prices import price_at

if TYPE_CHECKING:
    from ems.replay.world import World

GRID_MIN = 5


def carbon_rows(world: World) -> list[CarbonRow]:
    """Carbon intensities as the planner gets them, each known when its interval ends; none where the tariff has no price for them."""
    steps, priced = world.signals.carbon, world.site.tariff.carbon
    if steps is None or priced is None:
        return []
    rows = zip(steps.begin_s.tolist(), steps.end_s.tolist(), steps.value.tolist(), strict=True)
    return [CarbonRow(_instant(a), _instant(b), _instant(b), grams, priced.signal) for a, b, grams in rows]


def _instant(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)


@dataclass
class BillAccount:
    """Takes every plant step. Fixed charges are billed but count in no cost: they are the same whatever is done."""

    site: Site
    start: datetime
    peak_so_far_kw: float = 0.0
    coincident_s: tuple[float, ...] = ()  # starts of the system's peak intervals, where the tariff has a price for them
    sums: dict[int, list[float]] = field(default_factory=dict)  # 5-min interval -> seconds, kWs in, kWs out, price x s, g/kWh x s

    def add(self, at_s: float, dt_s: float, poc_kw: float, price_per_kwh: float, carbon_g: float | None) -> None:
        """One plant step; the price is what import costs, adder and periods included."""
        sums = self.sums.setdefault(int(at_s // (60 * GRID_MIN)), [0.0] * 5)
        for k, value in enumerate((1.0, max(0.0, poc_kw), max(0.0, -poc_kw), price_per_kwh, carbon_g or 0.0)):
            sums[k] += value * dt_s

    def bills(self) -> tuple[MonthlyBill, ...]:
        """The bills of the window's months; () before the first step. Raises DataError when the tariff follows what the data has not."""
        if not self.sums:
            return ()
        index = sorted(self.sums)
        table = np.array([self.sums[i] for i in index])
        import_kw, export_kw, price, carbon = (table[:, k] / table[:, 0] for k in (1, 2, 3, 4))
        at_s = np.array(index) * 60.0 * GRID_MIN
        tariff = self.site.tariff
        market = price - tariff.energy_price_per_kwh - price_at(tariff, self.site.time_zone, at_s)[0]
        metered = Metered(
            start=datetime.fromtimestamp(at_s[0], UTC),
            interval_min=GRID_MIN,
            net_kw=import_kw - export_kw,
            import_kw=import_kw,
            export_kw=export_kw,
            market_per_kwh=market if tariff.is_market or tariff.export_energy in MARKET else None,
            carbon_g_per_kwh=carbon,
            coincident_s=self.coincident_s,
        )
        return make_bills(self._tariff(), self.site.currency, self.site.time_zone, metered)

    def _tariff(self) -> Tariff:
        """The site's, with the peak the first month had before the window."""
        tariff = self.site.tariff
        month = LocalTimes([self.start.timestamp()], self.site.time_zone, tariff).month_index[0]
        before = (PastPeak(month_name(int(month)), BASIC_CHARGE, self.peak_so_far_kw),) if self.peak_so_far_kw > 0.0 else ()
        return replace(tariff, past_peaks=(*tariff.past_peaks, *before))

    def cost(self) -> dict[str, float]:
        """Energy, demand and carbon of the window, in money."""
        bills = self.bills()
        return {part: float(sum(bill.part(part) for bill in bills)) for part in (ENERGY, DEMAND, CARBON)}
