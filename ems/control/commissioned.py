"""The limits a site was commissioned with: what a later configuration may tighten, and only a named person may loosen.

Every limit and rating is a bound with a rule: `most` (a larger value is looser), `least` (a smaller one is), `all of` and `none but` (of
names), `share` (a course over something, nowhere higher), `lasts` (limits on import: nowhere allowed for longer). A bound that is gone is
loosened; one that is new is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ems.assets.asset import DeviceLink
from ems.assets.battery.curves import share_at
from ems.assets.battery.model import Battery
from ems.assets.catalogue import Asset
from ems.assets.cooling.model import Cooling
from ems.assets.fixed_load.model import FixedLoad
from ems.assets.generator.model import Generator
from ems.assets.renewable.model import Renewable
from ems.assets.ups.model import Ups
from ems.assets.workload.model import Cluster
from ems.guard.overload import lasts_s
from ems.limit import Limit, LimitKind
from ems.site.model import Site

MOST, LEAST, ALL_OF, NONE_BUT, SHARE, LASTS = "most", "least", "all of", "none but", "share", "lasts"
UNTIL = "until"
NOTHING = 1e-9  # relative: no change
STRICTEST_FIRST = (LimitKind.PROTECTIVE, LimitKind.CONNECTION, LimitKind.ORDER, LimitKind.BILLING)
POWERS = ("power_kw", "ramp_kw_per_s")
AT_MOST: Mapping[type, Sequence[str]] = {
    Battery: (*POWERS, "energy_kwh", "soc_max", "discharge_efficiency", "warranty_kwh_per_day"),
    Ups: (
        "rating_kw", "ramp_kw_per_s", "energy_kwh", "charge_kw", "discharge_efficiency", "aged_capacity", "is_bidirectional",
        "is_grid_interactive", "cell_kwh_per_day", "blocks",
    ),
    Cluster: ("contract_cap_kw", "rating_kw", "peak_kw", "ramp_kw_per_s"),
    Cooling: ("rating_kw",),
    Generator: (*POWERS, "permit_h_per_year", "emission_kg_per_year"),
    Renewable: POWERS,
}  # fmt: skip
AT_LEAST: Mapping[type, Sequence[str]] = {
    Battery: ("soc_min", "auxiliary_kw", "is_worn_out"),
    Ups: ("ride_through_min", "reserve_floor_kw", "soc_error", "redundant_blocks", "loss_fraction", "is_lead_acid"),
    Cluster: ("idle_kw",),
    Cooling: ("fraction_at_10c", "fraction_at_40c"),
    Generator: ("min_power_kw", "start_s"),
    FixedLoad: ("power_kw",),
}
PLANT_AT_MOST = ("capacity_kw", "units", "supply_temp_c", "supply_limit_c", "supply_rate_k_per_min", "loop_m3", "cop_reference")
PLANT_AT_LEAST = ("redundant_units", "restart_s", "humidity", "pump_fan_kw", "tower_approach_k", "exchanger_approach_k")


@dataclass(frozen=True)
class Bound:
    """`value` by its rule: a number (None: no bound at all), names, points of a course, or limits as (kW, curve)."""

    rule: str
    value: Any

    def allows(self, other: Bound | None) -> bool:
        """True when the other bound is no looser than this one."""
        if other is None or other.rule != self.rule:
            return False
        return bool(_NO_LOOSER[self.rule](self.value, other.value))


@dataclass(frozen=True)
class Loosened:
    """One bound that a configuration would loosen: its key, what stands there now, and what was commissioned, in words."""

    key: str
    found: str
    commissioned: str


def loosened(commissioned: Mapping[str, Bound], site: Site, now: datetime) -> list[Loosened]:
    """What the site would loosen of what was commissioned, by key. A limit whose time is over at `now` may go."""
    found = bounds_of(site)
    standing = {key: bound for key, bound in commissioned.items() if not _is_over(key, now)}
    looser = ((key, bound, other) for key, bound in standing.items() if not bound.allows(other := _same(key, found)))
    return [Loosened(key, "nothing" if other is None else _value(other), f"{was.rule} {_value(was)}") for key, was, other in looser]


def bounds_of(site: Site) -> dict[str, Bound]:
    """Every bound of a site by its key in the site file, as far as it has one."""
    return dict(_all(site))


def encode(bounds: Mapping[str, Bound]) -> dict[str, Any]:
    """Plain data."""
    return {key: [bound.rule, bound.value] for key, bound in bounds.items()}


def decode(data: Mapping[str, Any]) -> dict[str, Bound]:
    """The bounds back; raises KeyError, ValueError or TypeError on anything else."""
    found = {key: Bound(rule, value) for key, (rule, value) in data.items()}
    for bound in found.values():
        _NO_LOOSER[bound.rule](bound.value, bound.value)
    return found


def _all(site: Site) -> Iterator[tuple[str, Bound]]:
    connection = site.point_of_connection
    yield from _limits("point_of_connection", connection.limits)
    yield "point_of_connection.export_limit_kw", Bound(MOST, connection.export_limit_kw)
    yield "point_of_connection.ramp_limit_kw_per_min", Bound(MOST, connection.ramp_limit_kw_per_min)
    yield from _link("point_of_connection.meter", connection.meter)
    yield "control.import_margin", Bound(LEAST, site.control.import_margin)
    yield "control.stale_after_s", Bound(MOST, site.control.stale_after_s)
    for feeder in site.feeders:
        key = f"feeders.{feeder.id}"
        yield f"{key}.limit_kw", Bound(MOST, feeder.limit_kw)
        yield f"{key}.limit_by_ambient_c", Bound(SHARE, _points(feeder.limit_by_ambient_c))
        yield f"{key}.loss_fraction", Bound(LEAST, feeder.loss_fraction)
        yield f"{key}.assets", Bound(ALL_OF, sorted(site.below(feeder)))
        yield f"{key}.partner", Bound(ALL_OF, [feeder.partner] if feeder.partner else [])
    for asset in site.assets.values():
        yield from _asset(f"assets.{asset.id}", asset)


def _asset(key: str, asset: Asset) -> Iterator[tuple[str, Bound]]:
    yield from ((f"{key}.{name}", Bound(MOST, _number(getattr(asset, name)))) for name in AT_MOST.get(type(asset), ()))
    yield from ((f"{key}.{name}", Bound(LEAST, _number(getattr(asset, name)))) for name in AT_LEAST.get(type(asset), ()))
    if not isinstance(asset, FixedLoad):
        yield from _link(f"{key}.link", asset.link)
    if isinstance(asset, Battery):
        for name in ("charge_limit_by_soc", "discharge_limit_by_soc", "limit_by_ambient_c"):
            yield f"{key}.{name}", Bound(SHARE, _points(getattr(asset, name)))
        yield f"{key}.droop", Bound(LEAST, None if asset.droop is None else asset.droop.most_kw)
    elif isinstance(asset, Ups):
        yield f"{key}.recharge_kw", Bound(MOST, asset.charge_kw if asset.recharge_kw is None else asset.recharge_kw)
        yield f"{key}.carries", Bound(ALL_OF, sorted(asset.carries))
    elif isinstance(asset, Generator):
        yield f"{key}.duty", Bound(NONE_BUT, [asset.duty.value])
        yield f"{key}.ordered_by", Bound(NONE_BUT, sorted(asset.ordered_by))
    elif isinstance(asset, Cooling):
        yield f"{key}.cools", Bound(ALL_OF, sorted(asset.cools))
        if (plant := asset.plant) is None:
            return
        yield from ((f"{key}.{name}", Bound(MOST, float(getattr(plant, name)))) for name in PLANT_AT_MOST)
        yield from ((f"{key}.{name}", Bound(LEAST, float(getattr(plant, name)))) for name in PLANT_AT_LEAST)
        lowest_c = plant.supply_temp_c if plant.supply_lowest_c is None else plant.supply_lowest_c
        yield f"{key}.supply_lowest_c", Bound(LEAST, lowest_c)


def _link(key: str, link: DeviceLink | None) -> Iterator[tuple[str, Bound]]:
    """A device that was commissioned must stay, and may not hold a setpoint for longer."""
    if link is not None:
        yield f"{key}.lease_s", Bound(MOST, link.lease_s)


def _limits(key: str, limits: Iterable[Limit]) -> Iterator[tuple[str, Bound]]:
    """Lasting limits by kind and window, where a stricter kind stands in for one; each limit of some time by itself."""
    limits = list(limits)
    lasting = [x for x in limits if x.valid_from is None and x.valid_to is None]
    for x in (x for x in limits if x not in lasting):
        span = "".join(f" {word} {at.isoformat()}" for word, at in (("from", x.valid_from), (UNTIL, x.valid_to)) if at is not None)
        yield f"{key}.limits.{x.kind.value}.{x.window_s:g}s {x.source}{span}", Bound(LASTS, [_row(x)])
    for kind, window_s in sorted({(x.kind, x.window_s) for x in lasting}):
        rank = STRICTEST_FIRST.index(kind)
        same = [x for x in lasting if x.window_s == window_s and STRICTEST_FIRST.index(x.kind) <= rank]
        yield f"{key}.limits.{kind.value}.{window_s:g}s", Bound(LASTS, [_row(x) for x in same])
        kva = [x.kva for x in same if x.kva is not None]
        if kva:
            yield f"{key}.limits.{kind.value}.{window_s:g}s.kva", Bound(MOST, min(kva))
    for x in lasting:
        if x.heartbeat_s is not None:
            yield f"{key}.limits.{x.source}.heartbeat_s", Bound(MOST, x.heartbeat_s)
            yield f"{key}.limits.{x.source}.fail_safe_kw", Bound(MOST, x.fail_safe_kw)


def _same(key: str, found: Mapping[str, Bound]) -> Bound | None:
    """The bound of that key; where a limit of that kind is gone, that of the nearest stricter kind over the same window."""
    kinds = [kind.value for kind in STRICTEST_FIRST]
    head, dot, rest = key.partition(".limits.")
    kind, _, window = rest.partition(".")
    if key in found or not dot or kind not in kinds:
        return found.get(key)
    stricter = (f"{head}.limits.{other}.{window}" for other in reversed(kinds[: kinds.index(kind)]))
    return next((found[other] for other in stricter if other in found), None)


def _row(limit: Limit) -> list[Any]:
    return [limit.kw, limit.tolerance, _points(limit.curve)]


def _is_over(key: str, now: datetime) -> bool:
    _, until, at = key.rpartition(f" {UNTIL} ")
    return bool(until) and datetime.fromisoformat(at) <= now


def allowed_s(limits: Sequence[Sequence[Any]], kw: float) -> float:
    """How long limits, each (kW, tolerance, curve), allow an import: for ever, for a time, or not at all."""
    return min((_one_allows_s(limit, kw) for limit in limits), default=math.inf)


def _one_allows_s(limit: Sequence[Any], kw: float) -> float:
    limit_kw, tolerance, curve = limit
    if kw <= limit_kw * (1.0 + tolerance) * (1.0 + NOTHING):
        return math.inf
    return lasts_s(tuple((a, b) for a, b in curve), kw / limit_kw) if curve else 0.0


def _lasts_no_longer(was: Sequence[Sequence[Any]], now: Sequence[Sequence[Any]]) -> bool:
    corners = [
        kw * m for kw, tolerance, curve in (*was, *now) for m in (1.0 + tolerance, 1.001 * (1.0 + tolerance), *(p[0] for p in curve))
    ]
    probes = [*corners, *(2.0 * c for c in corners)]
    return all(allowed_s(now, kw) <= allowed_s(was, kw) * (1.0 + NOTHING) for kw in probes)


def _share_no_higher(was: Sequence[Sequence[float]], now: Sequence[Sequence[float]]) -> bool:
    before, after = ([(x, y) for x, y in course] for course in (was, now))
    return all(share_at(after, x) <= share_at(before, x) + NOTHING for x in (0.0, *(p[0] for p in (*before, *after))))


def _no_more(was: float | None, now: float | None) -> bool:
    return was is None or (now is not None and now <= was + NOTHING * abs(was))


def _no_less(was: float | None, now: float | None) -> bool:
    return was is None or (now is not None and now >= was - NOTHING * abs(was))


_NO_LOOSER: Mapping[str, Any] = {
    MOST: _no_more,
    LEAST: _no_less,
    ALL_OF: lambda was, now: set(was) <= set(now),
    NONE_BUT: lambda was, now: set(now) <= set(was),
    SHARE: _share_no_higher,
    LASTS: _lasts_no_longer,
}


def _number(value: float | bool | None) -> float | None:
    return None if value is None else float(value)


def _points(course: Sequence[Sequence[float]]) -> list[list[float]]:
    return [list(point) for point in course]


def _value(bound: Bound) -> str:
    value = bound.value
    if bound.rule == LASTS:
        return " and ".join(f"{kw:g} kW{' with its curve' if curve else ''}" for kw, _, curve in value) or "no limit"
    if isinstance(value, float):
        return f"{value:g}"
    return "no bound" if value is None else ", ".join(map(str, value)) or "none"
