"""What has been promised to whom: the same kWh is never promised twice.

A commitment takes kW and kWh of named resources over a window. Another programme sees only what is left, unless the two are declared as
nested (the same reduction counts in both, as capacity and the energy delivered under it).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ems.program.flexibility import Flexibility, Promised
from ems.program.terms import Terms

RESTORED_IN = timedelta(hours=8)  # a store that was called is counted as full again after so long


@dataclass(frozen=True)
class Commitment:
    """A promise of `kw` over `[start, end)` to a programme, by resource."""

    id: str
    program: str
    start: datetime
    end: datetime
    kw: float
    resources: Mapping[str, Promised]

    def encode(self) -> dict[str, Any]:
        """Plain data."""
        resources = {name: [p.kw, p.kwh] for name, p in self.resources.items()}
        return {**vars(self), "start": self.start.isoformat(), "end": self.end.isoformat(), "resources": resources}

    @staticmethod
    def decode(data: Mapping[str, Any]) -> Commitment:
        """The commitment back."""
        resources = {name: Promised(kw, kwh) for name, (kw, kwh) in data["resources"].items()}
        instants = {k: datetime.fromisoformat(data[k]) for k in ("start", "end")}
        return Commitment(**{**data, **instants, "resources": resources})


@dataclass(frozen=True)
class Ledger:
    """All commitments that stand. Frozen: a promise gives a new ledger."""

    commitments: tuple[Commitment, ...] = ()

    def refusal(self, terms: Terms, start: datetime, end: datetime) -> str:
        """Why the programme may not promise in this window beside what is promised already; "" when it may."""
        for other in self._meeting(start, end):
            if other.program == terms.program or is_nested(terms, other.program):
                continue
            if terms.stacking.mode == "exclusive" or other.program in terms.stacking.not_with:
                return f"{other.program} has a commitment in this window ({other.id}) and {terms.program} stands alone"
        return ""

    def promised(self, terms: Terms, start: datetime, end: datetime) -> dict[str, Promised]:
        """Per resource what is not free for a programme in a window. Energy promised within RESTORED_IN before or after counts too: the
        store may not be full again by then."""
        sold: dict[str, Promised] = {}
        for other in self._meeting(start - RESTORED_IN, end + RESTORED_IN):
            if is_nested(terms, other.program):
                continue
            is_now = other.start < end and other.end > start
            for name, p in other.resources.items():
                before = sold.get(name, Promised())
                sold[name] = Promised(before.kw + (p.kw if is_now else 0.0), before.kwh + p.kwh)
        return sold

    def promise(self, name: str, terms: Terms, free: Flexibility, end: datetime, kw: float) -> Ledger:
        """The ledger with one more commitment of `kw`, taken from the cheapest resources first. ValueError when it is not all free."""
        if refusal := self.refusal(terms, free.start, end):
            raise ValueError(refusal)
        taken, left = free.allocate(kw)
        if left > 1e-6:
            raise ValueError(f"{kw:.0f} kW are asked, {kw - left:.0f} kW are free ({free.limiting})")
        return Ledger((*self.commitments, Commitment(name, terms.program, free.start, end, kw, taken)))

    def without(self, name: str) -> Ledger:
        """The ledger after a commitment ended or was released."""
        return Ledger(tuple(c for c in self.commitments if c.id != name))

    def _meeting(self, start: datetime, end: datetime) -> Iterable[Commitment]:
        return (c for c in self.commitments if c.start < end and c.end > start)


def is_nested(terms: Terms, other: str) -> bool:
    """True when the same reduction counts in both programmes."""
    return other in terms.stacking.nested_with
