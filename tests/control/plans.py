"""Plans for tests: sensible ones, and hostile ones that ask for anything a number can ask for."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta

from ems.plan.plan import ClassPlan, Plan
from ems.site.model import Site

STEPS = 12


def flat_plan(site: Site, now: datetime, storage_kw: float = 0.0, peak_kw: float = 1300.0, defer_kw: float = 0.0) -> Plan:
    """The same numbers in every 5-min step."""
    row = tuple(0.0 for _ in range(STEPS))
    stores = [a.id for a in (*site.batteries, *site.upses)]
    classes = {
        c.id: {
            "interactive": ClassPlan(row, row, row),
            "batch": ClassPlan(tuple(defer_kw for _ in row), row, row),
            "training": ClassPlan(row, row, row),
        }
        for c in site.clusters
    }
    return Plan(
        made_at=now,
        valid_until=now + timedelta(minutes=30),
        starts=tuple(now + timedelta(minutes=5 * k) for k in range(STEPS)),
        duration_h=tuple(1 / 12 for _ in row),
        power_kw={**{s: row for s in stores}, site.batteries[0].id: tuple(storage_kw for _ in row)},
        energy_kwh={s: (*row, 0.0) for s in stores},
        classes=classes,
        import_kw=row,
        load_q50_kw={c.id: tuple(0.7 * c.peak_kw for _ in row) for c in site.clusters},
        load_q90_kw={c.id: tuple(0.8 * c.peak_kw for _ in row) for c in site.clusters},
        price_per_kwh=row,
        marginal_price_per_kwh=row,
        binding=tuple("" for _ in row),
        peak_kw=peak_kw,
        objective=0.0,
        critical_q99_kw=900.0,
    )


def hostile_plan(site: Site, now: datetime, rng: random.Random) -> Plan:
    """Any finite numbers at all, in the right places."""

    def row(low: float, high: float) -> tuple[float, ...]:
        return tuple(rng.uniform(low, high) for _ in range(STEPS))

    plan = flat_plan(site, now)
    extreme = rng.choice([10.0, 1e3, 1e5, 1e9])
    classes = {
        c.id: {k: ClassPlan(row(-extreme, extreme), row(-extreme, extreme), row(-extreme, extreme)) for k in c.classes}
        for c in site.clusters
    }
    return replace(
        plan,
        power_kw={k: row(-extreme, extreme) for k in plan.power_kw},
        classes=classes,
        load_q50_kw={c.id: row(-extreme, extreme) for c in site.clusters},
        peak_kw=rng.uniform(-extreme, extreme),
        critical_q99_kw=rng.choice([None, -extreme, 0.0, extreme]),
        free_peak_kw=rng.choice([None, -extreme, extreme]),
        window_goal_kw=rng.choice([(), row(0.0, extreme), tuple(rng.choice([None, 0.0, extreme]) for _ in range(STEPS))]),
        binding=tuple(rng.choice(["", "demand", "import limit"]) for _ in range(STEPS)),
    )
