"""What each feeder leaves: for clusters, for charging, and for what stores push up through it.

Down, as at the point of connection: caps narrow first, are read back, and only then stores charge; stores let go first, are measured, and
only then the caps widen. Safe to die: workload lapses to its contract caps before stores let go, so batteries never charge more than
those leave; a UPS fills its reserve up beside the caps in force. Up: power that flows back heats a transformer as much, so the limit
holds in either direction, and only load that is sure to be drawn counts against what stores give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from ems.assets.cooling.envelope import cooling_growth
from ems.assets.envelope import Envelope
from ems.guard.degraded import ON_BATTERY
from ems.site.model import Site
from ems.state.estimate import SiteState

RULE = "feeder limit"
SURE = 0.98  # of the least load: meter error


@dataclass(frozen=True)
class Chiller:
    """Cooling on a feeder: what it counts at now, and per kW of the clusters it cools, in this weather and in the worst. `growth` is the
    share of a rise that it follows before all leases have lapsed."""

    power_kw: float
    fraction: float
    worst_fraction: float
    growth: float
    cools: tuple[str, ...]

    def follows_kw(self, it_kw: Mapping[str, float]) -> float:
        """What it can draw before stores have let go when every cluster draws `it_kw`."""
        return self.power_kw + self.growth * max(0.0, self.fraction * sum(it_kw[k] for k in self.cools) - self.power_kw)


@dataclass(frozen=True)
class Feed:
    """A feeder, or a pair of partners together, in this cycle. Powers in kW."""

    assets: frozenset[str]
    target_kw: float  # its limit less the margin
    fixed_kw: float
    drawn_per_kw: Mapping[str, float]  # per cluster on it: itself and its losses
    coolings: tuple[Chiller, ...]
    lasting_kw: Mapping[str, float]  # per cluster: what it may draw when its lease has lapsed
    given_kw: float  # the most that stores on it may give together

    def load_kw(self, it_kw: Mapping[str, float]) -> float:
        """What can flow into it without stores, before these have let go, when every cluster of the site draws `it_kw`."""
        drawn_kw = sum(part * it_kw[c] for c, part in self.drawn_per_kw.items())
        return drawn_kw + sum(c.follows_kw(it_kw) for c in self.coolings) + self.fixed_kw

    def beside_kw(self, it_kw: Mapping[str, float]) -> float:
        """What is left beside clusters that draw `it_kw` (nothing where none is named); never negative."""
        return max(0.0, self.target_kw - self.load_kw({c: it_kw.get(c, 0.0) for c in self.lasting_kw}))

    def charging_kw(self, it_kw: Mapping[str, float]) -> float:
        """The most that batteries on it may charge together beside clusters that draw `it_kw` and may lapse to their contract caps; never
        negative."""
        return self.beside_kw({c: max(it_kw.get(c, 0.0), kw) for c, kw in self.lasting_kw.items()})

    def it_kw(self, charging_kw: float) -> float:
        """The most IT power of the clusters on it together beside stores that charge so much, in the worst weather; never negative."""
        per_it = max(part + sum(c.worst_fraction for c in self.coolings if name in c.cools) for name, part in self.drawn_per_kw.items())
        return max(0.0, self.target_kw - self.fixed_kw - charging_kw) / per_it


def feeds_of(
    site: Site,
    state: SiteState,
    lasting_kw: Mapping[str, float],
    generation: Mapping[str, Envelope],
    cooling_kw: Mapping[str, float],
    exposure_s: float,
) -> list[Feed]:
    """Every feeder and pair of feeders in this cycle. `lasting_kw`: what each cluster may draw when its lease has lapsed; `cooling_kw`:
    what each cooling counts at; `exposure_s`: the seconds that a setpoint can outlive the controller."""
    chillers = {
        c.id: Chiller(cooling_kw[c.id], c.fraction(state.outdoor_temp_c), c.fraction(None), cooling_growth(c, exposure_s), tuple(c.cools))
        for c in site.coolings
    }
    return [_feed(site, state, frozenset(below), kw, lasting_kw, generation, chillers) for below, kw in site.feeds(state.outdoor_temp_c)]


def _feed(
    site: Site,
    state: SiteState,
    below: frozenset[str],
    limit_kw: float,
    lasting_kw: Mapping[str, float],
    generation: Mapping[str, Envelope],
    chillers: Mapping[str, Chiller],
) -> Feed:
    target_kw = limit_kw * (1.0 - site.control.import_margin)
    pushed_kw = sum(max(0.0, -e.low_kw) for k, e in generation.items() if k in below) + _unheard_kw(site, state, below)
    return Feed(
        assets=below,
        target_kw=target_kw,
        fixed_kw=sum(f.power_kw for f in site.fixed_loads if f.id in below),
        drawn_per_kw={c.id: 1.0 + sum(u.loss_fraction for u in site.upses if c.id in u.carries) for c in site.clusters if c.id in below},
        coolings=tuple(chiller for k, chiller in chillers.items() if k in below),
        lasting_kw=lasting_kw,
        given_kw=max(0.0, target_kw + SURE * _sure_kw(site, state, below) - pushed_kw),
    )


def _sure_kw(site: Site, state: SiteState, below: frozenset[str]) -> float:
    """Load that is measured and will not go: clusters down to idle, unless their UPS may carry them without the grid, and fixed loads."""
    off_grid = {c for u in site.upses if not state.upses[u.id].is_fresh or state.upses[u.id].mode in ON_BATTERY for c in u.carries}
    heard = [c for c in site.clusters if c.id in below and c.id not in off_grid and state.clusters[c.id].is_fresh]
    total_kw = sum(f.power_kw for f in site.fixed_loads)
    here_kw = sum(f.power_kw for f in site.fixed_loads if f.id in below)
    fixed_kw = here_kw * min(1.0, max(0.0, state.fixed_kw) / total_kw) if total_kw > 0.0 else 0.0
    return sum(max(0.0, min(state.clusters[c.id].power_kw, c.idle_kw)) for c in heard) + fixed_kw


def _unheard_kw(site: Site, state: SiteState, below: frozenset[str]) -> float:
    """What stores that are silent or not trusted may give all the same until their leases lapse."""
    silent_kw = sum(b.power_kw for b in site.batteries if b.id in below and not state.batteries[b.id].is_fresh)
    return silent_kw + sum(u.rating_kw for u in site.upses if u.id in below and u.is_bidirectional and not state.upses[u.id].is_fresh)


def hold_feeders(feeds: Sequence[Feed], storage: Mapping[str, Envelope], reserves: Set[str]) -> dict[str, Envelope]:
    """No battery charges more than the contract caps leave on its feeders, no store gives more than they carry. Whoever is told holds the
    sums. `reserves`: UPSes, which fill up beside whatever the caps in force leave: a reserve that is short is the worse danger."""
    out = dict(storage)
    for feed in feeds:
        for name in feed.assets & out.keys():
            high_kw = feed.beside_kw({}) if name in reserves else feed.charging_kw({})
            out[name] = out[name].narrowed(-feed.given_kw, high_kw, RULE)
    return out
