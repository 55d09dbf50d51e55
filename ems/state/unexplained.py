"""The import that no device explains: fixed loads, a load that the site file does not name, or a meter that is off."""

from __future__ import annotations

import statistics
from collections import deque
from datetime import datetime

from ems.site.model import Site
from ems.state.estimate import UNBALANCED, SiteState, measured_residual_kw
from ems.state.hold import PeakHold

SAMPLES, LEAST_SAMPLES = 15, 3
HOLD_S = 120.0  # one that falls may be a device that says too much
TOLD, TOLD_SAMPLES = 0.02, 7  # of the import limit; median of so many readings
UNBALANCED_CYCLES = 3  # readings of one cycle are not of one instant: a single contradiction may be a jump of the load


class UnexplainedLoad:
    """Takes one state per cycle. Powers in kW at the point of connection."""

    def __init__(self, site: Site) -> None:
        self.site, self._limit_kw = site, site.point_of_connection.import_limit_kw
        self.nameplate_kw = sum(f.power_kw for f in site.fixed_loads)
        self._readings: deque[float] = deque(maxlen=SAMPLES)
        self._hold = PeakHold(HOLD_S)
        self._unbalanced_cycles = 0

    def update(self, state: SiteState) -> None:
        """Takes what the meter shows beyond the devices, where they do not contradict each other."""
        self._unbalanced_cycles = 0 if state.connection.is_balanced else self._unbalanced_cycles + 1
        reading = measured_residual_kw(self.site, state)
        if reading is not None:
            self._readings.append(reading)

    def held_kw(self, now: datetime) -> float | None:
        """The largest median of the last minutes, None until there are readings. Where it is negative somebody lies, and the nameplates of
        the fixed loads stand."""
        if len(self._readings) < LEAST_SAMPLES:
            return None
        median_kw = statistics.median(self._readings)
        return self._hold.update(now, self.nameplate_kw if median_kw < 0.0 else median_kw)

    @property
    def contradicts(self) -> bool:
        """True while meter and devices cannot both be right, or so large a load is unknown that no plan holds."""
        return self._unbalanced_cycles >= UNBALANCED_CYCLES or self._beyond_kw() > UNBALANCED * self._limit_kw

    def alarms(self) -> list[str]:
        """Says that a meter is off or the site file lacks a load; [] while the fixed loads explain it."""
        beyond_kw, slack_kw = self._beyond_kw(), TOLD * self._limit_kw
        if -slack_kw - self.nameplate_kw <= beyond_kw <= slack_kw:
            return []
        said = f"{beyond_kw + self.nameplate_kw:.0f} kW that no device explains, fixed loads {self.nameplate_kw:.0f} kW"
        return [f"{self.site.point_of_connection.id}: balance: {said}"]

    def _beyond_kw(self) -> float:
        """Beyond the nameplates of the fixed loads, the median of the last readings; 0 until there are enough."""
        recent = list(self._readings)[-TOLD_SAMPLES:]
        return 0.0 if len(recent) < TOLD_SAMPLES else statistics.median(recent) - self.nameplate_kw
