"""The newest cycle for eyes and for the planner: plain data, one message, replaced every cycle.

Keys: at, level, level_name, cause, since, adviser, import_kw, export_kw, limit_kw, limit_source, target_kw, load_kw, month_peak_kw,
interval_kwh, interval_start, assets (list of {id, kind, power_kw, low_kw, high_kw, low_rule, high_rule, mode, setpoints: [{command, kw,
reason, written}], soc, reserve_soc, demand_kw, backlog_kwh, age_s, problem}), alarms, degraded (name, why, since), exposure (is_safe,
import_kw, phase, leases), orders, plan (made_at, hash, peak_kw) or null, plan_state, counters.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import datetime
from typing import Any

from ems.assets.battery.model import Battery
from ems.assets.cooling.model import Cooling
from ems.assets.cooling.plant import runway_s
from ems.assets.generator.model import Generator
from ems.assets.renewable.model import Renewable
from ems.assets.ups.model import Ups
from ems.assets.workload.model import Cluster
from ems.control.controller import Controller
from ems.control.decision import Decision
from ems.control.ladder import NAMES
from ems.control.plan_state import plan_state
from ems.guard.loops import cooled_kw
from ems.plan.plan import Plan
from ems.plan.worth import lines as binding_lines
from ems.state.image import SiteImage


def encode_snapshot(controller: Controller, decision: Decision, image: SiteImage, counters: dict[str, Any]) -> dict[str, Any]:
    """The snapshot of this cycle. `counters` comes from the process (cycles, missed cycles, write counts)."""
    state, verdict, rung = decision.state, decision.verdict, decision.rung
    plan = controller.plan
    return {
        "at": state.now.isoformat(),
        "level": rung.level.name,
        "level_name": NAMES[rung.level],
        "cause": rung.cause,
        "since": rung.since.isoformat(),
        "adviser": decision.adviser,
        "import_kw": max(0.0, state.poc_kw),
        "is_metered": state.connection.power_kw is not None,  # else the import is the sum of what every asset is assumed to draw at most
        "export_kw": max(0.0, -state.poc_kw),
        "limit_kw": verdict.limit_kw,
        "limit_source": verdict.limit_source,
        "target_kw": verdict.room.target_kw,
        "load_kw": state.load_kw,
        "month_peak_kw": decision.month_peak_kw,
        "interval_kwh": decision.interval_kwh,
        "interval_start": _iso(controller.billing.start),
        "assets": [_asset(controller, decision, image, asset_id) for asset_id in controller.site.assets],
        "alarms": list(decision.alarms),
        "trust": controller.commissioning.shown(),
        "self_test": controller.commissioning.tested or None,
        "degraded": [{"name": s.mode.name, "why": s.why, "since": s.since.isoformat()} for s in decision.degraded],
        "exposure": asdict(decision.exposure),
        "orders": [o.encode() for o in controller.orders.standing.values()],
        "plan": _plan(plan, state.now) if plan else None,
        "plan_state": plan_state(controller.site, decision, controller.billing.start).encode(),
        "counters": counters,
    }


def _plan(plan: Plan, now: datetime) -> dict[str, Any]:
    """The plan in force, and per part of the site what binds in the present step."""
    k = plan.horizon.index_at(now)
    limits = {part: list(binding_lines(plan.worth, k, (part,))) for part in plan.worth} if k is not None else {}
    head = {"made_at": plan.made_at.isoformat(), "valid_until": plan.valid_until.isoformat(), "peak_kw": plan.peak_kw}
    return {**head, "limits": {part: lines for part, lines in limits.items() if lines}}


def _asset(controller: Controller, decision: Decision, image: SiteImage, asset_id: str) -> dict[str, Any]:
    asset, verdict = controller.site.assets[asset_id], decision.verdict
    envelope = (
        verdict.storage.get(asset_id) or verdict.caps.get(asset_id) or verdict.followers.get(asset_id) or verdict.generation.get(asset_id)
    )
    mode = controller.orders.modes.get(asset_id)
    written = {(s.asset, s.command) for s in decision.written}
    return {
        "id": asset_id,
        "kind": type(asset).__name__.lower(),
        "power_kw": _power_kw(decision, asset_id),
        "low_kw": envelope.low_kw if envelope else None,
        "high_kw": envelope.high_kw if envelope else None,
        "low_rule": envelope.low_rule if envelope else None,
        "high_rule": envelope.high_rule if envelope else None,
        "mode": mode.value if mode else None,
        "setpoints": [
            {"command": s.command, "kw": s.power_kw, "reason": s.reason, "written": (s.asset, s.command) in written}
            for s in decision.setpoints
            if s.asset == asset_id
        ],
        **_details(controller, decision, asset),
        "age_s": _age_s(image, asset_id),
        "problem": image.problems.get(asset_id),
    }


def _power_kw(decision: Decision, asset_id: str) -> float:
    state = decision.state
    if asset_id in state.batteries:
        return state.batteries[asset_id].power_kw
    if asset_id in state.upses:
        return state.upses[asset_id].power_kw
    if asset_id in state.clusters:
        return state.clusters[asset_id].power_kw
    if asset_id in state.generators:
        return state.generators[asset_id].power_kw
    if asset_id in state.renewables:
        return state.renewables[asset_id].power_kw
    return state.coolings[asset_id].power_kw if asset_id in state.coolings else state.fixed_kw


def _details(controller: Controller, decision: Decision, asset: object) -> dict[str, Any]:
    state = decision.state
    if isinstance(asset, Battery):
        return {"soc": state.batteries[asset.id].soc, "soc_min": asset.soc_min, "soc_max": asset.soc_max}
    if isinstance(asset, Ups):
        ups = state.upses[asset.id]
        return {
            "soc": ups.soc,
            "reserve_soc": asset.reserve_soc(decision.critical_kw),
            "battery_kw": ups.battery_kw,
            "load_kw": ups.load_kw,
        }
    if isinstance(asset, Cluster):
        cluster = state.clusters[asset.id]
        backlog = sum(c.backlog_kwh for c in cluster.classes.values())
        used = controller.tiers.used().get(asset.id)
        tiers = {} if used is None else {"tier_used": used}
        return {"demand_kw": cluster.demand_kw, "cap_kw": cluster.cap_kw, "backlog_kwh": backlog, **tiers}
    if isinstance(asset, Generator):
        return {"run_mode": state.generators[asset.id].mode, "run_hours": controller.run_log.hours.get(asset.id, {})}
    if isinstance(asset, Cooling):
        return _cooling_details(asset, decision)
    if isinstance(asset, Renewable):
        return {"available_kw": state.renewables[asset.id].available_kw}
    return {}


def _cooling_details(cooling: Cooling, decision: Decision) -> dict[str, Any]:
    """Of a chilled-water plant that tells: supply temperature, the heat it can remove, and the seconds its loop lasts (None: for good)."""
    state = decision.state
    seen = state.coolings[cooling.id]
    if cooling.plant is None or seen.supply_temp_c is None or seen.able_kw is None:
        return {}
    heat_kw = cooled_kw(cooling, state)
    seconds = runway_s(cooling.plant, heat_kw, min(heat_kw, seen.able_kw), seen.supply_temp_c)
    lasts_s = None if math.isinf(seconds) else round(seconds)
    return {"supply_temp_c": seen.supply_temp_c, "able_kw": seen.able_kw, "runway_s": lasts_s}


def _age_s(image: SiteImage, asset_id: str) -> float | None:
    readings = image.readings.get(asset_id)
    return max(r.age_s(image.now) for r in readings.values()) if readings else None


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat() if instant else None
