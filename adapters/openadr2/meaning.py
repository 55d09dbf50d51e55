"""What an OpenADR 2.0b event, as openleadr reads it, means to a site. Of several signals the richest is acted on, they are never summed.

Priority 0 is the lowest here (1 the highest). The tolerance is a delay only. What is not understood is named and answered with optOut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ems.errors import DataError
from ems.obligation import ObligationKind
from ems.program.channel import ChannelFile
from ems.program.event import LARGEST_KW, LONGEST, EventInterval, GridEvent, normalised_priority
from ems.program.heard import Heard
from ems.signals.prices import HIGH_PER_KWH, LOW_PER_KWH, PriceRow

SCALES = {"p": 1e-12, "n": 1e-9, "micro": 1e-6, "m": 1e-3, "c": 1e-2, "d": 1e-1, "none": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
RICHEST_FIRST = (
    ("LOAD_DISPATCH", "setpoint"),
    ("LOAD_CONTROL", "x-loadControlSetpoint"),
    ("LOAD_CONTROL", "x-loadControlCapacity"),
    ("LOAD_DISPATCH", "delta"),
    ("LOAD_DISPATCH", "level"),
    ("SIMPLE", "level"),
)
PRICES = ("ELECTRICITY_PRICE", "ENERGY_PRICE")
NOTED = ("DEMAND_CHARGE", "BID_PRICE", "BID_LOAD", "BID_ENERGY")  # told, and nothing follows by itself
Signal = Mapping[str, Any]


def meaning_of(raw: Mapping[str, Any], text: str, channel: ChannelFile, now: datetime, request: str) -> Heard:
    """What one event asks; `problem` says why it asks nothing. It carries what an answer must name, where one is wanted."""
    descriptor = raw.get("event_descriptor")
    descriptor = descriptor if isinstance(descriptor, Mapping) else {}
    name, number = str(descriptor.get("event_id", "?")), descriptor.get("modification_number", 0)
    answer = None
    if str(raw.get("response_required", "always")) != "never":
        answer = {"event_id": name, "modification_number": number, "request_id": request}
    mine = f"{channel.id}:{name}"
    try:
        if not isinstance(number, int) or number < 0 or not 1 <= len(name) <= 200:
            raise DataError("an event without a usable id and number")
        return _meaning(raw, descriptor, mine, text, channel, now, answer)
    except DataError as error:
        return Heard(mine, text, problem=str(error), answer=answer)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        return Heard(mine, text, problem=f"cannot be read ({type(error).__name__})", answer=answer)


def _meaning(
    raw: Mapping[str, Any], descriptor: Mapping[str, Any], mine: str, text: str, channel: ChannelFile, now: datetime, answer: Any
) -> Heard:
    context = str(descriptor.get("market_context"))
    if context not in channel.programs:
        raise DataError(f"market context {context[:80]!r} is not among those of channel {channel.id}")
    signals = raw.get("event_signals") or []
    begin = _active_start(raw)
    chosen = _richest(signals)
    prices = tuple(_prices(signals, begin, channel, now)) if chosen is None else ()
    if chosen is None:
        _refuse_unknown(signals)
        told = tuple(f"{s['signal_name']} {s['signal_type']}" for s in signals if s.get("signal_name") in NOTED)
        return Heard(mine, text, prices=prices, alerts=told, answer=answer)
    intervals, kind = _asked(chosen, begin, channel)
    is_cancelled = descriptor.get("event_status") == "cancelled" or not intervals
    event = GridEvent(
        mine,
        channel.programs[context],
        int(descriptor["modification_number"]),
        kind,
        tuple(intervals),
        normalised_priority(_whole(descriptor.get("priority")), "openadr-2.0b"),
        (0.0, _tolerance_s(raw)),
        is_cancelled=is_cancelled,
        is_test=str(descriptor.get("test_event", "false")).lower() not in ("false", "none", ""),
    )
    return Heard(mine, text, event, answer=answer)


def _richest(signals: Sequence[Signal]) -> Signal | None:
    for name, kind in RICHEST_FIRST:
        for s in signals:
            if (s.get("signal_name"), s.get("signal_type")) == (name, kind):
                return s
    return None


def _refuse_unknown(signals: Sequence[Signal]) -> None:
    known = (*PRICES, *NOTED)
    if not any(s.get("signal_name") in known for s in signals):
        what = ", ".join(f"{s.get('signal_name')} {s.get('signal_type')}" for s in signals)
        raise DataError(f"not understood: {what[:120] or 'no signal'}")


def _asked(signal: Signal, begin: datetime, channel: ChannelFile) -> tuple[list[EventInterval], ObligationKind]:
    name, kind = signal["signal_name"], signal["signal_type"]
    pieces = list(_pieces(signal, begin))
    if kind == "level":
        found = [(a, b, _level_kw(channel, v)) for a, b, v in pieces]
        return [EventInterval(a, b, kw) for a, b, kw in found if kw is not None], ObligationKind.REDUCE_BY
    factor = _kw_factor(signal)
    if kind == "x-loadControlCapacity":
        if channel.capacity is None:
            raise DataError("a share of capacity, but the channel names none (capacity:)")
        factor = channel.capacity.subscription_kw
        if any(not 0.0 <= v <= 1.0 for _, _, v in pieces):
            raise DataError(f"{name} {kind}: expected 0 to 1")
    if kind == "delta":
        sign = -1.0 if channel.relative_is == "change" else 1.0
        reduced = [(a, b, sign * v * factor) for a, b, v in pieces]
        if any(kw < 0 for _, _, kw in reduced):
            raise DataError(f"{name} {kind} asks for more import: it is not followed (relative_is: {channel.relative_is})")
        return [EventInterval(a, b, _bounded(kw)) for a, b, kw in reduced if kw > 0], ObligationKind.REDUCE_BY
    return [EventInterval(a, b, _bounded(v * factor)) for a, b, v in pieces], ObligationKind.REDUCE_TO


def _level_kw(channel: ChannelFile, level: float) -> float | None:
    if level == 0:
        return None
    if level not in (1, 2, 3) or len(channel.simple_levels_kw) < level:
        raise DataError(f"level {level:g}: channel {channel.id} does not say how many kW that means (simple_levels_kw)")
    return channel.simple_levels_kw[int(level) - 1]


def _prices(signals: Sequence[Signal], begin: datetime, channel: ChannelFile, now: datetime) -> Iterator[PriceRow]:
    for s in signals:
        if s.get("signal_name") not in PRICES:
            continue
        if s.get("signal_type") != "price":
            raise DataError(f"{s.get('signal_name')} {s.get('signal_type')}: only absolute prices are understood")
        for start, end, price in _pieces(s, begin):
            if not LOW_PER_KWH <= price <= HIGH_PER_KWH:
                raise DataError(f"a price of {price:g} per kWh: expected {LOW_PER_KWH:g} to {HIGH_PER_KWH:g}")
            yield PriceRow(start, end, now, price, channel.price_source or "real_time")


def _pieces(signal: Signal, begin: datetime) -> Iterator[tuple[datetime, datetime, float]]:
    """Intervals one after the other from the active period's start; one without length lasts open-ended."""
    at = begin
    intervals = signal.get("intervals") or []
    for n, interval in enumerate(intervals):
        start = _aware(interval["dtstart"]) if interval.get("dtstart") is not None else at
        length = interval.get("duration") or timedelta(0)
        if length < timedelta(0):
            raise DataError(f"interval {n} has a negative length")
        at = start + (length if length else LONGEST)
        value = interval["signal_payload"]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise DataError(f"interval {n}: {str(value)[:40]}: expected a number")
        yield start, at, float(value)


def _kw_factor(signal: Signal) -> float:
    """To kW: watts with their scale; without a measurement kW are meant."""
    measurement = signal.get("measurement") or {}
    unit, scale = measurement.get("unit"), str(measurement.get("scale") or "none")
    if not measurement:
        return 1.0
    if unit != "W" or scale not in SCALES:
        raise DataError(f"{signal['signal_name']} in {unit} (scale {scale}): expected W")
    return SCALES[scale] / 1000.0


def _active_start(raw: Mapping[str, Any]) -> datetime:
    return _aware(raw["active_period"]["dtstart"])


def _tolerance_s(raw: Mapping[str, Any]) -> float:
    tolerance = (raw["active_period"].get("tolerance") or {}).get("tolerate") or raw["active_period"].get("tolerance") or {}
    found = tolerance.get("startafter") if isinstance(tolerance, Mapping) else None
    seconds = found.total_seconds() if isinstance(found, timedelta) else 0.0
    if not 0.0 <= seconds <= 86400.0:
        raise DataError(f"a tolerance of {seconds:g} s: expected at most a day")
    return seconds


def _aware(at: Any) -> datetime:
    if not isinstance(at, datetime) or at.tzinfo is None:
        raise DataError(f"{str(at)[:40]}: expected an instant with its offset")
    return at.astimezone(UTC)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _bounded(kw: float) -> float:
    if not 0.0 <= kw <= LARGEST_KW:
        raise DataError(f"{kw:g} kW: expected 0 to {LARGEST_KW:.0f}")
    return kw
