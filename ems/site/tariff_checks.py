"""What no single key of a tariff can show: periods that overlap or leave hours out, exports dearer than imports, charges nobody knows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from ems.errors import Complaint, ConfigError
from ems.site.source import Source, in_order, validated
from ems.site.tariff import BASIC_CHARGE, MARKET, NEXT, NEXT_YEAR, TAKEN, Tariff
from ems.site.tariff_build import build_tariff
from ems.site.tariff_calendar import NOBODY, period_table, table_of
from ems.site.tariff_schema import DAY_NAMES, TariffFile
from ems.site.yaml_reader import KeyPath

MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")


def checked_tariff(source: Source) -> Tariff:
    """The tariff of a file. Raises ConfigError with every complaint at once."""
    file = validated(source, TariffFile)
    complaints = list(tariff_complaints(source, file))
    if complaints:
        raise ConfigError(in_order(complaints))
    return build_tariff(file)


def tariff_complaints(source: Source, file: TariffFile, where: KeyPath = ()) -> Iterator[Complaint]:
    """Every fault between the keys of a tariff that stands at `where` in the source."""
    yield from _names(source, (*where, "energy_periods"), [p.name for p in file.energy_periods], ())
    yield from _names(source, (*where, "demand_charges"), [d.name for d in file.demand_charges], TAKEN)
    if file.energy == "time_of_use" and not file.energy_periods:
        yield source.complaint((*where, "energy"), "fixed, or energy_periods with the prices by time of use")
    yield from _cover(source, file, (*where, "energy_periods"))
    yield from _spread(source, file, where)
    yield from _past_peaks(source, file, where)


def _names(source: Source, where: KeyPath, names: Sequence[str], taken: Collection[str]) -> Iterator[Complaint]:
    for number, name in enumerate(names):
        if name in names[:number]:
            yield source.complaint((*where, number, "name"), "a name no other has")
        elif name in taken or (taken and name.endswith((NEXT, NEXT_YEAR))):
            yield source.complaint((*where, number, "name"), "a name of its own, such as `on-peak demand`: this is a part of every plan")


def _cover(source: Source, file: TariffFile, where: KeyPath) -> Iterator[Complaint]:
    """Each hour of the year belongs to one period."""
    if not file.energy_periods:
        return
    periods = build_tariff(file).energy_periods
    rests = [n for n, p in enumerate(periods) if p.is_rest]
    for number in rests[1:]:
        yield source.complaint((*where, number, "rest"), "one period with rest: true")
    taken = np.full((12, 8, 48), NOBODY)
    for number, period in enumerate(periods):
        mine = table_of(period.windows)
        clash = np.argwhere(mine & (taken != NOBODY))
        if len(clash):
            other = periods[int(taken[tuple(clash[0])])].name
            yield source.complaint((*where, number, "when"), f"hours no other period has ({other} has {_words(clash[0])})", period.name)
        taken[mine] = number
    free = np.argwhere(period_table(periods) == NOBODY)
    if len(free):
        found = f"{len(file.energy_periods)} periods"
        yield source.complaint(where, f"a period for every hour, or one with rest: true (nobody has {_words(free[0])})", found)


def _words(cell: Sequence[int]) -> str:
    month, day, slot = (int(v) for v in cell)
    return f"{DAY_NAMES[day]} {slot // 2:02d}:{slot % 2 * 30:02d} in {MONTHS[month]}"


def _spread(source: Source, file: TariffFile, where: KeyPath) -> Iterator[Complaint]:
    """What can be known at load: an export price above the import price of the same hour is a negative spread."""
    is_fixed = file.energy in ("fixed", "time_of_use") and file.export_energy == "fixed"
    if not is_fixed and (file.energy == "fixed" or file.export_energy == "fixed" or file.energy == "time_of_use"):
        return  # one side follows the market: the plan pays the lower of both where they cross
    if file.energy in MARKET and file.export_energy in MARKET and file.energy != file.export_energy:
        # the plan and the replays know one market price at a time
        yield source.complaint((*where, "export_energy"), f"fixed, or the market of the imports ({file.energy})", file.export_energy)
        return
    if not file.energy_periods and file.export_price_per_kwh > max(file.energy_price_per_kwh, 0.0):
        yield source.complaint((*where, "export_price_per_kwh"), _words_of_spread(file.energy_price_per_kwh), file.export_price_per_kwh)
    for number, period in enumerate(file.energy_periods):
        prices = [t.price_per_kwh for t in period.tiers] if period.tiers else [period.price_per_kwh or 0.0]
        least = file.energy_price_per_kwh + min(prices)
        own = period.export_price_per_kwh is not None
        export = period.export_price_per_kwh if period.export_price_per_kwh is not None else file.export_price_per_kwh
        if export > max(least, 0.0):
            key: KeyPath = ("energy_periods", number, "export_price_per_kwh") if own else ("export_price_per_kwh",)
            yield source.complaint((*where, *key), _words_of_spread(least), export)


def _words_of_spread(price: float) -> str:
    return f"at most the import price of the same hours ({price:g}): a negative spread would pay for running in circles"


def _past_peaks(source: Source, file: TariffFile, where: KeyPath) -> Iterator[Complaint]:
    known = {BASIC_CHARGE, *(d.name for d in file.demand_charges)}
    for month, peaks in file.past_peaks_kw.items():
        for name in peaks:
            if name not in known:
                yield source.complaint((*where, "past_peaks_kw", month, name), f"the name of a demand charge ({', '.join(sorted(known))})")
