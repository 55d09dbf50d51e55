"""What a branch of the load is set from: its load as import, the work of it that can wait, prices and what is left at the end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ems.assets.workload.block import MOST_BACKLOG_KWH, planned_deadline_h
from ems.plan.branches import BranchValues
from ems.plan.inputs import LoadBranch, PlanInputs
from ems.plan.values import PlanValues
from ems.site.model import Site

Array = NDArray[np.float64]


def branch_values(site: Site, inputs: PlanInputs, v: PlanValues, course: LoadBranch, deadline_h: float, kept_kwh: Array) -> BranchValues:
    """Numbers of one branch; `deadline_h` is the planned deadline of the work that may wait in it."""
    paid_h = v.duration_h * v.open_share
    mean_price = float(paid_h @ inputs.import_price_per_kwh / max(paid_h.sum(), 1e-9))
    extra_it_kw, arriving_kw = np.zeros(len(paid_h)), np.zeros(len(paid_h))
    for cluster in site.clusters:
        median_kw, own_kw = (np.clip(x[cluster.id], cluster.idle_kw, cluster.rating_kw) for x in (inputs.load_q50_kw, course.load_kw))
        extra_it_kw += own_kw - median_kw
        share = sum(k.share for k in cluster.classes.values() if k.defer_price_per_kwh is not None and planned_deadline_h(k) == deadline_h)
        arriving_kw += share * (own_kw - cluster.idle_kw)
    is_closed = np.r_[False, np.cumsum(v.duration_h) >= v.settle_h - 1e-9]
    return BranchValues(
        probability=course.probability,
        extra_kw=v.gain * extra_it_kw,
        arriving_kw=arriving_kw,
        limit_kw=inputs.envelope.kw,
        price=inputs.import_price_per_kwh * paid_h,
        paid_h=paid_h,
        stored_value=max(mean_price, 0.0),
        recovery_price=v.recovery_price,
        most_backlog_kwh=np.where(is_closed, 0.0, MOST_BACKLOG_KWH),
        kept_kwh=kept_kwh,
    )
