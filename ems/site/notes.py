"""What a valid site or tariff file says and surely does not mean: a line for a person to look at. Nothing is refused for it.

Each rule gives the keys it stumbles over, relative to the site or the tariff, and what they lead to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ems.assets.cooling.plant import HOTTEST_C, CoolingPlant
from ems.errors import Complaint
from ems.resources import known_names
from ems.site.feasibility import lasting_limit
from ems.site.schema import SiteFile
from ems.site.schema_assets import AssetFile, BatteryFile, ClusterFile, CoolingFile, UpsFile
from ems.site.schema_generation import GeneratorFile, RenewableFile
from ems.site.source import Source, in_order
from ems.site.tariff_schema import ALL_MONTHS, TariffFile
from ems.site.technology import TECHNOLOGIES
from ems.site.wording import near_file
from ems.site.yaml_reader import KeyPath

Note = tuple[KeyPath, str]
FIXED_ZONES = {"EST", "MST", "HST", "UTC", "UCT", "GMT", "GMT0", "GMT+0", "GMT-0", "Zulu", "Universal", "Greenwich"}

BATTERY: tuple[tuple[str, Callable[[BatteryFile], bool], str], ...] = (
    (
        "state_of_health",
        lambda b: b.state_of_health <= b.end_of_life_capacity,
        "at or below end_of_life_capacity: the battery counts as worn out and is not used",
    ),
    (
        "energy_kwh",
        lambda b: not 0.1 <= b.energy_kwh / b.power_kw <= 100.0,
        "less than 0.1 h or more than 100 h of power_kw; expected kWh and kW",
    ),
    ("charge_efficiency", lambda b: b.charge_efficiency < 0.5, "more than half of what it takes is lost"),
    ("discharge_efficiency", lambda b: b.discharge_efficiency < 0.5, "more than half of what it holds is lost"),
    (
        "wear_price_per_kwh",
        lambda b: bool(b.wear_by_depth) and "wear_price_per_kwh" in b.model_fields_set,
        "does not count: wear_by_depth replaces it",
    ),
)
GENERATOR: tuple[tuple[str, Callable[[GeneratorFile], bool], str], ...] = (
    (
        "permit_used_h",
        lambda g: g.permit_h_per_year is not None and g.permit_used_h >= g.permit_h_per_year,
        "permit_h_per_year is used up: no hour is left this year",
    ),
    (
        "emission_used_kg",
        lambda g: g.emission_kg_per_year is not None and g.emission_used_kg >= g.emission_kg_per_year,
        "emission_kg_per_year is used up: nothing may be emitted any more this year",
    ),
    (
        "other_emissions",
        lambda g: any(p.used_kg >= p.kg_per_year for p in g.other_emissions),
        "kg_per_year of one of them is used up: nothing may be emitted any more this year",
    ),
)


def site_notes(source: Source, file: SiteFile) -> list[str]:
    """Every note on a valid site file as a line, in the order of the file."""
    rules = (odd_assets, uncooled, low_rating, beyond_horizon, loose_limits, wide_export, small_feeders, fixed_zone)
    in_tariff = [(("tariff", *where), text) for where, text in notes_on_tariff(file.tariff)]
    found = [note for rule in rules for note in rule(file)]
    return lines(source, [*found, *unknown_programs(source, file), *in_tariff])


def tariff_notes(source: Source, file: TariffFile) -> list[str]:
    """Every note on a valid tariff file as a line."""
    return lines(source, notes_on_tariff(file))


def lines(source: Source, notes: Iterable[Note]) -> list[str]:
    """The notes as a person reads them, each with its place and the value that stands there."""
    found: list[Complaint] = in_order([source.complaint(where, text) for where, text in notes])
    return [f"note: {n.file}:{n.line}:{n.column} {n.key} = {n.value}: {n.expected}" for n in found]


def odd_assets(file: SiteFile) -> Iterator[Note]:
    """Batteries and machines that will never be used, or whose figures look like another unit."""
    for name, asset in file.assets.items():
        if isinstance(asset, BatteryFile):
            yield from ((("assets", name, key), text) for key, is_odd, text in BATTERY if is_odd(asset))
        elif isinstance(asset, GeneratorFile):
            yield from ((("assets", name, key), text) for key, is_odd, text in GENERATOR if is_odd(asset))


def unknown_programs(source: Source, file: SiteFile) -> Iterator[Note]:
    """Orders that no known programme gives."""
    known = known_names("programs", source.path)
    for name, asset in file.assets.items():
        for number, program in enumerate(asset.ordered_by if isinstance(asset, GeneratorFile) else ()):
            if program not in known:
                near = near_file("programs", program, source.path)
                text = f"no programme file has this name{near}: only an order under just this name may start the machine"
                yield ("assets", name, "ordered_by", number), text


def uncooled(file: SiteFile) -> Iterator[Note]:
    """Clusters that no cooling cools, on a site that has cooling."""
    cooled = {cluster for asset in file.assets.values() if isinstance(asset, CoolingFile) for cluster in asset.cools}
    for name, asset in file.assets.items():
        if cooled and isinstance(asset, ClusterFile) and name not in cooled:
            yield ("assets", name, "kind"), "no cooling names this cluster under `cools`: its heat costs nothing to remove"


def low_rating(file: SiteFile) -> Iterator[Note]:
    """Ratings of cooling below what its plant draws when it recovers from a trip."""
    for name, asset in file.assets.items():
        if isinstance(asset, CoolingFile) and asset.plant is not None and asset.rating_kw is not None:
            full_kw = CoolingPlant(**asset.plant.model_dump()).full_power_kw
            if asset.rating_kw < full_kw:
                text = f"less than the plant draws at its full capacity_kw and {HOTTEST_C:g} °C ({full_kw:.0f} kW), as after a trip"
                yield ("assets", name, "rating_kw"), text


def beyond_horizon(file: SiteFile) -> Iterator[Note]:
    """Machines that must stay on or off for longer than the plan looks ahead."""
    for name, asset in file.assets.items():
        if isinstance(asset, GeneratorFile) and asset.duty != "baseload":
            for key in ("min_up_h", "min_down_h"):
                hours = getattr(asset, key)
                hours = getattr(TECHNOLOGIES[asset.technology], key) if hours is None else hours
                if hours > file.plan.horizon_h:
                    yield (
                        ("assets", name, key),
                        f"{hours:g} h are longer than plan.horizon_h ({file.plan.horizon_h:g}): no plan sees the end of it",
                    )


def loose_limits(file: SiteFile) -> Iterator[Note]:
    """Tolerances that leave nothing of a limit."""
    for number, limit in enumerate(file.point_of_connection.limits):
        if limit.tolerance >= 0.5:
            text = f"a share: {1.0 + limit.tolerance:g} times the limit is no breach; 1 % is 0.01"
            yield ("point_of_connection", "limits", number, "tolerance"), text


def wide_export(file: SiteFile) -> Iterator[Note]:
    """An export limit far above what may be imported."""
    limit = lasting_limit(file.point_of_connection)
    if limit is not None and file.point_of_connection.export_limit_kw > 10.0 * limit.kw:
        yield ("point_of_connection", "export_limit_kw"), f"more than ten times the import limit of {limit.kw:g} kW"


def small_feeders(file: SiteFile) -> Iterator[Note]:
    """Feeders that carry less than the stores and machines below them can give."""
    for number, feeder in enumerate(file.feeders):
        ids = {feeder.id}
        for _ in file.feeders:
            ids |= {f.id for f in file.feeders if f.parent in ids}
        given_kw = sum(most_given_kw(file.assets[a]) for f in file.feeders if f.id in ids for a in f.assets)
        if given_kw > feeder.rated_kw:
            text = f"less than stores and machines below it can give together ({given_kw:.0f} kW): it holds in either direction"
            yield ("feeders", number, "limit_kw"), text


def most_given_kw(asset: AssetFile) -> float:
    """What an asset can push up its feeder in kW; a UPS that is no bidirectional one serves the load it carries."""
    if isinstance(asset, BatteryFile):
        return asset.power_kw * asset.strings
    if isinstance(asset, GeneratorFile | RenewableFile):
        return asset.power_kw
    return asset.rating_kw if isinstance(asset, UpsFile) and asset.is_bidirectional else 0.0


def fixed_zone(file: SiteFile) -> Iterator[Note]:
    """A zone without summer time under a tariff by the clock."""
    tariff = file.tariff
    windows = [w for period in tariff.energy_periods for w in period.when] + [w for charge in tariff.demand_charges for w in charge.when]
    has_windows = bool(windows) or tariff.coincident_peak is not None
    if has_windows and (file.time_zone in FIXED_ZONES or file.time_zone.startswith("Etc/")):
        yield (
            ("time_zone",),
            "has no summer time, and the tariff has hours of local time; a place such as America/Denver has it where it holds",
        )


def notes_on_tariff(file: TariffFile) -> Iterator[Note]:
    """Ratchets that never catch, and earlier peaks that count nowhere; keys relative to the tariff."""
    for number, charge in enumerate(file.demand_charges):
        r = charge.ratchet
        if r is not None:
            reached = {(month - 1 + later) % 12 + 1 for month in {*r.of_months} & charge.peak_months for later in range(1, r.months + 1)}
            if not reached & {*r.in_months}:
                text = f"none of them comes within {r.months} months after of_months: the ratchet never raises a bill"
                yield ("demand_charges", number, "ratchet", "in_months"), text
    months = {charge.name: charge.peak_months for charge in file.demand_charges}
    for month, peaks in file.past_peaks_kw.items():
        for name in peaks:
            if int(month[5:]) not in months.get(name, ALL_MONTHS):
                yield ("past_peaks_kw", month, name), f"{name} has no windows in this month: the peak counts nowhere"
