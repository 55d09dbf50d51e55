"""Advice without a plan: shave above the month's peak-hold, charge at night below it; and advice without anything: limits only."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from ems.assets.battery.model import Battery
from ems.dispatch.advice import Advice, Wish
from ems.site.model import Site
from ems.state.estimate import SiteState

FIRST_HOLD = 0.85  # of the import limit, before the month has shown a peak or a plan has named one
NIGHT_ENDS_H = 6  # local hour
LASTS_H = 2.0  # the energy left is never spent faster than over this time: a store run empty lets the whole surge through


def advise_limits_only(site: Site) -> Advice:
    """Storage idle, workload free below the limits (L3, and the policy `capped`)."""
    idle = Wish(0.0, "limits only: storage idle")
    return Advice("limits", {**{b.id: idle for b in site.batteries}, **{u.id: idle for u in site.upses}})


def advise_by_rules(site: Site, state: SiteState, limit_kw: float, month_peak_kw: float, planned_peak_kw: float | None = None) -> Advice:
    """Discharge above a peak-hold of the import seen this month, charge between 00:00 and 06:00 local below it (L2).

    `month_peak_kw` is the month's highest mean over a billing interval; `planned_peak_kw` what the month's last plans wanted it to be, None
    without a plan or where peaks have no price. It may only raise the hold: rules move no work, and a lower peak that the plan would have
    held empties the store before the surge comes (two development weeks: 3 % dearer). Work is cut only as without storage, by the standing
    caps; backlog recovers below the hold. No forecast, no prices.
    """
    hold_kw = max(FIRST_HOLD * limit_kw, min(planned_peak_kw or 0.0, limit_kw), month_peak_kw)
    aim_kw = hold_kw * (1.0 - site.control.import_margin)  # else each small overshoot raises the next hold
    wishes = {b.id: _battery_wish(site, b, state, hold_kw) for b in site.batteries}
    return Advice(
        name="rules",
        storage={**wishes, **{u.id: Wish(0.0, "rules: reserve only") for u in site.upses}},
        goal_kw=aim_kw,
        free_goal_kw=aim_kw,
        only_shaves=True,
        deepest_kw={**{b.id: -_usable_kwh(b, state) / LASTS_H for b in site.batteries}, **{u.id: 0.0 for u in site.upses}},
    )


def _battery_wish(site: Site, battery: Battery, state: SiteState, hold_kw: float) -> Wish:
    if is_night(state.now, site.time_zone):
        kw = min(battery.power_kw, _even_charge_kw(site, battery, state))
        return Wish(kw, f"rules: night charging below the hold of {hold_kw:.0f} kW")
    return Wish(0.0, f"rules: idle below the month's hold of {hold_kw:.0f} kW")


def _usable_kwh(battery: Battery, state: SiteState) -> float:
    return max(0.0, state.batteries[battery.id].soc - battery.soc_min) * battery.energy_kwh


def _even_charge_kw(site: Site, battery: Battery, state: SiteState) -> float:
    """The power in kW that fills the battery evenly until the night ends: charging faster would set a peak of its own."""
    local = state.now.astimezone(ZoneInfo(site.time_zone))
    hours_left = max(0.25, NIGHT_ENDS_H - local.hour - local.minute / 60.0)
    missing_kwh = max(0.0, battery.soc_max - state.batteries[battery.id].soc) * battery.energy_kwh
    return missing_kwh / battery.charge_efficiency / hours_left


def is_night(now: datetime, time_zone: str) -> bool:
    """True from 00:00 to 06:00 local."""
    return now.astimezone(ZoneInfo(time_zone)).hour < NIGHT_ENDS_H
