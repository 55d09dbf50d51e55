"""The terms of a programme on one day: the rules in force then, with a fingerprint that settlements and evidence carry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from ems.program.schema import (
    AccuracyFile,
    BaselineFile,
    ComplianceFile,
    Kind,
    PaymentFile,
    PeakFile,
    PenaltyFile,
    PerformanceFile,
    ProgramFile,
    ProgramTestFile,
    RecoveryFile,
    Rule,
    StackingFile,
    WindowFile,
)


@dataclass(frozen=True)
class Terms:
    """What holds on `day`. None: the programme says nothing about it. Minutes, hours, kW and the programme's currency."""

    program: str
    kind: Kind
    time_zone: str
    currency: str
    day: date
    version: str  # fingerprint of the rules in force
    general: tuple[str, ...]  # rules that rest on general knowledge only
    holidays: frozenset[date] = frozenset()
    notice_min: float = 0.0
    response_min: float | None = None
    min_kw: float = 0.0
    step_kw: float | None = None
    duration_min_h: float | None = None
    duration_max_h: float | None = None
    months: tuple[int, ...] | None = None
    window: WindowFile = field(default_factory=WindowFile)
    max_events_per_day: int | None = None
    max_events_per_month: int | None = None
    max_events_per_year: int | None = None
    max_hours_per_month: float | None = None
    max_hours_per_year: float | None = None
    max_consecutive_days: int | None = None
    is_mandatory: bool = False
    waives_ramp: bool = False
    allows_generators: bool = False
    telemetry_interval_s: float | None = None
    telemetry_latency_s: float | None = None
    compliance: ComplianceFile = field(default_factory=lambda: ComplianceFile(interval_min=15))
    baseline: BaselineFile | None = None
    accuracy: AccuracyFile | None = None
    payments: tuple[PaymentFile, ...] = ()
    performance: PerformanceFile = field(default_factory=PerformanceFile)
    penalties: tuple[PenaltyFile, ...] = ()
    recovery: RecoveryFile = field(default_factory=RecoveryFile)
    stacking: StackingFile = field(default_factory=lambda: StackingFile(mode="exclusive"))
    peak: PeakFile | None = None
    test: ProgramTestFile | None = None

    @cached_property
    def zone(self) -> ZoneInfo:
        """Where the programme's hours and days are local."""
        return ZoneInfo(self.time_zone)

    def is_scored(self, is_test: bool) -> bool:
        """True for an event, and for a test where the programme says nothing else: it counts, is paid and is charged."""
        return not is_test or self.test is None or self.test.counts_as_event

    def kind_of_day(self, day: date) -> str:
        """weekday, saturday, sunday or holiday."""
        if day in self.holidays:
            return "holiday"
        return {5: "saturday", 6: "sunday"}.get(day.weekday(), "weekday")

    def covers(self, start: datetime, end: datetime) -> str:
        """Why `[start, end)` lies outside the programme's season and hours, "" when it lies inside."""
        first, last = start.astimezone(self.zone), end.astimezone(self.zone)
        if self.months is not None and first.month not in self.months:
            return f"month {first.month} is not in the season"
        if self.kind_of_day(first.date()) not in self.window.days:
            return f"{first.date()} is a {self.kind_of_day(first.date())}"
        if (self.window.from_h, self.window.to_h) == (0.0, 24.0):
            return ""
        end_h = _hour(last) + 24.0 * (last.date() - first.date()).days
        if _hour(first) < self.window.from_h or end_h > self.window.to_h:
            return f"{first:%H:%M} to {last:%H:%M} is not inside {self.window.from_h:g} to {self.window.to_h:g} h"
        return ""


def terms_on(file: ProgramFile, day: date) -> Terms:
    """The terms of a programme on a local day; of several versions of a rule the latest that is effective by then."""
    rules = {name: rule for name, versions in _versions(file) if (rule := _in_force(versions, day)) is not None}
    values: dict[str, Any] = {name: tuple(r.value) if isinstance(r.value, list) else r.value for name, r in rules.items()}
    return Terms(
        program=file.name,
        kind=file.kind,
        time_zone=file.time_zone,
        currency=file.currency,
        day=day,
        version=_fingerprint(file, rules),
        general=tuple(name for name, r in rules.items() if r.basis == "general"),
        holidays=frozenset(file.holidays),
        **values,
    )


def local_day(file: ProgramFile, at: datetime) -> date:
    """The day of an instant where the programme is: its rules and enrolments hold by that."""
    return at.astimezone(ZoneInfo(file.time_zone)).date()


def first_day(file: ProgramFile) -> date | None:
    """The first day on which any rule of the programme holds; None for one without rules."""
    return min((rule.effective for _, versions in _versions(file) for rule in versions), default=None)


def is_ruled(file: ProgramFile, name: str, day: date) -> bool:
    """True when the programme rules on something on a day."""
    return _in_force(getattr(file.rules, name) or [], day) is not None


def _versions(file: ProgramFile) -> list[tuple[str, list[Rule[Any]]]]:
    names = type(file.rules).model_fields
    return [(name, versions) for name in names if (versions := getattr(file.rules, name)) is not None]


def _in_force(versions: list[Rule[Any]], day: date) -> Rule[Any] | None:
    return max((v for v in versions if v.effective <= day), key=lambda v: v.effective, default=None)


def _fingerprint(file: ProgramFile, rules: Mapping[str, Rule[Any]]) -> str:
    body = {
        "name": file.name,
        "time_zone": file.time_zone,
        "currency": file.currency,
        "holidays": [d.isoformat() for d in file.holidays],
        "rules": {name: rule.model_dump(mode="json", by_alias=True) for name, rule in sorted(rules.items())},
    }
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def _hour(local: datetime) -> float:
    return local.hour + local.minute / 60 + local.second / 3600
