"""How much IT power the import limit leaves, as plain arithmetic on the balance at the point of connection.

    import = IT x (1 + losses) + cooling + fixed + storage  <=  target

Where feeders lose power, all of this stands behind them and the target is the limit less the worst of their losses.

Cooling follows IT heat with a lag, so a cap allowed now is charged with the cooling that can follow before the caps could be changed
again (one lease and two cycles); the rest of the rise is seen and subtracted in later cycles.

Safe to die: when the controller dies, storage lapses to zero and the clusters to their contract caps, but the heat of a time held by
storage is still in the cooling. So IT power above the contract caps is only allowed while cooling stays where the contract caps hold.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    """The balance at the meter. `growth` is the share of a rise in IT heat that cooling follows before it can be answered."""

    target_kw: float
    loss_fraction: float
    cooling_kw: float
    cooling_fraction: float
    growth: float
    fixed_kw: float
    contract_it_kw: float = float("inf")  # sum of the contract caps
    lasting_kw: float = float("inf")  # target once all leases have lapsed, where it is lower: a limit may allow more for a time only
    unfirm_kw: float = 0.0  # generated now but not leaned on: a trip or a cloud may take it; `fixed_kw` has the rest taken off

    def load_kw(self, it_kw: float) -> float:
        """The import without storage that an IT power of `it_kw` can cause before the next answer."""
        rise_kw = max(0.0, self.cooling_fraction * it_kw - self.cooling_kw)
        return it_kw * (1.0 + self.loss_fraction) + self.cooling_kw + self.growth * rise_kw + self.fixed_kw

    def it_kw(self, storage_kw: float, target_kw: float | None = None) -> float:
        """The largest IT power whose load, with `storage_kw` (charging positive), stays at the target. Never negative."""
        target = self.target_kw if target_kw is None else target_kw
        left_kw = target - storage_kw - self.fixed_kw - self.cooling_kw
        it = left_kw / (1.0 + self.loss_fraction)
        if self.cooling_fraction * it > self.cooling_kw:
            it = (left_kw + self.growth * self.cooling_kw) / (1.0 + self.loss_fraction + self.growth * self.cooling_fraction)
        return max(0.0, min(it, self.safe_it_kw()))

    def safe_it_kw(self) -> float:
        """The largest IT power whose heat leaves cooling, one exposure later, small enough for the contract caps to hold the target without
        storage. Never under the contract caps themselves."""
        follow = self.growth * self.cooling_fraction
        if follow <= 0.0 or self.contract_it_kw == float("inf"):
            return float("inf")
        ceiling_kw = min(self.target_kw, self.lasting_kw) - self.fixed_kw - (1.0 + self.loss_fraction) * self.contract_it_kw
        return max(self.contract_it_kw, (ceiling_kw - (1.0 - self.growth) * self.cooling_kw) / follow)

    def storage_kw(self, it_kw: float) -> float:
        """The largest storage power (charging positive) that an IT ceiling of `it_kw` leaves; negative: that much must be discharged."""
        return self.target_kw - self.load_kw(it_kw)
