"""The meter at the point of connection: power within its accuracy class, and two energy counters."""

from __future__ import annotations

import math
from random import Random

from simulators.devices.device import Device

CLASS_ERROR = 0.002  # accuracy class 0.2: the reading lies within this fraction of the truth


class MeterDevice(Device):
    """Power is positive into the site. Counters only grow. With a `power_factor` below 1 it shows reactive power, too."""

    __slots__ = ("export_energy_kwh", "import_energy_kwh", "power_factor")

    def __init__(self, asset_id: str, rng: Random) -> None:
        super().__init__(asset_id, None, rng)
        self.import_energy_kwh = 0.0
        self.export_energy_kwh = 0.0
        self.power_factor = 1.0

    def step(self, dt_s: float, at_s: float, mean_kw: float, now_kw: float) -> None:
        """Counts one step of mean power; `now_kw` is the power at its end."""
        self._begin_step(at_s)
        self.power_kw, self.power_now_kw = mean_kw, now_kw
        if mean_kw >= 0.0:
            self.import_energy_kwh += mean_kw * dt_s / 3600.0
        else:
            self.export_energy_kwh -= mean_kw * dt_s / 3600.0

    def _readings(self) -> dict[str, float]:
        shown = 0.0 if "trip" in self.faults else 1.0 + CLASS_ERROR * (2.0 * self._rng.random() - 1.0)
        kvar = abs(self.power_now_kw) * math.tan(math.acos(self.power_factor))
        reactive = {"reactive_kvar": kvar * shown} if kvar > 0.0 else {}
        return reactive | {
            "power_kw": self.power_now_kw * shown,
            "import_energy_kwh": self.import_energy_kwh,
            "export_energy_kwh": self.export_energy_kwh,
        }
