"""What a window cost. Money in the site's currency; power in kW, energy in kWh, import and charge positive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

PARTS = ("energy", "demand", "fuel", "wear", "carbon", "workload", "limit_breach", "dr_revenue", "dr_penalty", "stored_energy_credit")


@dataclass(frozen=True)
class Cost:
    """The parts of a bill; revenue and credit are negative."""

    energy: float = 0.0
    demand: float = 0.0
    fuel: float = 0.0
    wear: float = 0.0
    carbon: float = 0.0
    workload: float = 0.0
    limit_breach: float = 0.0
    dr_revenue: float = 0.0
    dr_penalty: float = 0.0
    stored_energy_credit: float = 0.0

    @property
    def total(self) -> float:
        """The sum of the parts."""
        return sum(asdict(self).values())

    def to_dict(self, currency: str) -> dict[str, float | str]:
        """The `cost` part of summary.json."""
        return {"currency": currency, **asdict(self), "total": self.total}


def demand_charge(peaks_kw: Mapping[str, float], price_per_kw_month: float) -> float:
    """Price times the highest interval mean of each billing month, each month in full."""
    return price_per_kw_month * sum(peaks_kw.values())


def work_charge(deferred_kwh: float, throttled_kwh: float, dropped_kwh: float, defer: float, throttle: float, drop: float) -> float:
    """Deferral is charged once when work is put off, the drop price in addition when it is lost; throttled work is lost at once."""
    return deferred_kwh * defer + throttled_kwh * throttle + dropped_kwh * drop


def stored_energy_credit(change_kwh: float, mean_price_per_kwh: float, discharge_efficiency: float) -> float:
    """Minus what the energy gained in a store is worth: (final - initial) x time-mean price of the window x discharge efficiency."""
    return -change_kwh * mean_price_per_kwh * discharge_efficiency
