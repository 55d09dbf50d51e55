"""summary.json of one replay."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ems.replay.field import SimulatedField
from ems.replay.ledger import Ledger
from ems.replay.world import World

if TYPE_CHECKING:
    from ems.replay.planning import Planning

SCHEMA = 1
PACKAGES = ("aidc-ems", "numpy", "cvxpy", "highspy", "pyarrow")


def summary(
    world: World,
    policy: str,
    ledger: Ledger,
    field: SimulatedField,
    stored_kwh: dict[str, float],
    ladder_s: dict[str, float],
    alarms: dict[str, int],
    planning: Planning | None,
    run_hours: dict[str, dict[str, dict[str, float]]],
) -> dict[str, Any]:
    """All parts in the contract's order; `wall_s` is filled in by the caller."""
    scenario, facility = world.scenario, ledger.facility_kwh(stored_kwh)
    start, end = scenario.model.start, scenario.model.end
    return {
        "schema": SCHEMA,
        "site": world.site.name,
        "policy": policy,
        "start": start.isoformat().replace("+00:00", "Z"),
        "end": end.isoformat().replace("+00:00", "Z"),
        "seed": world.seed,
        "energy": ledger.energy(stored_kwh),
        "cost": ledger.cost(stored_kwh).to_dict(world.site.currency),
        "peak": {"import_kw": max(ledger.highest.peaks_kw.values(), default=0.0), "interval_min": world.site.tariff.demand_interval_min},
        "limits": ledger.limits(scenario.plant_step_s),
        "service": ledger.service(world.has_tokens, facility),
        "efficiency": ledger.efficiency(facility, world.carbon_g is not None),
        "dr": _demand_response(world),
        "forecast": planning.scores.report() if planning else _no_forecast(),
        "planner": planning.report() if planning else {"solves": 0, "fallbacks": 0, "verify_failures": 0, "ms_p50": None, "ms_p99": None},
        "control": {
            "cycles": scenario.cycles if policy != "none" else 0,
            "ladder_seconds": ladder_s,
            "alarms": alarms,
            "refused_writes": field.refused,
            "silent_reads_and_writes": field.silent,
        },
        **_generation(world, ledger, run_hours),
        "data_quality": world.quality,
        "wall_s": 0.0,
        "simulated_s": scenario.cycles * scenario.control_step_s,
        "versions": versions(),
    }


def _generation(world: World, ledger: Ledger, run_hours: dict[str, dict[str, dict[str, float]]]) -> dict[str, Any]:
    """The `generation` part, where there is any."""
    is_there = bool(world.site.generators or world.site.renewables)
    return {"generation": ledger.generation.report(run_hours)} if is_there else {}


def versions() -> dict[str, str]:
    """What the figures were made with."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def _demand_response(world: World) -> dict[str, Any]:
    """Events are held as limits here; programmes with offers and settlement are not modelled."""
    n = len(world.scenario.model.events)
    return {
        "events": n,
        "accepted": n,
        "declined": 0,
        "derated": 0,
        "compliant": None,
        "delivered_fraction": None,
        "settlement": None,
    }


def _no_forecast() -> dict[str, Any]:
    return {"load_kw": {"10min": {}, "1h": {}, "24h": {}}, "price": {"1h": {}, "24h": {}}}
