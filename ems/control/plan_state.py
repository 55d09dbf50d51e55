"""The planner's starting point, taken from a decision."""

from __future__ import annotations

from datetime import datetime

from ems.control.decision import Decision
from ems.plan.state import PlanState
from ems.site.model import Site


def plan_state(site: Site, decision: Decision, interval_start: datetime | None) -> PlanState:
    """What the planner must know of the present: energies from the measured state of charge, backlog, billing interval, limits."""
    state = decision.state
    energy = {b.id: state.batteries[b.id].soc * b.energy_kwh for b in site.batteries}
    energy.update({u.id: state.upses[u.id].soc * u.energy_kwh for u in site.upses})
    return PlanState(
        at=state.now,
        energy_kwh=energy,
        clusters={k: dict(c.classes) for k, c in state.clusters.items()},
        critical_kw=decision.critical_kw,
        peak_so_far_kw=decision.month_peak_kw,
        interval_start=interval_start,
        interval_kwh=decision.interval_kwh,
        cooling_kw=state.cooling_kw,
        import_limit_kw=decision.lasting_limit_kw,
        poc_kw=state.poc_kw,
        outdoor_temp_c=state.outdoor_temp_c,
        runs=dict(decision.runs),
        given_kwh=dict(decision.given_kwh),
        tier_past={cluster: dict(classes) for cluster, classes in decision.tier_past.items()},
        supply_temp_c=_led_supplies(decision),
        dew_point_c=_dew_points(decision),
    )


def _dew_points(decision: Decision) -> dict[str, float]:
    """Measured dew points in degrees C per plant; one that measures none is left out."""
    return {name: s.dew_point_c for name, s in decision.state.coolings.items() if s.is_fresh and s.dew_point_c is not None}


def _led_supplies(decision: Decision) -> dict[str, float]:
    """Measured supply temperatures in degrees C of the plants that are led; one that is silent, or not handed over, is left out."""
    led = [s.asset for s in decision.written if s.command == "supply_setpoint_c"]
    seen = {name: decision.state.coolings[name] for name in led}
    return {name: s.supply_temp_c for name, s in seen.items() if s.is_fresh and s.supply_temp_c is not None}
