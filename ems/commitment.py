"""The economic primitive: a baseline, a price for deviating above it, a price for deviating below it.

Cost of one step (or of one group's peak): down_price * power + spread * max(0, power - baseline), where
spread = up_price - down_price >= 0. A negative spread is refused: it would not be convex.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Per(StrEnum):
    """What the price applies to."""

    STEP = "step"  # price per kWh, one baseline per step
    PEAK = "peak"  # price per kW of the highest interval mean in the group


@dataclass(frozen=True)
class Commitment:
    """Prices for the import of the site around a baseline. `baseline_kw`, `up_price` and `down_price` hold one value per step
    (Per.STEP, money per kWh) or a single value (Per.PEAK, money per kW)."""

    name: str
    per: Per
    baseline_kw: tuple[float, ...]
    up_price: tuple[float, ...]
    down_price: tuple[float, ...]
    interval_min: int = 15

    def __post_init__(self) -> None:
        if not len(self.baseline_kw) == len(self.up_price) == len(self.down_price):
            raise ValueError(f"commitment {self.name}: baseline and prices differ in length")
        if any(up < down for up, down in zip(self.up_price, self.down_price, strict=True)):
            raise ValueError(f"commitment {self.name}: the price above the baseline is below the price under it (not convex)")

    def spread(self) -> tuple[float, ...]:
        """Price above the baseline minus price below it; never negative."""
        return tuple(up - down for up, down in zip(self.up_price, self.down_price, strict=True))
