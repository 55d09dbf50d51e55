"""The assets of a site file as pydantic models, one per kind; key names equal the attributes of the asset's model."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from ems.assets.battery.curves import is_concave
from ems.assets.cooling.plant import most_store_m3
from ems.assets.workload.curve import is_throughput
from ems.assets.workload.model import DEFERRABLE
from ems.site.schema_generation import GeneratorFile, RenewableFile
from ems.site.schema_types import Efficiency as Efficiency
from ems.site.schema_types import Fraction as Fraction
from ems.site.schema_types import LinkFile as LinkFile
from ems.site.schema_types import Name as Name
from ems.site.schema_types import NotNegative as NotNegative
from ems.site.schema_types import Positive as Positive
from ems.site.schema_types import Price as Price
from ems.site.source import FileModel

Point = Annotated[list[float], Field(min_length=2, max_length=2)]


def is_rising(points: list[Point]) -> bool:
    """True when the first numbers of the points rise."""
    xs = [x for x, _ in points]
    return all(a < b for a, b in pairwise(xs))


def as_points(points: list[Point]) -> tuple[tuple[float, float], ...]:
    """Points of a file as pairs."""
    return tuple((x, y) for x, y in points)


def shares(points: list[Point]) -> bool:
    """True when the second numbers are shares."""
    return all(0.0 <= y <= 1.0 for _, y in points)


def concave_throughput(points: list[Point]) -> list[Point]:
    """The points, or ValueError when they are no throughput curve."""
    if points and not is_throughput(as_points(points)):
        raise ValueError("points [share of power, share of work] from [0, 0] to [1, 1], both rising, no piece steeper than the one before")
    return points


ThroughputCurve = Annotated[list[Point], Field(max_length=20), AfterValidator(concave_throughput)]


class DroopFile(FileModel):
    """Frequency droop that is armed in the device's own firmware."""

    kw_per_hz: float = Field(gt=0, le=1e7, description="kW it adds per Hz beyond the deadband")
    nominal_hz: Literal[50, 60] = Field(description="50 or 60")
    deadband_hz: float = Field(default=0.02, ge=0, le=1)
    most_kw: Positive | None = None


class BatteryFile(FileModel):
    """A battery, or equal strings of one; ratings of one string at its AC terminals."""

    kind: Literal["battery"]
    strings: int = Field(default=1, ge=1, le=999)
    chemistry: str = Field(default="", max_length=40)
    power_kw: float = Field(gt=0, le=1e7, description="rated power in kW, charging and discharging")
    energy_kwh: float = Field(gt=0, le=1e7, description="nameplate energy in kWh")
    charge_efficiency: Efficiency = 0.95
    discharge_efficiency: Efficiency = 0.95
    soc_min: Fraction = 0.05
    soc_max: Fraction = 0.95
    wear_price_per_kwh: Price = 0.02
    ramp_kw_per_s: Positive | None = None
    initial_soc: Fraction = 0.5
    auxiliary_kw: NotNegative = 0.0
    charge_limit_by_soc: list[Point] = []
    discharge_limit_by_soc: list[Point] = []
    limit_by_ambient_c: list[Point] = []
    wear_by_depth: list[Point] = []
    warranty_kwh_per_day: Positive | None = None
    state_of_health: Efficiency = 1.0
    end_of_life_capacity: float = Field(default=0.0, ge=0, lt=1)
    droop: DroopFile | None = None
    link: LinkFile | None = None

    @field_validator("charge_limit_by_soc", "discharge_limit_by_soc")
    @classmethod
    def _limit_over_the_whole_range(cls, value: list[Point]) -> list[Point]:
        if value and not (
            is_rising(value) and value[0][0] == 0.0 and value[-1][0] == 1.0 and shares(value) and is_concave(as_points(value))
        ):
            raise ValueError(
                "points [state of charge, share] from 0 to 1, shares from 0 to 1, no piece steeper upwards than the one before"
            )
        return value

    @field_validator("limit_by_ambient_c")
    @classmethod
    def _shares_over_temperature(cls, value: list[Point]) -> list[Point]:
        if value and not (is_rising(value) and shares(value)):
            raise ValueError("points [degrees C, share] with rising temperatures and shares from 0 to 1")
        return value

    @field_validator("wear_by_depth")
    @classmethod
    def _deeper_is_dearer(cls, value: list[Point]) -> list[Point]:
        prices = [price for _, price in value]
        if value and not (is_rising(value) and value[0][0] > 0.0 and value[-1][0] == 1.0 and prices == sorted(prices) and prices[0] >= 0.0):
            raise ValueError("points [depth up to, price per kWh] with the last depth 1 and prices that never fall")
        return value


class UpsFile(FileModel):
    """An uninterruptible power supply with all its blocks."""

    kind: Literal["ups"]
    rating_kw: float = Field(gt=0, le=1e7, description="the most load it can carry, kW")
    energy_kwh: float = Field(gt=0, le=1e7, description="nameplate energy of all blocks in kWh")
    ride_through_min: float = Field(gt=0, le=1440, description="minutes for which it must always be able to carry the critical load")
    is_bidirectional: bool = False
    is_lead_acid: bool = False
    charge_kw: float = Field(gt=0, le=1e7, description="the most it charges its battery with, kW")
    charge_efficiency: Efficiency = 0.97
    discharge_efficiency: Efficiency = 0.97
    loss_fraction: float = Field(default=0.04, ge=0, le=0.5)
    loss_curve: list[float] = []
    recharge_kw: Positive | None = None
    walk_in_s: float = Field(default=0.0, ge=0, le=3600)
    cell_kwh_per_day: Positive | None = None
    aged_capacity: Efficiency = 0.8
    blocks: int = Field(default=1, ge=1, le=1000)
    redundant_blocks: int = Field(default=0, ge=0, le=1000)
    reserve_floor_kw: NotNegative | None = None
    soc_error: float = Field(default=0.02, ge=0, lt=1)
    wear_price_per_kwh: Price = 0.05
    ramp_kw_per_s: Positive | None = None
    initial_soc: Fraction = 1.0
    is_grid_interactive: bool = False
    carries: list[Name] = Field(min_length=1, description="the clusters behind it")
    link: LinkFile | None = None

    @field_validator("redundant_blocks")
    @classmethod
    def _one_block_counts(cls, value: int, info: Any) -> int:
        if value >= info.data.get("blocks", value + 1):
            raise ValueError(f"fewer than the blocks there are ({info.data['blocks']})")
        return value

    @field_validator("loss_curve")
    @classmethod
    def _three_losses(cls, value: list[float]) -> list[float]:
        if value and (len(value) != 3 or min(value) < 0.0 or sum(value) > 0.5):
            raise ValueError("three shares of the rating that sum to at most 0.5: lost without load, with the load, with its square")
        return value

    @field_validator("reserve_floor_kw")
    @classmethod
    def _floor_within_rating(cls, value: float | None, info: Any) -> float | None:
        if value is not None and value > info.data.get("rating_kw", value):
            raise ValueError(f"at most rating_kw ({info.data['rating_kw']:g})")
        return value

    @field_validator("is_grid_interactive")
    @classmethod
    def _lead_acid_is_never_offered(cls, value: bool, info: Any) -> bool:
        if value and info.data.get("is_lead_acid"):
            raise ValueError("false, a lead-acid UPS is never cycled")
        return value


class ClassFile(FileModel):
    """One class of work: its share of the power above idle and what cutting it costs per kWh of IT energy."""

    share: float = Field(ge=0, le=1, description="this class's share of the power above idle, 0 to 1")
    throttle_price_per_kwh: Price | None = None
    defer_price_per_kwh: Price | None = None
    drop_price_per_kwh: Price | None = None
    deadline_h: Annotated[float, Field(gt=0, le=24)] | None = None
    tier_loss: Annotated[float, Field(ge=0, le=1)] | None = None
    tier_window_h: float = Field(default=6.0, ge=1, le=24)
    throughput_by_power: ThroughputCurve = []


class ClassesFile(FileModel):
    """The three classes of work of a cluster."""

    interactive: ClassFile
    batch: ClassFile
    training: ClassFile

    @model_validator(mode="after")
    def _shares_make_a_whole(self) -> ClassesFile:
        total = self.interactive.share + self.batch.share + self.training.share
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"shares that sum to 1 (they sum to {total:g})")
        return self

    @field_validator("interactive")
    @classmethod
    def _interactive_is_throttled(cls, value: ClassFile) -> ClassFile:
        if value.throttle_price_per_kwh is None or (value.defer_price_per_kwh, value.drop_price_per_kwh, value.deadline_h) != (None,) * 3:
            raise ValueError("share and throttle_price_per_kwh: interactive work can only be throttled")
        return value

    @field_validator(*DEFERRABLE)
    @classmethod
    def _deferred_then_dropped(cls, value: ClassFile) -> ClassFile:
        if None in (value.defer_price_per_kwh, value.drop_price_per_kwh, value.deadline_h):
            raise ValueError("share, defer_price_per_kwh, drop_price_per_kwh and deadline_h")
        if value.throttle_price_per_kwh is not None:
            raise ValueError("no throttle_price_per_kwh: this class is deferred, then dropped")
        return value


class ClusterFile(FileModel):
    """An IT cluster."""

    kind: Literal["workload"]
    idle_kw: float = Field(ge=0, le=1e7, description="IT power in kW with no work")
    peak_kw: float = Field(gt=0, le=1e7, description="IT power in kW of the highest ordinary demand")
    rating_kw: Positive | None = None
    contract_cap_kw: Positive | None = None
    ramp_kw_per_s: Positive | None = None
    throughput_by_power: ThroughputCurve = []
    classes: ClassesFile = Field(description="the classes interactive, batch and training")
    link: LinkFile | None = None

    @field_validator("peak_kw")
    @classmethod
    def _peak_above_idle(cls, value: float, info: Any) -> float:
        if value <= info.data.get("idle_kw", -1.0):
            raise ValueError(f"more than idle_kw ({info.data['idle_kw']:g})")
        return value

    @field_validator("rating_kw")
    @classmethod
    def _rating_holds_the_peak(cls, value: float | None, info: Any) -> float | None:
        if value is not None and value < info.data.get("peak_kw", value):
            raise ValueError(f"at least peak_kw ({info.data['peak_kw']:g})")
        return value


class CoolingPlantFile(FileModel):
    """A chilled-water plant; thermal powers of all units together."""

    capacity_kw: float = Field(gt=0, le=1e7, description="heat that all units together remove, kW")
    units: int = Field(default=1, ge=1, le=200)
    redundant_units: int = Field(default=0, ge=0, le=199)
    cop_reference: float = Field(default=6.0, ge=1, le=30)
    best_part_load: float = Field(default=0.6, gt=0, le=1)
    part_load_fall: float = Field(default=0.6, ge=0, le=2)
    lift_gain_per_k: float = Field(default=0.025, ge=0, le=0.1)
    reference_wet_bulb_c: float = Field(default=24.0, ge=-20, le=40)
    tower_approach_k: float = Field(default=4.0, ge=0, le=20)
    exchanger_approach_k: float = Field(default=2.5, ge=0, le=20)
    has_economiser: bool = True
    pump_fan_kw: NotNegative = 0.0
    least_speed: Fraction = 0.35
    supply_temp_c: float = Field(default=24.0, ge=5, le=60)
    supply_limit_c: float = Field(default=32.0, ge=10, le=70)
    supply_rate_k_per_min: float = Field(default=0.5, gt=0, le=20)
    loop_m3: float = Field(gt=0, le=1e6, description="water in the loop and its buffer, cubic metres")
    restart_s: float = Field(default=300.0, gt=0, le=3600)
    humidity: float = Field(default=0.5, ge=0.05, le=1, description="relative, outdoors, for the wet bulb; the dew point is measured")
    supply_lowest_c: float | None = Field(default=None, ge=5, le=60, description="the controller may lead the supply down to here")
    tank_m3: float = Field(default=0.0, ge=0, le=1e6, description="water in a stratified tank, cubic metres; with supply_lowest_c only")
    tank_usable_share: float = Field(default=0.9, gt=0, le=1)
    tank_loss_per_day: float = Field(default=0.02, ge=0, lt=1)

    @field_validator("redundant_units")
    @classmethod
    def _one_unit_counts(cls, value: int, info: Any) -> int:
        if value >= info.data.get("units", value + 1):
            raise ValueError(f"fewer than the units there are ({info.data['units']})")
        return value

    @field_validator("supply_lowest_c")
    @classmethod
    def _lowest_below_supply(cls, value: float | None, info: Any) -> float | None:
        if value is not None and value >= info.data.get("supply_temp_c", value + 1.0):
            raise ValueError(f"less than supply_temp_c ({info.data['supply_temp_c']:g})")
        return value

    @field_validator("tank_m3")
    @classmethod
    def _tank_is_led(cls, value: float, info: Any) -> float:
        if value > 0.0 and info.data.get("supply_lowest_c") is None:
            raise ValueError("0, or supply_lowest_c as well: a tank stores what is made colder than commissioned")
        d = info.data
        if value > 0.0 and {"capacity_kw", "units", "redundant_units", "loop_m3"} <= d.keys():
            firm_kw = d["capacity_kw"] * (d["units"] - d["redundant_units"]) / d["units"]
            most_m3 = most_store_m3(firm_kw) - d["loop_m3"]
            if value > most_m3:
                raise ValueError(f"at most {max(0.0, most_m3):.0f}: a larger one cannot be led by its mean temperature with {firm_kw:g} kW")
        return value

    @model_validator(mode="after")
    def _tank_has_a_size(self) -> CoolingPlantFile:
        idle = sorted({"tank_usable_share", "tank_loss_per_day"} & self.model_fields_set)
        if idle and "tank_m3" not in self.model_fields_set:
            raise ValueError(f"tank_m3 as well: without it {' and '.join(idle)} would be of no tank")
        return self

    @field_validator("supply_limit_c")
    @classmethod
    def _limit_above_supply(cls, value: float, info: Any) -> float:
        if value <= info.data.get("supply_temp_c", value - 1.0):
            raise ValueError(f"more than supply_temp_c ({info.data['supply_temp_c']:g})")
        return value


class CoolingFile(FileModel):
    """Cooling that follows IT power, by two shares or by the physics of its plant."""

    kind: Literal["cooling"]
    fraction_at_10c: float = Field(default=0.0, ge=0, le=2)
    fraction_at_40c: float = Field(default=0.0, ge=0, le=2)
    plant: CoolingPlantFile | None = None
    lag_s: float = Field(default=300.0, gt=0, le=86400)
    rating_kw: Positive | None = None
    cools: list[Name] = Field(min_length=1, description="the clusters it cools")
    link: LinkFile | None = None

    @model_validator(mode="after")
    def _shares_or_a_plant(self) -> CoolingFile:
        if self.plant is None and not {"fraction_at_10c", "fraction_at_40c"} <= self.model_fields_set:
            raise ValueError("fraction_at_10c and fraction_at_40c (kW of cooling per kW of IT at 10 and 40 degrees C outdoors), or a plant")
        return self


class FixedLoadFile(FileModel):
    """A load nobody can move."""

    kind: Literal["fixed_load"]
    power_kw: float = Field(ge=0, le=1e7, description="its power in kW")


AssetFile = Annotated[
    BatteryFile | UpsFile | ClusterFile | CoolingFile | FixedLoadFile | GeneratorFile | RenewableFile, Field(discriminator="kind")
]
