"""Energy tiers per kW of the month's peak (hours of use): what one kW more of that peak costs, since it makes every tier wider."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ems.site.tariff import Tariff, Tier
from ems.site.tariff_calendar import LocalTimes, month_hours, month_start, period_table

SLOT_S = 1800.0


def has_tiers_per_kw(tariff: Tariff) -> bool:
    """True where the ends of energy tiers move with the month's peak."""
    return "per_kw" in tariff.tier_unit and any(len(period.tiers) > 1 for period in tariff.energy_periods)


def tier_days(tariff: Tariff, month: int, time_zone: str) -> float:
    """Days of a month where its tiers count by them, else 1."""
    return float(round(month_hours(month, time_zone) / 24.0)) if tariff.tier_unit.endswith("day") else 1.0


def price_per_peak_kw(tariff: Tariff, month: int, amount: float, time_zone: str) -> float:
    """Money per kW of a month's peak: the energy it moves out of each tier reached, at what the next one is cheaper; each period by its
    share of the month's hours, as its energy is. `amount`: of the month in the unit of the tiers. Where tiers rise a higher peak saves
    money: 0, since that is not convex."""
    slots = int(2 * month_hours(month, time_zone))
    at_s = np.array([month_start(month, time_zone).timestamp() + SLOT_S * k for k in range(slots)])
    period = LocalTimes(at_s, time_zone, tariff).in_table(period_table(tariff.energy_periods))
    moved = sum(float(np.mean(period == k)) * _moved(p.tiers, amount) for k, p in enumerate(tariff.energy_periods))
    return max(0.0, moved * tier_days(tariff, month, time_zone))


def _moved(tiers: Sequence[Tier], amount: float) -> float:
    return sum(
        tier.up_to * (tier.price - above.price) for tier, above in pairwise(tiers) if tier.up_to is not None and tier.up_to <= amount
    )
