"""The site as data: ratings, feeder tree, point of connection, tariff, settings of the loops."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from functools import cached_property

from ems.assets.asset import DeviceLink
from ems.assets.battery.curves import Point, share_at
from ems.assets.battery.model import Battery
from ems.assets.catalogue import Asset
from ems.assets.cooling.model import Cooling
from ems.assets.fixed_load.model import FixedLoad
from ems.assets.generator.model import Generator
from ems.assets.grid_connection.model import PointOfConnection
from ems.assets.renewable.model import Renewable
from ems.assets.ups.model import Ups
from ems.assets.workload.model import Cluster
from ems.site.alarm_hook import AlarmHook
from ems.site.feed import Feed
from ems.site.tariff import Tariff as Tariff


@dataclass(frozen=True)
class Feeder:
    """A branch of the electrical tree: at most `limit_kw` may flow into everything below it, or back out of it, less where its rating in
    kVA times the power factor, or the outdoor temperature, says so. Two `partner`s are an A and a B feed: either must be able to carry
    both."""

    id: str
    parent: str | None  # None: directly at the point of connection
    limit_kw: float  # kVA and power factor worked in
    assets: tuple[str, ...]
    limit_by_ambient_c: tuple[Point, ...] = ()  # share of limit_kw over the outdoor temperature
    partner: str | None = None
    loss_fraction: float = 0.0  # of what flows out of it, lost in its transformer and cables; its flow never turns round

    def allowed_kw(self, outdoor_temp_c: float | None) -> float:
        """The limit in kW at an outdoor temperature; at the hottest the table knows when it is unknown."""
        if not self.limit_by_ambient_c:
            return self.limit_kw
        return self.limit_kw * share_at(self.limit_by_ambient_c, math.inf if outdoor_temp_c is None else outdoor_temp_c)


@dataclass(frozen=True)
class ControlSettings:
    """The field loop. Seconds of site time unless the name says otherwise."""

    cycle_s: float
    stale_after_s: float
    peak_hold_s: float
    import_margin: float  # fraction of the import limit kept free for meter error and response
    ramp_up_dwell_s: float  # dwell before a better ladder level is taken


@dataclass(frozen=True)
class PlanSettings:
    """The plan loop."""

    every_s: float
    horizon_h: float
    budget_s: float  # wall seconds the solver may take
    valid_s: float  # how long a plan may be used after it was made


@dataclass(frozen=True)
class Site:
    """Everything the controller knows about one site before it reads the first register."""

    name: str
    time_zone: str
    currency: str
    point_of_connection: PointOfConnection
    assets: dict[str, Asset]
    feeders: tuple[Feeder, ...]
    tariff: Tariff
    control: ControlSettings
    plan: PlanSettings
    live_feeds: tuple[Feed, ...] = ()
    alarm_hooks: tuple[AlarmHook, ...] = ()

    @cached_property
    def batteries(self) -> tuple[Battery, ...]:
        """Batteries in file order."""
        return tuple(a for a in self.assets.values() if isinstance(a, Battery))

    @cached_property
    def upses(self) -> tuple[Ups, ...]:
        """UPSs in file order."""
        return tuple(a for a in self.assets.values() if isinstance(a, Ups))

    @cached_property
    def clusters(self) -> tuple[Cluster, ...]:
        """IT clusters in file order."""
        return tuple(a for a in self.assets.values() if isinstance(a, Cluster))

    @cached_property
    def coolings(self) -> tuple[Cooling, ...]:
        """Cooling systems in file order."""
        return tuple(a for a in self.assets.values() if isinstance(a, Cooling))

    @cached_property
    def fixed_loads(self) -> tuple[FixedLoad, ...]:
        """Fixed loads in file order."""
        return tuple(a for a in self.assets.values() if isinstance(a, FixedLoad))

    @cached_property
    def generators(self) -> tuple[Generator, ...]:
        """Generators in file order."""
        return tuple(a for a in self.assets.values() if isinstance(a, Generator))

    @cached_property
    def renewables(self) -> tuple[Renewable, ...]:
        """Plants fed by sun or wind in file order."""
        return tuple(a for a in self.assets.values() if isinstance(a, Renewable))

    def below(self, feeder: Feeder) -> tuple[str, ...]:
        """Ids of all assets fed through a feeder, those of its branches included."""
        return (*feeder.assets, *(a for f in self.feeders if f.parent == feeder.id for a in self.below(f)))

    @cached_property
    def losses(self) -> dict[str, float]:
        """Per asset on a feeder: kW lost on the way to it per kW of its own, over all feeders above it."""
        return {a: gain - 1.0 for f in self.feeders if f.parent is None for a, gain in self.gains(f).items()}

    @cached_property
    def worst_loss(self) -> float:
        """The most of them; 0 where no feeder loses anything."""
        return max(self.losses.values(), default=0.0)

    def gains(self, feeder: Feeder) -> dict[str, float]:
        """Per asset below a feeder: kW into the feeder per kW of the asset."""
        branches = [f for f in self.feeders if f.parent == feeder.id]
        own = dict.fromkeys(feeder.assets, 1.0)
        below = own | {a: gain for f in branches for a, gain in self.gains(f).items()}
        return {a: gain * (1.0 + feeder.loss_fraction) for a, gain in below.items()}

    @cached_property
    def _worst_gain(self) -> dict[str, float]:
        return {f.id: max(self.gains(f).values(), default=1.0) for f in self.feeders}

    def feeds(self, outdoor_temp_c: float | None) -> list[tuple[tuple[str, ...], float]]:
        """The assets of every feeder, and of every pair of partners together, and what they may draw in kW: the limit less the worst losses
        on the way to them."""
        known = {f.id: f for f in self.feeders}
        allowed = {f.id: f.allowed_kw(outdoor_temp_c) / self._worst_gain[f.id] for f in self.feeders}
        single = [(self.below(f), allowed[f.id]) for f in self.feeders]
        pairs = [(f, known[f.partner]) for f in self.feeders if f.partner is not None and f.id < f.partner]
        both = [((*self.below(a), *self.below(b)), min(allowed[a.id], allowed[b.id])) for a, b in pairs]
        return [*single, *both]

    @cached_property
    def links(self) -> dict[str, DeviceLink]:
        """Device links by asset id, the meter first, in file order: the n-th is the n-th endpoint."""
        links: dict[str, DeviceLink] = {}
        if self.point_of_connection.meter is not None:
            links[self.point_of_connection.id] = self.point_of_connection.meter
        for asset in self.assets.values():
            link = getattr(asset, "link", None)
            if link is not None:
                links[asset.id] = link
        return links

    @property
    def is_loopback(self) -> bool:
        """True when every device is simulated on this machine."""
        return all(link.is_loopback for link in self.links.values())

    def hash(self) -> str:
        """A short fingerprint of the whole site, journalled at every start."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, default=str).encode()).hexdigest()[:16]
