"""How far cooling can still grow when IT power is allowed to rise: it follows with a lag, so not at once."""

from __future__ import annotations

import math

from ems.assets.cooling.model import Cooling
from ems.assets.envelope import Envelope


def cooling_growth(cooling: Cooling, ahead_s: float) -> float:
    """The share (0 to 1) of a step in IT heat that cooling power has followed after `ahead_s` seconds."""
    return 1.0 - math.exp(-ahead_s / cooling.lag_s) if cooling.lag_s > 0 else 1.0


def cooling_envelope(
    cooling: Cooling, measured_kw: float, fraction: float, it_low_kw: float, it_high_kw: float, ahead_s: float
) -> Envelope:
    """Where cooling power in kW can be after `ahead_s` seconds, for IT heat between `it_low_kw` and `it_high_kw`."""
    growth = cooling_growth(cooling, ahead_s)
    low_kw = measured_kw + growth * min(0.0, fraction * it_low_kw - measured_kw)
    high_kw = measured_kw + growth * max(0.0, fraction * it_high_kw - measured_kw)
    high_kw = max(low_kw, min(cooling.rating_kw, high_kw))
    return Envelope(cooling.id, low_kw, high_kw, "follows IT heat with its lag", "follows IT heat with its lag")
