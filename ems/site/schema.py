"""The site file as pydantic models: one class per mapping, key names equal to the attributes of ems/site/model.py."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any, Literal
from zoneinfo import available_timezones

from pydantic import Field, field_validator

from ems.limit import LimitKind
from ems.site.schema_alarms import HookFile
from ems.site.schema_assets import AssetFile, Efficiency, Fraction, LinkFile, Name, NotNegative, Point, Positive, Price, is_rising, shares
from ems.site.schema_feeds import FeedFile
from ems.site.source import FileModel, Instant
from ems.site.tariff_schema import TariffFile


class LimitFile(FileModel):
    """One record of a limit on import."""

    kva: Positive | None = None
    power_factor: Efficiency = 1.0
    kw: float | None = Field(default=None, gt=0, le=1e7, validate_default=True, description="the limit in kW")
    kind: Literal["protective", "connection", "billing", "order"] = "protective"
    window_s: float = Field(default=1.0, gt=0, le=86400)
    curve: list[Point] = []
    tolerance: Fraction = 0.0
    source: str = "site file"
    consequence: str = ""
    valid_from: Instant | None = None
    valid_to: Instant | None = None
    heartbeat_s: float | None = Field(default=None, ge=5, le=86400)
    fail_safe_kw: Positive | None = Field(default=None, validate_default=True)

    @field_validator("fail_safe_kw")
    @classmethod
    def _comes_with_a_heartbeat(cls, value: float | None, info: Any) -> float | None:
        if (value is None) != (info.data.get("heartbeat_s") is None):
            raise ValueError("kW that hold while the source is not heard, together with heartbeat_s")
        return value

    @field_validator("kw")
    @classmethod
    def _kw_or_kva(cls, value: float | None, info: Any) -> float | None:
        if (value is None) == (info.data.get("kva") is None):
            raise ValueError("the limit in kW, or kva and power_factor in its place")
        return value

    @field_validator("curve")
    @classmethod
    def _lasts_less_the_higher(cls, value: list[Point], info: Any) -> list[Point]:
        falls = all(a > b > 0.0 for (_, a), (_, b) in pairwise(value))
        if value and not (value[0][0] > 1.0 and value[0][1] > 0.0 and is_rising(value) and falls and info.data.get("window_s") == 1.0):
            raise ValueError("points [multiple of the limit above 1, seconds] with rising multiples and falling seconds, window_s 1")
        return value

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
    def rated_kw(self) -> float:
        """The limit in kW, one in kVA at its power factor."""
        return self.kw if self.kw is not None else (self.kva or 0.0) * self.power_factor

    @property
    def holds_always(self) -> bool:
        """True for a protective limit on the 1-s mean without an end; one with a curve may be exceeded for a time, and lasts."""
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


class FeederFile(FileModel):
    """A branch of the electrical tree."""

    id: Name = Field(description="the feeder's name")
    kva: Positive | None = None
    power_factor: Efficiency = 1.0
    limit_by_ambient_c: list[Point] = []
    partner: Name | None = None
    parent: Name | None = None
    limit_kw: float = Field(gt=0, le=1e7, description="the most that may flow into everything below it, or back out of it, kW")
    loss_fraction: float = Field(default=0.0, ge=0, le=0.2)
    assets: list[Name] = []

    @field_validator("limit_by_ambient_c")
    @classmethod
    def _shares_over_temperature(cls, value: list[Point]) -> list[Point]:
        if value and not (is_rising(value) and shares(value)):
            raise ValueError("points [degrees C, share] with rising temperatures and shares from 0 to 1")
        return value

    @property
    def rated_kw(self) -> float:
        """Its limit in kW with kVA and power factor worked in."""
        return self.limit_kw if self.kva is None else min(self.limit_kw, self.kva * self.power_factor)


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
    feeds: dict[Name, FeedFile] = {}
    alarms: dict[Name, HookFile] = {}

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("an IANA time zone such as America/Chicago")
        return value

    @field_validator("currency")
    @classmethod
    def _iso_letters(cls, value: str) -> str:
        if not (len(value) == 3 and value.isascii() and value.isupper() and value.isalpha()):
            raise ValueError("three capital letters of ISO 4217, such as USD")
        return value
