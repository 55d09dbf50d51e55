"""The interval of power allowed now, and the rules that bound it."""

from __future__ import annotations

from dataclasses import dataclass

from ems.errors import InvariantBroken


@dataclass(frozen=True, slots=True)
class Envelope:
    """`[low_kw, high_kw]` in our sign, with the rule that sets each end."""

    asset: str
    low_kw: float
    high_kw: float
    low_rule: str
    high_rule: str

    def __post_init__(self) -> None:
        if not self.low_kw <= self.high_kw:
            raise InvariantBroken(f"{self.asset}: empty envelope [{self.low_kw}, {self.high_kw}] ({self.low_rule} / {self.high_rule})")

    def clamp(self, power_kw: float) -> float:
        """The nearest allowed power in kW."""
        return min(max(power_kw, self.low_kw), self.high_kw)

    def narrowed(self, low_kw: float, high_kw: float, rule: str) -> Envelope:
        """This envelope cut by another interval; a rule may only narrow. Where both do not meet, the nearest end is kept."""
        low = min(max(self.low_kw, low_kw), self.high_kw)
        high = max(min(self.high_kw, high_kw), low)
        return Envelope(
            self.asset,
            low,
            high,
            rule if low > self.low_kw else self.low_rule,
            rule if high < self.high_kw else self.high_rule,
        )
