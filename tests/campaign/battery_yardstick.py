"""A dozen-line dynamic programme on day-ahead prices, or on the mean day where none is published: what the plan should beat."""

from __future__ import annotations

from datetime import time

import numpy as np

from ems.replay.signals import Steps
from ems.replay.world import World, market_series
from ems.signals.prices import day_ahead_known_at
from ems.signals.series import instant_at

STATES, HOURS, DAYS = 41, 30, 7


def programme_money(world: World, is_known_at_start: bool, step_h: float) -> float:
    """Money a battery of the plant's ratings earns with it over the window, what is left credited as in the bound."""
    battery = world.plant.batteries[0]
    begin_s, end_s = world.scenario.start.timestamp(), world.scenario.model.end.timestamp()
    starts = np.arange(begin_s, end_s, 3600.0 * step_h)
    market, _ = market_series(world.site.tariff, world.signals)
    assert market is not None
    price = market.at(starts)
    held, low, high = battery.initial_soc * battery.energy_kwh, battery.min_energy_kwh, battery.max_energy_kwh
    levels = np.linspace(low, high, STATES)
    one_way, power_kw = (battery.charge_efficiency, battery.discharge_efficiency), battery.power_kw
    first_held, money, wear = held, 0.0, battery.wear_price_per_kwh
    ahead = value = levels
    for i, at_s in enumerate(starts):
        if i % max(1, round(0.25 / step_h)) == 0:
            ahead = expected(world, market, at_s)
            value = levels * max(ahead.mean(), 0.0) * one_way[1]
            for x in ahead[:0:-1]:
                value = best(levels, levels, value, x, 1.0, power_kw, one_way, wear)[0]
        now = price[i] if is_known_at_start else ahead[0]
        kw = best(np.array([held]), levels, value, now, step_h, power_kw, one_way, wear)[1][0]
        money -= (kw * price[i] + wear * abs(kw)) * step_h
        held += kw * step_h * (one_way[0] if kw > 0 else 1 / one_way[1])
    return float(money + (held - first_held) * price.mean() * one_way[1])


def best(
    held: np.ndarray,
    levels: np.ndarray,
    value: np.ndarray,
    price: float,
    hours: float,
    power_kw: float,
    one_way: tuple[float, float],
    wear: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Value and power of the best of charging, standing and discharging for some hours."""
    up = np.minimum(power_kw, (levels[-1] - held) / (hours * one_way[0]))
    down = np.maximum(-power_kw, -(held - levels[0]) * one_way[1] / hours)
    kw = np.stack([np.zeros_like(held), 0.5 * up, up, 0.5 * down, down])
    then = held + hours * np.where(kw > 0, kw * one_way[0], kw / one_way[1])
    worth = np.interp(then, levels, value) - (kw * price + wear * np.abs(kw)) * hours
    choice = worth.argmax(axis=0)[None]
    return np.take_along_axis(worth, choice, 0)[0], np.take_along_axis(kw, choice, 0)[0]


def expected(world: World, market: Steps, at_s: float) -> np.ndarray:
    """Prices of the next hours: published day-ahead, else the mean of the days before at that hour."""
    at, told, file = at_s + 3600.0 * np.arange(HOURS), world.signals.day_ahead, world.scenario.model.day_ahead
    if told is None or file is None:
        days = [np.where(at - 86400.0 * d < at_s, market.at(at - 86400.0 * d), np.nan) for d in range(1, DAYS + 1)]
        return np.asarray(np.nan_to_num(np.nanmean(days, axis=0)))
    known_at, instants = time.fromisoformat(file.known_at), [instant_at(x) for x in at]
    published = [day_ahead_known_at(x, known_at, file.time_zone) <= instants[0] for x in instants]
    before = told.at(at - 86400.0)
    return np.asarray(np.nan_to_num(np.where(published, told.at(at), before)))
