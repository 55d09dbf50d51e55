"""A live feed as data: where prices, carbon or weather come from, how a response is read, when it is stale. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REAL_TIME_PRICE, DAY_AHEAD_PRICE, CARBON, WEATHER, WEATHER_FORECAST = (
    "real_time_price",
    "day_ahead_price",
    "carbon",
    "weather",
    "weather_forecast",
)
PRICES = (REAL_TIME_PRICE, DAY_AHEAD_PRICE)
FETCHED, INTERVAL_START, INTERVAL_END, PUBLISHED = "fetched", "interval_start", "interval_end", "published"


@dataclass(frozen=True)
class FeedColumns:
    """Where the parts of a row stand: header names of CSV, keys (`price.value`) or places (`0`) of JSON."""

    time: str
    value: str
    end: str | None = None
    published: str | None = None


@dataclass(frozen=True)
class Feed:
    """One feed of a site, by file drop (`folder`) or over HTTP (`url`). Polling is in wall time, age in site time."""

    name: str
    kind: str  # one of the five above
    url: str | None
    folder: str | None
    format: str  # "json" | "csv"
    rows: str  # JSON: the keys that lead to the rows, "" for the whole document
    columns: FeedColumns
    per: str  # MWh, kWh; g/kWh, kg/MWh, ...; C, F, K
    scale: float  # the value in the response times this is in `per` (0.01 for cents)
    currency: str | None  # of prices
    signal: str  # of carbon: "average" | "marginal"
    time_format: str  # "iso", "epoch_s", "epoch_ms" or a pattern of strptime
    time_zone: str  # of stamps that name none
    label: str  # a stamp is the "start" or the "end" of its interval
    step_min: float | None  # length of an interval; None: the end column, else the distance of the stamps
    known: str  # "fetched", "interval_start", "interval_end", "published" (the column) or "13:30", local time of the day before
    poll_s: float
    max_age_min: float  # stale when its newest interval ended longer ago
    timeout_s: float  # for a whole response
    max_bytes: int
    headers: Mapping[str, str]
    expect: Mapping[str, str]  # JSON: texts that must stand in the document, by their keys
    expect_row: Mapping[str, str]  # and in every row
    delimiter: str
    decimal: str
    skip_lines: int


def feed_from_data(data: Mapping[str, Any]) -> Feed:
    """The feed from plain data (dataclasses.asdict of one)."""
    return Feed(**{**data, "columns": FeedColumns(**data["columns"])})
