"""How far cooling can still grow when IT power is allowed to rise: it follows with a lag, so not at once."""

from __future__ import annotations

import math

from ems.assets.cooling.model import Cooling


def cooling_growth(cooling: Cooling, ahead_s: float) -> float:
    """The share (0 to 1) of a step in IT heat that cooling power has followed after `ahead_s` seconds."""
    return 1.0 - math.exp(-ahead_s / cooling.lag_s) if cooling.lag_s > 0 else 1.0
