"""Does a cluster stay under the cap it was told? One that draws more than any cap of the last seconds is named within five seconds.

Nothing is taken from it: its power is counted as measured anyway, and what it draws above the limit is taken off the room (correction.py).
And what may a cluster that cannot be heard still be capped at? At what it last showed, or was told since, until its lease has run out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta

from ems.site.leases import ACTUATION_S
from ems.site.model import Site
from ems.state.estimate import SiteState

FOLLOWS_WITHIN = timedelta(seconds=3)
CYCLES = 2
TAKEN_S = 2.0  # from the cycle that tells a cap to the power measured under it
OVER_CAP = " cap"  # ends the image key of a cluster that draws more than it was told
SLACK, SLACK_KW = 0.02, 5.0  # of the rating, at least


class Ceilings:
    """Watches all clusters."""

    def __init__(self, site: Site) -> None:
        self._slack_kw = {c.id: max(SLACK_KW, SLACK * c.rating_kw) for c in site.clusters}
        self._window = max(FOLLOWS_WITHIN, timedelta(seconds=2.5 * site.control.cycle_s))
        self._told: dict[str, deque[tuple[datetime, float]]] = {c.id: deque() for c in site.clusters}
        self._over = dict.fromkeys(self._told, 0)

    def update(self, state: SiteState, told_kw: Mapping[str, float]) -> dict[str, str]:
        """Takes a cycle's state and the caps of the cycle before; who stays above, by image key, and why."""
        found = {}
        for cluster, told in self._told.items():
            seen, cap_kw = state.clusters[cluster], told_kw.get(cluster)
            if cap_kw is None or not seen.is_fresh or seen.is_local:
                told.clear()
                self._over[cluster] = 0
                continue
            told.append((state.now, cap_kw))
            while len(told) > 1 and state.now - told[1][0] >= self._window:  # one entry of the window's age or older stays: it acted then
                told.popleft()
            most_kw = max(kw for _, kw in told)
            is_known = state.now - told[0][0] >= self._window - timedelta(seconds=1)  # what it held before may act until then
            is_over = is_known and seen.power_kw > most_kw + self._slack_kw[cluster]
            self._over[cluster] = self._over[cluster] + 1 if is_over else 0
            if self._over[cluster] >= CYCLES:
                found[cluster + OVER_CAP] = f"told at most {most_kw:.0f} kW, draws {seen.power_kw:.0f} kW"
        return found


class RecentCaps:
    """The widest cap each cluster was told within the seconds that it may take to follow."""

    def __init__(self, site: Site) -> None:
        self._window = timedelta(seconds=max(TAKEN_S, 1.5 * site.control.cycle_s))
        self._told: dict[str, deque[tuple[datetime, float]]] = {c.id: deque() for c in site.clusters}
        self._since: dict[str, datetime] = {}

    def update(self, now: datetime, told_kw: Mapping[str, float]) -> dict[str, float]:
        """Takes what every cluster was told a cycle ago; in kW, none for a cluster that has not been told for that long."""
        self._since = {c: self._since.get(c, now) for c in told_kw}
        for cluster, told in self._told.items():
            if cluster in told_kw:
                told.append((now, told_kw[cluster]))
            while told and now - told[0][0] > self._window:
                told.popleft()
        known = [c for c, since in self._since.items() if now - since >= self._window]
        return {c: max(kw for _, kw in self._told[c]) for c in known}


class InForce:
    """The caps that may be in force at clusters that cannot be heard."""

    def __init__(self, site: Site) -> None:
        lease_s = {c.id: site.links[c.id].lease_s if c.id in site.links else 0.0 for c in site.clusters}
        self._lasts = {c: timedelta(seconds=s + ACTUATION_S) for c, s in lease_s.items()}
        self._held: dict[str, tuple[datetime, float]] = {}  # when it was last heard, and the widest cap of then and since

    def update(self, state: SiteState, told_kw: Mapping[str, float]) -> dict[str, float]:
        """Takes the state and what every cluster was told a cycle ago; the widest caps that may still act, by cluster."""
        widest = dict(told_kw)
        for cluster, kw in told_kw.items():
            shown_kw, held = state.clusters[cluster].cap_kw, self._held.get(cluster)
            if shown_kw is not None:
                self._held[cluster] = (state.now, max(shown_kw, kw))
            elif held is not None and state.now - held[0] <= self._lasts[cluster]:
                widest[cluster] = max(held[1], kw)
                self._held[cluster] = (held[0], widest[cluster])
        return widest
