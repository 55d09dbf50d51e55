"""How warm the loop of each chilled-water plant is, also while the plant is silent or shows a supply that cannot be true.

While a plant is heard this is what it says. A supply that is missing, or that the heat balance cannot explain, is reckoned on from the
last one believed, with the heat that has reached the water and what the machines can remove: C T' = heat - able. Memory only narrows:
a plant that never said what it can remove bounds nothing, its own controls must.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ems.assets.cooling.model import Cooling, CoolingState
from ems.assets.cooling.plant import CATCH_UP_S
from ems.reading import Quality
from ems.site.model import Site
from ems.state.estimate import SiteState
from ems.state.image import SiteImage

DOUBT_K = 1.0  # a supply this much colder than it can be is not believed
HELD_S = 3600.0  # loops last minutes: had a silent plant failed, everybody in the halls would know within the hour
KEPT = ("heat_kw", "supply_c", "able_kw", "held_kw", "lowest_c", "has_shown")


@dataclass(frozen=True, slots=True)
class Loop:
    """What is believed of a plant and its loop now; None where it was never said."""

    supply_c: float | None
    able_kw: float | None  # as last said
    heat_kw: float  # that has reached the water
    most_kw: float = math.inf  # heat of the halls when the plant was last heard, while it is silent
    is_silent: bool = False


def loop_as_shown(seen: CoolingState, heat_kw: float) -> Loop:
    """What the readings alone say, for who keeps no memory."""
    return Loop(seen.supply_temp_c, seen.able_kw, heat_kw)


def loop_of(loops: Mapping[str, Loop], cooling: Cooling, state: SiteState) -> Loop:
    """What is remembered of a plant, or what its readings say where nothing is."""
    return loops.get(cooling.id) or loop_as_shown(state.coolings[cooling.id], cooled_kw(cooling, state))


def cooled_kw(cooling: Cooling, state: SiteState) -> float:
    """IT power in kW of what a plant cools."""
    return sum(state.clusters[c].power_kw for c in cooling.cools)


class Loops:
    """Follows the loops of all chilled-water plants from cycle to cycle."""

    def __init__(self, site: Site) -> None:
        self._watches = {c.id: LoopWatch(c) for c in site.coolings if c.plant is not None}

    def checked(self, image: SiteImage, state: SiteState, sent_c: Mapping[str, float]) -> SiteImage:
        """The image without supplies that cannot be true, the same one where there are none. `sent_c` is where each was last sent."""
        doubts = {k: why for k, w in self._watches.items() if (why := w.update(state, sent_c.get(k)))}
        if not doubts:
            return image
        readings = {k: {**points, **_doubted(points)} if k in doubts else points for k, points in image.readings.items()}
        return replace(image, readings=readings, problems={**{f"{k} supply": why for k, why in doubts.items()}, **image.problems})

    def now(self) -> dict[str, Loop]:
        """What is believed of each plant, as of the last update."""
        return {k: w.loop() for k, w in self._watches.items()}

    def encode(self) -> dict[str, dict[str, Any]]:
        """What must survive a restart, as plain data."""
        return {k: w.encode() for k, w in self._watches.items() if w.at is not None}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Takes back what `encode` gave."""
        for asset, kept in data.items():
            if asset in self._watches:
                self._watches[asset].restore(kept)


def _doubted(points: Mapping[str, Any]) -> dict[str, Any]:
    name = "supply_temp_c"
    return {name: replace(points[name], value=None, quality=Quality.SUSPECT)} if name in points else {}


class LoopWatch:
    """The memory of one plant."""

    def __init__(self, cooling: Cooling) -> None:
        assert cooling.plant is not None
        self._cooling, self._plant = cooling, cooling.plant
        self.at: datetime | None = None
        self.heard_at: datetime | None = None  # when it last said what it can remove
        self.heat_kw = 0.0
        self.supply_c: float | None = None
        self.able_kw: float | None = None
        self.held_kw = math.inf  # heat of the halls then
        self.lowest_c = cooling.plant.supply_temp_c  # it was ever sent; of a plant that others lead, shown
        self.has_shown = False  # a supply
        self._shown_c: float | None = None
        self._unmoved_k = 0.0  # by what the supply must have risen since the reading last moved

    def update(self, state: SiteState, sent_c: float | None) -> str:
        """Takes one cycle; why the supply shown is not believed, or is missing, "" when it stands."""
        seen, it_kw = state.coolings[self._cooling.id], cooled_kw(self._cooling, state)
        passed_s = 0.0 if self.at is None else max(0.0, (state.now - self.at).total_seconds())
        self._follow_heat(it_kw, passed_s)
        ables = [kw for kw in (self.able_kw, seen.able_kw) if kw is not None]  # machines came or went somewhere between the two
        why = self._why_not(seen.supply_temp_c, sent_c, self._rise_k(max(ables), passed_s) if ables else 0.0)
        self.at, self.able_kw = state.now, seen.able_kw if seen.able_kw is not None else self.able_kw
        if seen.supply_temp_c is not None and not why:
            self.supply_c, self.has_shown = seen.supply_temp_c, True
        elif ables:
            self.supply_c = self._reckoned_c(min(ables), passed_s)
        if seen.able_kw is not None:
            self.heard_at, self.held_kw = state.now, it_kw
        if why or seen.supply_temp_c is not None or not self.has_shown or not seen.is_fresh or self.supply_c is None:
            return why
        return f"its supply is not read, so it is reckoned: {self.supply_c:.1f} °C"

    def loop(self) -> Loop:
        """What is believed now.

        A plant that was able and falls silent is as likely to have lost its gateway as its chillers: it keeps the halls at the heat it
        carried then, and takes nothing away; more heat than that (a backlog) nobody has seen it carry. One that was not able, or warm, is
        taken to be so until it is heard: `able_kw` and the reckoned supply bound the halls as if it still spoke.
        """
        silent_s = 0.0 if self.at is None or self.heard_at is None else (self.at - self.heard_at).total_seconds()
        is_held = 0.0 < silent_s <= HELD_S
        return Loop(self.supply_c, self.able_kw, self.heat_kw, self.held_kw if is_held else math.inf, silent_s > 0.0)

    def encode(self) -> dict[str, Any]:
        """What must survive a restart, as plain data."""
        times = {name: at.isoformat() for name in ("at", "heard_at") if (at := getattr(self, name)) is not None}
        kept = {name: getattr(self, name) for name in KEPT}
        return {**times, **{name: value for name, value in kept.items() if value is not None and value != math.inf}}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Takes back what `encode` gave."""
        for name in ("at", "heard_at"):
            setattr(self, name, datetime.fromisoformat(data[name]) if name in data else None)
        for name in KEPT:
            setattr(self, name, data.get(name, getattr(self, name)))

    def _follow_heat(self, it_kw: float, passed_s: float) -> None:
        """Heat reaches the water with the plant's lag."""
        lag_s = self._cooling.lag_s
        part = 1.0 - math.exp(-passed_s / lag_s) if lag_s > 0.0 else 1.0
        self.heat_kw = it_kw if self.at is None else self.heat_kw + part * (it_kw - self.heat_kw)

    def _rise_k(self, able_kw: float, passed_s: float) -> float:
        return (self.heat_kw - able_kw) * passed_s / 3600.0 / self._plant.loop_kwh_per_k

    def _reckoned_c(self, able_kw: float, passed_s: float) -> float:
        """The loop warms by what is not removed. Otherwise it goes to its commissioned supply, as a plant left alone does, and no faster
        down to it than the machines that are on allow."""
        home_c = self._plant.supply_temp_c
        before_c, rise_k = home_c if self.supply_c is None else self.supply_c, self._rise_k(able_kw, passed_s)
        if rise_k > 0.0:
            return before_c + rise_k
        return before_c + max(rise_k, (home_c - before_c) * (1.0 - math.exp(-passed_s / CATCH_UP_S)))

    def _why_not(self, supply_c: float | None, sent_c: float | None, rise_k: float) -> str:
        """Only what is too cold is doubted: of a supply that is too warm the worse counts."""
        self._unmoved_k = max(0.0, self._unmoved_k + rise_k) if supply_c is not None and supply_c == self._shown_c else 0.0
        self._shown_c = supply_c
        if supply_c is None:
            return ""
        coldest_c = self._plant.supply_temp_c if self._plant.supply_lowest_c is None else self._plant.supply_lowest_c
        if sent_c is not None:
            self.lowest_c = min(self.lowest_c, sent_c)
        elif supply_c >= coldest_c - DOUBT_K:
            self.lowest_c = min(self.lowest_c, max(supply_c, coldest_c))
        if supply_c < self.lowest_c - DOUBT_K:
            return f"its supply cannot be: {supply_c:.1f} °C, sent to {self.lowest_c:.1f} °C at the coldest"
        if self._unmoved_k > DOUBT_K:
            return f"its supply cannot be: {supply_c:.1f} °C, and not moved while the heat in the loop warms it by {self._unmoved_k:.1f} K"
        return ""
