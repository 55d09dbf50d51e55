"""The demo site made larger by hand: more batteries, UPSs, halls and cooling systems of the same kind, and limits to match."""

from __future__ import annotations

from dataclasses import replace

from ems.assets.ups.model import Ups
from ems.site.model import Feeder, Site
from tests.control.loop import demo_site


def large_site(batteries: int, upses: int, halls: int, coolings: int, import_limit_kw: float = 1370.0) -> Site:
    """A site with 1 + batteries + upses + halls + coolings devices; UPSs and cooling systems share the halls evenly."""
    demo = demo_site(import_limit_kw)
    factor = halls / len(demo.clusters)
    names = [f"hall-{n}" for n in range(halls)]
    assets = {
        **{(i := f"bess-{n}"): replace(demo.batteries[0], id=i) for n in range(batteries)},
        **{(i := f"ups-{n}"): _scaled_ups(demo, i, names[n::upses]) for n in range(upses)},
        **{i: replace(demo.clusters[n % 2], id=i) for n, i in enumerate(names)},
        **{(i := f"cooling-{n}"): replace(demo.coolings[0], id=i, cools=tuple(names[n::coolings])) for n in range(coolings)},
        "house": demo.fixed_loads[0],
    }
    feeder = Feeder("all", None, 3000.0 * factor, tuple(assets))
    limits = tuple(replace(limit, kw=limit.kw * factor) for limit in demo.point_of_connection.limits)
    connection = replace(demo.point_of_connection, limits=limits)
    return replace(demo, name=f"{halls} halls", assets=assets, feeders=(feeder,), point_of_connection=connection)


def _scaled_ups(demo: Site, name: str, carries: list[str]) -> Ups:
    ups, share = demo.upses[0], len(carries) / len(demo.upses[0].carries)
    return replace(
        ups,
        id=name,
        carries=tuple(carries),
        rating_kw=ups.rating_kw * share,
        energy_kwh=ups.energy_kwh * share,
        reserve_floor_kw=ups.reserve_floor_kw * share,
    )
