"""How a feed is, in words: newest value, where from, how old; for the page and for `ems status`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ems.office.words import age

NAMES = {"price_per_kwh": "per kWh", "temp_c": "°C", "carbon_g_per_kwh": "g/kWh"}


def feed_words(shown: Mapping[str, Any], now: datetime, clock: Callable[[datetime], str]) -> str:
    """`0.0412 per kWh until 12:15 from prices.example, fetched 3 min ago, stale`; `clock` writes an instant as people here read it."""
    unit = NAMES.get(str(shown["unit"]), str(shown["unit"]))
    value = (
        "nothing yet" if shown["value"] is None else f"{shown['value']:.4g} {unit} until {clock(datetime.fromisoformat(shown['valid_to']))}"
    )
    at = shown["fetched_at"]
    fetched = f", fetched {age((now - datetime.fromisoformat(at)).total_seconds())} ago" if at else ""
    return f"{value} from {shown['from']}{fetched}{', stale' if shown['is_stale'] else ''}"
