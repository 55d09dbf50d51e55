"""A chilled-water plant: what it draws for a heat and a weather, how its free cooling helps, how long the loop lasts without it.

    P = Q / COP (nothing while the economiser carries the heat) + pumps and fans x (flow share)^3
    COP = COP_ref x part load x lift,   part load = 1 - fall x (Q / running capacity - best)^2,   lift = 1 + gain x (reference - lift now)

Parameters: chillers 20 % minimum load, best at 50-70 %, 2-3 % per K of lift; towers 3-5 K above wet bulb, exchanger 2-3 K more; pumps
and fans not below 30-40 % of speed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

HOTTEST_C = 42.0  # outdoor temperature for which ratings and contract caps must hold
DEW_MARGIN_K = 2.0  # supply stays this far above the dew point
LEAST_COP = 1.0
LEAST_LOAD = 0.2  # of the heat: chillers are not taken below it to let the loop warm
KWH_PER_M3_K = 4186.0 * 1000.0 / 3.6e6  # water
CATCH_UP_S = 120.0  # a plant's own control takes out a deviation of its supply no faster; its chillers would hunt
LEAST_LEAD_K = 0.1  # as device pages scale a supply
RESTARTS = 2.0  # of the chillers, one after another: so long the loop must take what the halls give off at idle


def most_store_m3(firm_kw: float) -> float:
    """The most water that can be led by its mean temperature: the plant moves it by LEAST_LEAD_K, a step of its setpoint, in CATCH_UP_S."""
    return firm_kw * CATCH_UP_S / 3600.0 / LEAST_LEAD_K / KWH_PER_M3_K


@dataclass(frozen=True)
class CoolingPlant:
    """Ratings of all units together; powers of heat are thermal kW."""

    capacity_kw: float
    units: int
    redundant_units: int
    cop_reference: float  # at the best part load and the reference wet bulb
    best_part_load: float
    part_load_fall: float
    lift_gain_per_k: float
    reference_wet_bulb_c: float
    tower_approach_k: float
    exchanger_approach_k: float
    has_economiser: bool
    pump_fan_kw: float  # at full flow
    least_speed: float
    supply_temp_c: float
    supply_limit_c: float  # above this chips throttle
    supply_rate_k_per_min: float
    loop_m3: float  # water in loop and buffer
    restart_s: float
    humidity: float  # relative, outdoors: for the wet bulb alone; a dew point is measured
    supply_lowest_c: float | None = None  # the controller may lead the supply down to here, to store cold; None: it stays as commissioned
    tank_m3: float = 0.0  # of a stratified tank beside the loop; with one, supply means the mean of the water that stores
    tank_usable_share: float = 0.9  # of its water; the rest is thermocline and diffusers
    tank_loss_per_day: float = 0.02  # share of its cold that walls and the spreading thermocline take

    @property
    def firm_kw(self) -> float:
        """Heat it still removes without its redundant units."""
        return self.capacity_kw * (self.units - self.redundant_units) / self.units

    @property
    def loop_kwh_per_k(self) -> float:
        """Heat the loop takes per K."""
        return self.loop_m3 * KWH_PER_M3_K

    @property
    def store_kwh_per_k(self) -> float:
        """Heat that loop and usable tank take per K, up to the commissioned supply; above it the loop alone counts."""
        return (self.loop_m3 + self.tank_usable_share * self.tank_m3) * KWH_PER_M3_K

    @property
    def store_loss_per_h(self) -> float:
        """Share of what loop and tank store that is lost in an hour; the loop alone loses nothing to speak of."""
        usable_m3 = self.tank_usable_share * self.tank_m3
        return self.tank_loss_per_day / 24.0 * usable_m3 / (self.loop_m3 + usable_m3)

    @property
    def is_led(self) -> bool:
        """True where the controller may lead the supply temperature."""
        return self.supply_lowest_c is not None and self.supply_lowest_c < self.supply_temp_c

    def power_kw(self, heat_kw: float, outdoor_temp_c: float, colder_k: float = 0.0) -> float:
        """Electrical power for a heat at an outdoor temperature; heat above the capacity is not removed and costs nothing more. A supply
        `colder_k` below the commissioned one is so much more lift, and so much less for the economiser."""
        heat = min(max(heat_kw, 0.0), self.capacity_kw)
        share = heat / self.capacity_kw
        movers_kw = self.pump_fan_kw * max(share, self.least_speed) ** 3
        wet_c = wet_bulb_c(outdoor_temp_c, self.humidity) + colder_k
        return movers_kw + (1.0 - self.free_share(wet_c)) * heat / self.cop(share, wet_c)

    @property
    def full_power_kw(self) -> float:
        """Electrical power at full capacity in the hottest weather. After a trip it draws that, whatever the halls give off: it takes the
        loop's heat out again with all it has."""
        return self.power_kw(self.capacity_kw, HOTTEST_C)

    def coldest_c(self, dew_point_c: float | None) -> float:
        """The lowest supply the controller may ask for: its own bound and 2 K above a measured dew point, at most as commissioned. Where
        no dew point is known it is the commissioned one."""
        if self.supply_lowest_c is None or dew_point_c is None:
            return self.supply_temp_c
        return min(self.supply_temp_c, max(self.supply_lowest_c, dew_point_c + DEW_MARGIN_K))

    def marginal(self, heat_kw: float, outdoor_temp_c: float) -> float:
        """kW more per kW of heat."""
        step_kw = 0.01 * self.capacity_kw
        low_kw = min(max(heat_kw - step_kw, 0.0), self.capacity_kw - 2 * step_kw)
        return (self.power_kw(low_kw + 2 * step_kw, outdoor_temp_c) - self.power_kw(low_kw, outdoor_temp_c)) / (2 * step_kw)

    def free_share(self, wet_c: float) -> float:
        """The part of the heat the economiser carries: all of it where tower and exchanger reach the supply temperature, none from 4 K
        above that."""
        if not self.has_economiser:
            return 0.0
        over_k = wet_c + self.tower_approach_k + self.exchanger_approach_k - self.supply_temp_c
        return min(1.0, max(0.0, 1.0 - over_k / 4.0))

    def cop(self, share: float, wet_c: float) -> float:
        """Coefficient of performance of the chillers: as many run as the heat needs, so that a low share loads few of them well."""
        running = max(1, math.ceil(share * self.units - 1e-9)) / self.units
        part_load = 1.0 - self.part_load_fall * (share / running - self.best_part_load) ** 2
        lift = 1.0 + self.lift_gain_per_k * (self.reference_wet_bulb_c - wet_c)
        return max(LEAST_COP, self.cop_reference * part_load * lift)


def wet_bulb_c(dry_c: float, humidity: float) -> float:
    """Wet-bulb temperature near sea level, within 1 K from -20 to 50 degrees C (R. Stull, J. Appl. Meteorol. Climatol. 50, 2011)."""
    rh = min(max(100.0 * humidity, 5.0), 99.0)
    return float(
        dry_c * math.atan(0.151977 * math.sqrt(rh + 8.313659))
        + math.atan(dry_c + rh)
        - math.atan(rh - 1.676331)
        + 0.00391838 * rh**1.5 * math.atan(0.023101 * rh)
        - 4.686035
    )


def heat_until_limit_kwh(plant: CoolingPlant, supply_temp_c: float) -> float:
    """Heat the loop takes before the supply reaches its limit. What a tank holds is not counted on in an emergency: with one, the supply
    says how cold the tank is, and the loop counts as commissioned."""
    loop_c = max(supply_temp_c, plant.supply_temp_c) if plant.tank_m3 > 0.0 else supply_temp_c
    return plant.loop_kwh_per_k * max(0.0, plant.supply_limit_c - loop_c)


def runway_s(plant: CoolingPlant, heat_kw: float, removed_kw: float, supply_temp_c: float) -> float:
    """Seconds until the supply reaches its limit when `heat_kw` comes in and `removed_kw` is taken out; infinite while it does not rise."""
    rising_kw = heat_kw - removed_kw
    left_kwh = heat_until_limit_kwh(plant, supply_temp_c)
    return math.inf if rising_kw <= 0.0 else 3600.0 * left_kwh / rising_kw


def heat_allowed_kw(plant: CoolingPlant, able_kw: float, supply_temp_c: float, coming_kwh: float = 0.0, idle_kw: float = 0.0) -> float:
    """The most heat in kW that may come in now: what can be removed, and what the loop takes over one restart of the chillers. Held at
    this the loop nears its limit ever more slowly and never crosses it.

    `coming_kwh` is on its way to the water already, whatever the halls do now. `idle_kw` cannot be taken from them: what of it nobody
    removes is set aside for RESTARTS first, so that chillers which trip again, or stay off as long again, still find the loop in bounds.
    """
    left_kwh = max(0.0, heat_until_limit_kwh(plant, supply_temp_c) - coming_kwh)
    idle_over_kw = max(0.0, idle_kw - able_kw)
    spare_kwh = max(0.0, left_kwh - idle_over_kw * RESTARTS * plant.restart_s / 3600.0)
    return able_kw + idle_over_kw + 3600.0 * spare_kwh / plant.restart_s
