"""How long a setpoint outlives the controller that wrote it.

A store that gives must outlast the caps of the halls it carries, and a store that takes must let go before them: else the site stands for
seconds with what halls draw at their contract caps and nothing, or a charging battery, beside it. Leases are refreshed early and often, so
that nearly all of each is left at whatever instant the controller dies.
"""

from __future__ import annotations

import math

from ems.assets.battery.model import Battery
from ems.assets.ups.model import Ups
from ems.site.model import Site

REFRESH_SHARE = 10  # a lease is refreshed when a tenth of it has passed
LEAST_CYCLES = 3.0  # a lease holds through two lost writes
TAKING_KW = 1.0  # any power into an asset: its lease depends on the sign only
ACTUATION_S = 2.0  # from the end of a lease until the power has followed


def surely_left_s(lease_s: float, cycle_s: float) -> float:
    """The least that is left of a lease that is kept, in seconds; the refresh is a cycle late at most."""
    return lease_s * (1.0 - 1.0 / REFRESH_SHARE) - cycle_s


def outlasts_s(lease_s: float, cycle_s: float) -> float:
    """The longest lease of a cluster that a store with this lease surely outlasts, in seconds."""
    return surely_left_s(lease_s, cycle_s) - ACTUATION_S


def least_cluster_lease_s(cycle_s: float) -> float:
    """The shortest lease of a cluster that leaves a charging store a lease of some cycles, in seconds."""
    return (LEAST_CYCLES * cycle_s + 1.0 + ACTUATION_S + cycle_s) / (1.0 - 1.0 / REFRESH_SHARE)


def charging_lease_s(site: Site) -> float:
    """The longest lease, in whole seconds, with which a store surely lets go before any cluster does; infinite without a cluster led."""
    left_s = [surely_left_s(c.link.lease_s, site.control.cycle_s) for c in site.clusters if c.link is not None]
    return max(1.0, math.floor(min(left_s) - ACTUATION_S)) if left_s else math.inf


def lease_s(site: Site, asset: str, kw: float) -> float:
    """The lease of a setpoint of `kw` (positive into the asset), in site seconds; 0 for an asset without a device."""
    link = site.links.get(asset)
    if link is None:
        return 0.0
    is_charging = kw > 0.0 and isinstance(site.assets.get(asset), Battery | Ups)
    return min(link.lease_s, charging_lease_s(site)) if is_charging else link.lease_s
