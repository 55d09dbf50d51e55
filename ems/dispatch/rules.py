"""Advice without a plan: shave above the month's peak-hold, charge at night below it; and advice without anything: limits only."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from ems.assets.battery.model import Battery
from ems.dispatch.advice import Advice, Wish
from ems.site.model import Site
from ems.state.estimate import SiteState

FIRST_HOLD = 0.85  # of the import limit, before the month has shown a peak
NIGHT_ENDS_H = 6  # local hour


def advise_limits_only(site: Site) -> Advice:
    """Storage idle, workload free below the limits (L3, and the policy `capped`)."""
    idle = Wish(0.0, "limits only: storage idle")
    return Advice("limits", {**{b.id: idle for b in site.batteries}, **{u.id: idle for u in site.upses}})


def advise_by_rules(site: Site, state: SiteState, limit_kw: float, seen_peak_kw: float, load_held_kw: float) -> Advice:
    """Discharge above a peak-hold of the import seen this month, charge between 00:00 and 06:00 local below it (L2).

    `seen_peak_kw` is the highest import read this month: the hold gives way to a pulsing load before a long surge has emptied the battery
    (with a hold on 5- or 15-min means it is empty first, and two replayed weeks of twelve cost more than without storage).
    `load_held_kw` is the import without storage, as held over the last seconds. No forecast, no prices.
    """
    hold_kw = max(FIRST_HOLD * limit_kw, seen_peak_kw)
    spare_kw = hold_kw - load_held_kw
    wishes: dict[str, Wish] = {}
    for battery in site.batteries:
        wish = _battery_wish(site, battery, state, spare_kw, hold_kw)
        spare_kw -= wish.kw
        wishes[battery.id] = wish
    return Advice("rules", {**wishes, **{u.id: Wish(0.0, "rules: reserve only") for u in site.upses}})


def _battery_wish(site: Site, battery: Battery, state: SiteState, spare_kw: float, hold_kw: float) -> Wish:
    if spare_kw < 0:
        return Wish(max(-battery.power_kw, spare_kw), f"rules: shave above the month's hold of {hold_kw:.0f} kW")
    if is_night(state.now, site.time_zone):
        kw = min(battery.power_kw, spare_kw, _even_charge_kw(site, battery, state))
        return Wish(kw, f"rules: night charging below the hold of {hold_kw:.0f} kW")
    return Wish(0.0, "rules: nothing to shave")


def _even_charge_kw(site: Site, battery: Battery, state: SiteState) -> float:
    """The power in kW that fills the battery evenly until the night ends: charging faster would set a peak of its own."""
    local = state.now.astimezone(ZoneInfo(site.time_zone))
    hours_left = max(0.25, NIGHT_ENDS_H - local.hour - local.minute / 60.0)
    missing_kwh = max(0.0, battery.soc_max - state.batteries[battery.id].soc) * battery.energy_kwh
    return missing_kwh / battery.charge_efficiency / hours_left


def is_night(now: datetime, time_zone: str) -> bool:
    """True from 00:00 to 06:00 local."""
    return now.astimezone(ZoneInfo(time_zone)).hour < NIGHT_ENDS_H
