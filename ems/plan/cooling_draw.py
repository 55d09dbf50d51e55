"""What cooling draws against its file, learnt from the last hours: fouled coils, another set point, a chiller better than its data sheet.

Only the plan believes it. The guard goes on with the file and the measured power.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from ems.assets.cooling.model import Cooling
from ems.messages import MinuteFrame
from ems.site.model import Site

TAU_H = 6.0  # long against the lag of minutes, short against the weather and what fouls
AFTER_H = 1.0
LEAST, MOST = 0.7, 1.4  # beyond, something else is wrong: a trip, a meter, another machine on the feeder


class CoolingDraw:
    """Measured over modelled energy of every cooling, fading with `TAU_H`. A plant that is led is left out: it stores cold."""

    def __init__(self, site: Site) -> None:
        self.coolings = [c for c in site.coolings if not c.is_led]
        self._sums: dict[str, tuple[float, float, float]] = {}  # hours seen, kWh measured, kWh modelled, all fading

    def observe(self, frame: MinuteFrame, duration_s: float) -> None:
        """Takes a minute; one in which a reading is missing, or the ratio is beyond belief, teaches nothing."""
        hours = duration_s / 3600.0
        keep = math.exp(-hours / TAU_H)
        for cooling in self.coolings:
            heat_kw = [frame.asset_kw.get(name) for name in cooling.cools]
            measured_kw = frame.asset_kw.get(cooling.id)
            if measured_kw is None or frame.outdoor_temp_c is None or any(kw is None for kw in heat_kw):
                continue
            modelled_kw = cooling.steady(sum(kw for kw in heat_kw if kw is not None), frame.outdoor_temp_c)[0]
            if LEAST * modelled_kw <= measured_kw <= MOST * modelled_kw and modelled_kw > 0.0:
                seen_h, measured_kwh, modelled_kwh = self._sums.get(cooling.id, (0.0, 0.0, 0.0))
                new = (seen_h * keep + hours, measured_kwh * keep + measured_kw * hours, modelled_kwh * keep + modelled_kw * hours)
                self._sums[cooling.id] = new

    @property
    def factors(self) -> dict[str, float]:
        """Per cooling that was seen for an hour: how much more (above 1) or less it draws than its file says."""
        return {name: measured / modelled for name, (seen_h, measured, modelled) in self._sums.items() if seen_h >= AFTER_H}


def as_drawn(site: Site, factors: Mapping[str, float]) -> Site:
    """The site with every cooling drawing what was learnt."""
    if not factors:
        return site
    return replace(site, assets={**site.assets, **{c.id: _scaled(c, factors[c.id]) for c in site.coolings if c.id in factors}})


def _scaled(cooling: Cooling, factor: float) -> Cooling:
    plant = cooling.plant
    return replace(
        cooling,
        fraction_at_10c=cooling.fraction_at_10c * factor,
        fraction_at_40c=cooling.fraction_at_40c * factor,
        plant=None if plant is None else replace(plant, cop_reference=plant.cop_reference / factor),
    )
