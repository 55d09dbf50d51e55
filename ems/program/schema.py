"""What a programme file in config/programs may say. Every rule carries its source, its effective date and whether it was read there."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ems.site.source import FileModel

T = TypeVar("T")
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
AtLeastZero = Annotated[float, Field(ge=0.0)]
Month = Annotated[int, Field(ge=1, le=12)]
Kind = Literal["capacity", "energy", "peak_tag", "connection", "order"]
DayKind = Literal["weekday", "saturday", "sunday", "holiday"]


def parse_day(value: object) -> object:
    """A calendar day from ISO text such as 2024-06-01."""
    try:
        return date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("a day such as 2024-06-01") from None


Day = Annotated[date, BeforeValidator(parse_day)]


class SourceFile(FileModel):
    """A document that rules were taken from."""

    title: str = Field(min_length=3)
    day: Day | None = Field(default=None, description="the day of the document, where it has one")


class Rule(FileModel, Generic[T]):
    """One value with where it comes from. `read`: seen in the named source; `general`: general knowledge, to be checked before use."""

    value: T
    effective: Day = Field(description="the first day this value holds")
    basis: Literal["read", "general"] = Field(description="read: seen in the source; general: general knowledge")
    source: str = Field(description="a key of `sources`")
    note: str = ""


class WindowFile(FileModel):
    """Local hours in which events may fall: `[from_h, to_h)` on these kinds of day."""

    from_h: float = Field(default=0.0, ge=0.0, lt=24.0)
    to_h: float = Field(default=24.0, gt=0.0, le=24.0)
    days: list[DayKind] = Field(default=["weekday", "saturday", "sunday", "holiday"], min_length=1)

    @model_validator(mode="after")
    def ends_later(self) -> WindowFile:
        """An empty window is a slip."""
        if self.to_h <= self.from_h:
            raise ValueError(f"to_h later than from_h {self.from_h:g}")
        return self


class ComplianceFile(FileModel):
    """When an interval counts as delivered. Intervals of the baseline that are shorter are judged together, longer ones by themselves."""

    interval_min: Literal[1, 5, 15, 30, 60]
    share: Share = Field(default=0.95, description="share of the obligation that must be delivered in every interval")


class BaselineFile(FileModel):
    """The published method, and where this programme departs from it."""

    method: str
    with_: dict[str, Any] = Field(default={}, alias="with")


class AccuracyFile(FileModel):
    """How well the baseline must predict the site before it may join."""

    rrmse_max: AtLeastZero | None = None
    bias_max: AtLeastZero | None = None


class PaymentFile(FileModel):
    """One way of being paid. Prices are in the programme's currency; an indexed price comes with the settlement's inputs."""

    per: Literal["kwh", "kw_h", "kw_month"] = Field(description="kwh delivered, kW of availability per hour, or kW committed per month")
    price: float | Literal["indexed"]
    below_zero: bool = Field(default=False, description="true: intervals with negative delivery are netted")
    scaled_by_performance: bool = False


class PenaltyFile(FileModel):
    """What not delivering costs, per kWh short of the obligation (drop-by) or above the level (drop-to), or per event missed."""

    per: Literal["kwh_short", "kwh_above", "event"]
    price: AtLeastZero
    stop_loss: AtLeastZero | None = None


class PerformanceFile(FileModel):
    """Delivered / obligation, held between floor and cap, scales payments that say so."""

    floor: AtLeastZero = 0.0
    cap: AtLeastZero = 1.0


class RecoveryFile(FileModel):
    """How the load may come back."""

    hold_min: AtLeastZero = Field(default=60.0, description="minutes after the event in which import stays at or below what it was before")
    ramp_kw_per_min: Annotated[float, Field(gt=0.0)] | None = None


class StackingFile(FileModel):
    """What else the same kW may do. Programmes not named under `with` are excluded when `mode` is exclusive, allowed when additive."""

    mode: Literal["exclusive", "additive"]
    nested_with: list[Name] = Field(default=[], description="the same kW counts in both, e.g. capacity and energy")
    not_with: list[Name] = []


class ProgramTestFile(FileModel):
    """How the programme tests. A test that counts as an event uses up calls and hours and is paid, charged and scored like one; another is
    delivered and measured, and that is all."""

    says: str = Field(min_length=3)
    counts_as_event: bool = True


def from_words(value: object) -> object:
    """A test rule that is words alone, as programme files once had it, still reads (bundles of evidence hold the file of their day)."""
    return {"says": value} if isinstance(value, str) else value


class PeakFile(FileModel):
    """A coincident-peak tag: the site's load in the system's peaks sets next year's charge."""

    peaks: Annotated[int, Field(ge=1)]
    interval_min: Literal[15, 30, 60]
    months: list[Month]
    price_per_kw_year: AtLeastZero | None = None


class RulesFile(FileModel):
    """Everything a programme may rule on. Absent means: the programme says nothing about it."""

    notice_min: list[Rule[AtLeastZero]] | None = None
    response_min: list[Rule[AtLeastZero]] | None = None
    min_kw: list[Rule[AtLeastZero]] | None = None
    step_kw: list[Rule[AtLeastZero]] | None = None
    duration_min_h: list[Rule[AtLeastZero]] | None = None
    duration_max_h: list[Rule[AtLeastZero]] | None = None
    months: list[Rule[list[Month]]] | None = None
    window: list[Rule[WindowFile]] | None = None
    max_events_per_day: list[Rule[int]] | None = None
    max_events_per_month: list[Rule[int]] | None = None
    max_events_per_year: list[Rule[int]] | None = None
    max_hours_per_month: list[Rule[AtLeastZero]] | None = None
    max_hours_per_year: list[Rule[AtLeastZero]] | None = None
    max_consecutive_days: list[Rule[int]] | None = None
    is_mandatory: list[Rule[bool]] | None = None
    waives_ramp: list[Rule[bool]] | None = None
    allows_generators: list[Rule[bool]] | None = None
    telemetry_interval_s: list[Rule[AtLeastZero]] | None = None
    telemetry_latency_s: list[Rule[AtLeastZero]] | None = None
    compliance: list[Rule[ComplianceFile]] | None = None
    baseline: list[Rule[BaselineFile]] | None = None
    accuracy: list[Rule[AccuracyFile]] | None = None
    payments: list[Rule[list[PaymentFile]]] | None = None
    performance: list[Rule[PerformanceFile]] | None = None
    penalties: list[Rule[list[PenaltyFile]]] | None = None
    recovery: list[Rule[RecoveryFile]] | None = None
    stacking: list[Rule[StackingFile]] | None = None
    peak: list[Rule[PeakFile]] | None = None
    test: list[Rule[Annotated[ProgramTestFile, BeforeValidator(from_words)]]] | None = None

    @field_validator("*", mode="before")
    @classmethod
    def as_list(cls, value: object) -> object:
        """One version of a rule may stand without its list; an empty list is none."""
        return [value] if isinstance(value, dict) else value or None


class ProgramFile(FileModel):
    """A programme as it stands in config/programs/<name>.yaml."""

    name: Name
    title: str = Field(min_length=3)
    counterparty: str = Field(min_length=2)
    kind: Kind
    time_zone: str
    currency: str = Field(min_length=3, max_length=3)
    holidays: list[Day] = Field(default=[], description="local days that count as holidays; each year's list is the operator's to keep")
    sources: dict[str, SourceFile] = Field(min_length=1)
    rules: RulesFile
