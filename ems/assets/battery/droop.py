"""Frequency droop in a device's own firmware: it moves its power by itself, on top of what it is told, and that is no disobedience."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Droop:
    """`kw_per_hz` beyond `deadband_hz` around `nominal_hz`, at most `most_kw`; charging while the frequency is high."""

    kw_per_hz: float
    deadband_hz: float
    nominal_hz: float
    most_kw: float

    def power_kw(self, hz: float) -> float:
        """What it adds to the setpoint at a frequency, charging positive."""
        off_hz = hz - self.nominal_hz
        return math.copysign(min(self.most_kw, self.kw_per_hz * max(0.0, abs(off_hz) - self.deadband_hz)), off_hz)

    def range_kw(self, hz: float | None) -> tuple[float, float]:
        """Between which two it lies; where nobody measures the frequency anything it may add."""
        return (-self.most_kw, self.most_kw) if hz is None else (self.power_kw(hz), self.power_kw(hz))
