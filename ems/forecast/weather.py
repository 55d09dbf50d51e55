"""Outdoor temperature and wet bulb ahead in °C: from their own past, blended with a provider's forecast where one is."""

from __future__ import annotations

import numpy as np

from ems.forecast.protocol import Floats, Ints
from ems.forecast.provided import Provided

COLDEST_C, HOTTEST_C = -60.0, 60.0
WETTEST_C = 36.0  # no wet bulb above this was ever measured


def temperature(leads: Ints, step_s: float, has_provider: bool = False) -> Provided:
    """A forecaster of the dry bulb."""
    return Provided("temperature", leads, step_s, has_provider, COLDEST_C, HOTTEST_C)


def wet_bulb(leads: Ints, step_s: float, has_provider: bool = False) -> Provided:
    """A forecaster of the wet bulb, of measured values or of `wet_bulb_c`."""
    return Provided("wet bulb", leads, step_s, has_provider, COLDEST_C, WETTEST_C)


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
