"""A bill: lines of one month, exact to a millionth of the currency; rounded only where somebody pays it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

ENERGY, DEMAND, FIXED, CARBON = "energy", "demand", "fixed", "carbon"
EXACT, CENT = Decimal("0.000001"), Decimal("0.01")


@dataclass(frozen=True)
class BillLine:
    """One charge of one month. `part` is energy, demand, fixed or carbon; a credit is negative."""

    name: str
    part: str
    quantity: float
    unit: str
    amount: Decimal

    @property
    def price(self) -> Decimal:
        """Mean price per unit; 0 without a quantity."""
        return (self.amount / Decimal(repr(self.quantity))).quantize(EXACT) if self.quantity else Decimal(0)


@dataclass(frozen=True)
class MonthlyBill:
    """The bill of one local month, which the data covers by `share`."""

    month: str
    currency: str
    share: float
    lines: tuple[BillLine, ...]

    @property
    def total(self) -> Decimal:
        """Sum of the lines."""
        return sum((line.amount for line in self.lines), start=Decimal(0))

    @property
    def payable(self) -> Decimal:
        """The total in whole cents."""
        return self.total.quantize(CENT, ROUND_HALF_UP)

    def part(self, part: str) -> Decimal:
        """Sum of the lines of a part."""
        return sum((line.amount for line in self.lines if line.part == part), start=Decimal(0))


def line(name: str, part: str, quantity: float, unit: str, amount: float) -> BillLine:
    """A line from plain numbers."""
    return BillLine(name, part, float(quantity), unit, Decimal(repr(float(amount))).quantize(EXACT))


def total(bills: tuple[MonthlyBill, ...]) -> Decimal:
    """Sum over months."""
    return sum((bill.total for bill in bills), start=Decimal(0))
