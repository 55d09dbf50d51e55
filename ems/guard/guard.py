"""What each asset and the site may do now, and which rule bounds it. Never asks the optimizer.

Standing caps, not reaction: the sum of the workload caps, with cooling, losses and fixed load, stays under the limit plus the storage
power that is already measured. Storage moves first, is measured, and only then the caps widen; caps narrow first, are read back, and
only then storage lets go. So no rise of the load has to be seen before it is safe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ems.assets.battery.envelope import battery_envelope
from ems.assets.cooling.envelope import SupplyEnvelope, cooling_envelope, cooling_growth, led_power, supply_envelope
from ems.assets.cooling.plant import heat_allowed_kw
from ems.assets.envelope import Envelope
from ems.assets.fixed_load.envelope import fixed_envelope
from ems.assets.generator.model import GeneratorRun
from ems.assets.grid_connection.envelope import momentary_limit
from ems.assets.ups.envelope import ups_envelope
from ems.assets.ups.model import Ups
from ems.assets.workload.envelope import assumed_cap_kw, cap_envelope
from ems.assets.workload.model import Cluster
from ems.guard.degraded import ON_BATTERY, Standing, cap_bound_kw, storage_bounds
from ems.guard.feeders import Feed, feeds_of, hold_feeders
from ems.guard.generation import firm_generation_kw, generation_envelopes, most_generation_kw
from ems.guard.loops import Loop, cooled_kw, loop_of
from ems.guard.room import Room
from ems.guard.share import fit, share_total
from ems.limit import Allowed, Limit
from ems.obligation import Obligation
from ems.site.model import Site
from ems.state.estimate import SiteState

WARM_K = 1.0  # above its commissioned supply a plant is catching up
HOT_C = 42.0  # outdoor temperature where none is known
SUPPLY_MARGIN_K = 0.3  # error of a supply temperature
OVERDRAWN = 0.02  # of the rating: what a cluster may draw above its cap before the others get less
DISOBEYED = 0.005  # likewise, above every cap of the last seconds, which it had the time to take: then its power counts, not its cap
WAITS_S = 5.0  # a replay with a longer step gives every device the time to have taken its cap within one
EXPORT_MARGIN = 0.98  # of the load that storage may serve: meter error and the load's own steps
NO_STORAGE: Mapping[str, float] = {}


@dataclass(frozen=True)
class Observed:
    """What the guard must know beyond the present state: rolling extremes and the last caps, kept by the controller."""

    critical_kw: Mapping[str, float]  # per UPS: the load its reserve must carry
    since_normal_s: Mapping[str, float]  # per UPS
    load_valley_kw: float  # smallest import without storage of the last seconds, without what UPSes carried off the grid
    interval_limit_kw: float  # what limits on longer windows leave now; infinite when there are none
    interval_source: str
    ramp_ceiling_kw: float  # highest import the ramp limit allows now; infinite when there is none
    last_caps_kw: Mapping[str, float]  # as last sent: may still be on their way; of a silent cluster all that may still act
    last_storage_kw: Mapping[str, float]  # likewise
    fixed_kw: Mapping[str, float]  # assets that are not handed over while others are: the power they are counted at
    runs: Mapping[str, GeneratorRun] = field(default_factory=dict)  # per generator
    gross_valley_kw: float = math.inf  # smallest import without storage and generation of the last seconds
    correction_kw: float = 0.0  # import above the limit that nothing explains, see correction.py
    last_supply_c: Mapping[str, float] = field(default_factory=dict)  # per plant that is led, as last sent
    given_kwh: Mapping[str, float] = field(default_factory=dict)  # per store with a daily budget: discharged since local midnight
    degraded: tuple[Standing, ...] = ()  # modes in force
    allowed: Mapping[Limit, Allowed] = field(default_factory=dict)  # by limits with a curve or in kVA, now
    recent_caps_kw: Mapping[str, float] = field(default_factory=dict)  # per cluster: the widest cap told in the last seconds
    returning: frozenset[str] = frozenset()  # stores that are back, but not for long enough
    loops: Mapping[str, Loop] = field(default_factory=dict)  # per chilled-water plant, also while it is silent


@dataclass(frozen=True)
class Verdict:
    """The guard's answer for this cycle. Storage envelopes are battery power, charging positive; cap envelopes bound the caps."""

    limit_kw: float
    limit_source: str
    room: Room
    storage: dict[str, Envelope]
    caps: dict[str, Envelope]
    carried_kw: dict[str, float]  # per UPS: the largest load its store can carry for the promised minutes now
    followers: dict[str, Envelope]  # what nobody commands: where cooling and fixed loads can be before the next answer
    ceilings_kw: dict[str, float]  # per cluster: the highest cap that may be in force now, or its power where it draws more
    confirmed_it_kw: float  # their sum
    overdrawn_kw: dict[str, float]  # per cluster that draws more than any cap it was given: its power
    storage_now_kw: dict[str, float]  # per store: the larger of the power measured and the power last sent
    storage_high_kw: float  # the sum of all storage may not exceed this until narrower caps are read back
    storage_high_rule: str
    load_valley_kw: float
    trip_kw: float  # of the largest cooling, and droop: a load that can go at once
    export_limit_kw: float
    generation: dict[str, Envelope] = field(default_factory=dict)  # generators and renewables, generating negative
    heat_allowed_kw: dict[str, float] = field(default_factory=dict)  # per chilled-water plant that says what it can remove
    feeds: list[Feed] = field(default_factory=list)  # each feeder and pair of feeders
    storage_least_kw: dict[str, float] = field(default_factory=dict)  # per store: the smaller of the power measured and last sent
    most_generation_kw: float = math.inf  # all of it together: more would export more than allowed
    unfed_kw: float = 0.0  # load that UPSes carry without the grid: no discharge may serve it
    drawn_kw: dict[str, float] = field(default_factory=dict)  # what is counted for each cluster that is overdrawn or cannot be heard
    supply: dict[str, SupplyEnvelope] = field(default_factory=dict)  # per plant whose supply may be led

    @property
    def deepest_storage_kw(self) -> float:
        """The lowest sum of storage power (discharging negative) that exports no more than allowed with the smallest load of the last
        seconds."""
        return _deepest_kw(self.load_valley_kw, self.trip_kw, self.export_limit_kw)

    def lowest_storage_kw(self, it_kw: float) -> float:
        """The lowest sum of storage power (discharging negative) that exports no more than allowed with an IT power of `it_kw`, or with the
        smallest load of the last seconds. Cooling may have begun to fall already, so only most of it is counted."""
        room = self.room
        load_kw = it_kw * (1.0 + room.loss_fraction) + room.cooling_kw * (1.0 - room.growth) + room.fixed_kw - room.unfirm_kw
        load_kw = min(load_kw - self.unfed_kw, self.load_valley_kw)
        return _deepest_kw(load_kw, self.trip_kw, self.export_limit_kw)


def guard_site(site: Site, state: SiteState, obligations: Sequence[Obligation], observed: Observed) -> Verdict:
    """The verdict for this cycle. Total and finite for every state `estimate_state` can give."""
    limit_kw, source = _limit(site, state, obligations, observed)
    room = _room(site, state, limit_kw, observed)
    exposure_s = exposure_s_of(site)
    storage = {
        b.id: battery_envelope(b, state.batteries[b.id], exposure_s, state.outdoor_temp_c, observed.given_kwh.get(b.id, 0.0))
        for b in site.batteries
    }
    for ups in site.upses:
        storage[ups.id] = ups_envelope(
            ups,
            state.upses[ups.id],
            observed.critical_kw[ups.id],
            exposure_s,
            observed.since_normal_s[ups.id],
            observed.given_kwh.get(ups.id, 0.0),
        )
    storage = _hold_export(site, state, _hold_degraded(storage, observed), observed)
    caps = {c.id: _degraded_cap(c, cap_envelope(c, state.clusters[c.id]), state, observed.degraded) for c in site.clusters}
    for asset, kw in observed.fixed_kw.items():
        part = storage if asset in storage else caps
        part[asset] = Envelope(asset, kw, kw, "not handed over", "not handed over")
    generation = generation_envelopes(site, state, observed.runs)
    lasting_kw = {c.id: observed.fixed_kw.get(c.id, max(min(c.contract_cap_kw, c.rating_kw), caps[c.id].low_kw)) for c in site.clusters}
    cooling_kw = {k: sum(both) for k, both in _counted_kw(site, state, observed).items()}
    feeds = feeds_of(site, state, lasting_kw, generation, cooling_kw, exposure_s)
    ceilings = {
        c.id: observed.fixed_kw.get(c.id, assumed_cap_kw(c, state.clusters[c.id], observed.last_caps_kw.get(c.id))) for c in site.clusters
    }
    recent = {k: max(kw, observed.recent_caps_kw.get(k, math.inf)) for k, kw in ceilings.items()}
    disobeying = _drawn_above(site, state, recent, DISOBEYED)
    overdrawn = _drawn_above(site, state, ceilings, OVERDRAWN) | disobeying
    ceilings |= disobeying
    confirmed_kw = sum(ceilings.values())
    high_kw, rule = _storage_high(site, state, room, confirmed_kw, source)
    return Verdict(
        limit_kw=limit_kw,
        limit_source=source,
        room=room,
        storage=hold_feeders(feeds, storage, state.upses.keys()),
        caps=caps,
        carried_kw={u.id: _carried_kw(u, state) for u in site.upses},
        followers=_followers(site, state, confirmed_kw),
        ceilings_kw=ceilings,
        confirmed_it_kw=confirmed_kw,
        overdrawn_kw=overdrawn,
        storage_now_kw=_storage_now(state, observed),
        storage_high_kw=high_kw,
        storage_high_rule=rule,
        load_valley_kw=observed.load_valley_kw,
        trip_kw=_trip_kw(site, state),
        export_limit_kw=site.point_of_connection.export_limit_kw,
        heat_allowed_kw=_heat_allowed(site, state, observed.loops),
        supply=_supplies(site, state, ceilings, observed.last_supply_c),
        feeds=feeds,
        storage_least_kw=_storage_least(state, observed),
        generation=generation,
        most_generation_kw=most_generation_kw(site, state, observed.gross_valley_kw),
        unfed_kw=unfed_kw(state),
        drawn_kw={k: kw for k, kw in ceilings.items() if not state.clusters[k].is_fresh} | overdrawn,
    )


def share_caps(
    site: Site,
    verdict: Verdict,
    it_kw: float,
    fresh_kw: Mapping[str, float],
    want_kw: Mapping[str, float],
    storage_kw: Mapping[str, float] = NO_STORAGE,
) -> dict[str, float]:
    """Caps in kW that sum to at most `it_kw` (or to the idle power, where the limit lies under it), feeders respected: fresh work first,
    then what recovery wants on top of it, then room for the next rise. What a cluster draws above its cap the others do not get.
    `storage_kw`: what each store may draw before the next answer; one that is not named counts as it stands."""
    floor = {k: e.low_kw for k, e in verdict.caps.items()}
    ceiling = {k: e.high_kw for k, e in verdict.caps.items()}
    ceiling = _under_feeders(site, verdict, ceiling, floor, fresh_kw, storage_kw)
    fresh = {k: min(max(fresh_kw[k], floor[k]), ceiling[k]) for k in floor}
    in_force_kw = {k: max(kw, floor[k]) if site.control.cycle_s <= WAITS_S else math.inf for k, kw in verdict.ceilings_kw.items()}
    caps = _widened_when_free(it_kw, _shared(it_kw, floor, fresh, want_kw, ceiling), in_force_kw)
    overdrawn = {k: kw for k, kw in verdict.overdrawn_kw.items() if kw > caps[k]}
    if not overdrawn:
        return caps
    others = [k for k in floor if k not in overdrawn]
    left_kw = it_kw - sum(overdrawn.values())
    left = _shared(left_kw, *({k: part[k] for k in others} for part in (floor, fresh, want_kw, ceiling)))
    return {**caps, **_widened_when_free(left_kw, left, {k: in_force_kw[k] for k in others})}


def _widened_when_free(it_kw: float, caps: dict[str, float], ceilings_kw: Mapping[str, float]) -> dict[str, float]:
    """The caps, none wider than what the ceilings now in force leave: what one cluster gives up the others get when it is read back, since
    a cluster that acknowledges and does not obey is found out later than the power is gone."""
    more = {k: kw - ceilings_kw[k] for k, kw in caps.items() if kw > ceilings_kw[k]}
    free_kw = max(0.0, it_kw - sum(ceilings_kw.values()))
    if sum(more.values()) <= free_kw:
        return caps
    part = free_kw / sum(more.values())
    return {**caps, **{k: ceilings_kw[k] + part * kw for k, kw in more.items()}}


def _shared(
    it_kw: float, floor: Mapping[str, float], fresh: Mapping[str, float], want_kw: Mapping[str, float], ceiling: Mapping[str, float]
) -> dict[str, float]:
    if it_kw <= sum(fresh.values()):
        return share_total(it_kw, floor, fresh, ceiling)
    return share_total(it_kw, fresh, want_kw, ceiling)


def _drawn_above(site: Site, state: SiteState, ceilings: Mapping[str, float], slack: float) -> dict[str, float]:
    """The power of every cluster that can be told and draws more than its ceiling and `slack` of its rating."""
    most_kw = {c.id: ceilings[c.id] + slack * c.rating_kw for c in site.clusters}
    told = {k: c.power_kw for k, c in state.clusters.items() if c.is_fresh and not c.is_local}
    return {k: kw for k, kw in told.items() if kw > most_kw[k]}


def loss_fraction(site: Site, state: SiteState) -> float:
    """Losses in the UPS chain per kW of IT power, for the present mix of clusters; the worst chain when nothing runs."""
    lossy_kw = sum(u.loss_fraction * sum(state.clusters[c].power_kw for c in u.carries) for u in site.upses)
    worst = max((u.loss_fraction for u in site.upses), default=0.0)
    it_kw = state.it_kw
    return max(lossy_kw / it_kw, 0.0) if it_kw > 0 else worst


def cooling_fraction(site: Site, state: SiteState) -> float:
    """kW of cooling per kW of IT power at the present temperature and mix of clusters; all cooling together when nothing runs."""
    it_kw = state.it_kw
    if it_kw <= 0:
        return sum(c.fraction(state.outdoor_temp_c) for c in site.coolings)
    return sum(c.fraction(state.outdoor_temp_c) * sum(state.clusters[k].power_kw for k in c.cools) for c in site.coolings) / it_kw


def _limit(site: Site, state: SiteState, obligations: Sequence[Obligation], observed: Observed) -> tuple[float, str]:
    bounds = [
        momentary_limit(site.point_of_connection, obligations, state.now, observed.allowed),
        (observed.interval_limit_kw, observed.interval_source),
        (observed.ramp_ceiling_kw, "ramp limit"),
    ]
    return min(bounds)


def _room(site: Site, state: SiteState, limit_kw: float, observed: Observed) -> Room:
    ahead_s = exposure_s_of(site)
    counted = _counted_kw(site, state, observed).values()
    cooling_kw, ahead_kw = sum(kw for kw, _ in counted), sum(kw for _, kw in counted)
    ahead_kw += _most_droop_kw(site)
    growth = max((cooling_growth(c, ahead_s) for c in site.coolings), default=0.0)
    return Room(
        target_kw=limit_kw * (1.0 - site.control.import_margin) / (1.0 + site.worst_loss),
        loss_fraction=loss_fraction(site, state),
        cooling_kw=cooling_kw,
        cooling_fraction=cooling_fraction(site, state),
        growth=growth,
        fixed_kw=state.fixed_kw + observed.correction_kw - firm_generation_kw(state) + ahead_kw,
        unfirm_kw=state.generation_kw - firm_generation_kw(state),
        contract_it_kw=sum(c.contract_cap_kw for c in site.clusters),
        lasting_kw=_lasting_kw(site, observed),
    )


def _lasting_kw(site: Site, observed: Observed) -> float:
    """Where a limit with a curve is in use, what it allows for ever; infinite else."""
    if not any(limit.curve for limit in observed.allowed):
        return math.inf
    return site.point_of_connection.lasting_limit_kw * (1.0 - site.control.import_margin) / (1.0 + site.worst_loss)


def _supplies(site: Site, state: SiteState, ceilings: Mapping[str, float], last_c: Mapping[str, float]) -> dict[str, SupplyEnvelope]:
    """Where each plant that may be led may send its supply; never with more power than its worst share of the caps in force."""
    return {
        c.id: supply_envelope(
            c,
            state.coolings[c.id],
            sum(state.clusters[k].power_kw for k in c.cools),
            c.fraction(None) * sum(ceilings[k] for k in c.cools),
            last_c.get(c.id),
            site.control.cycle_s,
        )
        for c in site.coolings
        if c.is_led
    }


def _counted_kw(site: Site, state: SiteState, observed: Observed) -> dict[str, tuple[float, float]]:
    """Per cooling the power to count with, and what cooling ahead takes beyond that: as measured; at its full heat for a plant whose supply
    has run warm, since its chillers come back at any moment and first take the loop's heat out again."""
    counted = {}
    for cooling in site.coolings:
        seen, plant = state.coolings[cooling.id], cooling.plant
        heat_kw = cooled_kw(cooling, state)
        kw, ahead_kw = led_power(cooling, seen, heat_kw, observed.last_supply_c.get(cooling.id))
        supply_c = loop_of(observed.loops, cooling, state).supply_c
        if plant is not None and supply_c is not None and supply_c > plant.supply_temp_c + WARM_K:
            kw = max(kw, plant.power_kw(plant.capacity_kw, HOT_C if seen.outdoor_temp_c is None else seen.outdoor_temp_c))
        counted[cooling.id] = (kw, ahead_kw)
    return counted


def _most_droop_kw(site: Site) -> float:
    """What batteries may take or give by their own droop, on top of their setpoints."""
    return sum(b.droop.most_kw for b in site.batteries if b.droop is not None)


def _undrooped_kw(state: SiteState) -> dict[str, float]:
    """Per store: the power measured without what its droop may add to it; so much is left of it when the droop is gone."""
    batteries = {k: b.power_kw - max(0.0, b.droop_kw[1]) for k, b in state.batteries.items()}
    return {**batteries, **{k: u.battery_kw for k, u in state.upses.items()}}


def exposure_s_of(site: Site) -> float:
    """How long a setpoint can outlive the controller: the longest lease and two cycles."""
    lease_s = max((link.lease_s for link in site.links.values()), default=0.0)
    return lease_s + 2.0 * site.control.cycle_s


def _hold_degraded(storage: dict[str, Envelope], observed: Observed) -> dict[str, Envelope]:
    """What the degraded modes in force, and a fault just over, take from storage."""
    discharge, charge, name = storage_bounds(observed.degraded)
    out = {}
    for asset, e in storage.items():
        if name:
            e = e.narrowed(min(0.0, e.low_kw * discharge), max(0.0, e.high_kw * charge), name)
        out[asset] = e.narrowed(0.0, 0.0, "just back: ten good cycles first") if asset in observed.returning else e
    return out


def _degraded_cap(cluster: Cluster, envelope: Envelope, state: SiteState, standing: tuple[Standing, ...]) -> Envelope:
    """What the degraded modes in force take from a cluster; never under its idle power."""
    high_kw, name = cap_bound_kw(cluster, state.clusters[cluster.id], standing)
    return envelope.narrowed(envelope.low_kw, max(envelope.low_kw, high_kw), name) if name else envelope


def unfed_kw(state: SiteState) -> float:
    """Load in kW that UPSes whose input is lost carry themselves: it is not at the meter, and may be back at any moment."""
    return sum(max(0.0, u.load_kw) for u in state.upses.values() if u.mode in ON_BATTERY)


def _trip_kw(site: Site, state: SiteState) -> float:
    """What can be gone of the import at once: the largest cooling trips, and droop discharges."""
    return max((c.power_kw for c in state.coolings.values()), default=0.0) + _most_droop_kw(site)


def _hold_export(site: Site, state: SiteState, storage: dict[str, Envelope], observed: Observed) -> dict[str, Envelope]:
    """Discharge may not push power out beyond the export limit, even if the load falls to its recent low and the largest cooling trips."""
    lowest_kw = _deepest_kw(observed.load_valley_kw, _trip_kw(site, state), site.point_of_connection.export_limit_kw)
    total_kw = sum(e.low_kw for e in storage.values())
    if total_kw >= lowest_kw or total_kw >= 0.0:
        return storage
    part = lowest_kw / total_kw
    return {k: e.narrowed(e.low_kw * part, e.high_kw, "export limit") for k, e in storage.items()}


def _deepest_kw(load_kw: float, trip_kw: float, export_limit_kw: float) -> float:
    """The lowest sum of storage power beside a load of which `trip_kw` may go at once."""
    return -(max(0.0, load_kw - trip_kw) * EXPORT_MARGIN + export_limit_kw)


def _carried_kw(ups: Ups, state: SiteState) -> float:
    """A silent UPS says nothing of its store; then its rating bounds the load."""
    return ups.carried_kw(state.upses[ups.id].soc) if state.upses[ups.id].is_fresh else ups.rating_kw


def _heat_allowed(site: Site, state: SiteState, loops: Mapping[str, Loop]) -> dict[str, float]:
    """Per plant that ever said what it can remove: the heat its halls may give off, with what is still on its way to the water counted.
    One that never said it bounds nothing: its own controls must."""
    allowed = {}
    for cooling in site.coolings:
        loop = loop_of(loops, cooling, state)
        if cooling.plant is not None and loop.able_kw is not None and loop.supply_c is not None:
            coming_kwh = cooling.lag_s * max(0.0, loop.heat_kw - loop.able_kw) / 3600.0
            idle_kw = sum(c.idle_kw for c in site.clusters if c.id in cooling.cools)
            kw = heat_allowed_kw(cooling.plant, loop.able_kw, loop.supply_c + SUPPLY_MARGIN_K, coming_kwh, idle_kw)
            allowed[cooling.id] = min(kw, loop.most_kw)
    return allowed


def _followers(site: Site, state: SiteState, confirmed_it_kw: float) -> dict[str, Envelope]:
    idle_kw = sum(c.idle_kw for c in site.clusters)
    fraction, ahead_s = cooling_fraction(site, state), exposure_s_of(site)
    out = {
        c.id: cooling_envelope(c, state.coolings[c.id].power_kw, fraction, idle_kw, max(idle_kw, confirmed_it_kw), ahead_s)
        for c in site.coolings
    }
    total_kw = sum(f.power_kw for f in site.fixed_loads)
    for load in site.fixed_loads:
        out[load.id] = fixed_envelope(load, state.fixed_kw * load.power_kw / total_kw if total_kw > 0 else 0.0)
    return out


def _storage_now(state: SiteState, observed: Observed) -> dict[str, float]:
    return {k: max(kw, observed.last_storage_kw.get(k, kw)) for k, kw in _undrooped_kw(state).items()}


def _storage_least(state: SiteState, observed: Observed) -> dict[str, float]:
    """Droop is left out: it is counted by itself."""
    now = {k: b.power_kw - min(0.0, b.droop_kw[0]) for k, b in state.batteries.items()}
    now |= {k: u.battery_kw for k, u in state.upses.items()}
    return {k: min(kw, observed.last_storage_kw.get(k, kw)) for k, kw in now.items()}


def _storage_high(site: Site, state: SiteState, room: Room, confirmed_it_kw: float, source: str) -> tuple[float, str]:
    """Storage may rise only as far as the caps in force leave room; when import is over the target it must give that much back."""
    now_kw = state.storage_kw - sum(max(0.0, b.droop_kw[1]) for b in state.batteries.values())
    high_kw = max(now_kw, room.storage_kw(confirmed_it_kw))
    over_kw = state.poc_kw / (1.0 + site.worst_loss) - room.target_kw
    if over_kw > 0.0:
        return min(high_kw, now_kw - over_kw), source
    return high_kw, f"{source}: caps in force"


def _under_feeders(
    site: Site,
    verdict: Verdict,
    ceiling: dict[str, float],
    floor: Mapping[str, float],
    want_kw: Mapping[str, float],
    storage_kw: Mapping[str, float],
) -> dict[str, float]:
    """Ceilings lowered so that the clusters below each feeder fit it together with the worst cooling share, losses and whatever stores
    charge there (nothing is taken off for what they give), and the clusters behind each UPS what its store can carry: work is shed before
    the reserve falls short. What a chilled-water plant cools follows what it can remove, and what its loop takes until chillers are
    back."""
    out = dict(ceiling)
    for ups in site.upses:
        fit(out, [c for c in out if c in ups.carries], verdict.carried_kw[ups.id], floor, want_kw, verdict.drawn_kw)
    for cooling in site.coolings:
        if cooling.id in verdict.heat_allowed_kw:
            cooled = [c for c in out if c in cooling.cools]
            fit(out, cooled, verdict.heat_allowed_kw[cooling.id], floor, want_kw, verdict.drawn_kw)
    charging_kw = {k: max(0.0, kw, storage_kw.get(k, kw)) for k, kw in verdict.storage_now_kw.items()}
    for feed in verdict.feeds:
        inside = [c for c in out if c in feed.assets]
        if inside:
            room_kw = feed.it_kw(sum(kw for k, kw in charging_kw.items() if k in feed.assets))
            fit(out, inside, room_kw, floor, want_kw, verdict.drawn_kw)
    return out
