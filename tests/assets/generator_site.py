"""Sites with generators and renewables for the tests, built on the demo site, and runs of machines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ems.assets.generator.model import Generator, GeneratorRun
from ems.plan.generation import GenerationInputs
from ems.plan.inputs import PlanInputs
from ems.site.load import load_site
from ems.site.model import Site

DEMO = Path(__file__).parents[2] / "config/sites/demo-2mw.yaml"
FAR = 1e6
GAS: dict[str, Any] = {"kind": "generator", "duty": "permitted", "technology": "gas_engine", "power_kw": 400, "fuel_price": 0.02}
DIESEL: dict[str, Any] = {"kind": "generator", "duty": "emergency", "technology": "diesel", "power_kw": 800, "fuel_price": 1.1}
SMR: dict[str, Any] = {"kind": "generator", "duty": "baseload", "technology": "smr", "power_kw": 300, "fuel_price": 0.003}
PV: dict[str, Any] = {"kind": "renewable", "technology": "pv", "power_kw": 200}


def site_with(import_limit_kw: float = 1370.0, demand_price: float = 0.0, **assets: dict[str, Any]) -> Site:
    """The demo site with more assets; `gas_1` becomes `gas-1`."""
    more = {name.replace("_", "-"): asset for name, asset in assets.items()}
    overrides = {
        "assets": more,
        "point_of_connection": {"import_limit_kw": import_limit_kw},
        "tariff": {"demand_price_per_kw_month": demand_price},
    }
    return load_site(DEMO, overrides)


def a_generator(site: Site, name: str) -> Generator:
    found = site.assets[name]
    assert isinstance(found, Generator)
    return found


def off(since_h: float = FAR, **changes: Any) -> GeneratorRun:
    return replace(GeneratorRun(False, since_h, 0.0, 1.0, 0.0, FAR, FAR), **changes)


def on(kw: float, since_h: float = FAR, **changes: Any) -> GeneratorRun:
    return replace(GeneratorRun(True, since_h, kw, 1.0, 0.0, FAR, FAR), **changes)


def with_runs(inputs: PlanInputs, **runs: GeneratorRun) -> PlanInputs:
    """The inputs with machines as they stand."""
    named = {name.replace("_", "-"): run for name, run in runs.items()}
    return replace(inputs, generation=replace(inputs.generation, runs=named))


def with_sun(inputs: PlanInputs, name: str, low_kw: float, kw: float) -> PlanInputs:
    """The inputs with an even expectation of sun."""
    n = inputs.horizon.n
    sun = GenerationInputs(inputs.generation.runs, inputs.generation.ordered, {name: np.full(n, low_kw)}, {name: np.full(n, kw)})
    return replace(inputs, generation=sun)
