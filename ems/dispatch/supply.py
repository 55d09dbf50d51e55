"""Supply temperatures of plants that may be led: the advice inside the guard's envelope; cooling ahead gives way to work."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ems.assets.cooling.envelope import NO_DEW_POINT, SupplyEnvelope
from ems.assets.cooling.plant import CoolingPlant
from ems.dispatch.advice import Advice, SupplyWish
from ems.dispatch.setpoint import Setpoint
from ems.guard.guard import Verdict
from ems.site.model import Site
from ems.state.estimate import SiteState

AS_COMMISSIONED = "as commissioned"


def supply_setpoints(site: Site, state: SiteState, verdict: Verdict, advice: Advice, is_tight: bool) -> Iterator[Setpoint]:
    """One supply setpoint in degrees C per plant that may be led. `is_tight`: work or the billing mean needs the power, so nothing is
    cooled below where it is."""
    for cooling in site.coolings:
        if cooling.id in verdict.supply and cooling.plant is not None:
            wish = advice.supply.get(cooling.id, SupplyWish(cooling.plant.supply_temp_c, AS_COMMISSIONED))
            yield _setpoint(cooling.id, cooling.plant, state, verdict.supply[cooling.id], wish, is_tight)


def _setpoint(name: str, plant: CoolingPlant, state: SiteState, envelope: SupplyEnvelope, wish: SupplyWish, is_tight: bool) -> Setpoint:
    measured_c = state.coolings[name].supply_temp_c
    temp_c, reason = wish.temp_c, wish.reason
    if is_tight and measured_c is not None and temp_c < min(measured_c, plant.supply_temp_c):
        temp_c, reason = min(measured_c, plant.supply_temp_c), f"{reason}; cooling ahead gives way to work"
    bounded_c = envelope.clamp(temp_c)
    if abs(bounded_c - temp_c) > 0.05:
        reason = f"{reason}; bounded by {envelope.low_rule if bounded_c > temp_c else envelope.high_rule}"
    elif envelope.low_rule == NO_DEW_POINT:  # nobody plans what may not be led, so that no plan is bounded by it
        reason = f"{reason}; {NO_DEW_POINT}"
    return Setpoint(name, "supply_setpoint_c", min(envelope.high_c, math.ceil(100.0 * bounded_c - 1e-6) / 100.0), reason, state.now)
