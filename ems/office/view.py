"""What the page shows of one moment, as data for the templates: words, and places on bars in percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from ems.assets.battery.model import Battery
from ems.assets.ups.model import Ups
from ems.assets.workload.model import Cluster
from ems.office import words
from ems.office.alarms.book import Alarm
from ems.office.feed_words import feed_words
from ems.office.health import Health
from ems.office.live import Live
from ems.site.model import Site

SHOWN_SETPOINTS = 4
FREE = "free below the cap"  # a class limit that does not bind is not worth a line


@dataclass(frozen=True)
class Bar:
    """Places on a power axis in percent: the allowed interval, zero, the present power, the setpoint. None where unknown."""

    low: float
    high: float
    zero: float
    power: float | None
    asked: float | None


@dataclass(frozen=True)
class Store:
    """State of charge in percent, its reserve or bottom, and words."""

    soc: float | None
    floor: float | None
    text: str
    floor_text: str


@dataclass(frozen=True)
class AssetView:
    """One asset as it is shown."""

    id: str
    kind: str
    doing: str
    also: str
    mode: str
    low: str  # the ends of the allowed interval, and the rules that set them
    high: str
    low_rule: str
    high_rule: str
    asked: tuple[tuple[str, str, bool], ...]  # words, reason, whether it was written
    bar: Bar | None
    store: Store | None
    age: str
    is_old: bool
    problem: str
    trust: str = ""


@dataclass(frozen=True)
class AlarmView:
    """One standing alarm: severity, what it is about, the words said, since when, what it means, what to do."""

    severity: str
    subject: str
    words: str
    since: str
    text: str
    runbook: str


@dataclass(frozen=True)
class SiteView:
    """The site as it is shown. `is_fresh` False greys everything and says how old it is."""

    is_fresh: bool
    age: str
    local_time: str
    import_text: str
    direction: str
    limit_text: str
    limit_source: str
    room_text: str
    share: float  # of the limit, percent, at most 100
    is_over: bool
    month_peak_text: str
    interval_text: str
    interval_since: str
    level: str
    level_name: str
    cause: str
    since: str
    plan_text: str
    is_plan_fresh: bool
    assets: tuple[AssetView, ...]
    alarms: tuple[str, ...]
    orders: tuple[str, ...]
    health: Health
    standing: tuple[AlarmView, ...] = ()
    feeds: tuple[tuple[str, str, bool], ...] = ()  # name, words, whether it is stale
    grid_events: tuple[tuple[str, str, bool], ...] = ()  # programme, words, whether it is not held


def view_of(live: Live, now: datetime, health: Health) -> SiteView | None:
    """The view of the newest cycle; None before the first one."""
    snapshot = live.snapshot
    if snapshot is None:
        return None
    site = live.site
    zone = site.time_zone
    is_export = (snapshot.get("export_kw") or 0.0) > words.IDLE_KW
    import_kw, limit_kw = snapshot["import_kw"], snapshot["limit_kw"]
    return SiteView(
        is_fresh=live.is_fresh(now),
        age=words.age(live.age_s(now)),
        local_time=words.clock(_instant(snapshot["at"]), zone, with_date=True),
        import_text=words.kw(snapshot["export_kw"] if is_export else import_kw),
        direction="Exporting" if is_export else "Importing",
        limit_text=words.kw(limit_kw),
        limit_source=str(snapshot["limit_source"]),
        room_text=f"{words.kw(limit_kw - import_kw)} {'over the limit' if import_kw > limit_kw else 'to spare'}",
        share=_percent_of(import_kw, 0.0, limit_kw),
        is_over=import_kw > limit_kw,
        month_peak_text=words.kw(snapshot["month_peak_kw"] or None),
        interval_text=_interval_text(snapshot, site.tariff.demand_interval_min, now),
        interval_since=words.clock(_instant(snapshot.get("interval_start")), zone),
        level=str(snapshot["level"]),
        level_name=str(snapshot["level_name"]),
        cause=str(snapshot["cause"]),
        since=words.clock(_instant(snapshot["since"]), zone),
        plan_text=_plan_text(live, now),
        is_plan_fresh=live.is_plan_fresh(now),
        assets=tuple(_asset(site, a, _trust(snapshot, str(a["id"]))) for a in snapshot["assets"]),
        alarms=tuple(str(a) for a in snapshot["alarms"]),
        orders=tuple(_order(o, snapshot["assets"], zone) for o in snapshot["orders"]),
        health=health,
        standing=tuple(_alarm(a, zone) for a in live.standing),
        feeds=tuple(
            (f["name"], feed_words(f, now, partial(words.clock, time_zone=zone)), bool(f["is_stale"] or f["problem"])) for f in live.feeds
        ),
        grid_events=tuple((e.program, e.said(zone), e.is_bad) for e in live.grid_events),
    )


def _trust(snapshot: Mapping[str, Any], asset: str) -> str:
    return str(snapshot.get("trust", {}).get(asset, {}).get("state", ""))


def _asset(site: Site, data: Mapping[str, Any], trust: str) -> AssetView:
    kind, age_s = str(data["kind"]), data.get("age_s")
    setpoints = [s for s in data.get("setpoints", ()) if s["reason"] != FREE][:SHOWN_SETPOINTS]
    low, high = words.ends(kind, data.get("low_kw"), data.get("high_kw"))
    return AssetView(
        id=str(data["id"]),
        kind=words.KINDS.get(kind, kind),
        doing=words.doing(kind, data["power_kw"], data.get("battery_kw")),
        also=_also(kind, data),
        mode=str(data.get("mode") or ""),
        low=low,
        high=high,
        low_rule=str(data.get("low_rule") or ""),
        high_rule=str(data.get("high_rule") or ""),
        asked=tuple((words.asked(kind, s["command"], s["kw"]), str(s["reason"]), bool(s["written"])) for s in setpoints),
        bar=_bar(site, data),
        store=_store(data),
        age=words.age(age_s),
        is_old=age_s is not None and age_s > site.control.stale_after_s,
        problem=str(data.get("problem") or ""),
        trust=trust,
    )


def _alarm(alarm: Alarm, zone: str) -> AlarmView:
    since = words.clock(alarm.since, zone)
    return AlarmView(alarm.severity.name.lower(), alarm.subject, alarm.words, since, alarm.text, alarm.runbook)


def _also(kind: str, data: Mapping[str, Any]) -> str:
    if kind == "ups":
        return f"carrying {words.kw(data.get('load_kw'))}, losing {words.kw(data['power_kw'] - (data.get('battery_kw') or 0.0))}"
    if kind == "cooling" and data.get("supply_temp_c") is not None:
        lasts = "" if data.get("runway_s") is None else f", the loop lasts {words.age(data['runway_s'])}"
        return f"supply at {data['supply_temp_c']:.1f} °C, can remove {words.kw(data.get('able_kw'))}{lasts}"
    if kind != "cluster":
        return ""
    backlog = data.get("backlog_kwh") or 0.0
    tiers = "".join(f", {100 * share:.0f} % of the tier of {name} used" for name, share in (data.get("tier_used") or {}).items())
    return f"wants {words.kw(data.get('demand_kw'))}" + (f", {backlog:,.0f} kWh deferred" if backlog >= 0.5 else "") + tiers


def _bar(site: Site, data: Mapping[str, Any]) -> Bar | None:
    asset = site.assets.get(str(data["id"]))
    low_kw, high_kw = data.get("low_kw"), data.get("high_kw")
    if low_kw is None or high_kw is None or not isinstance(asset, Battery | Ups | Cluster):
        return None  # what cannot be commanded needs no bar
    power_kw = data.get("battery_kw") if isinstance(asset, Ups) else data["power_kw"]
    least, most = _axis_kw(asset)
    asked = [s["kw"] for s in data.get("setpoints", ())][:1]
    return Bar(
        low=_percent_of(low_kw, least, most),
        high=_percent_of(high_kw, least, most),
        zero=_percent_of(0.0, least, most),
        power=None if power_kw is None else _percent_of(power_kw, least, most),
        asked=_percent_of(asked[0], least, most) if asked else None,
    )


def _axis_kw(asset: Battery | Ups | Cluster) -> tuple[float, float]:
    """The ends of an asset's power axis in kW: its ratings."""
    if isinstance(asset, Battery):
        return -asset.power_kw, asset.power_kw
    if isinstance(asset, Ups):
        return -asset.rating_kw, asset.charge_kw
    return 0.0, asset.rating_kw


def _store(data: Mapping[str, Any]) -> Store | None:
    if "soc" not in data:
        return None
    soc, reserve = data["soc"], data.get("reserve_soc")
    floor = reserve if reserve is not None else data.get("soc_min")
    name = "backup reserve" if reserve is not None else "lowest allowed"
    return Store(_hundred(soc), _hundred(floor), words.percent(soc), f"{name} {words.percent(floor)}" if floor is not None else "")


def _interval_text(snapshot: Mapping[str, Any], minutes: int, now: datetime) -> str:
    """The mean import of the running billing interval so far."""
    start, kwh = _instant(snapshot.get("interval_start")), snapshot.get("interval_kwh")
    if start is None or kwh is None:
        return "–"
    hours = min((_instant_of(snapshot["at"]) - start).total_seconds() / 3600.0, minutes / 60.0)
    return words.kw(kwh / hours) if hours > 1e-3 else "just begun"


def _plan_text(live: Live, now: datetime) -> str:
    age_s = live.plan_age_s(now)
    if live.plan is None or age_s is None:
        return "no plan yet"
    text = f"made {words.age(age_s)} ago"
    if not live.plan.is_valid(now):
        return text + ", no longer valid"
    return f"{text}, valid for {words.age((live.plan.valid_until - now) / timedelta(seconds=1))}"


def _order(order: Mapping[str, Any], assets: Sequence[Mapping[str, Any]], zone: str) -> str:
    what = f"{order.get('kind')} {order.get('asset')}"
    if order.get("kw") is not None:
        kind = next((str(a["kind"]) for a in assets if a["id"] == order.get("asset")), "")
        what += f": {words.asked(kind, 'power_cap_kw', order['kw'])} until {words.clock(_instant(order.get('until')), zone)}"
    return f"{what} – {order.get('by')}: {order.get('why')}"


def _percent_of(value: float, least: float, most: float) -> float:
    return round(100.0 * min(max((value - least) / (most - least), 0.0), 1.0), 2) if most > least else 0.0


def _hundred(share: float | None) -> float | None:
    return None if share is None else _percent_of(share, 0.0, 1.0)


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _instant_of(text: str) -> datetime:
    return datetime.fromisoformat(text)
