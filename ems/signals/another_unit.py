"""Whether a series has changed its unit: a level about a thousand times that of the week before (kWh for MWh, kg for g).

What tells it from a spike: a unit moves every value, the low ones as well, and leaves them as restless as before. A market in need goes up
with some of its values, and at its cap, or where a price is administered, it repeats one figure as its ordinary prices never do.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise

UNIT_FACTOR = (500.0, 2000.0)
UNIT_ROWS = 12  # fewer say nothing: one interval at the cap is 200 to 400 times an ordinary one, and in a cheap week 1,000 times
HALF_WAY = 30.0  # about the root of a thousand: a value on this side of it stayed where it was
STAYED = 0.2  # of the values, zeros aside, may have: prices near nothing stay there in any unit
BY_CHANCE = 0.01  # a rest that ordinary prices make with less than this chance is none of theirs


def is_another_unit(values: Sequence[float], before: Sequence[float]) -> bool:
    """True when values in the order of time are about a thousandfold, or a thousandth, of those before: median, upper decile and the low
    ones, without what rests at one figure."""
    if len(values) < UNIT_ROWS or len(before) < UNIT_ROWS:
        return False
    moving = _moving(values, before)
    if 2 * len(moving) < len(values):
        return False
    now, then = statistics.quantiles(moving, n=10), statistics.quantiles(before, n=10)
    if all(_is_thousandfold(now[k], then[k]) for k in (4, 8)):
        return _share(abs(v) < HALF_WAY * then[4] for v in moving if v) <= STAYED
    if all(_is_thousandfold(then[k], now[k]) for k in (4, 8)):
        return _share(abs(v) > then[4] / HALF_WAY for v in moving if v) <= STAYED
    return False


def is_rest(rows: int, before: Sequence[float]) -> bool:
    """True when prices that change as those before would hardly repeat one figure over so many rows."""
    if len(before) < UNIT_ROWS:
        return False
    repeated = max(1, sum(a == b for a, b in pairwise(before))) / len(before)
    return rows > 1 and (rows - 1) * math.log(repeated) <= math.log(BY_CHANCE)


def _moving(values: Sequence[float], before: Sequence[float]) -> list[float]:
    """The values without those that rest."""
    runs = [list(run) for _, run in groupby(values)]
    return [value for run in runs if not is_rest(len(run), before) for value in run]


def _share(found: Iterable[bool]) -> float:
    seen = list(found)
    return sum(seen) / max(1, len(seen))


def _is_thousandfold(value: float, other: float) -> bool:
    low, high = UNIT_FACTOR
    return other > 0.0 and low <= value / other <= high
