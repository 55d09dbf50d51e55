"""A battery with its converter: stored energy, one-way efficiencies, ramp, a window it defends against new commands."""

from __future__ import annotations

from random import Random

from ems.assets.battery.model import COMMANDS, Battery
from simulators.devices.converter import Converter
from simulators.devices.device import Device, within
from simulators.errors import Refused

WINDOW_SLACK_SOC = 0.005  # a setpoint that leads out of the window is refused once the store is this far past its edge
CONTAINER_S = 1800.0  # the container follows the outdoor temperature with this lag
TAPER_S = 10.0  # the power offered falls to zero over the last seconds of the window


class BatteryDevice(Device):
    """E' = eta_c * charge - discharge / eta_d - auxiliary, power at the AC terminals; the store itself ends at 0 and 1.

    A running setpoint is followed past the window's edge (the window is the master's duty, and its breach is counted in
    `soc_breach_kwh`); only a new setpoint that leads further out is refused. Without a master the power ramps to zero.
    """

    COMMANDS = COMMANDS
    __slots__ = ("_converter", "_told_kw", "container_temp_c", "energy_kwh", "grid_hz", "rating", "soc_breach_kwh")

    def __init__(self, rating: Battery, rng: Random) -> None:
        super().__init__(rating.id, rating.link.lease_s if rating.link is not None else None, rng)
        self.rating = rating
        self.energy_kwh = rating.initial_soc * rating.energy_kwh
        self.soc_breach_kwh = 0.0  # energy moved outside the window in the last step
        self.container_temp_c: float | None = None  # known from the first step on
        self._converter = Converter(rating.ramp_kw_per_s)
        self._told_kw = 0.0
        self.grid_hz: float | None = None  # what an armed droop answers to
        self._to_defaults()

    @property
    def soc(self) -> float:
        """True state of charge."""
        return self.energy_kwh / self.rating.energy_kwh

    def step(self, dt_s: float, at_s: float, outdoor_temp_c: float = 20.0) -> None:
        """Moves power and energy over one step, within what charge and heat leave of the rating."""
        self._begin_step(at_s)
        before_c = outdoor_temp_c if self.container_temp_c is None else self.container_temp_c
        self.container_temp_c = before_c + (outdoor_temp_c - before_c) * min(1.0, dt_s / CONTAINER_S)
        if "trip" in self.faults:
            self._converter.now_kw = 0.0
        if self.rating.droop is not None:
            self._converter.aim(self._told_kw + self._droop_kw())
        r, hours = self.rating, dt_s / 3600.0
        most_kw = (r.energy_kwh - self.energy_kwh) / (r.charge_efficiency * hours)
        least_kw = -self.energy_kwh * r.discharge_efficiency / hours
        power_kw = self._converter.step(
            dt_s, max(-self._able_kw(r.discharge_limit_by_soc), least_kw), min(self._able_kw(r.charge_limit_by_soc), most_kw)
        )
        self._store(power_kw, hours)
        self.power_kw, self.power_now_kw = power_kw, self._converter.now_kw

    def _droop_kw(self) -> float:
        """More charge while the grid is fast, more discharge while it is slow, nothing within the deadband."""
        droop = self.rating.droop
        if droop is None or self.grid_hz is None:
            return 0.0
        fast_hz, slow_hz = self.grid_hz - droop.nominal_hz - droop.deadband_hz, droop.nominal_hz - droop.deadband_hz - self.grid_hz
        return min(droop.most_kw, max(0.0, fast_hz * droop.kw_per_hz)) - min(droop.most_kw, max(0.0, slow_hz * droop.kw_per_hz))

    def _able_kw(self, by_soc: tuple[tuple[float, float], ...]) -> float:
        """What the battery management lets through now: the lower of two looked-up shares of the rating."""
        r = self.rating
        if not by_soc and not r.limit_by_ambient_c:
            return r.power_kw
        warm_c = self.container_temp_c if self.container_temp_c is not None else 20.0
        return r.power_kw * min(_looked_up(by_soc, self.soc), _looked_up(r.limit_by_ambient_c, warm_c))

    def _store(self, power_kw: float, hours: float) -> None:
        r, before = self.rating, self.energy_kwh
        flow_kw = power_kw * r.charge_efficiency if power_kw > 0 else power_kw / r.discharge_efficiency
        after = min(r.energy_kwh, max(0.0, before + (flow_kw - r.auxiliary_kw) * hours))
        self.energy_kwh = after
        top, bottom = r.soc_max * r.energy_kwh, r.soc_min * r.energy_kwh
        self.soc_breach_kwh = max(0.0, after - max(before, top)) + max(0.0, min(before, bottom) - after)

    def _readings(self) -> dict[str, float]:
        r = self.rating
        taper = 3600.0 / TAPER_S
        room_kwh, left_kwh = r.soc_max * r.energy_kwh - self.energy_kwh, self.energy_kwh - r.soc_min * r.energy_kwh
        is_able = "trip" not in self.faults
        frequency = {} if self.grid_hz is None else {"frequency_hz": self.grid_hz}
        return frequency | {
            "power_kw": self._noisy(self.power_now_kw),
            "soc": self.soc,
            "max_charge_kw": min(self._able_kw(r.charge_limit_by_soc), max(0.0, room_kwh / r.charge_efficiency * taper))
            if is_able
            else 0.0,
            "max_discharge_kw": min(self._able_kw(r.discharge_limit_by_soc), max(0.0, left_kwh * r.discharge_efficiency * taper))
            if is_able
            else 0.0,
            "is_local": float(self.is_local),
        }

    def _check(self, command: str, value: float) -> None:
        r = self.rating
        within(self.id, command, value, -r.power_kw, r.power_kw)
        if (value > 0 and self.soc > r.soc_max + WINDOW_SLACK_SOC) or (value < 0 and self.soc < r.soc_min - WINDOW_SLACK_SOC):
            raise Refused(f"{self.id} {command}: {value:g} kW leads further out of the window at {self.soc:.1%}")

    def _obey(self, command: str, value: float) -> None:
        self._told_kw = value
        self._converter.aim(value)

    def _to_defaults(self) -> None:
        self._registers = {"power_setpoint_kw": 0.0}
        self._told_kw = 0.0
        self._converter.aim(0.0)


def _looked_up(table: tuple[tuple[float, float], ...], x: float) -> float:
    """A management system's table: straight between its rows, its first and last row beyond them; all of the rating without a table."""
    if not table:
        return 1.0
    above = next((n for n, (at, _) in enumerate(table) if at >= x), len(table))
    if above in (0, len(table)):
        return table[min(above, len(table) - 1)][1]
    (x0, y0), (x1, y1) = table[above - 1], table[above]
    weight = (x - x0) / (x1 - x0)
    return (1.0 - weight) * y0 + weight * y1
