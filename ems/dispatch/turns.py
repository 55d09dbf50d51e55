"""A budget of turns for what an adviser wants of all storage: who flips his mind every cycle is heard six times, and then not until an
hour has fewer turns than that. A site that sells at a market's price has a larger one: each settlement may ask for another direction.

A turn is a move of the sum by more than half of the storage power, against the direction of the last such move. When the budget of the last
hour is used up, storage is wanted idle; what the limits need of it, and what a person orders, is not touched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from ems.dispatch.advice import Advice, Wish
from ems.site.model import Site
from ems.site.tariff import MARKET

PER_HOUR = 6
MOVE = 0.5  # of all storage power
HOUR = timedelta(hours=1)
TRADES_PER_HOUR = 30  # twelve settlements of five minutes, each perhaps begun by the plan before, and some more


class Turns:
    """Follows the sum of the wishes from cycle to cycle."""

    def __init__(self, site: Site) -> None:
        self._move_kw = MOVE * (sum(b.power_kw for b in site.batteries) + sum(u.charge_kw for u in site.upses))
        trades = site.tariff.export_energy in MARKET
        self._per_hour = TRADES_PER_HOUR if trades else PER_HOUR
        self._turns: deque[datetime] = deque(maxlen=self._per_hour)
        self._extreme_kw = 0.0  # the furthest the sum went in the present direction
        self._direction = 0

    def settled(self, now: datetime, advice: Advice) -> Advice:
        """The advice, or without wishes for storage while the budget is used up."""
        self._follow(now, sum(w.kw for w in advice.storage.values()))
        if len(self._turns) < self._per_hour or now - self._turns[0] >= HOUR:
            return advice
        why = f"{advice.name} turned round {self._per_hour} times within the hour: idle"
        idle = {asset: w if w.is_ordered or w.kw == 0.0 else Wish(0.0, why) for asset, w in advice.storage.items()}
        return replace(advice, storage=idle)

    def encode(self) -> list[str]:
        """The turns of the last hour, as plain data."""
        return [at.isoformat() for at in self._turns]

    def restore(self, data: Sequence[str]) -> None:
        """Takes back what `encode` gave."""
        self._turns.extend(datetime.fromisoformat(at) for at in data)

    def _follow(self, now: datetime, kw: float) -> None:
        moved_kw = kw - self._extreme_kw
        if abs(moved_kw) > self._move_kw and moved_kw * self._direction <= 0.0:
            if self._direction:
                self._turns.append(now)
            self._direction, self._extreme_kw = (1 if moved_kw > 0.0 else -1), kw
        elif moved_kw * self._direction > 0.0:
            self._extreme_kw = kw
