"""What one plan is made from: numbers only, one value per step where not said otherwise. Frozen; arrays are never written to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from ems.assets.battery.model import Battery
from ems.assets.ups.model import Ups
from ems.assets.workload.model import ClassState, TierPast
from ems.commitment import Commitment, Per
from ems.horizon import Horizon
from ems.plan.generation import GenerationInputs
from ems.site.model import Site

Array = NDArray[np.float64]


def stores_of(site: Site) -> tuple[Battery | Ups, ...]:
    """Everything of a site that holds energy."""
    return (*site.batteries, *site.upses)


def is_worn_out(store: Battery | Ups) -> bool:
    """True for a battery at its end of life."""
    return isinstance(store, Battery) and store.is_worn_out


@dataclass(frozen=True)
class ImportEnvelope:
    """The one limit on import per step in kW, and the name of the source that sets it there."""

    kw: Array
    source: tuple[str, ...]


@dataclass(frozen=True)
class LoadBranch:
    """A course the load may take: its probability and the demand per cluster in kW of IT, one value per step."""

    probability: float
    load_kw: Mapping[str, Array]


@dataclass(frozen=True)
class DemandMeter:
    """The billing peak as metered: highest interval mean of this month, and the energy imported so far in the running interval.

    `expected_peak_kw` is what the rest of the month will set anyway: shaving below it is worth nothing.
    """

    peak_so_far_kw: float = 0.0
    expected_peak_kw: float = 0.0
    expected_next_peak_kw: float | None = None  # of the next month; None: as of this one
    interval_energy_kwh: float = 0.0
    next_month_at: datetime | None = None  # the next local month start, None when beyond the horizon


@dataclass(frozen=True)
class PlanInputs:
    """Everything `Planner.plan` looks at. Cluster loads are IT demand without caps, in kW."""

    now: datetime
    horizon: Horizon
    load_q50_kw: Mapping[str, Array]
    load_q90_kw: Mapping[str, Array]
    import_price_per_kwh: Array
    export_price_per_kwh: Array
    outdoor_temp_c: Array
    envelope: ImportEnvelope
    store_energy_kwh: Mapping[str, float]
    reserve_kwh: Mapping[str, float]  # per UPS, in nameplate kWh of its store
    backlog: Mapping[str, Mapping[str, ClassState]]
    meter: DemandMeter
    cooling_kw: float | None = None
    it_now_kw: float | None = None
    import_now_kw: float | None = None  # measured at the meter; None where it is unknown
    supply_temp_c: Mapping[str, float] = field(default_factory=dict)  # measured, per plant whose supply may be led
    dew_point_c: Mapping[str, Array] = field(default_factory=dict)  # expected, per such plant that measures one
    given_kwh: Mapping[str, float] = field(default_factory=dict)  # per store with a daily budget: discharged since local midnight
    unavailable: frozenset[str] = frozenset()  # stores nobody may move now (local, silent, monitored)
    critical_q99_kw: float | None = None
    present: Mapping[str, float] = field(default_factory=dict)  # share of a store's rating and energy that is there; 1 where not named
    generation: GenerationInputs = field(default_factory=GenerationInputs)
    commitments: tuple[Commitment, ...] = ()  # of the tariff, besides energy and the demand charge of every hour
    interval_energy_kwh: Mapping[int, float] = field(default_factory=dict)  # metered so far, by interval length in min, for those
    branches: tuple[LoadBranch, ...] = ()  # courses the load may take beside the median's
    tier_past: Mapping[str, Mapping[str, TierPast]] = field(default_factory=dict)  # per cluster and class with a tier
    minimum_left: float | None = None  # money of the month's minimum bill that the horizon must reach first; None: the bill is above it
    settle_at: datetime | None = None  # accounts close here: later steps have no price, and work still waiting then is lost

    def faults(self) -> list[str]:
        """What cannot be planned with: a row of the wrong length, a number that is not finite. Missing is not zero: it is named."""
        rows: dict[str, Array] = {f"load of {k}": np.asarray(v) for k, v in self.load_q50_kw.items()}
        rows |= {f"upper load of {k}": np.asarray(v) for k, v in self.load_q90_kw.items()}
        rows |= {f"branch {i} of {k}": np.asarray(v) for i, b in enumerate(self.branches) for k, v in b.load_kw.items()}
        rows |= {"price": self.import_price_per_kwh, "export price": self.export_price_per_kwh, "temperature": self.outdoor_temp_c}
        rows["import limit"] = self.envelope.kw
        rows |= {f"dew point of {k}": v for k, v in self.dew_point_c.items()}
        rows |= self.generation.rows()
        rows |= {c.name: np.array(c.up_price) for c in self.commitments if c.per is Per.STEP}
        faults = [f"{name}: {len(row)} values for {self.horizon.n} steps" for name, row in rows.items() if len(row) != self.horizon.n]
        single: dict[str, float | None] = {f"energy of {k}": v for k, v in self.store_energy_kwh.items()}
        single |= {f"reserve of {k}": v for k, v in self.reserve_kwh.items()} | {"cooling": self.cooling_kw, "IT power": self.it_now_kw}
        single["import"] = self.import_now_kw
        single["minimum bill"] = self.minimum_left
        single |= self.generation.numbers() | {f"supply of {k}": v for k, v in self.supply_temp_c.items()}
        single |= {f"throughput of {k}": v for k, v in self.given_kwh.items()}
        meter = self.meter
        single |= {"peak so far": meter.peak_so_far_kw, "expected peak": meter.expected_peak_kw, "interval": meter.interval_energy_kwh}
        for cluster, classes in self.backlog.items():
            single |= {f"backlog of {cluster} {k}": c.backlog_kwh + sum(c.due_kwh) for k, c in classes.items()}
        single |= {f"prices of {c.name}": sum((*c.baseline_kw, *c.up_price, *c.down_price)) for c in self.commitments}
        values = rows | {name: np.array([v]) for name, v in single.items() if v is not None}
        return faults + [f"{name} is not finite" for name, v in values.items() if not np.isfinite(v).all()]
