"""Generators and renewables of a site file as pydantic models; key names equal the attributes of their models."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ems.site.schema_types import LinkFile, Name, NotNegative, Positive, Price
from ems.site.source import FileModel, Instant

Hours = Annotated[float, Field(ge=0, le=8784)]
Seconds = Annotated[float, Field(ge=0, le=30 * 86400)]


class OutageFile(FileModel):
    """An announced outage, `[start, end)`."""

    start: Instant = Field(description="the instant it begins")
    end: Instant = Field(description="the instant it ends")

    @field_validator("end")
    @classmethod
    def _ends_after_it_starts(cls, value: datetime, info: Any) -> datetime:
        if "start" in info.data and value <= info.data["start"]:
            raise ValueError("an instant after start")
        return value


class PollutantFile(FileModel):
    """Another pollutant of the permit, beside the one of the emission_ keys."""

    name: Name = Field(description="a name, such as co")
    kg_per_fuel: float = Field(gt=0, le=1e6, description="kg per unit of fuel, above 0")
    kg_per_year: float = Field(gt=0, le=1e9, description="budget of the permit in kg, calendar year")
    used_kg: NotNegative = 0.0


class GeneratorFile(FileModel):
    """A machine that makes electricity from fuel. What is left out is what is usual for its technology (ems/site/technology.py)."""

    kind: Literal["generator"]
    duty: Literal["emergency", "permitted", "baseload"] = Field(
        description="emergency (never for money), permitted (when it pays) or baseload"
    )
    technology: Literal["diesel", "gas_engine", "turbine", "fuel_cell", "smr"] = Field(
        description="diesel, gas_engine, turbine, fuel_cell or smr"
    )
    power_kw: float = Field(gt=0, le=1e7, description="rated power in kW")
    min_power_kw: NotNegative | None = None
    ramp_kw_per_s: Positive | None = None
    start_s: Seconds | None = None
    cooldown_s: Seconds | None = None
    min_up_h: Hours | None = None
    min_down_h: Hours | None = None
    start_cost: float = Field(default=0.0, ge=0, le=1e7)
    start_failure: float | None = Field(default=None, ge=0, lt=1)
    fuel_at_kw: list[NotNegative] = []
    fuel_per_h: list[NotNegative] = []
    fuel_price: Price = Field(description="money per unit of fuel")
    fuel_unit: str | None = Field(default=None, max_length=40)
    maintenance_price_per_kwh: Price = 0.0
    co2_kg_per_fuel: NotNegative | None = None
    emission_kg_per_fuel: NotNegative = 0.0
    emission_kg_per_year: Positive | None = None
    permit_h_per_year: Hours | None = None
    permit_hour_price: Price = 0.0
    permit_used_h: Hours = 0.0
    emission_used_kg: NotNegative = 0.0
    other_emissions: list[PollutantFile] = []
    ordered_by: list[Name] = []
    outages: list[OutageFile] = []
    repair_h: Hours | None = None
    is_on_at_start: bool | None = None
    link: LinkFile | None = None

    @field_validator("min_power_kw")
    @classmethod
    def _below_its_rating(cls, value: float | None, info: Any) -> float | None:
        if value is not None and value > info.data.get("power_kw", value):
            raise ValueError(f"at most power_kw ({info.data['power_kw']:g})")
        return value

    @field_validator("fuel_per_h")
    @classmethod
    def _a_fuel_curve(cls, value: list[float], info: Any) -> list[float]:
        at = info.data.get("fuel_at_kw", [])
        if len(value) != len(at):
            raise ValueError(f"as many values as fuel_at_kw ({len(at)})")
        if len(at) == 1 and at[0] == 0.0:
            raise ValueError("a point above 0 kW")
        steps = [(b - a, f1 - f0) for a, b, f0, f1 in zip(at, at[1:], value, value[1:], strict=False)]
        if any(width <= 0 for width, _ in steps):
            raise ValueError("fuel_at_kw that rises")
        slopes = [rise / width for width, rise in steps]
        if any(later < earlier - 1e-9 for earlier, later in pairwise(slopes)) or any(s < 0 for s in slopes):
            raise ValueError("a curve that rises and never flattens: fuel per extra kWh may not fall with power")
        return value

    @field_validator("emission_kg_per_year")
    @classmethod
    def _emissions_are_known(cls, value: float | None, info: Any) -> float | None:
        if value is not None and not info.data.get("emission_kg_per_fuel"):
            raise ValueError("a budget together with emission_kg_per_fuel above 0")
        return value

    @field_validator("other_emissions")
    @classmethod
    def _one_budget_each(cls, value: list[PollutantFile], info: Any) -> list[PollutantFile]:
        if value and "emission_kg_per_year" in info.data and info.data["emission_kg_per_year"] is None:
            raise ValueError("emission_kg_per_year of a first pollutant as well")
        if len({p.name for p in value}) < len(value):
            raise ValueError("each a name once")
        return value

    @field_validator("ordered_by")
    @classmethod
    def _orders_are_for_emergency(cls, value: list[str], info: Any) -> list[str]:
        if value and info.data.get("duty") not in (None, "emergency"):
            raise ValueError("nothing: only an emergency machine waits for an order")
        return value

    @model_validator(mode="after")
    def _emergency_keeps_no_price(self) -> GeneratorFile:
        if self.duty == "emergency" and self.permit_hour_price:
            raise ValueError("no permit_hour_price: an emergency machine never runs for money")
        return self


class RenewableFile(FileModel):
    """A plant fed by sun or wind."""

    kind: Literal["renewable"]
    technology: Literal["pv", "wind"] = Field(description="pv or wind")
    power_kw: float = Field(gt=0, le=1e7, description="rated power in kW")
    ramp_kw_per_s: Positive | None = None
    purchase_price_per_kwh: Price = 0.0
    curtailment_price_per_kwh: Price = 0.0
    link: LinkFile | None = None
