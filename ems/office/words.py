"""Powers and instants in words and magnitudes, as people read them: `discharging 185 kW`."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

STORES = ("battery", "ups")
IDLE_KW = 0.5
KINDS = {
    "battery": "Battery",
    "ups": "UPS",
    "cluster": "IT hall",
    "cooling": "Cooling",
    "fixedload": "Fixed load",
    "generator": "Generator",
    "renewable": "Sun or wind",
}


def kw(value: float | None) -> str:
    """A magnitude: `1,213 kW`; a dash when it is missing."""
    return "–" if value is None else f"{abs(value):,.0f} kW"


def percent(share: float | None) -> str:
    """`64.3 %`; a dash when it is missing."""
    return "–" if share is None else f"{100.0 * share:.1f} %"


def flow(store_kw: float | None) -> str:
    """What a store does."""
    if store_kw is None:
        return "unknown"
    if abs(store_kw) < IDLE_KW:
        return "idle"
    return f"{'charging' if store_kw > 0 else 'discharging'} {kw(store_kw)}"


def doing(kind: str, power_kw: float | None, battery_kw: float | None = None) -> str:
    """What an asset does. A UPS is told by its battery, its own power is mostly losses."""
    if kind == "battery":
        return flow(power_kw)
    if kind == "ups":
        return flow(battery_kw)
    if power_kw is None:
        return "unknown"
    if kind in ("generator", "renewable") and abs(power_kw) < IDLE_KW:
        return "giving nothing"
    return f"{'generating' if power_kw < -IDLE_KW else 'drawing'} {kw(power_kw)}"


def ends(kind: str, low_kw: float | None, high_kw: float | None) -> tuple[str, str]:
    """The two ends of the interval the guard allows; ("", "") where there is none."""
    if low_kw is None or high_kw is None:
        return "", ""
    return (_low_end(low_kw), _high_end(high_kw)) if kind in STORES else (f"from {kw(low_kw)}", f"to {kw(high_kw)}")


def asked(kind: str, command: str, value_kw: float) -> str:
    """A setpoint in words."""
    if kind in STORES:
        return "stay idle" if abs(value_kw) < IDLE_KW else f"{'charge' if value_kw > 0 else 'discharge'} {kw(value_kw)}"
    if command == "run_request":
        return "run" if value_kw else "no request to run"
    if kind == "generator":
        return f"give {kw(value_kw)}"
    if command == "generation_limit_kw":
        return f"give at most {kw(value_kw)}"
    if command == "supply_setpoint_c":
        return f"supply water at {value_kw:.1f} °C"
    if command == "power_cap_kw":
        return f"stay below {kw(value_kw)}"
    return f"{command.removesuffix('_limit_kw').replace('_', ' ')} below {kw(value_kw)}"


def age(seconds: float | None) -> str:
    """`3 s`, `12 min`, `5 h`; a dash when unknown."""
    if seconds is None:
        return "–"
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def clock(instant: datetime | None, time_zone: str, with_date: bool = False) -> str:
    """Local time of the site."""
    if instant is None:
        return "–"
    return instant.astimezone(ZoneInfo(time_zone)).strftime("%a %d %b %H:%M:%S" if with_date else "%H:%M:%S")


def _low_end(low_kw: float) -> str:
    if abs(low_kw) < IDLE_KW:
        return "no discharging"
    return f"discharging up to {kw(low_kw)}" if low_kw < 0 else f"charging from {kw(low_kw)}"


def _high_end(high_kw: float) -> str:
    if abs(high_kw) < IDLE_KW:
        return "no charging"
    return f"charging up to {kw(high_kw)}" if high_kw > 0 else f"discharging from {kw(high_kw)}"
