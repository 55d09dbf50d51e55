"""What generators and renewables may give now, and how much of it the import limit may lean on.

Lean on: what is left when the largest machine trips. So no single trip breaks the import limit, and nothing has to be seen before it is
safe. Sun and wind are not leaned on at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ems.assets.envelope import Envelope
from ems.assets.generator.envelope import generator_envelope
from ems.assets.generator.model import Generator, GeneratorRun
from ems.assets.renewable.envelope import renewable_envelope
from ems.site.model import Site
from ems.state.estimate import SiteState

LOAD_MARGIN = 0.98  # of the load that generation may serve: meter error and the load's own steps


def generation_envelopes(site: Site, state: SiteState, runs: Mapping[str, GeneratorRun]) -> dict[str, Envelope]:
    """One envelope per generator and renewable, generating negative."""
    at_s = state.now.timestamp()
    out = {g.id: generator_envelope(g, state.generators[g.id], runs.get(g.id, unknown_run(g)), at_s) for g in site.generators}
    return out | {r.id: renewable_envelope(r, state.renewables[r.id]) for r in site.renewables}


def firm_kw(given_kw: Iterable[float]) -> float:
    """What is left of several machines when the largest trips."""
    powers = list(given_kw)
    return sum(powers) - max(powers, default=0.0)


def firm_generation_kw(state: SiteState) -> float:
    """What generators give now and would still give after the largest has tripped."""
    return firm_kw(g.generation_kw for g in state.generators.values())


def most_generation_kw(site: Site, state: SiteState, gross_valley_kw: float) -> float:
    """What generation may give in all without exporting more than allowed, should the load fall to its recent low."""
    if not (site.generators or site.renewables) or math.isinf(gross_valley_kw):
        return math.inf
    return max(0.0, gross_valley_kw) * LOAD_MARGIN + site.point_of_connection.export_limit_kw


def unknown_run(generator: Generator) -> GeneratorRun:
    """Of a machine nobody has followed yet: off, for long, with what its permit leaves."""
    left_h = math.inf if generator.permit_h_per_year is None else generator.permit_h_per_year - generator.permit_used_h
    budget_kg = generator.emission_budget_kg(counts_used=True)
    return GeneratorRun(False, math.inf, 0.0, 0.0, 0.0, left_h, math.inf if budget_kg is None else budget_kg)
