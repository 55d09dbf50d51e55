"""What a tariff's energy periods cost over the steps of a plan or at instants, market price and adder not included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from ems.site.tariff import EnergyPeriod, Tariff, Tier
from ems.site.tariff_calendar import NOBODY, LocalTimes, period_table

Array = NDArray[np.float64]
GRID_S = 300.0


def price_at(tariff: Tariff, time_zone: str, at_s: Array, month_kwh: Mapping[int, float] | None = None) -> tuple[Array, Array]:
    """Import and export price per kWh of the periods at each instant. `month_kwh`: what each local month will come to, which says in which
    tier its next kWh is; the first tier where it is not known. Export is the whole export price, its market part not included."""
    zero = np.zeros(len(at_s))
    if not tariff.energy_periods:
        return zero, zero + tariff.export_price_per_kwh
    times = LocalTimes(at_s, time_zone, tariff)
    number = times.in_table(period_table(tariff.energy_periods)).astype(np.int64)
    imported = zero.copy()
    for month in np.unique(times.month_index):
        prices = np.array([_marginal(p.tiers, (month_kwh or {}).get(int(month), 0.0)) for p in tariff.energy_periods] + [0.0])
        inside = times.month_index == month
        imported[inside] = prices[np.where(number[inside] == NOBODY, len(tariff.energy_periods), number[inside])]
    own = [_export(p, tariff) for p in tariff.energy_periods]
    return imported, np.array([*own, tariff.export_price_per_kwh])[number]


def step_prices(
    tariff: Tariff, time_zone: str, starts: Sequence[datetime], duration_h: Sequence[float], month_kwh: Mapping[int, float] | None = None
) -> tuple[Array, Array]:
    """As price_at, as the mean over each step."""
    points, step = _points(starts, duration_h)
    count = np.bincount(step, minlength=len(starts))
    imported, exported = price_at(tariff, time_zone, points, month_kwh)
    return np.bincount(step, imported, len(starts)) / count, np.bincount(step, exported, len(starts)) / count


def cheapest_tiers(tariff: Tariff) -> dict[str, float]:
    """The lowest price of each period: what no bill can be below."""
    return {p.name: min(t.price for t in p.tiers) for p in tariff.energy_periods}


def _points(starts: Sequence[datetime], duration_h: Sequence[float]) -> tuple[Array, NDArray[np.int64]]:
    """Instants spread over each step, at least one and about one in five minutes, and the step each belongs to."""
    seconds = np.asarray(duration_h, float) * 3600.0
    counts = np.maximum(1, np.round(seconds / GRID_S)).astype(np.int64)
    step = np.repeat(np.arange(len(starts)), counts)
    place = np.arange(len(step)) - np.repeat(np.cumsum(counts) - counts, counts)
    begin = np.array([s.timestamp() for s in starts])
    return begin[step] + (place + 0.5) * (seconds / counts)[step], step


def _marginal(tiers: Sequence[Tier], month_kwh: float) -> float:
    return next(t.price for t in tiers if t.up_to is None or month_kwh < t.up_to)


def _export(period: EnergyPeriod, tariff: Tariff) -> float:
    return tariff.export_price_per_kwh if period.export_price_per_kwh is None else period.export_price_per_kwh
