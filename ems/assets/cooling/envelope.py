"""How far cooling can still grow when IT power is allowed to rise, and where a plant's supply may be led.

Cooling follows heat with a lag, so not at once. A supply led below where it is makes the plant take out more heat than comes in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ems.assets.cooling.model import Cooling, CoolingState
from ems.assets.cooling.plant import CATCH_UP_S, CoolingPlant
from ems.assets.envelope import Envelope
from ems.errors import InvariantBroken

ASTRAY_K = 1.0  # a supply this far above commissioned is catching up after a trip: it is not led
FOLLOWS_K = 0.02  # closer than this the supply is where it was sent
NO_DEW_POINT = "its dew point is not measured"


def cooling_growth(cooling: Cooling, ahead_s: float) -> float:
    """The share (0 to 1) of a step in IT heat that cooling power has followed after `ahead_s` seconds."""
    return 1.0 - math.exp(-ahead_s / cooling.lag_s) if cooling.lag_s > 0 else 1.0


def cooling_envelope(
    cooling: Cooling, measured_kw: float, fraction: float, it_low_kw: float, it_high_kw: float, ahead_s: float
) -> Envelope:
    """Where cooling power in kW can be after `ahead_s` seconds, for IT heat between `it_low_kw` and `it_high_kw`."""
    growth = cooling_growth(cooling, ahead_s)
    low_kw = measured_kw + growth * min(0.0, fraction * it_low_kw - measured_kw)
    high_kw = measured_kw + growth * max(0.0, fraction * it_high_kw - measured_kw)
    high_kw = max(low_kw, min(cooling.most_kw, high_kw))
    return Envelope(cooling.id, low_kw, high_kw, "follows IT heat with its lag", "follows IT heat with its lag")


@dataclass(frozen=True, slots=True)
class SupplyEnvelope:
    """`[low_c, high_c]` in degrees C for the supply of a plant that may be led, with the rule that sets each end."""

    asset: str
    low_c: float
    high_c: float
    low_rule: str
    high_rule: str

    def __post_init__(self) -> None:
        if not self.low_c <= self.high_c:
            raise InvariantBroken(f"{self.asset}: empty range of supply [{self.low_c}, {self.high_c}] ({self.low_rule} / {self.high_rule})")

    def clamp(self, temp_c: float) -> float:
        """The nearest allowed supply in degrees C."""
        return min(max(temp_c, self.low_c), self.high_c)


def supply_envelope(
    cooling: Cooling, state: CoolingState, heat_kw: float, most_kw: float, last_c: float | None, cycle_s: float
) -> SupplyEnvelope:
    """Where the supply of a plant may be sent now.

    Never warmer than commissioned, so that a lease that lapses only lets the loop warm up; never colder than the site file and 2 K above
    the measured dew point; moved no faster than the plant may, back up as well when the dew point rises; and no further below where it is
    than a power of `most_kw` in all allows (what feeders and caps count cooling at). A plant that is silent, warm, short of more units
    than are redundant, or whose dew point nobody measures, is not led.
    """
    plant, supply_c = cooling.plant, state.supply_temp_c
    assert plant is not None
    home_c = plant.supply_temp_c
    closed = _not_led_because(plant, state)
    if closed or supply_c is None or state.outdoor_temp_c is None:
        return SupplyEnvelope(cooling.id, home_c, home_c, closed or "device not trusted", "as commissioned")
    sent_c = supply_c if last_c is None else last_c
    moved_k = plant.supply_rate_k_per_min * cycle_s / 60.0
    coldest_c = plant.coldest_c(state.dew_point_c)
    rule = "2 K above the dew point" if coldest_c > (plant.supply_lowest_c or home_c) else "lowest supply"
    bounds = [(min(coldest_c, sent_c + moved_k), rule)]
    spare_kw = max(0.0, most_kw - plant.power_kw(heat_kw, state.outdoor_temp_c))
    more_heat_kw = spare_kw / max(cooling.fraction(state.outdoor_temp_c), 1e-6)
    firm_kw = max(0.0, min(more_heat_kw, plant.firm_kw - heat_kw))
    bounds.append((supply_c - firm_kw * CATCH_UP_S / 3600.0 / plant.store_kwh_per_k, "power and units left for cooling ahead"))
    bounds.append((sent_c - moved_k, "rate of the supply"))
    low_c, low_rule = max((min(c, home_c), rule) for c, rule in bounds)
    high_c = max(low_c, min(home_c, sent_c + moved_k))
    return SupplyEnvelope(cooling.id, low_c, high_c, low_rule, "as commissioned" if high_c >= home_c else "rate of the supply")


def _not_led_because(plant: CoolingPlant, state: CoolingState) -> str:
    if not state.is_fresh or state.supply_temp_c is None or state.able_kw is None:
        return "device not trusted"
    if state.supply_temp_c > plant.supply_temp_c + ASTRAY_K:
        return "the loop is warm"
    if state.able_kw < 0.999 * plant.firm_kw:
        return "units missing"
    return NO_DEW_POINT if state.dew_point_c is None else ""


def led_power(cooling: Cooling, state: CoolingState, heat_kw: float, sent_c: float | None) -> tuple[float, float]:
    """Cooling power in kW as the guard counts it while the supply is led: what follows IT heat, and what a supply sent below where it is
    takes beyond that. What a warming loop saves is not counted on: it ends at any moment."""
    plant, supply_c = cooling.plant, state.supply_temp_c
    if plant is None or sent_c is None or supply_c is None or state.outdoor_temp_c is None:
        return state.power_kw, 0.0
    steady_kw = plant.power_kw(heat_kw, state.outdoor_temp_c)
    if sent_c > supply_c + FOLLOWS_K:
        return max(state.power_kw, steady_kw), 0.0
    gap_k = supply_c - sent_c
    if gap_k * plant.store_kwh_per_k <= FOLLOWS_K * plant.loop_kwh_per_k:
        return state.power_kw, 0.0
    more_heat_kw = gap_k * plant.store_kwh_per_k * 3600.0 / CATCH_UP_S
    ahead_kw = plant.power_kw(heat_kw + more_heat_kw, state.outdoor_temp_c, plant.supply_temp_c - sent_c) - steady_kw
    return max(state.power_kw - ahead_kw, min(state.power_kw, steady_kw)), max(0.0, ahead_kw)
