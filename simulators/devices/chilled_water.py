"""A chilled-water plant as a lumped heat balance: IT heat warms one loop, machines take it out again as far as they run.

    C T' = heat - removed

The machines are a fraction of Carnot between evaporator and condenser, one after another as they are needed; pumps and fans follow the
cube of their speed, with a little static head. The wet bulb is a psychrometer's. None of it is the planner's: its parameters are.
"""

from __future__ import annotations

import math
from functools import lru_cache
from random import Random

from ems.assets.cooling.model import COMMANDS, Cooling, CoolingPlant
from simulators.devices.device import Device
from simulators.errors import Refused

WATER_KJ_PER_M3_K = 4180.0
HOLD_S = 120.0  # in which the plant's own controller takes out a deviation of the supply
MACHINE_S = 20.0  # in which machines follow what their controller asks
CONDENSER_K = 5.0  # from tower water to condensing
PSYCHROMETER_PER_K = 0.000665  # of a ventilated one
EVAPORATOR_K = 2.0  # from supply to evaporating
DRY_K = 2.0  # a supply nearer to the dew point than this begins to wet plates and pipes somewhere
NEAR_K = 0.1  # what a sensor does not tell


class ChilledWaterDevice(Device):
    """Supply temperature, heat removed, power. After a trip the machines stay off for their restart time, then come back one by one."""

    __slots__ = ("_heat_kw", "_now_s", "_off_until_s", "_removed_kw", "is_too_warm", "outdoor_temp_c", "rating", "supply_temp_c", "unit")

    def __init__(self, rating: Cooling, rng: Random) -> None:
        super().__init__(rating.id, rating.link.lease_s if rating.link is not None else None, rng)
        assert rating.plant is not None
        self.rating, self.unit = rating, rating.plant
        self.outdoor_temp_c = 20.0
        self.supply_temp_c = self.unit.supply_temp_c
        self.is_too_warm = False
        self._heat_kw: float | None = None  # that has reached the water
        self._removed_kw = 0.0
        self._off_until_s = -math.inf
        self._now_s = 0.0  # the end of the last step

    def step(self, dt_s: float, at_s: float, it_kw: float, outdoor_temp_c: float) -> None:
        """Moves heat, loop and machines over one step."""
        self._begin_step(at_s)
        self._now_s = at_s + dt_s
        self.outdoor_temp_c = outdoor_temp_c
        if self._heat_kw is None:
            self._heat_kw = self._removed_kw = it_kw
        self._heat_kw += (it_kw - self._heat_kw) * (1.0 - math.exp(-dt_s / self.rating.lag_s))
        if "trip" in self.faults:
            self._off_until_s = self.faults["trip"] + self.unit.restart_s
        self._remove(dt_s, at_s)
        self._warm((self._heat_kw - self._removed_kw) * dt_s)
        self.is_too_warm = self.supply_temp_c > self.unit.supply_limit_c
        self.power_kw = self.power_now_kw = self._movers_kw() + self._machines_kw()

    def _warm(self, heat_kj: float) -> None:
        self.supply_temp_c += heat_kj / (self.unit.loop_m3 * WATER_KJ_PER_M3_K)

    def able_kw(self, at_s: float) -> float:
        """Heat the machines that are on could take out."""
        since_s = at_s - self._off_until_s
        on = self.unit.units if since_s == math.inf else min(self.unit.units, math.floor(max(-1.0, since_s) / 30.0) + 1)
        return self.unit.capacity_kw * max(0, on) / self.unit.units

    def _remove(self, dt_s: float, at_s: float) -> None:
        assert self._heat_kw is not None
        over_k = self.supply_temp_c - self._target_c()
        asked_kw = self._heat_kw + over_k * self._water_m3() * WATER_KJ_PER_M3_K / HOLD_S
        if "pump_lost" in self.faults:  # still water carries nothing
            self._removed_kw = 0.0
            return
        followed_kw = self._removed_kw + (asked_kw - self._removed_kw) * (1.0 - math.exp(-dt_s / MACHINE_S))
        self._removed_kw = min(self.able_kw(at_s), max(0.0, followed_kw))

    def _target_c(self) -> float:
        return self.unit.supply_temp_c

    def _water_m3(self) -> float:
        """Water the machines act on."""
        return self.unit.loop_m3

    def _cold_c(self) -> float:
        """What the machines make: as commissioned, whatever the loop is at the moment."""
        return self.unit.supply_temp_c

    def _speed(self) -> float:
        return 0.0 if "pump_lost" in self.faults else max(self.unit.least_speed, self._removed_kw / self.unit.capacity_kw)

    def _movers_kw(self) -> float:
        speed = self._speed()
        return self.unit.pump_fan_kw * (0.1 * speed + 0.9 * speed**3)

    def _machines_kw(self) -> float:
        u = self.unit
        if self._removed_kw <= 0.0:
            return 0.0
        wet_c = psychrometer_c(round(self.outdoor_temp_c, 1), u.humidity)
        tower_c = wet_c + u.tower_approach_k
        free = 0.0
        if u.has_economiser:
            free = min(1.0, max(0.0, (self._cold_c() + 4.0 - u.exchanger_approach_k - tower_c) / 4.0))
        each = u.capacity_kw / u.units
        machines = max(1, math.ceil(self._removed_kw / each - 1e-9))
        loading = self._removed_kw / (machines * each)
        bad = 1.0 - u.part_load_fall * (loading - u.best_part_load) ** 2
        return (1.0 - free) * self._removed_kw / max(1.0, carnot_cop(u, tower_c, u.supply_temp_c - self._cold_c()) * bad)

    def _readings(self) -> dict[str, float]:
        return {
            "power_kw": self._noisy(self.power_now_kw),
            "outdoor_temp_c": self.outdoor_temp_c,
            "supply_temp_c": self.supply_temp_c,
            "heat_capacity_kw": self.able_kw(self._now_s),
            "flow_share": 0.0 if "pump_lost" in self.faults else 1.0,
            "leak": float("leak" in self.faults),
        }


class LedChilledWaterDevice(ChilledWaterDevice):
    """The same plant with a supply setpoint that may be written: it moves at the plant's own rate and lapses to the commissioned supply.
    Machines that make colder water lift more, and the economiser reaches it less often.

    With a tank, setpoint and supply are the mean of loop and usable tank, as its string of sensors gives it. Cold water fills it from
    below at the lowest supply, the loop stays as commissioned; what was stored is lost by and by. A spent store warms as the loop alone.
    """

    COMMANDS = COMMANDS
    __slots__ = ("_aim_c", "_sent_c", "dew_point_c")

    def __init__(self, rating: Cooling, rng: Random) -> None:
        super().__init__(rating, rng)
        self.dew_point_c = 9.0  # of the air around it; the site's weather moves it
        self._aim_c = self._sent_c = self.unit.supply_temp_c
        self._to_defaults()

    def step(self, dt_s: float, at_s: float, it_kw: float, outdoor_temp_c: float) -> None:
        """Moves the setpoint at its rate, then heat, loop and machines."""
        most_k = self.unit.supply_rate_k_per_min * dt_s / 60.0
        self._aim_c += min(max(self._sent_c - self._aim_c, -most_k), most_k)
        if self.unit.tank_m3:
            self._lose(dt_s)
        super().step(dt_s, at_s, it_kw, outdoor_temp_c)

    @property
    def is_too_cold(self) -> bool:
        """True while the supply is colder than as commissioned and nearer to the dew point than is dry."""
        return self.supply_temp_c < min(self.unit.supply_temp_c, self.dew_point_c + DRY_K) - NEAR_K

    def _readings(self) -> dict[str, float]:
        return {**super()._readings(), "dew_point_c": self.dew_point_c}

    def _target_c(self) -> float:
        return self._aim_c

    def _water_m3(self) -> float:
        return self.unit.loop_m3 + self._tank_m3() * (self.supply_temp_c < self.unit.supply_temp_c or self._aim_c < self.unit.supply_temp_c)

    def _tank_m3(self) -> float:
        return self.unit.tank_m3 * self.unit.tank_usable_share

    def _warm(self, heat_kj: float) -> None:
        if not self.unit.tank_m3:
            super()._warm(heat_kj)
            return
        home_c, loop, whole = self.unit.supply_temp_c, self.unit.loop_m3, self.unit.loop_m3 + self._tank_m3()
        below_k = home_c - self.supply_temp_c
        cold_kj = below_k * (whole if below_k > 0.0 else loop) * WATER_KJ_PER_M3_K - heat_kj
        self.supply_temp_c = home_c - cold_kj / ((whole if cold_kj > 0.0 else loop) * WATER_KJ_PER_M3_K)

    def _lose(self, dt_s: float) -> None:
        """Walls and the spreading thermocline take their share of the tank's cold."""
        part = self._tank_m3() / (self.unit.loop_m3 + self._tank_m3())
        self.supply_temp_c += max(0.0, self.unit.supply_temp_c - self.supply_temp_c) * part * self.unit.tank_loss_per_day * dt_s / 86400.0

    def _cold_c(self) -> float:
        home_c = self.unit.supply_temp_c
        if not self.unit.tank_m3:
            return min(self._aim_c, home_c)
        surplus_kw = max(0.0, self._removed_kw - (self._heat_kw or 0.0))  # this much of the water made goes into the tank, at its coldest
        return home_c - (home_c - (self.unit.supply_lowest_c or home_c)) * surplus_kw / max(self._removed_kw, 1e-9)

    def _check(self, command: str, value: float) -> None:
        low_c, high_c = self.unit.supply_lowest_c or self.unit.supply_temp_c, self.unit.supply_limit_c
        if not low_c - 0.05 <= value <= high_c + 0.05:
            raise Refused(f"{self.id} {command}: {value:g} is outside {low_c:g} to {high_c:g} degrees C")

    def _obey(self, command: str, value: float) -> None:
        self._sent_c = value

    def _to_defaults(self) -> None:
        self._sent_c = self.unit.supply_temp_c
        self._registers = {"supply_setpoint_c": self._sent_c}


def carnot_cop(unit: CoolingPlant, tower_c: float, colder_k: float = 0.0) -> float:
    """The share of Carnot that gives the reference at the reference wet bulb, at the lift there is now (8 K at least)."""
    cold_k = unit.supply_temp_c - EVAPORATOR_K + 273.15
    reference_k = unit.reference_wet_bulb_c + unit.tower_approach_k + CONDENSER_K + 273.15 - cold_k
    lift_k = max(8.0, tower_c + CONDENSER_K + 273.15 - cold_k + colder_k)
    return unit.cop_reference * max(8.0, reference_k) / lift_k


@lru_cache(maxsize=1024)
def psychrometer_c(dry_c: float, humidity: float) -> float:
    """Where a wetted thermometer comes to rest: what evaporates takes the heat the air brings, e_s(T_w) - e = A p (T - T_w)."""
    vapour_kpa = humidity * saturation_kpa(dry_c)
    low_c, high_c = dry_c - 40.0, dry_c
    for _ in range(24):
        wet_c = 0.5 * (low_c + high_c)
        if saturation_kpa(wet_c) - vapour_kpa > PSYCHROMETER_PER_K * 101.325 * (dry_c - wet_c):
            high_c = wet_c
        else:
            low_c = wet_c
    return wet_c


def saturation_kpa(temp_c: float) -> float:
    """Saturation vapour pressure over water (Tetens)."""
    return 0.6108 * math.exp(17.27 * temp_c / (temp_c + 237.3))
