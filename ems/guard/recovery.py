"""A fault narrows at once, health widens slowly: a store that was silent or not trusted gets power again after ten good cycles."""

from __future__ import annotations

from ems.site.model import Site
from ems.state.estimate import SiteState

GOOD_CYCLES = 10


class Recovery:
    """Counts good cycles per store since it was last not to be trusted. At the start every store is trusted as soon as it is read."""

    def __init__(self, site: Site) -> None:
        self._good = dict.fromkeys([*(b.id for b in site.batteries), *(u.id for u in site.upses)], GOOD_CYCLES)

    def update(self, state: SiteState) -> frozenset[str]:
        """The stores that are back but not for long enough."""
        fresh = {**{k: b.is_fresh for k, b in state.batteries.items()}, **{k: u.is_fresh for k, u in state.upses.items()}}
        self._good = {k: min(GOOD_CYCLES, good + 1) if fresh[k] else 0 for k, good in self._good.items()}
        return frozenset(k for k, good in self._good.items() if fresh[k] and good < GOOD_CYCLES)
