"""Hundreds of storage strings as a few classes: the planner sees one battery per class, the arbiter splits its power again.

Strings are planned together when they hang on the same feeder and agree in chemistry, efficiencies, wear, window and in how long they
last at full power. Where that still leaves more than MOST_CLASSES, classes of one feeder, chemistry and set of curves that are nearest in
efficiency and wear become one, with the worst of their figures. A site without strings is planned as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from ems.assets.battery.model import Battery
from ems.assets.catalogue import Asset
from ems.site.model import Feeder, Site

MOST_CLASSES = 16
Group = tuple[Battery, ...]


def storage_classes(site: Site, most: int = MOST_CLASSES) -> dict[str, Group]:
    """The strings of each class by the id it is planned under (the first entry of the site file in it). Empty without strings.

    More than `most` only where feeders or chemistries alone are more.
    """
    feeder = {asset: f.id for f in site.feeders for asset in f.assets}
    alike: dict[tuple[object, ...], list[Battery]] = {}
    for battery in site.batteries:
        if battery.string_of:
            alike.setdefault((feeder.get(battery.id), *_kind(battery)), []).append(battery)
    groups = sorted((tuple(group) for group in alike.values()), key=lambda g: _order(g[0], feeder))
    while len(groups) > most and (n := _nearest(groups, feeder)) is not None:
        groups[n : n + 2] = [(*groups[n], *groups[n + 1])]
    return _named(groups)


def planned_site(site: Site, most: int = MOST_CLASSES) -> Site:
    """The site as the planner sees it: each class one battery. The site itself when it has no strings."""
    classes = storage_classes(site, most)
    if not classes:
        return site
    member = {string.id: name for name, group in classes.items() for string in group}
    assets: dict[str, Asset] = {}
    for name, asset in site.assets.items():
        if name not in member:
            assets[name] = asset
        elif member[name] not in assets:
            assets[member[name]] = class_battery(member[name], classes[member[name]])
    return replace(site, assets=assets, feeders=tuple(_with_classes(f, member) for f in site.feeders))


def class_battery(name: str, strings: Sequence[Battery]) -> Battery:
    """One battery for all strings of a class: ratings add up, everything else is the worst there is among them."""
    energy_kwh = sum(s.energy_kwh for s in strings)
    low, high = max(s.soc_min for s in strings), min(s.soc_max for s in strings)
    return replace(
        strings[0],
        id=name,
        power_kw=sum(s.power_kw for s in strings),
        energy_kwh=energy_kwh,
        charge_efficiency=min(s.charge_efficiency for s in strings),
        discharge_efficiency=min(s.discharge_efficiency for s in strings),
        soc_min=low,
        soc_max=high,
        wear_price_per_kwh=max(s.wear_price_per_kwh for s in strings),
        ramp_kw_per_s=sum(s.ramp_kw_per_s for s in strings),
        initial_soc=sum(s.initial_soc * s.energy_kwh for s in strings) / energy_kwh,
        auxiliary_kw=sum(s.auxiliary_kw for s in strings),
        warranty_kwh_per_day=sum(s.warranty_kwh_per_day or 0.0 for s in strings) or None,
        link=None,
    )


def _kind(b: Battery) -> tuple[object, ...]:
    """What strings of one class have in common; powers and energies only by their ratio."""
    plain = replace(b, id="", link=None, string_of="", initial_soc=0.0, power_kw=0.0, energy_kwh=0.0, ramp_kw_per_s=0.0, auxiliary_kw=0.0)
    return (plain, round(b.energy_kwh / b.power_kw, 6))


def _order(b: Battery, feeder: dict[str, str]) -> tuple[object, ...]:
    return (*_apart(b, feeder), _round_trip(b), b.wear_price_per_kwh, b.id)


def _apart(b: Battery, feeder: dict[str, str]) -> tuple[object, ...]:
    """What strings must agree in even when classes are merged."""
    curves = (b.charge_limit_by_soc, b.discharge_limit_by_soc, b.limit_by_ambient_c, b.wear_by_depth)
    return (feeder.get(b.id, ""), b.chemistry, curves, b.warranty_kwh_per_day is None, b.is_worn_out)


def _nearest(groups: Sequence[Group], feeder: dict[str, str]) -> int | None:
    """Where in the sorted groups two neighbours of one kind differ least in round trip and wear; None when none are."""
    gaps = [
        (abs(_round_trip(a[0]) - _round_trip(b[0])) + abs(a[0].wear_price_per_kwh - b[0].wear_price_per_kwh), n)
        for n, (a, b) in enumerate(pairwise(groups))
        if _apart(a[0], feeder) == _apart(b[0], feeder)
    ]
    return min(gaps)[1] if gaps else None


def _round_trip(b: Battery) -> float:
    return b.charge_efficiency * b.discharge_efficiency


def _named(groups: Sequence[Group]) -> dict[str, Group]:
    """Each class under the name of its first string's entry; a later class of the same entry gets a number."""
    named: dict[str, Group] = {}
    for group in sorted(groups, key=lambda g: g[0].id):
        name = group[0].string_of
        named[name if name not in named else f"{name}.{len(named)}"] = group
    return named


def _with_classes(feeder: Feeder, member: dict[str, str]) -> Feeder:
    return replace(feeder, assets=tuple(dict.fromkeys(member.get(a, a) for a in feeder.assets)))
