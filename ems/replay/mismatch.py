"""A plant that is not quite what the site file says: five ratings of the simulated equipment, each off by the same share.

The planner, the guard and the rules go on believing the site file; the simulated plant, the accounts and the bound have these ratings.
Of a share m (0.1 = 10 %), better or worse:

- capacity: energy of every battery and UPS, and the water of chilled loops, x (1 + m) or (1 - m)
- efficiency: round trip of every store and fuel to power of every generator x (1 + m) or (1 - m), a store at most `MOST_ONE_WAY` each way;
  losses of a UPS x (1 - m) or (1 + m)
- cop: of cooling x (1 + m) or (1 - m), so that power per heat is divided by that
- lag: of cooling and of chillers' restart, of converters (their ramps) and of starting generators x (1 - m) or x (1 + m)
- idle: idle power of every cluster x (1 - m) or x (1 + m); what the trace asks for in all stays, less or more of it can be moved

The seed draws each sign by itself; one seed in three (seed % 3 == 0) is worse in all five.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ems.assets.battery.model import Battery
from ems.assets.catalogue import Asset
from ems.assets.cooling.model import Cooling, CoolingPlant
from ems.assets.generator.model import Generator
from ems.assets.ups.model import Ups
from ems.assets.workload.model import Cluster
from ems.site.model import Site

QUANTITIES = ("capacity", "efficiency", "cop", "lag", "idle")
ALL_WORSE_EVERY = 3  # seeds divisible by this are worse in every quantity
MOST_ONE_WAY = 0.995
STREAM = 5  # of the seed: other draws of a replay have other streams


@dataclass(frozen=True)
class Mismatch:
    """Factors on what is good for the operator: above 1 the plant is better than its file, below 1 worse."""

    capacity: float
    efficiency: float
    cop: float
    lag: float  # quickness: times go the other way
    idle: float  # share that can be moved: idle power goes the other way


def drawn(share: float, seed: int) -> Mismatch:
    """The factors of a seed: 1 + share or 1 - share each."""
    if seed % ALL_WORSE_EVERY == 0:
        return Mismatch(*(1.0 - share for _ in QUANTITIES))
    signs = np.random.default_rng([seed, STREAM]).choice((-1.0, 1.0), len(QUANTITIES))
    return Mismatch(*(1.0 + share * float(sign) for sign in signs))


def plant_of(site: Site, share: float, seed: int) -> Site:
    """The site as its equipment really is under a seed; the site itself for a share of 0."""
    if share == 0.0:
        return site
    off = drawn(share, seed)
    return replace(site, assets={name: _asset(asset, off) for name, asset in site.assets.items()})


def _asset(asset: Asset, off: Mismatch) -> Asset:
    if isinstance(asset, Battery):
        return _battery(asset, off)
    if isinstance(asset, Ups):
        return _ups(asset, off)
    if isinstance(asset, Cooling):
        return _cooling(asset, off)
    if isinstance(asset, Generator):
        fuel = tuple(units / off.efficiency for units in asset.fuel_per_h)
        return replace(asset, fuel_per_h=fuel, ramp_kw_per_s=asset.ramp_kw_per_s * off.lag, start_s=asset.start_s * (2.0 - off.lag))
    return replace(asset, idle_kw=asset.idle_kw * (2.0 - off.idle)) if isinstance(asset, Cluster) else asset


def _battery(battery: Battery, off: Mismatch) -> Battery:
    return replace(
        battery,
        energy_kwh=battery.energy_kwh * off.capacity,
        charge_efficiency=_one_way(battery.charge_efficiency, off),
        discharge_efficiency=_one_way(battery.discharge_efficiency, off),
        ramp_kw_per_s=battery.ramp_kw_per_s * off.lag,
    )


def _ups(ups: Ups, off: Mismatch) -> Ups:
    """The floor of the reserve goes down with what the store can give, so that the state of charge that the controller keeps by its file
    is never below the one that the bound keeps by these ratings. Whether the actual load could be carried is the plant's own count."""
    discharge = _one_way(ups.discharge_efficiency, off)
    given = off.capacity * discharge / ups.discharge_efficiency
    return replace(
        ups,
        energy_kwh=ups.energy_kwh * off.capacity,
        charge_efficiency=_one_way(ups.charge_efficiency, off),
        discharge_efficiency=discharge,
        loss_fraction=ups.loss_fraction * (2.0 - off.efficiency),
        loss_curve=tuple(c * (2.0 - off.efficiency) for c in ups.loss_curve),
        reserve_floor_kw=ups.reserve_floor_kw * min(1.0, given),
        ramp_kw_per_s=ups.ramp_kw_per_s * off.lag,
    )


def _cooling(cooling: Cooling, off: Mismatch) -> Cooling:
    plant = None if cooling.plant is None else _plant(cooling.plant, off)
    return replace(
        cooling,
        fraction_at_10c=cooling.fraction_at_10c / off.cop,
        fraction_at_40c=cooling.fraction_at_40c / off.cop,
        rating_kw=cooling.rating_kw / off.cop,
        lag_s=cooling.lag_s * (2.0 - off.lag),
        plant=plant,
    )


def _plant(plant: CoolingPlant, off: Mismatch) -> CoolingPlant:
    times = 2.0 - off.lag
    return replace(
        plant, cop_reference=plant.cop_reference * off.cop, loop_m3=plant.loop_m3 * off.capacity, restart_s=plant.restart_s * times
    )


def _one_way(efficiency: float, off: Mismatch) -> float:
    return min(max(efficiency, MOST_ONE_WAY), efficiency * off.efficiency**0.5)
