"""What other processes say, checked before anything follows from it; and whether the planner can be followed at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ems.guard.degraded import REFUSED_WINDOW
from ems.obligation import Obligation, ObligationKind
from ems.plan.plan import Plan
from ems.site.model import Site

ABSURD_KW = 1e9  # no site is that large; beyond it sums overflow


class PlanWatch:
    """For how long there has been no plan to follow, and how many plans were refused lately."""

    def __init__(self) -> None:
        self._gone_since: datetime | None = None
        self._refused: deque[datetime] = deque(maxlen=100)

    def refuse(self, now: datetime) -> None:
        """A plan that cannot be followed came."""
        self._refused.append(now)

    def refused(self, now: datetime) -> int:
        """Plans refused within the last minute."""
        return sum(now - at <= REFUSED_WINDOW for at in self._refused)

    def gone_s(self, now: datetime, is_missed: bool) -> float:
        """Takes one cycle; `is_missed`: a plan is wanted and none is valid."""
        self._gone_since = (self._gone_since or now) if is_missed else None
        return 0.0 if self._gone_since is None else (now - self._gone_since).total_seconds()


def checked_plan(plan: Plan, site: Site, now: datetime) -> Plan:
    """The plan, if it is one that can be followed at all; ValueError names what is wrong with it."""
    n = len(plan.starts)
    rows = [*plan.power_kw.values(), plan.marginal_price_per_kwh, plan.import_kw, *plan.load_q50_kw.values()]
    rows += [*plan.on.values(), *plan.curtailed_kw.values()]
    rows += [row[:-1] for row in plan.supply_temp_c.values()]
    rows += [r for c in plan.classes.values() for k in c.values() for r in (k.defer_kw, k.recover_kw, k.throttle_kw)]
    if any(len(r) != n for r in rows) or len(plan.binding) != n or not n:
        raise ValueError("plan rows differ in length")
    single = [plan.peak_kw, *(v for v in (plan.free_peak_kw, plan.critical_q99_kw) if v is not None)]
    single += [row[-1] for row in plan.supply_temp_c.values()]
    if not all(abs(v) <= ABSURD_KW for r in (*rows, single) for v in r):  # false for NaN too
        raise ValueError("plan holds a number that is not finite, or absurd")
    goals = (plan.window_goal_kw, plan.window_free_kw)
    if any(len(row) not in (0, n) for row in goals) or not all(v is None or _is_goal(v) for row in goals for v in row):
        raise ValueError("plan holds a goal of a demand window that is no power in kW")
    if not all(isinstance(name, str) for name in plan.binding):
        raise ValueError("plan names what binds with something that is no word")
    if not set(plan.supply_temp_c) <= {c.id for c in site.coolings if c.is_led}:
        raise ValueError("plan leads a supply that may not be led")
    if not set(plan.power_kw) <= set(site.assets) or not set(plan.classes) <= {c.id for c in site.clusters}:
        raise ValueError("plan names an asset the site does not have")
    if set(plan.classes) - set(plan.load_q50_kw) or any(
        set(plan.classes[c.id]) - set(c.classes) for c in site.clusters if c.id in plan.classes
    ):
        raise ValueError("plan names a class the cluster does not have")
    others = {c.id for c in site.clusters} | {g.id for g in site.generators} | {r.id for r in site.renewables}
    if {b.id for b in site.batteries} | {u.id for u in site.upses} != set(plan.power_kw) - others:
        raise ValueError("plan does not name every store")
    if plan.made_at > now or plan.valid_until <= now:
        raise ValueError("plan is from the future or no longer valid")
    return plan


def _is_goal(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value <= ABSURD_KW


def decode_obligation(data: Mapping[str, Any]) -> Obligation:
    """An event from plain data; raises KeyError or ValueError on anything else."""
    return Obligation(
        id=data["id"],
        kind=ObligationKind(data["kind"]),
        kw=float(data["kw"]),
        start=datetime.fromisoformat(data["start"]),
        end=datetime.fromisoformat(data["end"]),
        notice_at=datetime.fromisoformat(data["notice_at"]),
        program=data.get("program", "manual"),
        baseline_kw=data.get("baseline_kw"),
        sets_baseline=data.get("sets_baseline") is True,
    )


def encode_obligation(o: Obligation) -> dict[str, Any]:
    """It as plain data."""
    return {
        "id": o.id,
        "kind": o.kind.value,
        "kw": o.kw,
        "start": o.start.isoformat(),
        "end": o.end.isoformat(),
        "notice_at": o.notice_at.isoformat(),
        "program": o.program,
        "baseline_kw": o.baseline_kw,
        "sets_baseline": o.sets_baseline,
    }
