"""A made summer: outdoor temperature for sites that have no weather file, and moisture for files that say nothing of it."""

from __future__ import annotations

import math
from random import Random

MEAN_C = 26.0
SWING_C = 7.0  # half of the daily range
HOTTEST_HOUR_UTC = 21.5  # 16:30 in US Central time
VAPOUR_KPA = 1.15  # mean pressure of a dry summer's: a dew point of 9 degrees C
SWINGS = ((0.30, 5.3), (0.15, 1.7))  # kPa, and days of each: air masses come and go, slowly


def generated_temp_c(at_s: float) -> float:
    """Outdoor temperature in degrees C at an epoch second: one cosine a day, nothing random."""
    hour = at_s / 3600.0 % 24.0
    return MEAN_C + SWING_C * math.cos((hour - HOTTEST_HOUR_UTC) / 24.0 * 2.0 * math.pi)


class MoistAir:
    """The moisture of the air outside: a vapour pressure that air masses carry past, whatever the temperature. Same seed, same air."""

    def __init__(self, seed: int) -> None:
        rng = Random(f"{seed}:moisture")
        self._phases = tuple(2.0 * math.pi * rng.random() for _ in SWINGS)

    def dew_point_c(self, at_s: float, outdoor_temp_c: float) -> float:
        """Where this air would begin to wet a surface, in degrees C; never above its own temperature, at which it sheds the rest."""
        moving = (kpa * math.sin(at_s / 86400.0 / days * 2.0 * math.pi + p) for (kpa, days), p in zip(SWINGS, self._phases, strict=True))
        log = math.log((VAPOUR_KPA + sum(moving)) / 0.6108)
        return min(outdoor_temp_c, 237.3 * log / (17.27 - log))  # Tetens, solved for the temperature
