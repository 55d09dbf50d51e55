"""Carbon intensity ahead in g/kWh, average or marginal (never mixed): its own past blended with a provider's forecast if there is one."""

from __future__ import annotations

from ems.forecast.protocol import Ints
from ems.forecast.provided import Provided

HIGHEST_G = 2000.0


def carbon(leads: Ints, step_s: float, has_provider: bool = False) -> Provided:
    """A forecaster of one kind of carbon intensity; tell its `provider` what was issued before each update."""
    return Provided("carbon", leads, step_s, has_provider, 0.0, HIGHEST_G)
