"""Inputs for plans of the demo site: a day of load and prices, seeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from ems.assets.workload.model import DUE_HOURS, ClassState
from ems.commitment import Commitment
from ems.kpi.bills.metered import Metered
from ems.plan.inputs import DemandMeter, ImportEnvelope, PlanInputs
from ems.plan.matrices import CompiledMatrices
from ems.plan.plan import Plan
from ems.plan.planner import Planner
from ems.plan.verify import verify
from ems.site.load import load_site
from ems.site.model import Site
from ems.timegrid import TimeGrid

MONDAY = datetime(2024, 8, 19, 5, tzinfo=UTC)


def demo_site(import_limit_kw: float = 1370.0) -> Site:
    path = Path(__file__).parents[2] / "config" / "sites" / "demo-2mw.yaml"
    return load_site(path, {"point_of_connection": {"import_limit_kw": import_limit_kw}})


def hour_of_day(starts: tuple[datetime, ...]) -> np.ndarray:
    return np.array([s.hour + s.minute / 60 for s in starts])


def plan_inputs(site: Site, now: datetime = MONDAY, seed: int = 0, peak_so_far_kw: float = 0.0) -> PlanInputs:
    rng = np.random.default_rng(seed)
    horizon = TimeGrid.covering(site.plan.horizon_h).at(now)
    n, hour = horizon.n, hour_of_day(horizon.starts)
    share = 0.55 + 0.35 * np.sin(2 * np.pi * (hour - 13) / 24)
    load = {
        c.id: np.clip(c.idle_kw + (c.peak_kw - c.idle_kw) * (share + rng.normal(0, 0.05, n)), c.idle_kw, c.rating_kw) for c in site.clusters
    }
    price = 0.04 + 0.05 * np.exp(-(((hour - 23) / 2.0) ** 2)) * rng.uniform(0.5, 8) + rng.normal(0, 0.003, n)
    return PlanInputs(
        now=now,
        horizon=horizon,
        load_q50_kw=load,
        load_q90_kw={k: np.minimum(v * 1.08, 1.2 * v.max()) for k, v in load.items()},
        import_price_per_kwh=price,
        export_price_per_kwh=np.zeros(n),
        outdoor_temp_c=28 + 8 * np.sin(2 * np.pi * (hour - 15) / 24) + rng.normal(0, 0.5),
        envelope=ImportEnvelope(np.full(n, site.point_of_connection.import_limit_kw), ("connection",) * n),
        store_energy_kwh={"bess-1": float(rng.uniform(60, 940)), "ups-1": float(rng.uniform(300, 400))},
        reserve_kwh={u.id: u.reserve_soc(1300.0) * u.energy_kwh for u in site.upses},
        backlog={c.id: backlog(float(rng.uniform(0, 300)), float(rng.uniform(0, 60))) for c in site.clusters},
        meter=DemandMeter(peak_so_far_kw, 0.0, interval_energy_kwh=0.0),
        cooling_kw=200.0,
    )


def backlog(batch_kwh: float, training_kwh: float) -> dict[str, ClassState]:
    def due(kwh: float, deadline_h: float) -> tuple[float, ...]:
        return tuple(kwh * min(1.0, h / deadline_h) for h in DUE_HOURS)

    return {
        "batch": ClassState(100.0, batch_kwh, due(batch_kwh, 8)),
        "training": ClassState(50.0, training_kwh, due(training_kwh, 24)),
    }


def tight_plan(
    site: Site, now: datetime, price_per_kwh: np.ndarray, commitments: Sequence[Commitment], minimum_left: float | None = None
) -> Plan:
    """Verified, with more load than storage holds below a free peak."""
    given = plan_inputs(site, now)
    inputs = replace(
        given,
        load_q50_kw={name: 1.1 * kw for name, kw in given.load_q50_kw.items()},
        import_price_per_kwh=price_per_kwh,
        store_energy_kwh={"bess-1": 900.0, "ups-1": 390.0},
        commitments=tuple(commitments),
        minimum_left=minimum_left,
    )
    plan = Planner(site).plan(inputs)
    assert verify(site, inputs, plan) == []
    return plan


def highest_kw(plan: Plan) -> float:
    """The highest quarter of an hour of its import."""
    minutes = np.repeat(plan.import_kw, np.round(np.array(plan.duration_h) * 60).astype(int))
    return float(Metered(plan.starts[0], 1, minutes).import_means(15)[1].max())


def balance_rows(compiled: CompiledMatrices, variable: cp.Variable) -> np.ndarray:
    """The equality rows in which a variable stands, in the order of its entries (the first one each)."""
    entries = sp.csc_matrix(compiled.pattern_by_row())
    place = np.searchsorted(compiled.tight.columns, np.arange(*compiled.columns(variable).indices(2**62)))
    rows = (entries.indices[entries.indptr[column] : entries.indptr[column + 1]] for column in place.tolist())
    return np.array([int(touching[compiled.is_equality[touching]][0]) for touching in rows])
