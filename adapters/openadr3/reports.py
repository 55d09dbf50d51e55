"""Reports that an event asks for: when each is due, which intervals it covers, and how our numbers are written.

A descriptor's report falls due at an interval's start, or at the end of the last one. `historical` reports cover the intervals before
that, forecasts those after it. Powers are means at the point of connection; a value we do not have is left out and DATA_QUALITY says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from adapters.openadr3.times import written, written_span
from ems.program.channel import ChannelFile
from ems.program.heard import Ask

MOST_REPORTS = 500  # of one descriptor
Period = tuple[datetime, datetime]


@dataclass(frozen=True)
class Figure:
    """A number with the share of time it rests on (1: all of it) and, for a forecast, half the width of its 80 % band."""

    value: float
    share: float = 1.0
    half_width: float | None = None


class Figures(Protocol):
    """What can be reported. Each gives None where it is not known."""

    def demand_kw(self, period: Period) -> Figure | None:
        """Mean import, measured."""

    def forecast_kw(self, period: Period) -> Figure | None:
        """Mean import, planned."""

    def baseline_kw(self, event: str) -> float | None:
        """What a reduction under an event is counted from."""

    def flexible_kw(self, period: Period, probability: float) -> float | None:
        """The reduction of import that can be held over a period with that probability."""

    def storage(self) -> Mapping[str, float]:
        """Sums over the batteries: usable_kwh, energy_kwh, charge_kw, discharge_kw; empty where unknown."""

    def state_of(self, event: str) -> str:
        """opted_out, acting or normal."""


@dataclass(frozen=True)
class Report:
    """One due report, by a key that is the same whenever it is reckoned."""

    key: str
    ask: Ask
    first: int
    last: int  # past the end


def due(ask: Ask, version: int, now: datetime) -> Iterator[Report]:
    """The reports of one descriptor that are due by now."""
    d, count = ask.descriptor, len(ask.intervals)
    is_past = d.get("historical", True) is not False
    start, number = _integer(d, "startInterval"), _integer(d, "numIntervals")
    number = count if number <= 0 else number
    every = _integer(d, "frequency")
    every = number if every <= 0 else every
    at = (count if is_past else 0) if start < 0 else start
    repeat = _integer(d, "repeat", 1)
    for turn in range(MOST_REPORTS if repeat < 0 else min(repeat, MOST_REPORTS)):
        edge = at + turn * every
        if edge > count or _instant(ask, edge) > now:
            return
        first, last = (max(0, edge - number), edge) if is_past else (edge, min(count, edge + number))
        if first < last:
            yield Report(f"{ask.event}/{version}/{ask.number}/{turn}", ask, first, last)


def body_of(report: Report, channel: ChannelFile, figures: Figures, event: str) -> dict[str, Any] | None:
    """The report as the wire wants it; None for a payload that we do not report."""
    d = report.ask.descriptor
    kind = str(d.get("payloadType"))
    is_past = d.get("historical", True) is not False
    periods = [p for n in range(report.first, report.last) for p in _periods(report.ask.intervals[n], d)]
    rows = [(p, _value(kind, p, is_past, figures, event)) for p in periods]
    if all(v is None for _, v in rows) and kind not in KINDS:
        return None
    body: dict[str, Any] = {
        "eventID": report.ask.event,
        "clientName": channel.ven_name,
        "reportName": report.key.replace("/", "-")[:128],
        "payloadDescriptors": [_descriptor(kind, d, [f for _, f in rows if isinstance(f, Figure)], is_past)],
        "resources": [{"resourceName": channel.resource, "intervals": [_interval(n, p, kind, v) for n, (p, v) in enumerate(rows)]}],
    }
    if channel.profile == "openadr-3.0.1":
        body["programID"] = report.ask.program
    return body


KINDS = {  # payload -> unit
    "USAGE": "KWH",
    "DEMAND": "KW",
    "READING": "KW",
    "BASELINE": "KW",
    "DELTA_USAGE": "KWH",
    "USAGE_FORECAST": "KWH",
    "LOAD_SHED_DELTA_AVAILABLE": "KW",
    "STORAGE_USABLE_CAPACITY": "KWH",
    "STORAGE_CHARGE_LEVEL": "KWH",
    "STORAGE_MAX_DISCHARGE_POWER": "KW",
    "STORAGE_MAX_CHARGE_POWER": "KW",
    "OPERATING_STATE": None,
    "DATA_QUALITY": None,
}
STORAGE = {
    "STORAGE_USABLE_CAPACITY": "usable_kwh",
    "STORAGE_CHARGE_LEVEL": "energy_kwh",
    "STORAGE_MAX_DISCHARGE_POWER": "discharge_kw",
    "STORAGE_MAX_CHARGE_POWER": "charge_kw",
}
STATES = {"opted_out": "RUNNING_OPTED_OUT", "acting": "RUNNING_CURTAILED", "normal": "RUNNING_NORMAL"}
HELD_WITH = 0.90  # what is offered as available is held with this probability


def _value(kind: str, period: Period, is_past: bool, figures: Figures, event: str) -> Figure | str | None:
    hours = (period[1] - period[0]).total_seconds() / 3600.0
    power = figures.demand_kw(period) if is_past and kind != "USAGE_FORECAST" else figures.forecast_kw(period)
    if kind in ("USAGE", "USAGE_FORECAST"):
        return _scaled(power, hours)
    if kind in ("DEMAND", "READING"):
        return power
    if kind == "DATA_QUALITY":
        return "MISSING" if power is None else "OK" if power.share >= 0.99 else "ESTIMATED"
    if kind == "OPERATING_STATE":
        return STATES[figures.state_of(event)]
    if kind in STORAGE:
        known = figures.storage().get(STORAGE[kind])
        return None if known is None else Figure(known)
    if kind == "LOAD_SHED_DELTA_AVAILABLE":
        kw = figures.flexible_kw(period, HELD_WITH)
        return None if kw is None else Figure(kw)
    baseline = figures.baseline_kw(event)
    if kind == "BASELINE":
        return None if baseline is None else Figure(baseline)
    if kind == "DELTA_USAGE" and baseline is not None and power is not None:
        return Figure((power.value - baseline) * hours, power.share)
    return None


def _scaled(figure: Figure | None, by: float) -> Figure | None:
    if figure is None:
        return None
    return Figure(figure.value * by, figure.share, None if figure.half_width is None else figure.half_width * by)


def _descriptor(kind: str, asked: Mapping[str, Any], found: Sequence[Figure], is_past: bool) -> dict[str, Any]:
    """Units and how far the numbers can be trusted: forecasts carry half the width of the band that holds with `confidence`; what is
    measured carries the share of time it rests on; what is offered the probability it holds with."""
    body: dict[str, Any] = {"objectType": "REPORT_PAYLOAD_DESCRIPTOR", "payloadType": kind}
    if KINDS.get(kind):
        body["units"] = KINDS[kind]
    reading = asked.get("readingType") or ("FORECAST" if not is_past else "MEAN" if kind == "DEMAND" else None)
    if reading:
        body["readingType"] = str(reading)[:128]
    widths = [f.half_width for f in found if f.half_width is not None]
    if widths:
        body |= {"accuracy": round(max(widths), 3), "confidence": 80}
    elif kind == "LOAD_SHED_DELTA_AVAILABLE":
        body["confidence"] = round(100 * HELD_WITH)
    elif found and KINDS.get(kind):
        body["confidence"] = math.floor(100 * min(f.share for f in found))
    return body


def _interval(n: int, period: Period, kind: str, value: Figure | str | None) -> dict[str, Any]:
    payloads: list[dict[str, Any]] = []
    if isinstance(value, str):
        payloads = [{"type": kind, "values": [value]}]
    elif value is not None:
        payloads = [{"type": kind, "values": [round(value.value, 3)]}]
        if value.share < 0.99:
            payloads.append({"type": "DATA_QUALITY", "values": ["ESTIMATED"]})
    else:
        payloads = [{"type": "DATA_QUALITY", "values": ["MISSING"]}]
    return {"id": n, "intervalPeriod": {"start": written(period[0]), "duration": written_span(period[1] - period[0])}, "payloads": payloads}


def _periods(interval: Period, descriptor: Mapping[str, Any]) -> Iterator[Period]:
    """The interval itself, or its minutes where sub-intervals are asked for."""
    start, end = interval
    if descriptor.get("reportIntervals") != "SUB_INTERVALS" or end - start > timedelta(hours=6):
        yield interval
        return
    while start < end:
        yield start, min(end, start + timedelta(minutes=1))
        start += timedelta(minutes=1)


def _instant(ask: Ask, edge: int) -> datetime:
    return ask.intervals[edge][0] if edge < len(ask.intervals) else ask.intervals[-1][1]


def _integer(descriptor: Mapping[str, Any], key: str, otherwise: int = -1) -> int:
    value = descriptor.get(key, otherwise)
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise
