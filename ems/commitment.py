"""The economic primitive: a baseline, a price for deviating above it, a price for deviating below it.

Cost of one step (or of one group): down_price * quantity + spread * max(0, quantity - baseline), where spread = up_price - down_price >= 0.
A negative spread is refused: it would not be convex.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

Span = tuple[datetime, datetime]


class Per(StrEnum):
    """What the price applies to."""

    STEP = "step"  # price per kWh, one baseline per step
    PEAK = "peak"  # price per kW of the highest interval mean in the group
    TOTAL = "total"  # price per kWh of the energy of all steps together; the baseline in kWh
    CHANGE = "change"  # price per kW by which a step differs from the one before it, either way; one baseline per change


@dataclass(frozen=True)
class Commitment:
    """Prices for the import of the site around a baseline. `baseline_kw`, `up_price` and `down_price` hold one value per step
    (Per.STEP, money per kWh), one per change between steps (Per.CHANGE, money per kW) or a single value (Per.PEAK, money per kW;
    Per.TOTAL, kWh and money per kWh). `spans`: the times whose intervals make the group of a peak; None: every time."""

    name: str
    per: Per
    baseline_kw: tuple[float, ...]
    up_price: tuple[float, ...]
    down_price: tuple[float, ...]
    interval_min: int = 15
    spans: tuple[Span, ...] | None = None

    def __post_init__(self) -> None:
        if not len(self.baseline_kw) == len(self.up_price) == len(self.down_price):
            raise ValueError(f"commitment {self.name}: baseline and prices differ in length")
        if any(up < down for up, down in zip(self.up_price, self.down_price, strict=True)):
            raise ValueError(f"commitment {self.name}: the price above the baseline is below the price under it (not convex)")

    def spread(self) -> tuple[float, ...]:
        """Price above the baseline minus price below it; never negative."""
        return tuple(up - down for up, down in zip(self.up_price, self.down_price, strict=True))

    @property
    def adds_to_energy(self) -> bool:
        """True for a price per step without a baseline: it simply adds to the prices of energy taken and given."""
        return self.per is Per.STEP and not any(self.baseline_kw)
