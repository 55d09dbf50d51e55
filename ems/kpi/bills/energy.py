"""Energy on the bill: market price and adder, periods with tiers, export, minimum take, carbon."""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ems.errors import DataError
from ems.kpi.bills.lines import CARBON, ENERGY, BillLine, line
from ems.kpi.bills.metered import Account
from ems.site.tariff import MARKET, EnergyPeriod, Tier
from ems.site.tariff_calendar import NOBODY, period_table

Array = NDArray[np.float64]


def energy_lines(account: Account, month: int) -> Iterator[BillLine]:
    """Every energy line of a month."""
    tariff, metered = account.tariff, account.metered
    inside = account.times.month_index == month
    imported = metered.import_kwh[inside]
    if tariff.is_market:
        market = _market(metered.market_per_kwh, "the energy price")[inside]
        yield line("energy at the market price", ENERGY, imported.sum(), "kWh", imported @ market)
    if tariff.energy_price_per_kwh:
        yield line("energy", ENERGY, imported.sum(), "kWh", imported.sum() * tariff.energy_price_per_kwh)
    yield from _period_lines(account, month)
    yield from _export_line(account, month)
    yield from _minimum_take(account, month)
    if tariff.carbon is not None:
        grams = _market(metered.carbon_g_per_kwh, "a carbon price")[inside]
        kg = float(imported @ grams) / 1000.0
        yield line(f"carbon, {tariff.carbon.signal}", CARBON, kg, "kg", kg * tariff.carbon.price_per_kg)


def period_numbers(account: Account) -> NDArray[np.int64]:
    """The energy period of each interval."""
    return account.times.in_table(period_table(account.tariff.energy_periods)).astype(np.int64)


def _period_lines(account: Account, month: int) -> Iterator[BillLine]:
    periods = account.tariff.energy_periods
    inside = account.times.month_index == month
    number, imported = period_numbers(account)[inside], account.metered.import_kwh[inside]
    total_kwh = float(imported.sum())
    scale = tier_scale(account, month)
    for k, period in enumerate(periods):
        kwh = float(imported[number == k].sum())
        if not (number == k).any():
            continue
        shares = tier_shares(total_kwh, period.tiers, scale)
        for n, (share, tier) in enumerate(zip(shares, period.tiers, strict=True)):
            if len(period.tiers) == 1 or share > 0.0:
                name = period.name if len(period.tiers) == 1 else f"{period.name}, tier {n + 1}"
                yield line(name, ENERGY, kwh * share, "kWh", kwh * share * tier.price)


def tier_shares(total_kwh: float, tiers: Sequence[Tier], scale: float) -> list[float]:
    """Share of the month's import in each tier; a period's energy is split in the same shares, as utilities prorate it."""
    if total_kwh <= 0.0:
        return [1.0] + [0.0] * (len(tiers) - 1)
    ends = [total_kwh if t.up_to is None else min(total_kwh, t.up_to * scale) for t in tiers]
    return [(end - start) / total_kwh for start, end in zip([0.0, *ends[:-1]], ends, strict=True)]


def tier_scale(account: Account, month: int) -> float:
    """What a tier's end is multiplied with: days and peak where the unit says so, and the share of the month there is data for."""
    unit, share = account.tariff.tier_unit, account.share(month)
    days = calendar.monthrange(1970 + month // 12, month % 12 + 1)[1] if unit.endswith("day") else 1
    peak_kw = account.highest_kw(account.tariff.demand_interval_min)[month] if "per_kw" in unit else 1.0
    return share * days * peak_kw


def _export_line(account: Account, month: int) -> Iterator[BillLine]:
    tariff, metered = account.tariff, account.metered
    inside = account.times.month_index == month
    exported = metered.export_kwh[inside]
    if not exported.any():
        return
    price = export_prices(tariff.energy_periods, period_numbers(account)[inside], tariff.export_price_per_kwh)
    if tariff.export_energy in MARKET:
        series = metered.export_market_per_kwh if metered.export_market_per_kwh is not None else metered.market_per_kwh
        price = price + _market(series, "the export price")[inside]
    yield line("export", ENERGY, exported.sum(), "kWh", -float(exported @ price))


def export_prices(periods: Sequence[EnergyPeriod], number: NDArray[np.int64], default: float) -> Array:
    """The export price of each interval from its period's number."""
    own = [default if p.export_price_per_kwh is None else p.export_price_per_kwh for p in periods]
    return np.array([*own, default])[np.where(number == NOBODY, len(own), number)]


def _minimum_take(account: Account, month: int) -> Iterator[BillLine]:
    take = account.tariff.minimum_take
    if take is not None:
        missing = max(0.0, take.kwh_per_month * account.share(month) - account.import_kwh(month))
        yield line("minimum take", ENERGY, missing, "kWh", missing * take.price_per_kwh)


def _market(series: Array | None, what: str) -> Array:
    if series is None:
        raise DataError(f"{what} of the tariff follows a series that the data does not have")
    return series
