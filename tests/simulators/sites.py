"""The 2 MW site of the tests, built by hand so that no file format stands between a test and the physics."""

from __future__ import annotations

from ems.assets.asset import DeviceLink
from ems.assets.battery.model import Battery
from ems.assets.cooling.model import Cooling
from ems.assets.fixed_load.model import FixedLoad
from ems.assets.grid_connection.model import PointOfConnection
from ems.assets.ups.model import Ups
from ems.assets.workload.model import Cluster, WorkloadClass
from ems.limit import Limit
from ems.site.model import ControlSettings, Feeder, PlanSettings, Site, Tariff

IMPORT_LIMIT_KW = 1600.0
LEASE_S = 60.0
CLASSES = {
    "interactive": WorkloadClass(0.4, 3.0, None, None, None),
    "batch": WorkloadClass(0.4, None, 0.03, 1.0, 8.0),
    "training": WorkloadClass(0.2, None, 0.10, 2.0, 24.0),
}


def link(page: str, port: int, lease_s: float = LEASE_S) -> DeviceLink:
    return DeviceLink(page, "127.0.0.1", port, 1, lease_s)


def contract_cap_kw(peak_kw: float, limit_kw: float = IMPORT_LIMIT_KW) -> float:
    """The cap of the contract: (limit - fixed load) / (1 + worst cooling + losses), split by rating."""
    return (limit_kw - 30.0) / (1.0 + 0.25 + 0.04) * peak_kw / 1400.0


def cluster(asset_id: str, peak_kw: float, port: int) -> Cluster:
    return Cluster(
        asset_id, 0.3 * peak_kw, peak_kw, 1.2 * peak_kw, contract_cap_kw(peak_kw), 1e6, CLASSES, link("generic-it-cluster", port)
    )


def battery(initial_soc: float = 0.5) -> Battery:
    return Battery("bess-1", 500.0, 1000.0, 0.94, 0.94, 0.1, 0.95, 0.02, 250.0, initial_soc, 0.0, link("bess", 15021, 90.0))


def ups(initial_soc: float = 1.0) -> Ups:
    return Ups(
        id="ups-1", rating_kw=1600.0, energy_kwh=400.0, ride_through_min=10.0, is_bidirectional=False, is_lead_acid=False,
        charge_kw=160.0, charge_efficiency=0.96, discharge_efficiency=0.96, loss_fraction=0.04, aged_capacity=1.0, blocks=1,
        redundant_blocks=0, reserve_floor_kw=0.0, soc_error=0.01, wear_price_per_kwh=0.02, ramp_kw_per_s=500.0,
        initial_soc=initial_soc, is_grid_interactive=True, carries=("hall-a", "hall-b"), link=link("generic-ups", 15022, 90.0),
    )  # fmt: skip


def cooling(lag_s: float = 300.0) -> Cooling:
    return Cooling("cooling-1", 0.12, 0.25, lag_s, 500.0, ("hall-a", "hall-b"), link("generic-cooling", 15025))


def two_mw_site() -> Site:
    """The demo site's ratings."""
    assets = (battery(), ups(), cluster("hall-a", 900.0, 15023), cluster("hall-b", 500.0, 15024), cooling(), FixedLoad("house", 30.0))
    return Site(
        name="test-2mw",
        time_zone="America/Chicago",
        currency="USD",
        point_of_connection=PointOfConnection("poc", (Limit(IMPORT_LIMIT_KW),), 0.0, None, 5.0, link("meter", 15020)),
        assets={a.id: a for a in assets},
        feeders=(
            Feeder("main", None, 2000.0, ("bess-1", "cooling-1", "house")),
            Feeder("it", "main", 1800.0, ("ups-1", "hall-a", "hall-b")),
        ),
        tariff=Tariff("test", "indexed", 0.0, 0.0, 12.0, 15),
        control=ControlSettings(1.0, 5.0, 10.0, 0.01, 30.0),
        plan=PlanSettings(300.0, 48.0, 20.0, 900.0),
    )
