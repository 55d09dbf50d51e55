"""Facility figures of the ISO/IEC 30134 family over the window (interim values, not annual ones)."""

from __future__ import annotations


def facility_kwh(import_kwh: float, export_kwh: float, generation_kwh: float, stored_change_kwh: float) -> float:
    """Energy the facility used: everything that came in, less what left and what is still stored. Storage losses stay in."""
    return import_kwh - export_kwh + generation_kwh - stored_change_kwh


def pue(facility_energy_kwh: float, it_kwh: float) -> float | None:
    """ISO/IEC 30134-2 ratio of facility to IT energy, IT measured at the cluster input; None without IT energy."""
    return facility_energy_kwh / it_kwh if it_kwh > 0 else None


def carbon_per_it_kwh(carbon_kg: float | None, it_kwh: float) -> float | None:
    """ISO/IEC 30134-8 in g CO2 per kWh of IT; None where the grid's intensity is not given."""
    return None if carbon_kg is None or it_kwh <= 0 else 1000.0 * carbon_kg / it_kwh
