"""From the validated entries of generators and renewables to their frozen ratings."""

from __future__ import annotations

from ems.assets.asset import DeviceLink
from ems.assets.generator.model import Duty, Generator, Pollutant
from ems.assets.renewable.model import Renewable
from ems.site.schema_generation import GeneratorFile, RenewableFile
from ems.site.technology import TECHNOLOGIES, fuel_line


def build_generator(name: str, file: GeneratorFile, link: DeviceLink | None) -> Generator:
    """A generator; what the file leaves out is usual for its technology."""
    usual = TECHNOLOGIES[file.technology]
    at_kw, per_h = (tuple(file.fuel_at_kw), tuple(file.fuel_per_h)) if file.fuel_at_kw else fuel_line(usual, file.power_kw)
    return Generator(
        id=name,
        duty=Duty(file.duty),
        technology=file.technology,
        power_kw=file.power_kw,
        min_power_kw=_or(file.min_power_kw, usual.min_load_share * file.power_kw),
        ramp_kw_per_s=_or(file.ramp_kw_per_s, usual.ramp_share_per_min * file.power_kw / 60.0),
        start_s=_or(file.start_s, usual.start_s),
        cooldown_s=_or(file.cooldown_s, usual.cooldown_s),
        min_up_h=_or(file.min_up_h, usual.min_up_h),
        min_down_h=_or(file.min_down_h, usual.min_down_h),
        start_cost=file.start_cost,
        start_failure=_or(file.start_failure, usual.start_failure),
        fuel_at_kw=at_kw,
        fuel_per_h=per_h,
        fuel_price=file.fuel_price,
        fuel_unit=file.fuel_unit or usual.fuel_unit,
        maintenance_price_per_kwh=file.maintenance_price_per_kwh,
        co2_kg_per_fuel=_or(file.co2_kg_per_fuel, usual.co2_kg_per_fuel),
        emission_kg_per_fuel=file.emission_kg_per_fuel,
        emission_kg_per_year=file.emission_kg_per_year,
        permit_h_per_year=file.permit_h_per_year,
        permit_hour_price=file.permit_hour_price,
        permit_used_h=file.permit_used_h,
        emission_used_kg=file.emission_used_kg,
        ordered_by=tuple(file.ordered_by),
        outage_start_s=tuple(o.start.timestamp() for o in file.outages),
        outage_end_s=tuple(o.end.timestamp() for o in file.outages),
        repair_h=_or(file.repair_h, usual.repair_h),
        is_on_at_start=file.duty == "baseload" if file.is_on_at_start is None else file.is_on_at_start,
        link=link,
        other_emissions=tuple(Pollutant(**p.model_dump()) for p in file.other_emissions),
    )


def build_renewable(name: str, file: RenewableFile, link: DeviceLink | None) -> Renewable:
    """A plant fed by sun or wind; without a ramp it reaches its ceiling within one second."""
    return Renewable(
        id=name,
        technology=file.technology,
        power_kw=file.power_kw,
        ramp_kw_per_s=_or(file.ramp_kw_per_s, file.power_kw),
        purchase_price_per_kwh=file.purchase_price_per_kwh,
        curtailment_price_per_kwh=file.curtailment_price_per_kwh,
        link=link,
    )


def _or(value: float | None, usual: float) -> float:
    return usual if value is None else value
