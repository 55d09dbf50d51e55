"""A plant fed by sun or wind: it gives what is there, up to a ceiling that lapses to its rating."""

from __future__ import annotations

from random import Random

from ems.assets.renewable.model import COMMANDS, Renewable
from simulators.devices.converter import ramp_area
from simulators.devices.device import Device, within


class RenewableDevice(Device):
    """Clouds move its power as they like; its ceiling is reached at the plant's ramp. `available_kw` is the truth of the last step."""

    COMMANDS = COMMANDS
    __slots__ = ("_ceiling_kw", "_limit_kw", "available_kw", "rating")

    def __init__(self, rating: Renewable, rng: Random) -> None:
        super().__init__(rating.id, rating.link.lease_s if rating.link is not None else None, rng)
        self.rating = rating
        self.available_kw = 0.0
        self._ceiling_kw = rating.power_kw
        self._to_defaults()

    def step(self, dt_s: float, at_s: float, share: float) -> None:
        """Takes what sun or wind give, as a share of the rating."""
        self._begin_step(at_s)
        self.available_kw = 0.0 if "trip" in self.faults else max(0.0, min(1.0, share)) * self.rating.power_kw
        start_kw = min(self._ceiling_kw, max(self.available_kw, self._limit_kw))  # a ceiling above what is there binds nothing
        area, self._ceiling_kw = ramp_area(start_kw, self._limit_kw, self.rating.ramp_kw_per_s, dt_s)
        self.power_kw = -min(self.available_kw, area / dt_s)
        self.power_now_kw = -min(self.available_kw, self._ceiling_kw)

    def _readings(self) -> dict[str, float]:
        return {
            "power_kw": self._noisy(self.power_now_kw),
            "available_kw": max(0.0, self._noisy(self.available_kw)),
            "is_local": float(self.is_local),
        }

    def _check(self, command: str, value: float) -> None:
        within(self.id, command, value, 0.0, self.rating.power_kw)

    def _obey(self, command: str, value: float) -> None:
        self._limit_kw = value

    def _to_defaults(self) -> None:
        self._limit_kw = self.rating.power_kw
        self._registers = {"generation_limit_kw": self._limit_kw}
