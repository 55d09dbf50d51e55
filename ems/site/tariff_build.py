"""From the validated tariff file to the frozen Tariff: defaults that depend on other keys are worked out here."""

from __future__ import annotations

from ems.site.tariff import (
    ALL_MONTHS,
    CarbonPrice,
    CoincidentPeak,
    ContractCapacity,
    DemandCharge,
    EnergyPeriod,
    MinimumTake,
    PastPeak,
    PricePair,
    RampPrice,
    Ratchet,
    Tariff,
    Tier,
    UtilisationHours,
    Window,
)
from ems.site.tariff_schema import (
    DAY_NAMES,
    CoincidentPeakFile,
    ContractCapacityFile,
    DemandChargeFile,
    EnergyPeriodFile,
    RampPriceFile,
    TariffFile,
    UtilisationHoursFile,
    WindowFile,
)

SUMMER = (6, 7, 8, 9)
DAY_GROUPS = {"all": tuple(range(8)), "weekdays": (0, 1, 2, 3, 4), "weekends": (5, 6, 7)}
# rule: months, interval in min, peaks per month, peaks per season. ERCOT 4CP: the highest 15-min interval of each summer month; PJM 5CP:
# the five highest hours of the summer on different days; 12CP: the highest hour of every month.
COINCIDENT_RULES = {"4cp": (SUMMER, 15, 1, 0), "5cp": (SUMMER, 60, 0, 5), "12cp": (ALL_MONTHS, 60, 1, 0)}


def build_tariff(file: TariffFile) -> Tariff:
    """The tariff; parts without an interval of their own take demand_interval_min."""
    interval = file.demand_interval_min
    plain = {"energy_periods", "demand_charges", "holidays", "past_peaks_kw", "utilisation_hours", "coincident_peak"}
    plain |= {"contract_capacity", "minimum_take", "carbon", "ramp"}
    return Tariff(
        **file.model_dump(exclude=plain),
        holidays=tuple(file.holidays),
        energy_periods=tuple(build_period(p) for p in file.energy_periods),
        demand_charges=tuple(build_demand(d, interval) for d in file.demand_charges),
        past_peaks=tuple(PastPeak(month, name, kw) for month, peaks in file.past_peaks_kw.items() for name, kw in peaks.items()),
        coincident_peak=build_coincident(file.coincident_peak),
        contract_capacity=build_contract(file.contract_capacity, interval),
        utilisation_hours=build_utilisation(file.utilisation_hours, interval),
        minimum_take=MinimumTake(**file.minimum_take.model_dump()) if file.minimum_take else None,
        carbon=CarbonPrice(**file.carbon.model_dump()) if file.carbon else None,
        ramp=build_ramp(file.ramp, interval),
    )


def build_window(file: WindowFile) -> Window:
    """A window; what is left out means every one."""
    days = DAY_GROUPS[file.days] if isinstance(file.days, str) else tuple(DAY_NAMES.index(day) for day in file.days)
    from_h, to_h = file.hours if file.hours else (0.0, 24.0)
    return Window(tuple(file.months or ALL_MONTHS), days, from_h, to_h)


def build_period(file: EnergyPeriodFile) -> EnergyPeriod:
    """A period; one price is one tier without an end."""
    tiers = tuple(Tier(t.up_to, t.price_per_kwh) for t in file.tiers or ()) or (Tier(None, file.price_per_kwh or 0.0),)
    return EnergyPeriod(file.name, tiers, file.export_price_per_kwh, tuple(build_window(w) for w in file.when), file.rest)


def build_demand(file: DemandChargeFile, interval_min: int) -> DemandCharge:
    """A demand charge."""
    tiers = tuple(Tier(t.up_to_kw, t.price_per_kw_month) for t in file.tiers or ()) or (Tier(None, file.price_per_kw_month or 0.0),)
    r = file.ratchet
    ratchet = Ratchet(r.share, r.months, tuple(r.in_months), tuple(r.of_months)) if r else None
    windows = tuple(build_window(w) for w in file.when)
    return DemandCharge(file.name, tiers, file.interval_min or interval_min, windows, file.minimum_kw, ratchet, file.billed_on)


def build_coincident(file: CoincidentPeakFile | None) -> CoincidentPeak | None:
    """A coincident-peak price with the months and the interval of its rule unless the file says otherwise."""
    if file is None:
        return None
    months, interval_min, per_month, per_year = COINCIDENT_RULES[file.rule]
    return CoincidentPeak(
        rule=file.rule,
        price_per_kw_year=file.price_per_kw_year,
        months=tuple(file.months or months),
        from_h=file.hours[0],
        to_h=file.hours[1],
        interval_min=file.interval_min or interval_min,
        per_month=per_month,
        per_year=per_year,
    )


def build_contract(file: ContractCapacityFile | None, interval_min: int) -> ContractCapacity | None:
    """The capacity contracted."""
    return None if file is None else ContractCapacity(**{**file.model_dump(), "interval_min": file.interval_min or interval_min})


def build_ramp(file: RampPriceFile | None, interval_min: int) -> RampPrice | None:
    """The price on fast changes."""
    return None if file is None else RampPrice(**{**file.model_dump(), "interval_min": file.interval_min or interval_min})


def build_utilisation(file: UtilisationHoursFile | None, interval_min: int) -> UtilisationHours | None:
    """The two pairs of prices."""
    if file is None:
        return None
    below, above = PricePair(**file.below.model_dump()), PricePair(**file.above.model_dump())
    return UtilisationHours(file.threshold_h, below, above, file.interval_min or interval_min, file.expected_h)
