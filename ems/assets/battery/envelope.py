"""What a battery may do now, and which rule bounds it."""

from __future__ import annotations

from ems.assets.battery.model import Battery, BatteryState
from ems.assets.envelope import Envelope


def battery_envelope(
    battery: Battery, state: BatteryState, exposure_s: float, outdoor_temp_c: float | None = None, given_kwh: float = 0.0
) -> Envelope:
    """The allowed power in kW, charging positive.

    Near the ends of the state-of-charge window the power is tapered so that holding it for `exposure_s` seconds (the lease and two
    cycles) stays inside: a controller that dies now leaves nothing behind that crosses the window; so does what its warranty leaves of
    today (`given_kwh` has been discharged since local midnight). A device that is silent or in the
    hands of a person gets no power.
    """
    if not state.is_fresh:
        return Envelope(battery.id, 0.0, 0.0, "device not trusted", "device not trusted")
    if state.is_local:
        return Envelope(battery.id, 0.0, 0.0, "device in LOCAL", "device in LOCAL")
    if battery.is_worn_out:
        return Envelope(battery.id, 0.0, 0.0, "end of life", "end of life")
    hours = exposure_s / 3600.0
    above_kwh = max(0.0, state.soc - battery.soc_min) * battery.energy_kwh
    below_kwh = max(0.0, battery.soc_max - state.soc) * battery.energy_kwh
    envelope = Envelope(battery.id, -battery.power_kw, battery.power_kw, "rating", "rating")
    if battery.droop is not None:
        left_kw = max(0.0, battery.power_kw - battery.droop.most_kw)
        envelope = envelope.narrowed(-left_kw, left_kw, "room for its droop")
    if battery.warranty_kwh_per_day is not None:
        left_kwh = max(0.0, battery.warranty_kwh_per_day - given_kwh)
        envelope = envelope.narrowed(-left_kwh / hours, battery.power_kw, "warranty throughput of today")
    envelope = envelope.narrowed(-state.max_discharge_kw, state.max_charge_kw, "device limit")
    least_kw, most_kw = -battery.discharge_limit_kw(state.soc, outdoor_temp_c), battery.charge_limit_kw(state.soc, outdoor_temp_c)
    envelope = envelope.narrowed(least_kw, most_kw, "power at this charge and temperature")
    return envelope.narrowed(
        -above_kwh * battery.discharge_efficiency / hours, below_kwh / battery.charge_efficiency / hours, "state of charge"
    )
