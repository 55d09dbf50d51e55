"""How often and how far a limit was passed, as the plant had it, step by step."""

from __future__ import annotations

from dataclasses import dataclass

TOLERANCE = 1.001  # a plant step counts as an excursion when its mean exceeds the limit times this


@dataclass
class Excursions:
    """Steps whose mean power exceeds a limit. `kwh` is the energy above the limit itself in those steps."""

    seconds: float = 0.0
    longest_s: float = 0.0
    max_kw: float = 0.0
    kwh: float = 0.0
    _running_s: float = 0.0

    def add(self, power_kw: float, limit_kw: float, dt_s: float) -> bool:
        """Takes one step; True when it is an excursion."""
        if power_kw <= limit_kw * TOLERANCE:
            self._running_s = 0.0
            return False
        above_kw = power_kw - limit_kw
        self.seconds += dt_s
        self._running_s += dt_s
        self.longest_s = max(self.longest_s, self._running_s)
        self.max_kw = max(self.max_kw, above_kw)
        self.kwh += above_kw * dt_s / 3600.0
        return True


@dataclass
class RampExcursions:
    """Minutes whose mean differs from the minute before by more than the limit; None as limit counts nothing."""

    limit_kw_per_min: float | None
    seconds: float = 0.0
    _last_kw: float | None = None

    def add(self, minute_mean_kw: float) -> None:
        """Takes the mean of one whole minute."""
        if self.limit_kw_per_min is not None and self._last_kw is not None:
            if abs(minute_mean_kw - self._last_kw) > self.limit_kw_per_min:
                self.seconds += 60.0
        self._last_kw = minute_mean_kw
