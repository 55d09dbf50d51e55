"""A bound solved beside the plan: large sites take many seconds for it, and a plan waits no longer than it may."""

from __future__ import annotations

from threading import Thread

from ems.errors import PlanInfeasible
from ems.plan.bound import BoundInputs, BoundResult, solve_bound
from ems.site.model import Site


class Look:
    """One bound, solved in a thread of its own (the solver leaves the interpreter free). The thread ends with its process."""

    def __init__(self, site: Site, inputs: BoundInputs) -> None:
        self._site, self._inputs = site, inputs
        self._result: BoundResult | None = None
        self._failure: Exception | None = None
        self._thread = Thread(target=self._solve, daemon=True)
        self._thread.start()

    def is_done(self, wait_s: float | None) -> bool:
        """Waits so many wall seconds at most, without end when None; True when the bound is solved or has failed."""
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def result(self) -> BoundResult | None:
        """What was found; None where the bound has no solution. Raises what else went wrong."""
        if self._failure is not None:
            raise self._failure
        return self._result

    def _solve(self) -> None:
        try:
            self._result = solve_bound(self._site, self._inputs)
        except PlanInfeasible:
            pass
        except Exception as failure:  # told to the plan, which knows what to do without it
            self._failure = failure
