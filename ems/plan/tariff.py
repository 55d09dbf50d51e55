"""What the tariff promises, as commitments."""

from __future__ import annotations

import numpy as np

from ems.commitment import Commitment, Per
from ems.plan.inputs import PlanInputs
from ems.site.model import Tariff

ENERGY, DEMAND, NEXT_DEMAND = "energy", "demand charge", "next month's demand charge"


def tariff_commitments(tariff: Tariff, inputs: PlanInputs) -> tuple[Commitment, ...]:
    """Energy per step, and the demand charge of this and of the next billing month.

    The demand baseline is what is lost already: the month's peak so far, or what the rest of the month will set anyway.
    """
    steps = inputs.horizon.n
    up = inputs.import_price_per_kwh
    down = np.minimum(inputs.export_price_per_kwh, up)
    meter = inputs.meter
    this_month_kw = max(meter.peak_so_far_kw, meter.expected_peak_kw, 0.0)
    price = tariff.demand_price_per_kw_month
    return (
        Commitment(ENERGY, Per.STEP, (0.0,) * steps, tuple(up.tolist()), tuple(down.tolist())),
        Commitment(DEMAND, Per.PEAK, (this_month_kw,), (price,), (0.0,), tariff.demand_interval_min),
        Commitment(NEXT_DEMAND, Per.PEAK, (max(meter.expected_peak_kw, 0.0),), (price,), (0.0,), tariff.demand_interval_min),
    )
