"""The site file as pydantic models: one class per mapping, key names equal to the attributes of ems/site/model.py."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, field_validator, model_validator

from ems.assets.workload.model import DEFERRABLE
from ems.limit import LimitKind
from ems.site.source import FileModel, Instant

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]
Positive = Annotated[float, Field(gt=0, le=1e7)]
NotNegative = Annotated[float, Field(ge=0, le=1e7)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Efficiency = Annotated[float, Field(gt=0, le=1)]
Price = Annotated[float, Field(ge=0, le=1e4)]


class LinkFile(FileModel):
    """A device's page and its Modbus/TCP address."""

    page: str = Field(min_length=1, max_length=400, description="the name of a device page, or a path to one")
    host: str = Field(min_length=1, max_length=253, description="the device's host name or address")
    port: int = Field(ge=1, le=65535, description="the device's TCP port")
    unit_id: int = Field(default=1, ge=0, le=247)
    lease_s: float = Field(default=60.0, gt=0, le=86400)


class LimitFile(FileModel):
    """One record of a limit on import."""

    kw: float = Field(gt=0, le=1e7, description="the limit in kW")
    kind: Literal["protective", "connection", "billing", "order"] = "protective"
    window_s: float = Field(default=1.0, gt=0, le=86400)
    tolerance: Fraction = 0.0
    source: str = "site file"
    consequence: str = ""
    valid_from: Instant | None = None
    valid_to: Instant | None = None

    @field_validator("window_s")
    @classmethod
    def _window_fits_a_day(cls, value: float) -> float:
        if value > 1.0 and 86400 % value:
            raise ValueError("a window of at most 1 s, or one that divides a day evenly (60, 300, 900, 1800, 3600)")
        return value

    @field_validator("valid_to")
    @classmethod
    def _ends_after_it_starts(cls, value: datetime | None, info: Any) -> datetime | None:
        start = info.data.get("valid_from")
        if value is not None and start is not None and value <= start:
            raise ValueError("an instant after valid_from")
        return value

    @property
    def holds_always(self) -> bool:
        """True for a protective limit on the 1-s mean without an end."""
        return self.kind == LimitKind.PROTECTIVE.value and self.window_s <= 1.0 and self.valid_from is None and self.valid_to is None


class PointOfConnectionFile(FileModel):
    """What the grid connection may carry."""

    id: Name = "poc"
    import_limit_kw: Positive | None = Field(default=None, description="the protective limit on import in kW")
    limits: list[LimitFile] = []
    export_limit_kw: NotNegative = 0.0
    ramp_limit_kw_per_min: Positive | None = None
    import_breach_price_per_kwh: Price = 5.0
    meter: LinkFile | None = None


class BatteryFile(FileModel):
    """A battery; ratings at its AC terminals."""

    kind: Literal["battery"]
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
    link: LinkFile | None = None

    @field_validator("soc_max")
    @classmethod
    def _window_is_open(cls, value: float, info: Any) -> float:
        if value <= info.data.get("soc_min", -1.0):
            raise ValueError(f"a fraction above soc_min ({info.data['soc_min']:g})")
        return value

    @field_validator("initial_soc")
    @classmethod
    def _starts_inside_the_window(cls, value: float, info: Any) -> float:
        low, high = info.data.get("soc_min", 0.0), info.data.get("soc_max", 1.0)
        if not low <= value <= high:
            raise ValueError(f"a fraction between soc_min and soc_max ({low:g} to {high:g})")
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


class CoolingFile(FileModel):
    """Cooling that follows IT power."""

    kind: Literal["cooling"]
    fraction_at_10c: float = Field(ge=0, le=2, description="kW of cooling per kW of IT at 10 degrees C outdoors")
    fraction_at_40c: float = Field(ge=0, le=2, description="kW of cooling per kW of IT at 40 degrees C outdoors")
    lag_s: float = Field(default=300.0, gt=0, le=86400)
    rating_kw: Positive | None = None
    cools: list[Name] = Field(min_length=1, description="the clusters it cools")
    link: LinkFile | None = None


class FixedLoadFile(FileModel):
    """A load nobody can move."""

    kind: Literal["fixed_load"]
    power_kw: float = Field(ge=0, le=1e7, description="its power in kW")


AssetFile = Annotated[BatteryFile | UpsFile | ClusterFile | CoolingFile | FixedLoadFile, Field(discriminator="kind")]


class FeederFile(FileModel):
    """A branch of the electrical tree."""

    id: Name = Field(description="the feeder's name")
    parent: Name | None = None
    limit_kw: float = Field(gt=0, le=1e7, description="the most that may flow into everything below it, kW")
    assets: list[Name] = []


class TariffFile(FileModel):
    """What energy and power cost, in the currency of the site."""

    name: str = Field(min_length=1, max_length=100, description="the tariff's name")
    energy: Literal["indexed", "fixed"] = "indexed"
    energy_price_per_kwh: float = Field(default=0.0, ge=-1e3, le=1e3)
    export_price_per_kwh: float = Field(default=0.0, ge=-1e3, le=1e3)
    demand_price_per_kw_month: Price = 0.0
    demand_interval_min: int = 15

    @field_validator("demand_interval_min")
    @classmethod
    def _a_meter_interval(cls, value: int) -> int:
        if value not in (5, 15, 30, 60):
            raise ValueError("5, 15, 30 or 60")
        return value


class ControlFile(FileModel):
    """The field loop."""

    cycle_s: float = Field(default=1.0, ge=0.25, le=5)
    stale_after_s: float = Field(default=5.0, gt=0, le=600)
    peak_hold_s: float = Field(default=10.0, ge=0, le=3600)
    import_margin: float = Field(default=0.004, ge=0, lt=0.5)
    ramp_up_dwell_s: float = Field(default=10.0, ge=0, le=86400)

    @field_validator("stale_after_s")
    @classmethod
    def _older_than_a_cycle(cls, value: float, info: Any) -> float:
        if value <= info.data.get("cycle_s", 0.0):
            raise ValueError(f"more than cycle_s ({info.data['cycle_s']:g})")
        return value


class PlanFile(FileModel):
    """The plan loop."""

    every_s: float = Field(default=300.0, ge=10, le=86400)
    horizon_h: float = Field(default=48.0, ge=1, le=168)
    budget_s: float = Field(default=2.0, gt=0, le=600)
    valid_s: float = Field(default=1800.0, gt=0, le=86400)

    @field_validator("valid_s")
    @classmethod
    def _outlives_the_period(cls, value: float, info: Any) -> float:
        if value < info.data.get("every_s", 0.0):
            raise ValueError(f"at least every_s ({info.data['every_s']:g})")
        return value


class SiteFile(FileModel):
    """A whole site file."""

    name: Name = Field(description="the site's name")
    time_zone: str = Field(description="an IANA time zone such as America/Chicago")
    currency: str = Field(description="an ISO 4217 code such as USD")
    point_of_connection: PointOfConnectionFile = Field(description="the grid connection")
    assets: dict[Name, AssetFile] = Field(min_length=1, description="the assets by id")
    feeders: list[FeederFile] = []
    tariff: TariffFile = Field(description="a tariff, or the name of a file in config/tariffs")
    control: ControlFile = ControlFile()
    plan: PlanFile = PlanFile()

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("an IANA time zone such as America/Chicago")
        ZoneInfo(value)
        return value

    @field_validator("currency")
    @classmethod
    def _iso_letters(cls, value: str) -> str:
        if not (len(value) == 3 and value.isascii() and value.isupper() and value.isalpha()):
            raise ValueError("three capital letters of ISO 4217, such as USD")
        return value
