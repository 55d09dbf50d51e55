"""A grid-interactive UPS: it carries load, loses a little of it as heat, and can charge or discharge its battery on command."""

from __future__ import annotations

from random import Random

from ems.assets.ups.model import COMMANDS, MODES, Ups
from simulators.devices.converter import Converter
from simulators.devices.device import Device, within
from simulators.errors import Refused


class UpsDevice(Device):
    """Own power = loss fraction * load + battery power (charging positive), that is input minus output.

    Discharge never exceeds the load carried unless the rectifier is bidirectional. Without a master the battery power ramps to zero.
    """

    COMMANDS = COMMANDS
    __slots__ = ("_back_at_s", "_converter", "battery_kw", "energy_kwh", "load_kw", "loss_kw", "rating", "reserve_shortfall_kwh")

    def __init__(self, rating: Ups, rng: Random) -> None:
        super().__init__(rating.id, rating.link.lease_s if rating.link is not None else None, rng)
        self.rating = rating
        self.energy_kwh = rating.initial_soc * rating.energy_kwh
        self.load_kw = 0.0
        self.loss_kw = 0.0
        self.battery_kw = 0.0  # mean of the last step
        self.reserve_shortfall_kwh = 0.0  # what is missing at the step's end to carry the load for the promised minutes
        self._back_at_s: float | None = None  # when the input came back and the walk-in began
        self._converter = Converter(rating.ramp_kw_per_s)
        self._to_defaults()

    @property
    def soc(self) -> float:
        """True state of charge."""
        return self.energy_kwh / self.rating.energy_kwh

    @property
    def mode(self) -> str:
        """The operating mode, one of MODES."""
        if "trip" in self.faults:
            return "fault"
        return "on_battery" if "input_lost" in self.faults or self._back_at_s is not None else "normal"

    def step(self, dt_s: float, at_s: float, load_kw: float) -> None:
        """Carries `load_kw` over one step and moves the battery."""
        was_lost = "input_lost" in self.faults
        self._begin_step(at_s)
        if was_lost and "input_lost" not in self.faults:
            self._back_at_s = at_s
        if self.mode == "on_battery":
            self._carry_from_battery(dt_s, at_s, load_kw)
            return
        if "trip" in self.faults:
            self._converter.now_kw = 0.0
        r, hours = self.rating, dt_s / 3600.0
        most_discharge_kw = r.rating_kw if r.is_bidirectional else min(r.rating_kw, load_kw)
        low_kw = max(-most_discharge_kw, -self.energy_kwh * r.discharge_efficiency / hours)
        high_kw = min(r.charge_kw, (r.energy_kwh - self.energy_kwh) / (r.charge_efficiency * hours))
        battery_kw = self._converter.step(dt_s, low_kw, high_kw)
        flow_kw = battery_kw * r.charge_efficiency if battery_kw > 0 else battery_kw / r.discharge_efficiency
        self.energy_kwh = min(r.energy_kwh, max(0.0, self.energy_kwh + flow_kw * hours))
        self.load_kw, self.battery_kw, self.loss_kw = load_kw, battery_kw, self._heat_kw(load_kw)
        self.power_kw = self.loss_kw + battery_kw
        self.power_now_kw = self.loss_kw + self._converter.now_kw
        self.reserve_shortfall_kwh = max(0.0, load_kw * r.ride_through_min / 60.0 / r.discharge_efficiency - self._usable_kwh())

    def _carry_from_battery(self, dt_s: float, at_s: float, load_kw: float) -> None:
        """Without input the battery carries the load; when the input is back it hands it over in a straight line over the walk-in."""
        r, hours = self.rating, dt_s / 3600.0
        begun_s = at_s - self._back_at_s if self._back_at_s is not None else 0.0
        taken_back = min(1.0, (begun_s + 0.5 * dt_s) / r.walk_in_s) if self._back_at_s is not None and r.walk_in_s > 0 else 0.0
        if self._back_at_s is not None and begun_s + dt_s >= r.walk_in_s:
            self._back_at_s = None
        given_kw = min((1.0 - taken_back) * load_kw, self.energy_kwh * r.discharge_efficiency / hours)
        self.energy_kwh = max(0.0, self.energy_kwh - given_kw / r.discharge_efficiency * hours)
        self._converter.now_kw = 0.0
        self.load_kw, self.battery_kw, self.loss_kw = load_kw, -given_kw, self._heat_kw(load_kw) * taken_back
        self.power_kw = self.power_now_kw = self.loss_kw - given_kw
        self.reserve_shortfall_kwh = 0.0  # this is what the reserve is for

    def _heat_kw(self, load_kw: float) -> float:
        """What its blocks turn into heat: their own supply, a drop in proportion to current, and resistance."""
        r = self.rating
        if not r.loss_curve:
            return r.loss_fraction * load_kw
        own, drop, resistance = r.loss_curve
        current = load_kw / r.rating_kw
        return r.rating_kw * (own + current * (drop + resistance * current))

    def _usable_kwh(self) -> float:
        """What the aged battery would really give without its redundant blocks."""
        r = self.rating
        return self.energy_kwh * r.aged_capacity * (1.0 - r.redundant_blocks / r.blocks)

    def _readings(self) -> dict[str, float]:
        return {
            "power_kw": self._noisy(self.power_now_kw),
            "load_kw": self._noisy(self.load_kw),
            "battery_kw": self._noisy(self.battery_kw if self.mode == "on_battery" else self._converter.now_kw),
            "soc": self.soc,
            "mode": float(MODES.index(self.mode)),
            "is_local": float(self.is_local),
        }

    def _check(self, command: str, value: float) -> None:
        r = self.rating
        if not r.is_grid_interactive:
            raise Refused(f"{self.id} is monitored only")
        within(self.id, command, value, -r.rating_kw, r.charge_kw)

    def _obey(self, command: str, value: float) -> None:
        self._converter.aim(value)

    def _to_defaults(self) -> None:
        self._registers = {"battery_setpoint_kw": 0.0}
        self._converter.aim(0.0)
