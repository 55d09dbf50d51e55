"""A plan is data: advice for each asset over the horizon, with a validity and an explanation. Standard library only."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any

from ems.horizon import Horizon
from ems.plan.worth import SITE_PARTS, WHOLE, Worth
from ems.plan.worth import lines as binding_lines


@dataclass(frozen=True)
class ClassPlan:
    """One deferrable (or throttled) class of a cluster: kW per step deferred, recovered, throttled (never served)."""

    defer_kw: tuple[float, ...]
    recover_kw: tuple[float, ...]
    throttle_kw: tuple[float, ...]


@dataclass(frozen=True)
class BranchPlan:
    """How a branch of the load is answered after the first stage: stores as one, in deliverable kWh, and the work with the nearest deadline
    as one queue. `reach_kw`: the billing peaks of this and of the next month."""

    import_kw: tuple[float, ...]
    charge_kw: tuple[float, ...]
    discharge_kw: tuple[float, ...]
    stored_kwh: tuple[float, ...]
    defer_kw: tuple[float, ...]
    recover_kw: tuple[float, ...]
    drop_kwh: tuple[float, ...]
    backlog_kwh: tuple[float, ...]
    reach_kw: tuple[float, ...]


@dataclass(frozen=True)
class Plan:
    """Targets per step. Powers are step means in our sign; energies have one value more than steps.

    `peak_kw` is the billing-interval mean the plan defends this month; `marginal_price_per_kwh` is what one kWh less import is worth in
    each step, below 0 where it costs; `binding` names what binds the import in each step ("" when nothing).
    """

    made_at: datetime
    valid_until: datetime
    starts: tuple[datetime, ...]
    duration_h: tuple[float, ...]
    power_kw: dict[str, tuple[float, ...]]  # storage: net battery power; clusters: IT power
    energy_kwh: dict[str, tuple[float, ...]]  # stores, N+1 values
    classes: dict[str, dict[str, ClassPlan]]
    import_kw: tuple[float, ...]
    load_q50_kw: dict[str, tuple[float, ...]]  # cluster demand the plan was made for
    load_q90_kw: dict[str, tuple[float, ...]]
    price_per_kwh: tuple[float, ...]
    marginal_price_per_kwh: tuple[float, ...]
    binding: tuple[str, ...]
    peak_kw: float
    objective: float
    stored_value_per_kwh: dict[str, float] = field(default_factory=dict)  # worth of one more kWh in a store now
    free_peak_kw: float | None = None  # the mean that costs nothing more this month; None: the peak defended
    window_goal_kw: tuple[float | None, ...] = ()  # per step, the mean a demand window defends there; None: no window; (): no such tariff
    window_free_kw: tuple[float | None, ...] = ()  # and the mean there that costs nothing more
    critical_q99_kw: float | None = None  # upper quantile of the critical load until the store could be refilled
    lines: tuple[str, ...] = ()  # the plan as a whole, in words
    worth: Worth = field(default_factory=dict)  # what binds where, and what one more unit of it would save (plan/worth.py)
    status: str = "optimal"
    on: dict[str, tuple[float, ...]] = field(default_factory=dict)  # per generator that decides, 1 in each step in which it runs
    curtailed_kw: dict[str, tuple[float, ...]] = field(default_factory=dict)  # per renewable, of what is expected to be there
    supply_temp_c: dict[str, tuple[float, ...]] = field(default_factory=dict)  # per plant whose supply is led, N+1 values
    cost: dict[str, float] = field(default_factory=dict)  # parts of the objective: energy, demand, wear, workload, other
    branches: tuple[BranchPlan, ...] = ()  # for the check of the plan: neither sent nor journalled

    @property
    def horizon(self) -> Horizon:
        """The steps of this plan."""
        return Horizon(self.starts, self.duration_h)

    def is_valid(self, now: datetime) -> bool:
        """True while the plan may be followed."""
        return self.starts[0] <= now < min(self.valid_until, self.horizon.end)

    def explain(self, step: int | None = None, part: str | None = None) -> tuple[str, ...]:
        """In words: what binds in a step and what one more unit of it would save; of one asset with the site's own limits, or of all.
        Without a step the plan as a whole, then every step in which something binds."""
        parts = None if part is None else (part, *SITE_PARTS)
        if step is not None:
            return tuple(binding_lines(self.worth, step, parts))
        rows = [(start, binding_lines(self.worth, k, parts, with_whole=False)) for k, start in enumerate(self.starts)]
        steps = [f"{start:%d %b %H:%M}Z {line}" for start, found in rows for line in found]
        return (*self.lines, *binding_lines(self.worth, WHOLE, parts), *steps)

    def hash(self) -> str:
        """A short fingerprint; the same plan has the same hash."""
        return hashlib.sha256(json.dumps(encode_plan(self), sort_keys=True).encode()).hexdigest()[:16]


def encode_plan(plan: Plan) -> dict[str, Any]:
    """The plan as plain data for the mailbox and the journal."""
    data = {f.name: getattr(plan, f.name) for f in fields(plan)}  # not asdict: it copies every number, 13 ms a plan
    data["explain"] = data.pop("lines")
    data["classes"] = {
        cluster: {name: {"defer_kw": c.defer_kw, "recover_kw": c.recover_kw, "throttle_kw": c.throttle_kw} for name, c in named.items()}
        for cluster, named in plan.classes.items()
    }
    data["made_at"] = plan.made_at.isoformat()
    data["valid_until"] = plan.valid_until.isoformat()
    data["starts"] = plan.starts[0].isoformat()
    del data["duration_h"], data["branches"]
    data["duration_s"] = [round(h * 3600) for h in plan.duration_h]
    if not plan.supply_temp_c:
        del data["supply_temp_c"]
    return data


def decode_plan(data: dict[str, Any]) -> Plan:
    """The plan back from plain data; raises KeyError or ValueError on a message that is not a plan."""
    body = dict(data)
    seconds = body.pop("duration_s")
    start = datetime.fromisoformat(body.pop("starts"))
    starts = []
    for s in seconds:
        starts.append(start)
        start += timedelta(seconds=s)
    return Plan(
        made_at=datetime.fromisoformat(body["made_at"]),
        valid_until=datetime.fromisoformat(body["valid_until"]),
        starts=tuple(starts),
        duration_h=tuple(s / 3600 for s in seconds),
        power_kw=_tuples(body["power_kw"]),
        energy_kwh=_tuples(body["energy_kwh"]),
        classes={cluster: {name: _class_plan(c) for name, c in named.items()} for cluster, named in body["classes"].items()},
        import_kw=tuple(body["import_kw"]),
        load_q50_kw=_tuples(body["load_q50_kw"]),
        load_q90_kw=_tuples(body["load_q90_kw"]),
        price_per_kwh=tuple(body["price_per_kwh"]),
        marginal_price_per_kwh=tuple(body["marginal_price_per_kwh"]),
        binding=tuple(body["binding"]),
        peak_kw=body["peak_kw"],
        objective=body["objective"],
        stored_value_per_kwh=dict(body.get("stored_value_per_kwh", {})),
        free_peak_kw=body.get("free_peak_kw"),
        window_goal_kw=tuple(body.get("window_goal_kw", ())),
        window_free_kw=tuple(body.get("window_free_kw", ())),
        critical_q99_kw=body.get("critical_q99_kw"),
        lines=tuple(body.get("explain", ())),
        worth=_worth(body.get("worth", {})),
        status=body.get("status", "optimal"),
        on=_tuples(body.get("on", {})),
        curtailed_kw=_tuples(body.get("curtailed_kw", {})),
        supply_temp_c=_tuples(body.get("supply_temp_c", {})),
        cost=dict(body.get("cost", {})),
    )


def _tuples(by_asset: dict[str, list[float]]) -> dict[str, tuple[float, ...]]:
    return {asset: tuple(values) for asset, values in by_asset.items()}


def _worth(data: dict[str, dict[str, list[list[float]]]]) -> Worth:
    return {part: {rule: tuple((int(k), float(v)) for k, v in steps) for rule, steps in rules.items()} for part, rules in data.items()}


def _class_plan(data: dict[str, list[float]]) -> ClassPlan:
    return ClassPlan(tuple(data["defer_kw"]), tuple(data["recover_kw"]), tuple(data["throttle_kw"]))
