"""A made summer: outdoor temperature for sites that have no weather file."""

from __future__ import annotations

import math

MEAN_C = 26.0
SWING_C = 7.0  # half of the daily range
HOTTEST_HOUR_UTC = 21.5  # 16:30 in US Central time


def generated_temp_c(at_s: float) -> float:
    """Outdoor temperature in degrees C at an epoch second: one cosine a day, nothing random."""
    hour = at_s / 3600.0 % 24.0
    return MEAN_C + SWING_C * math.cos((hour - HOTTEST_HOUR_UTC) / 24.0 * 2.0 * math.pi)
