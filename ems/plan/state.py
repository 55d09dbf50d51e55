"""The measured state a plan starts from: what control publishes and the planner reads. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from ems.assets.generator.model import GeneratorRun
from ems.assets.workload.model import DUE_HOURS, ClassState, TierPast


@dataclass(frozen=True)
class PlanState:
    """Energies in kWh, powers in kW. `clusters` holds the class states (demand, backlog, due profile) per cluster and class."""

    at: datetime
    energy_kwh: dict[str, float]  # per store, from the measured state of charge
    clusters: dict[str, dict[str, ClassState]]
    critical_kw: float  # 24-h peak hold of the critical load
    peak_so_far_kw: float  # highest billing-interval mean of the month
    interval_start: datetime | None  # running billing interval
    interval_kwh: float  # imported in it so far
    cooling_kw: float
    import_limit_kw: float
    poc_kw: float
    outdoor_temp_c: float | None
    runs: dict[str, GeneratorRun] = field(default_factory=dict)  # per generator
    supply_temp_c: dict[str, float] = field(default_factory=dict)  # measured, per plant whose supply may be led
    dew_point_c: dict[str, float] = field(default_factory=dict)  # measured, per such plant
    given_kwh: dict[str, float] = field(default_factory=dict)  # per store with a daily budget: discharged since local midnight
    tier_past: dict[str, dict[str, TierPast]] = field(default_factory=dict)  # per cluster and class with a tier

    def encode(self) -> dict[str, Any]:
        """Plain data for the mailbox."""
        return {
            "at": self.at.isoformat(),
            "energy_kwh": self.energy_kwh,
            "clusters": {k: {n: [c.demand_kw, c.backlog_kwh, list(c.due_kwh)] for n, c in v.items()} for k, v in self.clusters.items()},
            "critical_kw": self.critical_kw,
            "peak_so_far_kw": self.peak_so_far_kw,
            "interval_start": self.interval_start.isoformat() if self.interval_start else None,
            "interval_kwh": self.interval_kwh,
            "cooling_kw": self.cooling_kw,
            "import_limit_kw": self.import_limit_kw,
            "poc_kw": self.poc_kw,
            "outdoor_temp_c": self.outdoor_temp_c,
            "runs": {k: asdict(r) for k, r in self.runs.items()},
            "supply_temp_c": self.supply_temp_c,
            "dew_point_c": self.dew_point_c,
            "given_kwh": self.given_kwh,
            "tier_past": {k: {n: [p.hours, p.arrived_kwh, p.held_kwh] for n, p in v.items()} for k, v in self.tier_past.items()},
        }

    @staticmethod
    def decode(data: dict[str, Any]) -> PlanState:
        """The state back from plain data; raises KeyError, TypeError or ValueError on anything else: another type, not finite, no zone."""
        outdoor_temp_c = data["outdoor_temp_c"]
        return PlanState(
            at=_instant(data["at"]),
            energy_kwh=_numbers(data["energy_kwh"]),
            clusters={k: {n: _class_state(*parts) for n, parts in v.items()} for k, v in data["clusters"].items()},
            critical_kw=_number(data["critical_kw"]),
            peak_so_far_kw=_number(data["peak_so_far_kw"]),
            interval_start=_instant(data["interval_start"]) if data["interval_start"] is not None else None,
            interval_kwh=_number(data["interval_kwh"]),
            cooling_kw=_number(data["cooling_kw"]),
            import_limit_kw=_number(data["import_limit_kw"]),
            poc_kw=_number(data["poc_kw"]),
            outdoor_temp_c=None if outdoor_temp_c is None else _number(outdoor_temp_c),
            runs={k: GeneratorRun(**r) for k, r in data.get("runs", {}).items()},
            supply_temp_c=_numbers(data.get("supply_temp_c", {})),
            dew_point_c=_numbers(data.get("dew_point_c", {})),
            given_kwh=_numbers(data.get("given_kwh", {})),
            tier_past={k: {n: _tier_past(*rows) for n, rows in v.items()} for k, v in data.get("tier_past", {}).items()},
        )


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    return float(value)


def _numbers(by_name: Mapping[str, object]) -> dict[str, float]:
    return {name: _number(value) for name, value in by_name.items()}


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return instant


def _tier_past(hours: Sequence[object], arrived_kwh: Sequence[object], held_kwh: Sequence[object]) -> TierPast:
    if not hours or not len(hours) == len(arrived_kwh) == len(held_kwh):
        raise ValueError("expected as many hours as energies, at least one")
    past = TierPast(*(tuple(map(_number, row)) for row in (hours, arrived_kwh, held_kwh)))
    if any(b <= a for a, b in pairwise(past.hours)):
        raise ValueError("expected hours that rise")
    return past


def _class_state(demand_kw: object, backlog_kwh: object, due_kwh: Sequence[object]) -> ClassState:
    if len(due_kwh) not in (0, len(DUE_HOURS)):  # a class that cannot wait has none
        raise ValueError(f"{len(due_kwh)} amounts of due work: expected {len(DUE_HOURS)} or none")
    return ClassState(_number(demand_kw), _number(backlog_kwh), tuple(map(_number, due_kwh)))
