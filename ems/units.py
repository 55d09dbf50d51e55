"""Conversions between the units of the wire, the market and this house (kW, kWh, seconds, hours)."""

SECONDS_PER_HOUR = 3600.0


def hours(seconds: float) -> float:
    """Duration in hours."""
    return seconds / SECONDS_PER_HOUR


def energy_kwh(power_kw: float, duration_s: float) -> float:
    """Energy in kWh of a mean power held for a duration in seconds."""
    return power_kw * duration_s / SECONDS_PER_HOUR


def kw_from_w(power_w: float) -> float:
    """kW from W."""
    return power_w / 1000.0


def per_kwh_from_per_mwh(price_per_mwh: float) -> float:
    """Money per kWh from money per MWh."""
    return price_per_mwh / 1000.0
