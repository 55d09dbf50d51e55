"""The measured state a plan starts from: what control publishes and the planner reads. Standard library only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from ems.assets.generator.model import GeneratorRun
from ems.assets.workload.model import ClassState


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
        }

    @staticmethod
    def decode(data: dict[str, Any]) -> PlanState:
        """The state back from plain data; raises KeyError or ValueError on anything else."""
        return PlanState(
            at=datetime.fromisoformat(data["at"]),
            energy_kwh=dict(data["energy_kwh"]),
            clusters={k: {n: ClassState(d, b, tuple(due)) for n, (d, b, due) in v.items()} for k, v in data["clusters"].items()},
            critical_kw=data["critical_kw"],
            peak_so_far_kw=data["peak_so_far_kw"],
            interval_start=datetime.fromisoformat(data["interval_start"]) if data["interval_start"] else None,
            interval_kwh=data["interval_kwh"],
            cooling_kw=data["cooling_kw"],
            import_limit_kw=data["import_limit_kw"],
            poc_kw=data["poc_kw"],
            outdoor_temp_c=data["outdoor_temp_c"],
            runs={k: GeneratorRun(**r) for k, r in data.get("runs", {}).items()},
            supply_temp_c=dict(data.get("supply_temp_c", {})),
        )
