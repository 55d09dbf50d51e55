"""Generated load for the scenarios that must run without the data folder. Everything made here is labelled generated."""

from __future__ import annotations

import numpy as np

from ems.assets.workload.model import Cluster
from ems.replay.scenario import Scenario
from simulators.demand import DemandSeries, GeneratedDemand

HISTORY_S = 3 * 86400.0


def generated_series(scenario: Scenario, cluster: Cluster, seed: int) -> tuple[float, int, DemandSeries]:
    """Instant of the first step, index of the window's first step, and the seeded demand of one cluster on plant steps with three days
    of history."""
    step = scenario.plant_step_s
    history = int(HISTORY_S // step)
    first_s = scenario.model.start.timestamp() - history * step
    n = history + scenario.cycles * scenario.substeps
    return (
        first_s,
        history,
        GeneratedDemand(scenario.site, seed).series(cluster, np.asarray(first_s + (np.arange(n) + 0.5) * step, np.float64)),
    )
