"""What every store has given to the site today: the memory of a warranty's or of UPS cells' daily throughput.

A day is a local one. What a UPS gives because its input failed is its purpose and counts against no budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ems.site.model import Site
from ems.state.estimate import SiteState

LONGEST_BRIDGE_S = 600.0  # a longer gap is not counted: nobody saw what was given


class DayThroughput:
    """Energy discharged at the terminals since local midnight, in kWh, of the stores that have a daily budget; plain data for a restart."""

    def __init__(self, site: Site) -> None:
        self._zone = ZoneInfo(site.time_zone)
        self._batteries = [b.id for b in site.batteries if b.warranty_kwh_per_day is not None]
        self._upses = [u.id for u in site.upses if u.cell_kwh_per_day is not None]
        self.given_kwh: dict[str, float] = {}
        self._day = ""
        self._last: datetime | None = None

    def update(self, state: SiteState) -> dict[str, float]:
        """Takes one cycle; what each store has given today."""
        day = state.now.astimezone(self._zone).date().isoformat()
        if day != self._day:
            self._day, self.given_kwh = day, {}
        seconds = 0.0 if self._last is None else min(LONGEST_BRIDGE_S, max(0.0, (state.now - self._last).total_seconds()))
        self._last = state.now
        flows = {k: state.batteries[k].power_kw for k in self._batteries if state.batteries[k].is_fresh}
        flows |= {k: state.upses[k].battery_kw for k in self._upses if state.upses[k].is_fresh and state.upses[k].mode == "normal"}
        for name, kw in flows.items():
            self.given_kwh[name] = self.given_kwh.get(name, 0.0) + max(0.0, -kw) * seconds / 3600.0
        return self.given_kwh

    def encode(self) -> dict[str, Any]:
        """Plain data for the journal."""
        return {"day": self._day, "given_kwh": dict(self.given_kwh)}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Takes back what `encode` gave."""
        self._day, self.given_kwh = str(data["day"]), {k: float(v) for k, v in data["given_kwh"].items()}
