"""What the tariff promises, as commitments: energy and the month's demand charge of every tariff, and whatever else a tariff may hold."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ems.commitment import Commitment, Per
from ems.plan.hours_use import has_tiers_per_kw
from ems.plan.inputs import PlanInputs
from ems.site.model import Tariff
from ems.site.tariff import NEXT, NEXT_YEAR, DemandCharge

ENERGY, DEMAND, NEXT_DEMAND = "energy", "demand charge", "next month's demand charge"
CONTRACT, UTILISATION, TIER_PEAK = "contract capacity", "power by utilisation hours", "peak of the energy tiers"
COINCIDENT, CARBON, NETWORK_ENERGY = "coincident peak", "carbon", "energy by utilisation hours"
MINIMUM_TAKE, RAMP, MINIMUM_BILL = "minimum take", "ramps", "up to the minimum bill"


def tariff_commitments(tariff: Tariff, inputs: PlanInputs) -> tuple[Commitment, ...]:
    """Energy per step, and the demand charge of this and of the next billing month.

    The demand baseline is what is lost already: the month's peak so far, or what the rest of the month will set anyway. Without a demand
    price every peak is free.
    """
    steps = inputs.horizon.n
    up = inputs.import_price_per_kwh
    down = np.minimum(inputs.export_price_per_kwh, up)
    meter = inputs.meter
    price = tariff.demand_price_per_kw_month
    free_kw = 0.0 if price > 0.0 or tariff.is_plain else float(np.max(inputs.envelope.kw))
    next_kw = meter.expected_peak_kw if meter.expected_next_peak_kw is None else meter.expected_next_peak_kw
    this_month_kw = max(meter.peak_so_far_kw, meter.expected_peak_kw, free_kw, 0.0)
    return (
        Commitment(ENERGY, Per.STEP, (0.0,) * steps, tuple(up.tolist()), tuple(down.tolist())),
        Commitment(DEMAND, Per.PEAK, (this_month_kw,), (price,), (0.0,), tariff.demand_interval_min),
        Commitment(NEXT_DEMAND, Per.PEAK, (max(next_kw, free_kw, 0.0),), (price,), (0.0,), tariff.demand_interval_min),
    )


def peak_names(tariff: Tariff) -> dict[str, int]:
    """Every priced peak besides the demand charge, with the interval it is metered on in minutes; the next month's or year's as well."""
    monthly = {name: charge.interval_min for charge in tariff.demand_charges for name in (charge.name, *dearer_tiers(charge))}
    if tariff.contract_capacity is not None:
        monthly[CONTRACT] = tariff.contract_capacity.interval_min
    if has_tiers_per_kw(tariff):
        monthly[TIER_PEAK] = tariff.demand_interval_min
    rule = tariff.utilisation_hours
    yearly = {} if rule is None else {UTILISATION: rule.interval_min, UTILISATION + NEXT_YEAR: rule.interval_min}
    return {**monthly, **{name + NEXT: minutes for name, minutes in monthly.items()}, **yearly}


def dearer_tiers(charge: DemandCharge) -> dict[str, tuple[float, float]]:
    """Start in kW and price per kW of each tier of a demand charge that is dearer than one before it, by the name of its term; none where
    tiers only fall."""
    tiers = enumerate(pairwise(charge.tiers), start=1)
    return {
        f"{charge.name} above {below.up_to:,.10g} kW": (below.up_to, tier.price)
        for n, (below, tier) in tiers
        if below.up_to is not None and tier.price > min(t.price for t in charge.tiers[:n])
    }


def with_flat_steps(energy: Commitment, others: Sequence[Commitment]) -> Commitment:
    """Energy with the prices per step of the others added that have no baseline: one term prices them all."""
    extra = [c for c in others if c.adds_to_energy]
    if not extra:
        return energy
    up = np.sum([energy.up_price, *(c.up_price for c in extra)], axis=0)
    down = np.sum([energy.down_price, *(c.down_price for c in extra)], axis=0)
    return Commitment(energy.name, energy.per, energy.baseline_kw, tuple(up.tolist()), tuple(down.tolist()))
