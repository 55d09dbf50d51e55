"""Outdoor temperature and wet bulb ahead in °C: from their own past, blended with a provider's forecast where one is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ems.forecast.protocol import Floats, Ints
from ems.forecast.provided import Provided

COLDEST_C, HOTTEST_C = -60.0, 60.0
DEW_RISE_K = 1.4
WETTEST_C = 36.0  # no wet bulb above this was ever measured


def temperature(leads: Ints, step_s: float, has_provider: bool = False) -> Provided:
    """A forecaster of the dry bulb."""
    return Provided("temperature", leads, step_s, has_provider, COLDEST_C, HOTTEST_C)


def wet_bulb(leads: Ints, step_s: float, has_provider: bool = False) -> Provided:
    """A forecaster of the wet bulb, of measured values or of `wet_bulb_c`."""
    return Provided("wet bulb", leads, step_s, has_provider, COLDEST_C, WETTEST_C)


def dew_points_ahead_c(measured_c: float, duration_h: Sequence[float]) -> Floats:
    """The dew point in °C to count with at the end of each step: the measured one, and 1.4 K times the root of the hours until then.

    That is what nine of ten hours of two typical years (Dallas, Leesburg) did not rise above: by 1.1 to 1.8 K after 1 h, 3.1 to 3.8 after
    6 h, 6.1 to 7.0 after a day, 9.0 after two. A loop of cold water warms in hours, so that the course to be held is one it rarely crosses.
    """
    return measured_c + DEW_RISE_K * np.sqrt(np.cumsum(np.asarray(duration_h, float)))


def wet_bulb_c(dry_bulb_c: Floats, humidity_pct: Floats) -> Floats:
    """Wet bulb from dry bulb and relative humidity at sea level, within 1 K from 5 to 99 % and -20 to 50 °C (Stull 2011)."""
    t, h = np.asarray(dry_bulb_c, dtype=float), np.asarray(humidity_pct, dtype=float)
    return np.asarray(
        t * np.arctan(0.151977 * np.sqrt(h + 8.313659))
        + np.arctan(t + h)
        - np.arctan(h - 1.676331)
        + 0.00391838 * h**1.5 * np.arctan(0.023101 * h)
        - 4.686035,
        float,
    )
