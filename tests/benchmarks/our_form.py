"""The reference problem in the product's way: the cvxpy model of the reference with Parameters, compiled once, on our engine."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from ems.horizon import Horizon
from ems.plan.engine import Engine, Solution
from tests.benchmarks.reference.mpc_ref import Site

Array = NDArray[np.float64]
START = datetime(2024, 1, 1, tzinfo=UTC)


class OurForm:
    """Solves the periods of a reference site one after the other; what HotHighs does by hand."""

    def __init__(self, site: Site, data: dict[str, Any], **options: Any) -> None:
        self.site = site
        self.parameters = site.cvxpy_params()
        self._set(data)
        self.problem = self._problem()
        self.engine = Engine(self.problem, **options)
        self.offsets, self.columns = site.layout()

    def solve(self, period: int, data: dict[str, Any], aligned: bool = True) -> Solution:
        """Forecast in, solution out."""
        self._set(data)
        return self.engine.solve(self.horizon(period) if aligned else None)

    def horizon(self, period: int) -> Horizon:
        """The steps of a period: each begins 5 min after the one before."""
        first = START + timedelta(minutes=5 * period)
        return Horizon(tuple(first + timedelta(hours=h) for h in self.site.tbeg.tolist()), tuple(self.site.dt.tolist()))

    def raw(self, solution: Solution) -> Array:
        """The first steps of the solution where the reference's `advance` looks for them."""
        x = np.zeros(self.columns)
        for name, variable in self.problem._h.items():
            value = np.atleast_1d(self.engine.value(variable, solution)).reshape(variable.shape or (1,), order="F")
            several = value.ndim > 1
            for k, row in enumerate(value if several else [value]):
                first = self.offsets[f"{name}{k}" if several else name]
                x[first : first + len(row)] = row
        return x

    def _set(self, data: dict[str, Any]) -> None:
        for name, parameter in self.parameters.items():
            parameter.value = data[name]

    def _problem(self) -> cp.Problem:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # cvxpy on the many indexed rows of the reference
            return self.site.cvxpy_problem(self.parameters)
