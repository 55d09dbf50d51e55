"""What a feed can carry: where its rows go, what they are called there, in what unit, and what is absurd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ems.signals.carbon import HIGH_G, LOW_G
from ems.signals.prices import DAY_AHEAD, HIGH_PER_KWH, LOW_PER_KWH, REAL_TIME
from ems.signals.weather import COLDEST_C, FORECAST, HOTTEST_C

KWH_PER_MWH = 1000.0
G_PER_LB = 453.59237


@dataclass(frozen=True)
class Kind:
    """The topic rows are posted on, the value they carry, the columns of a plain file with the factor to our unit, what is absurd,
    the source rows name, when they are stale."""

    topic: str
    value: str
    columns: Mapping[str, float]
    low: float
    high: float
    source: str
    stale_after: timedelta


PRICES = Kind(
    "prices", "price_per_kwh", {"price_per_kwh": 1.0, "price_per_mwh": 0.001}, LOW_PER_KWH, HIGH_PER_KWH, REAL_TIME, timedelta(hours=6)
)
WEATHER = Kind("weather", "temp_c", {"temp_c": 1.0}, COLDEST_C, HOTTEST_C, "observed", timedelta(hours=12))
CARBON = Kind("carbon", "carbon_g_per_kwh", {"carbon_g_per_kwh": 1.0}, LOW_G, HIGH_G, "average", timedelta(hours=6))

KINDS: Mapping[str, tuple[Kind, str]] = {  # of a site's feeds: what it carries, and the source its rows name ("": the feed's signal)
    "real_time_price": (PRICES, REAL_TIME),
    "day_ahead_price": (PRICES, DAY_AHEAD),
    "carbon": (CARBON, ""),
    "weather": (WEATHER, "observed"),
    "weather_forecast": (WEATHER, FORECAST),
}
UNITS: Mapping[str, tuple[float, float]] = {  # ours = factor x theirs + offset
    "MWh": (1.0 / KWH_PER_MWH, 0.0),
    "kWh": (1.0, 0.0),
    "g/kWh": (1.0, 0.0),
    "kg/MWh": (1.0, 0.0),
    "kg/kWh": (1000.0, 0.0),
    "t/MWh": (1000.0, 0.0),
    "lb/MWh": (G_PER_LB / KWH_PER_MWH, 0.0),
    "C": (1.0, 0.0),
    "F": (5.0 / 9.0, -160.0 / 9.0),
    "K": (1.0, -273.15),
}


@dataclass(frozen=True, order=True)
class FeedRow:
    """One value over `[valid_from, valid_to)`, known from `available_at` on."""

    available_at: datetime
    valid_from: datetime
    valid_to: datetime
    source: str
    value: float

    def encode(self, kind: Kind) -> dict[str, Any]:
        """The row as the planner reads it."""
        instants = {"valid_from": self.valid_from, "valid_to": self.valid_to, "available_at": self.available_at}
        return {**{k: v.isoformat() for k, v in instants.items()}, kind.value: self.value, "source": self.source}
