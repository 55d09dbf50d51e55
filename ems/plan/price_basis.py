"""Which price a plan was made with: known, day-ahead, of earlier days, the last known, or the declared fallback."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from ems.horizon import Horizon
from ems.plan.sources import PriceSource
from ems.signals.prices import DAY_AHEAD_BASIS, FORECAST_BASIS, REAL_TIME_BASIS, PriceBook
from ems.site.tariff import MARKET, Tariff

WELL = (REAL_TIME_BASIS, DAY_AHEAD_BASIS, FORECAST_BASIS)


def price_basis(tariff: Tariff, prices: PriceSource, now: datetime, horizon: Horizon) -> tuple[str, ...]:
    """Per step, what the market price of the plan rests on; () where no market price counts or the source cannot say."""
    follows_market = tariff.is_market or tariff.export_energy in MARKET
    return prices.basis(now, horizon.starts, horizon.duration_h) if follows_market and isinstance(prices, PriceBook) else ()


def basis_line(basis: Sequence[str], duration_h: Sequence[float]) -> tuple[str, ...]:
    """The basis in one line for `explain`: `price: real time known 0.1 h, day-ahead 35 h, profile of earlier days 13 h`."""
    if not basis:
        return ()
    runs = groupby(zip(basis, duration_h, strict=True), key=lambda step: step[0])
    return ("price: " + ", ".join(f"{name} {sum(h for _, h in steps):.3g} h" for name, steps in runs),)


def basis_alarm(basis: Sequence[str], fallback_per_kwh: float) -> str:
    """What a person should know: no market price is known for now; "" when one is."""
    if not basis or basis[0] in WELL:
        return ""
    value = f" of {fallback_per_kwh:g} per kWh" if basis[0] == PriceBook.NOTHING_KNOWN else ""
    return f"no market price is known for now: the plan uses the {basis[0]}{value}"
