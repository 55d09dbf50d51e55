"""What no single key can show: names that point nowhere, devices that share an address, a feeder tree that is none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from ems.errors import Complaint
from ems.nearest import near_miss
from ems.resources import resolve
from ems.site.build import string_ids
from ems.site.leases import least_cluster_lease_s, outlasts_s
from ems.site.schema import ControlFile, FeederFile, PointOfConnectionFile
from ems.site.schema_assets import AssetFile, BatteryFile, ClusterFile, CoolingFile, LinkFile, UpsFile
from ems.site.schema_generation import GeneratorFile, RenewableFile
from ems.site.source import Source
from ems.site.wording import near_file
from ems.site.yaml_reader import KeyPath

T = TypeVar("T")
_ASSET: TypeAdapter[AssetFile] = TypeAdapter(AssetFile)
_LINK: TypeAdapter[LinkFile] = TypeAdapter(LinkFile)


@dataclass(frozen=True)
class Parts:
    """The parts of a site file that are sound by themselves, so that one bad key does not hide the faults elsewhere."""

    connection: PointOfConnectionFile | None
    control: ControlFile  # as by default where its own is not sound
    assets: Mapping[str, AssetFile]
    feeders: Mapping[int, FeederFile]
    ids: tuple[str, ...]  # of all assets, sound or not

    def is_cluster(self, name: str) -> bool:
        """True for a cluster, and for an asset whose own faults hide what it is."""
        return name in self.ids and isinstance(self.assets.get(name, None) or _UNKNOWN, ClusterFile | _Unknown)


class _Unknown:
    """Stands for an asset with faults of its own."""


_UNKNOWN = _Unknown()


def sound_parts(source: Source) -> Parts:
    """The parts that validate alone."""
    raw_assets, raw_feeders = source.at(("assets",)), source.at(("feeders",))
    assets = raw_assets if isinstance(raw_assets, Mapping) else {}
    feeders = raw_feeders if isinstance(raw_feeders, list) else []
    return Parts(
        connection=sound(TypeAdapter(PointOfConnectionFile), source.at(("point_of_connection",))),
        control=sound(TypeAdapter(ControlFile), source.at(("control",)) or {}) or ControlFile(),
        assets={name: asset for name, raw in assets.items() if (asset := sound(_ASSET, raw)) is not None},
        feeders={n: part for n, raw in enumerate(feeders) if (part := sound(TypeAdapter(FeederFile), raw)) is not None},
        ids=tuple(assets),
    )


def sound(adapter: TypeAdapter[T], raw: object) -> T | None:
    """The part, or None when it has faults of its own."""
    try:
        return adapter.validate_python(raw)
    except ValidationError:
        return None


def reference_complaints(source: Source, parts: Parts) -> list[Complaint]:
    """Every fault in how the parts name each other."""
    return [
        *limit_complaints(source, parts),
        *string_complaints(source, parts),
        *window_complaints(source, parts),
        *membership_complaints(source, parts),
        *feeder_complaints(source, parts),
        *address_complaints(source, parts),
        *lease_complaints(source, parts),
        *page_complaints(source),
    ]


def limit_complaints(source: Source, parts: Parts) -> Iterator[Complaint]:
    """A site needs one protective limit that always holds; no limit grows while its source is silent; the meter's id is no asset's, and
    neither is the word for all of them."""
    if parts.connection is None:
        return
    where: KeyPath = ("point_of_connection",)
    if parts.connection.import_limit_kw is None and not any(limit.holds_always and not limit.curve for limit in parts.connection.limits):
        yield source.complaint(
            (*where, "import_limit_kw"), "a limit in kW, or a protective record with window_s <= 1 and no curve in limits"
        )
    if parts.connection.id in parts.ids:
        yield source.complaint(("assets", parts.connection.id), "an id other than the point of connection's", parts.connection.id)
    for number, limit in enumerate(parts.connection.limits):
        # A limit whose source falls silent may only become stricter.
        if limit.fail_safe_kw is not None and limit.fail_safe_kw > limit.rated_kw:
            expected = f"above 0 and at most the limit itself ({limit.rated_kw:g} kW)"
            yield source.complaint((*where, "limits", number, "fail_safe_kw"), expected, limit.fail_safe_kw)
    if "all" in parts.ids:
        yield source.complaint(("assets", "all"), "an id other than all, which means every asset in an order", "all")


def string_complaints(source: Source, parts: Parts) -> Iterator[Complaint]:
    """Strings get ids that nobody else has, and ports there are."""
    for name, asset in parts.assets.items():
        if isinstance(asset, BatteryFile) and asset.strings > 1:
            if taken := set(string_ids(name, asset.strings)) & set(parts.ids):
                yield source.complaint(("assets", min(taken)), f"an id other than those of the strings of {name}", min(taken))
            if asset.link is not None and asset.link.port + asset.strings > 65536:
                yield source.complaint(("assets", name, "link", "port"), f"a port with {asset.strings - 1} more above it", asset.link.port)


def window_complaints(source: Source, parts: Parts) -> Iterator[Complaint]:
    """The state-of-charge window of a battery is open, and it starts inside. Told at a key that is written, never at a default."""
    for name, asset in parts.assets.items():
        if not isinstance(asset, BatteryFile):
            continue
        low, high = asset.soc_min, asset.soc_max
        if high <= low and "soc_max" in asset.model_fields_set:
            yield source.complaint(("assets", name, "soc_max"), f"a fraction above soc_min ({low:g})")
        elif high <= low:
            yield source.complaint(("assets", name, "soc_min"), f"a fraction below soc_max ({high:g} unless given)")
        elif not low <= asset.initial_soc <= high:
            given = "" if "initial_soc" in asset.model_fields_set else f"; {asset.initial_soc:g} unless given"
            expected = f"a fraction between soc_min and soc_max ({low:g} to {high:g}{given})"
            yield source.complaint(("assets", name, "initial_soc"), expected)


def membership_complaints(source: Source, parts: Parts) -> Iterator[Complaint]:
    """UPSs carry and cooling cools clusters of this site; a cluster is behind one UPS at most, and cooled by one system at most."""
    taken: dict[tuple[str, str], str] = {}
    for name, asset in parts.assets.items():
        if isinstance(asset, UpsFile | CoolingFile):
            key, members = ("carries", asset.carries) if isinstance(asset, UpsFile) else ("cools", asset.cools)
            for number, member in enumerate(members):
                where: KeyPath = ("assets", name, key, number)
                if not parts.is_cluster(member):
                    clusters = [known for known in parts.ids if parts.is_cluster(known)]
                    yield source.complaint(where, "a cluster of this site" + near_miss(member, clusters))
                elif (key, member) in taken:
                    yield source.complaint(where, f"a cluster listed once ({taken[key, member]} {key} it already)")
                taken.setdefault((key, member), name)


def feeder_complaints(source: Source, parts: Parts) -> Iterator[Complaint]:
    """Feeders have ids of their own, known parents and assets, no circle; an asset hangs on one feeder."""
    ids = [feeder.id for feeder in parts.feeders.values()]
    owner: dict[str, str] = {}
    for number, feeder in parts.feeders.items():
        where: KeyPath = ("feeders", number)
        if ids.index(feeder.id) < list(parts.feeders).index(number):
            yield source.complaint((*where, "id"), "an id no other feeder has")
        if feeder.parent is not None and feeder.parent not in ids:
            yield source.complaint((*where, "parent"), "the id of a feeder" + near_miss(feeder.parent, ids))
        elif is_in_circle(feeder, parts.feeders.values()):
            yield source.complaint((*where, "parent"), "a parent that is not below this feeder itself")
        if feeder.partner is not None and not any(f.id == feeder.partner and f.partner == feeder.id for f in parts.feeders.values()):
            yield source.complaint((*where, "partner"), "the id of another feeder that names this one as its partner")
        elif feeder.partner is not None and feeder.partner in {feeder.id, *above(feeder, parts.feeders.values())}:
            # What both carry would be counted twice against one limit.
            yield source.complaint((*where, "partner"), "another feeder, neither this one nor one above it")
        if feeder.loss_fraction > 0.0 and may_turn_round(feeder, parts):
            yield source.complaint(
                (*where, "loss_fraction"),
                "0 where what hangs below can feed back: nothing but loads, or every asset of a site that exports nothing",
                feeder.loss_fraction,
            )
        for place, name in enumerate(feeder.assets):
            if name not in parts.ids:
                yield source.complaint((*where, "assets", place), "the id of an asset" + near_miss(name, parts.ids))
            elif name in owner:
                yield source.complaint((*where, "assets", place), f"an asset on one feeder ({owner[name]} has it already)")
            owner.setdefault(name, feeder.id)


def may_turn_round(feeder: FeederFile, parts: Parts) -> bool:
    """True when power could flow up a feeder: its losses would then be another fraction."""
    ids, names = {feeder.id}, set[str]()
    for _ in parts.feeders:
        ids |= {f.id for f in parts.feeders.values() if f.parent in ids}
    names.update(a for f in parts.feeders.values() if f.id in ids for a in f.assets)
    if parts.connection is not None and parts.connection.export_limit_kw <= 0.0 and names >= set(parts.ids):
        return False
    gives = (BatteryFile, GeneratorFile, RenewableFile)
    below = [parts.assets[a] for a in names if a in parts.assets]
    return any(isinstance(a, gives) or (isinstance(a, UpsFile) and a.is_bidirectional) for a in below)


def is_in_circle(feeder: FeederFile, feeders: Iterable[FeederFile]) -> bool:
    """True when the way up from a feeder comes back to it."""
    return feeder.id in above(feeder, feeders)


def above(feeder: FeederFile, feeders: Iterable[FeederFile]) -> set[str]:
    """The ids on the way up from a feeder, once round where it is a circle."""
    parents = {f.id: f.parent for f in feeders}
    here, seen = feeder.parent, set[str]()
    while here is not None and here not in seen:
        seen.add(here)
        here = parents.get(here)
    return seen


def links_of(parts: Parts) -> Iterator[tuple[KeyPath, LinkFile]]:
    """Every device link with its path, the meter first."""
    if parts.connection is not None and parts.connection.meter is not None:
        yield ("point_of_connection", "meter"), parts.connection.meter
    for name, asset in parts.assets.items():
        link = getattr(asset, "link", None)
        if link is not None:
            yield ("assets", name, "link"), link
            more = asset.strings if isinstance(asset, BatteryFile) else 1
            yield from ((("assets", name, "link"), link.model_copy(update={"port": link.port + n})) for n in range(1, more))


def address_complaints(source: Source, parts: Parts) -> Iterator[Complaint]:
    """No two devices answer at one host, port and unit."""
    seen: dict[tuple[str, int, int], KeyPath] = {}
    for where, link in links_of(parts):
        host = "127.0.0.1" if link.host in {"localhost", "::1"} else link.host.lower()
        address = (host, link.port, link.unit_id)
        if address in seen:
            other = str(seen[address][-2] if seen[address][0] == "assets" else "the meter")
            yield source.complaint((*where, "port"), f"an address of its own ({other} has {link.host}:{link.port} unit {link.unit_id})")
        seen.setdefault(address, where)


def lease_complaints(source: Source, parts: Parts) -> Iterator[Complaint]:
    """Workload falls to its contract cap before any store that gives lets go, or the site would stand without storage under wider caps."""
    stores = [
        (link.lease_s, name)
        for name, asset in parts.assets.items()
        if not isinstance(asset, ClusterFile | CoolingFile)
        and (link := getattr(asset, "link", None)) is not None
        and getattr(asset, "is_grid_interactive", True)
    ]
    if not stores:
        return
    shortest_s, store = min(stores)
    least_s = math.ceil(least_cluster_lease_s(parts.control.cycle_s))
    allowed_s = math.floor(outlasts_s(shortest_s, parts.control.cycle_s))
    for name, asset in parts.assets.items():
        if not isinstance(asset, ClusterFile) or asset.link is None or least_s <= asset.link.lease_s <= allowed_s:
            continue
        expected = f"at least {least_s:g} s: a store that charges lets go before it and must be refreshed in time"
        if asset.link.lease_s > allowed_s:
            expected = f"at most {allowed_s:g} s beside the {shortest_s:g} s of {store}: workload lapses before storage"
        yield source.complaint(("assets", name, "link", "lease_s"), expected, asset.link.lease_s)


def page_complaints(source: Source) -> Iterator[Complaint]:
    """Every device page can be found."""
    for where, link in sound_links(source):
        place = (*where, "page")
        try:
            resolve("devices", link.page, source.origin(place))
        except FileNotFoundError as error:
            yield source.complaint(place, f"a device page ({error})" + near_file("devices", link.page, source.origin(place)))


def sound_links(source: Source) -> Iterator[tuple[KeyPath, LinkFile]]:
    """Every device link that is sound by itself, whatever is wrong with its asset."""
    assets = source.at(("assets",))
    places: list[KeyPath] = [("point_of_connection", "meter")]
    places += [("assets", name, "link") for name in assets] if isinstance(assets, Mapping) else []
    for where in places:
        link = sound(_LINK, source.at(where))
        if link is not None:
            yield where, link
