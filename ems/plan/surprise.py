"""When the load has left the band a plan was made for so far that waiting for the next planning period would be wrong."""

from __future__ import annotations

from datetime import timedelta

from ems.messages import MinuteFrame
from ems.plan.plan import Plan
from ems.site.model import Site

ABOVE_BAND = 0.05  # of the clusters' rating, above the plan's 90 % quantile


PATIENCE = timedelta(minutes=1)  # a plan is given so long before a surprise replaces it


def is_surprise(site: Site, plan: Plan, frame: MinuteFrame) -> bool:
    """True when the minute's demand of all clusters lies above the plan's 90 % quantile by more than the margin; unknown demand is none."""
    if frame.start < plan.made_at + PATIENCE:
        return False
    step = plan.horizon.index_at(frame.start)
    demand_kw = [frame.demand_kw.get(c.id) for c in site.clusters]
    if step is None or any(kw is None for kw in demand_kw) or not all(c.id in plan.load_q90_kw for c in site.clusters):
        return False
    expected_kw = sum(plan.load_q90_kw[c.id][step] for c in site.clusters)
    return sum(kw for kw in demand_kw if kw is not None) > expected_kw + ABOVE_BAND * sum(c.rating_kw for c in site.clusters)
