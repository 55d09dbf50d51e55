"""Whether a series has changed its unit: a level about a thousand times that of the week before (kWh for MWh, kg for g)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

UNIT_FACTOR = (500.0, 2000.0)
UNIT_ROWS = 12  # fewer say nothing: one interval at the cap is 200 to 400 times an ordinary one


def is_another_unit(values: Sequence[float], before: Sequence[float]) -> bool:
    """True when median and upper decile of the values are both a factor of about a thousand off those before."""
    if len(values) < UNIT_ROWS or len(before) < UNIT_ROWS:
        return False
    now, then = statistics.quantiles(values, n=10), statistics.quantiles(before, n=10)
    return all(_is_thousandfold(now[k], then[k]) for k in (4, 8)) or all(_is_thousandfold(then[k], now[k]) for k in (4, 8))


def _is_thousandfold(value: float, other: float) -> bool:
    low, high = UNIT_FACTOR
    return other > 0.0 and low <= value / other <= high
