"""Wear of a store by the depth of its cycles, counted by rainflow as the energy comes in (ASTM E1049-85, 5.4.4).

A cycle of depth d costs the integral of the price over the depth, per kWh out of the store; of a half cycle at the end only a discharge
is charged, since wear is priced on what leaves the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

LEAST_KWH = 1e-9


def depth_cost(depth_kwh: float, bands: Sequence[tuple[float, float]], energy_kwh: float) -> float:
    """Money for one discharge of this depth; `bands` are (depth up to as a share, price per kWh)."""
    money, below = 0.0, 0.0
    for upto, price in bands:
        money += price * max(0.0, min(depth_kwh, upto * energy_kwh) - below)
        below = upto * energy_kwh
    return money + bands[-1][1] * max(0.0, depth_kwh - below)


@dataclass
class CycleWear:
    """Takes one energy after another; `money()` is the wear so far, open half cycles included."""

    bands: Sequence[tuple[float, float]]
    energy_kwh: float
    closed: float = 0.0
    turns: list[float] = field(default_factory=list)  # turning points not yet paired; the last one is where the store stands

    def add(self, kwh: float) -> None:
        """The energy in the store now."""
        t = self.turns
        if len(t) >= 2 and (t[-1] - t[-2]) * (kwh - t[-1]) >= 0.0:
            t[-1] = kwh
        elif not t or abs(kwh - t[-1]) > LEAST_KWH:
            t.append(kwh)
        while len(t) >= 3 and abs(t[-1] - t[-2]) >= abs(t[-2] - t[-3]):
            depth = abs(t[-2] - t[-3])
            if len(t) == 3:  # the range holds the start: a half cycle
                self.closed += depth_cost(depth, self.bands, self.energy_kwh) if t[1] < t[0] else 0.0
                del t[0]
            else:
                self.closed += depth_cost(depth, self.bands, self.energy_kwh)
                del t[-3:-1]

    def money(self) -> float:
        """Wear of all closed cycles and of the discharges that are still open."""
        falls = (a - b for a, b in pairwise(self.turns))
        return self.closed + sum(depth_cost(fall, self.bands, self.energy_kwh) for fall in falls if fall > 0.0)
