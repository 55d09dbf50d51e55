"""Rows for the charts of the page: plain lists of numbers, None where nothing is known. Times are epoch seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ems.assets.battery.model import Battery
from ems.assets.ups.model import Ups
from ems.office.live import HOSTILE, Live, Point
from ems.plan.plan import Plan
from ems.site.model import Site

Row = list[float | None]


def point_row(point: Point) -> Row:
    """One point of the import chart: time, import, limit."""
    return [point.at.timestamp(), round(point.import_kw, 1), _rounded(point.limit_kw)]


def trail_rows(live: Live) -> list[Row]:
    """The last half hour."""
    return [point_row(p) for p in live.trail]


def plan_rows(live: Live) -> dict[str, Any] | None:
    """The plan ahead; every series has one value per step and the last one repeated at the end, so that steps draw to their end."""
    plan, site = live.plan, live.site
    if plan is None:
        return None
    times = [s.timestamp() for s in plan.starts]
    end = times[-1] + plan.duration_h[-1] * 3600.0
    q50 = _sum(plan.load_q50_kw, len(times))
    fan = _fan(live.forecast, site, plan)
    return {
        "made_at": plan.made_at.timestamp(),
        "t": [*times, end],
        "import_kw": _stepped(plan.import_kw),
        "price": _stepped(plan.price_per_kwh, digits=5),
        "load_q50": _stepped(fan["q50"] if fan else q50),
        "load_q10": _stepped(fan["q10"]) if fan else None,
        "load_q90": _stepped(fan["q90"] if fan else _sum(plan.load_q90_kw, len(times))),
        "peak_kw": round(plan.peak_kw, 1),
        "stores": [_store(site, plan, name) for name in plan.energy_kwh if isinstance(site.assets.get(name), Battery | Ups)],
        "status": plan.status,
        "explain": list(plan.lines),
    }


def _store(site: Site, plan: Plan, name: str) -> dict[str, Any]:
    """Planned power of a store (charging +) and its state of charge in percent at the start of each step and at the end."""
    asset = site.assets[name]
    assert isinstance(asset, Battery | Ups)
    soc = [round(100.0 * e / asset.energy_kwh, 2) for e in plan.energy_kwh[name]]
    power = plan.power_kw.get(name)
    return {
        "id": name,
        "soc": soc,
        "power_kw": _stepped(power) if power else None,
        "floor": _floor_percent(asset, plan),
        "is_reserve": isinstance(asset, Ups),
    }


def _floor_percent(asset: Battery | Ups, plan: Plan) -> float:
    if isinstance(asset, Battery):
        return 100.0 * asset.soc_min
    return round(100.0 * asset.reserve_soc(plan.critical_q99_kw or 0.0), 2)


def _fan(forecast: Mapping[str, Any] | None, site: Site, plan: Plan) -> dict[str, Sequence[float]] | None:
    """The forecast the planner posted, summed over the halls, when it is on the plan's steps; else None."""
    if forecast is None:
        return None
    try:
        series = [forecast["series"][c.id] for c in site.clusters]
        n = len(plan.starts)
        if any(_begin(s) != plan.starts[0] or any(len(s[q]) != n for q in ("q10", "q50", "q90")) for s in series):
            return None
        return {q: [sum(values) for values in zip(*(s[q] for s in series), strict=True)] for q in ("q10", "q50", "q90")}
    except HOSTILE:
        return None  # an absent fan; the plan's own quantiles are drawn


def _begin(series: Mapping[str, Any]) -> datetime:
    starts = series["starts"]
    return datetime.fromisoformat(starts if isinstance(starts, str) else starts[0])


def _sum(by_cluster: Mapping[str, Sequence[float]], n: int) -> list[float]:
    return [sum(values[k] for values in by_cluster.values()) for k in range(n)]


def _stepped(values: Sequence[float], digits: int = 1) -> list[float]:
    return [round(v, digits) for v in (*values, values[-1])]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
