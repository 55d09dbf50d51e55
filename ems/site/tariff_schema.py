"""A tariff file as pydantic models, one class per mapping; what no single key can show is in tariff_checks.py."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ems.site.schema_assets import NotNegative, Positive, Price
from ems.site.source import FileModel

DAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday")
METER_INTERVALS = (5, 15, 30, 60)
ALL_MONTHS = tuple(range(1, 13))
SignedPrice = Annotated[float, Field(ge=-1e3, le=1e3)]
Month = Annotated[int, Field(ge=1, le=12)]
Months = Annotated[list[Month], Field(min_length=1, max_length=12)]
Hours = Annotated[list[Annotated[float, Field(ge=0, le=24)]], Field(min_length=2, max_length=2)]
Amount = Annotated[float, Field(gt=0, le=1e12)]
Label = Annotated[str, Field(min_length=1, max_length=100)]


def meter_interval(value: int) -> int:
    """5, 15, 30 or 60 minutes. Raises ValueError on anything else."""
    if value not in METER_INTERVALS:
        raise ValueError("5, 15, 30 or 60")
    return value


class WindowFile(FileModel):
    """Some hours of some days in some months, local time. Left out: every one."""

    months: Months | None = None
    days: Literal["all", "weekdays", "weekends"] | list[Literal[DAY_NAMES]] = "all"  # type: ignore[valid-type]
    hours: Hours | None = None

    @field_validator("hours")
    @classmethod
    def _half_hours(cls, value: list[float] | None) -> list[float] | None:
        if value is None:
            return value
        if any(v * 2 != round(v * 2) for v in value) or value[0] == value[1] or value[0] == 24:
            raise ValueError("[from, to] in whole or half hours of local time, such as [14, 20], or [22, 6] over midnight")
        return value


class EnergyTierFile(FileModel):
    """A price up to an amount of the month's import."""

    up_to: Amount | None = None
    price_per_kwh: SignedPrice = Field(description="the price in this tier")


class DemandTierFile(FileModel):
    """A price up to a demand."""

    up_to_kw: Amount | None = None
    price_per_kw_month: Price = Field(description="the price in this tier")


class EnergyPeriodFile(FileModel):
    """What energy costs in some hours, on top of energy_price_per_kwh and the market price."""

    name: Label = Field(description="the period's name")
    price_per_kwh: SignedPrice | None = None
    tiers: list[EnergyTierFile] | None = None
    export_price_per_kwh: SignedPrice | None = None
    when: list[WindowFile] = []
    rest: bool = False

    @model_validator(mode="after")
    def _one_price_one_place(self) -> EnergyPeriodFile:
        if (self.price_per_kwh is None) == (not self.tiers):
            raise ValueError("price_per_kwh, or tiers")
        if self.rest == bool(self.when):
            raise ValueError("`when` with its windows, or `rest: true` for all hours no other period has")
        return self

    @field_validator("tiers")
    @classmethod
    def _tiers_rise(cls, value: list[EnergyTierFile] | None) -> list[EnergyTierFile] | None:
        _ascending([t.up_to for t in value or []], "up_to")
        return value


class RatchetFile(FileModel):
    """A month is billed for at least a share of the highest peak of the months before."""

    share: float = Field(gt=0, le=1, description="fraction of the highest earlier peak, 0 to 1")
    months: int = Field(default=11, ge=1, le=36)
    in_months: Months = list(ALL_MONTHS)
    of_months: Months = list(ALL_MONTHS)


class DemandChargeFile(FileModel):
    """A price per kW of the highest interval mean in some hours of a month."""

    name: Label = Field(description="the charge's name")
    price_per_kw_month: Price | None = None
    tiers: list[DemandTierFile] | None = None
    interval_min: int | None = None
    when: list[WindowFile] = []
    minimum_kw: NotNegative = 0.0
    ratchet: RatchetFile | None = None
    billed_on: Literal["window", "month"] = "window"

    @model_validator(mode="after")
    def _one_price(self) -> DemandChargeFile:
        if (self.price_per_kw_month is None) == (not self.tiers):
            raise ValueError("price_per_kw_month, or tiers")
        return self

    @field_validator("tiers")
    @classmethod
    def _tiers_rise(cls, value: list[DemandTierFile] | None) -> list[DemandTierFile] | None:
        _ascending([t.up_to_kw for t in value or []], "up_to_kw")
        return value

    @model_validator(mode="after")
    def _ratchet_sees_a_peak(self) -> DemandChargeFile:
        if self.ratchet is not None and not self.peak_months & set(self.ratchet.of_months):
            raise ValueError("ratchet.of_months among the months of `when`: in the others this charge has no peak")
        return self

    @field_validator("interval_min")
    @classmethod
    def _a_meter_interval(cls, value: int | None) -> int | None:
        return None if value is None else meter_interval(value)

    @property
    def peak_months(self) -> set[int]:
        """The months of the year in which it has a peak."""
        return {month for w in self.when for month in w.months or ALL_MONTHS} if self.billed_on == "window" and self.when else {*ALL_MONTHS}


class CoincidentPeakFile(FileModel):
    """A price on the import while the system peaks."""

    rule: Literal["4cp", "5cp", "12cp"] = Field(description="4cp, 5cp or 12cp")
    price_per_kw_year: Price = Field(description="per kW of the mean over the peak intervals, for a year")
    months: Months | None = None
    hours: Hours = [0.0, 24.0]
    interval_min: int | None = None

    @field_validator("interval_min")
    @classmethod
    def _a_meter_interval(cls, value: int | None) -> int | None:
        return None if value is None else meter_interval(value)

    @field_validator("hours")
    @classmethod
    def _forwards(cls, value: list[float]) -> list[float]:
        if value[0] >= value[1]:
            raise ValueError("[from, to] with from before to")
        return value


class ContractCapacityFile(FileModel):
    """Capacity that is paid for, and the price of exceeding it."""

    kw: float = Field(gt=0, le=1e7, description="the capacity contracted, kW")
    price_per_kw_month: Price = 0.0
    breach_price_per_kw_month: Price = Field(description="per kW of a month's highest interval mean above it")
    interval_min: int | None = None

    @field_validator("breach_price_per_kw_month")
    @classmethod
    def _a_breach_costs_more(cls, value: float, info: Any) -> float:
        if value < info.data.get("price_per_kw_month", 0.0):
            raise ValueError("at least price_per_kw_month: a negative spread would reward the breach")
        return value


class PricePairFile(FileModel):
    """A demand price and the energy price that goes with it."""

    demand_price_per_kw_year: Price = Field(description="per kW of the year's highest interval mean")
    energy_price_per_kwh: Price = Field(description="per kWh of import")


class UtilisationHoursFile(FileModel):
    """Two pairs of prices; the year's energy over the year's peak says which holds."""

    threshold_h: float = Field(default=2500.0, gt=0, le=8784)
    below: PricePairFile = Field(description="the pair under threshold_h")
    above: PricePairFile = Field(description="the pair from threshold_h on")
    interval_min: int | None = None
    expected_h: float = Field(default=6000.0, gt=0, le=8784)

    @field_validator("above")
    @classmethod
    def _dearer_power_cheaper_energy(cls, value: PricePairFile, info: Any) -> PricePairFile:
        below = info.data.get("below")
        if below is None:
            return value
        is_dearer = value.demand_price_per_kw_year >= below.demand_price_per_kw_year
        if not is_dearer or value.energy_price_per_kwh > below.energy_price_per_kwh:
            raise ValueError("power at least as dear and energy at most as dear as below the threshold")
        return value


class MinimumTakeFile(FileModel):
    """Energy that is paid for whether taken or not."""

    kwh_per_month: float = Field(gt=0, le=1e12, description="kWh of a month")
    price_per_kwh: Price = Field(description="per kWh not taken")


class CarbonPriceFile(FileModel):
    """A price on the grid's carbon."""

    price_per_kg: Price = Field(description="per kg of CO2")
    signal: Literal["average", "marginal"] = "average"


class RampPriceFile(FileModel):
    """A price on fast changes of the import."""

    free_kw_per_min: Positive = Field(description="change of the mean import that costs nothing, kW per minute")
    price_per_kw: Price = Field(description="per kW beyond, from one interval to the next")
    interval_min: int | None = None


class TariffFile(FileModel):
    """What energy and power cost, in the currency of the site."""

    name: str = Field(min_length=1, max_length=100, description="the tariff's name")
    energy: Literal["indexed", "fixed", "time_of_use", "day_ahead", "real_time"] = "indexed"
    energy_price_per_kwh: SignedPrice = 0.0
    export_price_per_kwh: SignedPrice = 0.0
    export_energy: Literal["fixed", "indexed", "day_ahead", "real_time"] = "fixed"
    demand_price_per_kw_month: Price = 0.0
    demand_interval_min: int = 15
    fixed_price_per_month: NotNegative = 0.0
    fixed_price_per_day: NotNegative = 0.0
    minimum_charge_per_month: NotNegative = 0.0
    minimum_charge_per_year: NotNegative = 0.0
    holidays: list[str] = []
    tier_unit: Literal["kwh", "kwh_per_day", "kwh_per_kw", "kwh_per_kw_day"] = "kwh"
    energy_periods: list[EnergyPeriodFile] = []
    demand_charges: list[DemandChargeFile] = []
    past_peaks_kw: dict[str, dict[str, NotNegative]] = {}
    coincident_peak: CoincidentPeakFile | None = None
    contract_capacity: ContractCapacityFile | None = None
    utilisation_hours: UtilisationHoursFile | None = None
    minimum_take: MinimumTakeFile | None = None
    carbon: CarbonPriceFile | None = None
    ramp: RampPriceFile | None = None
    market_fallback_per_kwh: SignedPrice = 0.05

    @field_validator("demand_interval_min")
    @classmethod
    def _a_meter_interval(cls, value: int) -> int:
        return meter_interval(value)

    @field_validator("holidays")
    @classmethod
    def _dates(cls, value: list[str]) -> list[str]:
        for day in value:
            if not re.fullmatch(r"\d{4}-\d\d-\d\d", day) or not _is_date(day):
                raise ValueError(f"dates such as 2024-12-25 ({day} is none)")
        return value

    @field_validator("past_peaks_kw")
    @classmethod
    def _months(cls, value: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        for month in value:
            if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
                raise ValueError(f"months such as 2024-07 ({month} is none)")
        return value


def _ascending(ends: list[float | None], key: str) -> None:
    if ends and ends[-1] is not None:
        raise ValueError(f"a last tier without {key}")
    inner = [end for end in ends[:-1] if end is not None]
    if len(inner) < len(ends[:-1]) or inner != sorted(set(inner)):
        raise ValueError(f"tiers with rising {key}, only the last without")


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
