"""A load nobody can move: offices, pumps, lighting."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FixedLoad:
    """Nameplate in kW; it is also what is assumed when nothing is measured."""

    id: str
    power_kw: float
