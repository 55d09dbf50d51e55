"""What a UPS may do for the grid now: only above its reserve, at most the load it carries, never outside normal operation."""

from __future__ import annotations

from ems.assets.envelope import Envelope
from ems.assets.ups.model import Ups, UpsState


def ups_envelope(
    ups: Ups, state: UpsState, critical_kw: float, exposure_s: float, since_normal_s: float, given_kwh: float = 0.0
) -> Envelope:
    """The allowed battery power in kW, charging positive.

    `critical_kw` is the load the reserve must carry; `exposure_s` the seconds a discharge could outlive the controller; `since_normal_s`
    the time since the UPS came back to normal operation (nothing is commanded in the first minute after a transfer); `given_kwh` what its
    cells have given for the grid since local midnight.
    """
    why = _closed_because(ups, state, since_normal_s)
    if why:
        return Envelope(ups.id, 0.0, 0.0, why, why)
    hours = exposure_s / 3600.0
    usable_above_kwh = max(0.0, state.soc - ups.reserve_soc(critical_kw)) * ups.energy_kwh
    room_kwh = max(0.0, 1.0 - state.soc) * ups.energy_kwh
    envelope = Envelope(ups.id, -ups.rating_kw, ups.charge_kw, "rating", "rating")
    if not ups.is_bidirectional:
        envelope = envelope.narrowed(-max(0.0, state.load_kw), ups.charge_kw, "load carried")
    if ups.cell_kwh_per_day is not None:
        left_kwh = max(0.0, ups.cell_kwh_per_day - given_kwh)
        envelope = envelope.narrowed(-left_kwh / hours, ups.charge_kw, "cell throughput of today")
    if ups.is_lead_acid:
        envelope = envelope.narrowed(0.0, ups.charge_kw, "lead-acid is never offered")
    envelope = envelope.narrowed(-usable_above_kwh * ups.discharge_efficiency / hours, ups.charge_kw, "reserve")
    if ups.recharge_kw is not None and usable_above_kwh <= 0.0:
        envelope = envelope.narrowed(-ups.rating_kw, ups.recharge_kw, "recharge limit")
    return envelope.narrowed(-ups.rating_kw, room_kwh / ups.charge_efficiency / hours, "state of charge")


def _closed_because(ups: Ups, state: UpsState, since_normal_s: float) -> str:
    if not ups.is_grid_interactive:
        return "monitored only"
    if not state.is_fresh:
        return "device not trusted"
    if state.is_local:
        return "device in LOCAL"
    if state.mode != "normal":
        return f"UPS is {state.mode.replace('_', ' ')}"
    if since_normal_s < max(60.0, ups.walk_in_s):
        return "just after a transfer"
    return ""
