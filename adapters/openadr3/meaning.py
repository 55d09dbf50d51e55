"""What an OpenADR 3 event means to a site, in our units: capacity, one dispatch, prices, alerts. What is not understood is named.

Of several dispatch payloads the richest is acted on and they are never summed: an absolute setpoint, else a relative one, else SIMPLE.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from adapters.openadr3.intervals import Slot, is_withdrawn, resolved, spread_of, unpacked
from adapters.openadr3.times import instant_from
from ems.errors import DataError
from ems.obligation import ObligationKind
from ems.program.channel import ChannelFile
from ems.program.event import LARGEST_KW, LONGEST, EventInterval, GridEvent, normalised_priority
from ems.program.heard import Ask, Heard
from ems.signals.capacity import CapacityInterval
from ems.signals.prices import HIGH_PER_KWH, LOW_PER_KWH, PriceRow

AHEAD = timedelta(days=14)  # how far a loop without end is written out
FAR = datetime(2200, 1, 1, tzinfo=UTC)  # "no end", as a date
OBJECT_ID = re.compile(r"[a-zA-Z0-9_-]{1,128}")
KILOWATTS = {"KW": 1.0, "W": 0.001, "MW": 1000.0}  # the standard has KW only; the others are met all the same
PER_KWH = {"KWH": 1.0, "WH": 1000.0, "MWH": 0.001}
LIMIT, SUBSCRIPTION, RESERVATION = "IMPORT_CAPACITY_LIMIT", "IMPORT_CAPACITY_SUBSCRIPTION", "IMPORT_CAPACITY_RESERVATION"
DISPATCH = ("DISPATCH_SETPOINT", "DISPATCH_SETPOINT_RELATIVE", "SIMPLE")  # the richest first


@dataclass(frozen=True)
class Notice:
    """An event object, the programme object it names, when it was asked for, and its version."""

    raw: Mapping[str, Any]
    program: Mapping[str, Any]
    channel: ChannelFile
    now: datetime
    modification: int

    @property
    def id(self) -> str:
        """Ours."""
        return f"{self.channel.id}:{self.raw['id']}"

    @property
    def ours(self) -> str:
        """Our name of its programme; DataError when the channel has none."""
        name = str(self.program.get("programName"))
        if name not in self.channel.programs:
            raise DataError(f"programme {name!r} is not among those of channel {self.channel.id}")
        return self.channel.programs[name]


def object_id(raw: Any) -> str:
    """The id of an object of a head-end; DataError on what cannot be one."""
    found = raw.get("id") if isinstance(raw, Mapping) else None
    if not isinstance(found, str) or not OBJECT_ID.fullmatch(found):
        raise DataError("an object without a usable id")
    return found


def meaning_of(notice: Notice, text: str) -> Heard:
    """What the event asks of this site; `problem` says why it asks nothing."""
    try:
        return _meaning(notice, text)
    except DataError as error:
        return Heard(notice.id, text, problem=str(error))


def _meaning(notice: Notice, text: str) -> Heard:
    raw, ours = notice.raw, notice.ours
    priority = raw.get("priority")
    if priority is not None and (isinstance(priority, bool) or not isinstance(priority, int) or priority < 0):
        raise DataError(f"priority = {priority}: expected an integer from 0 on")
    rank = normalised_priority(priority, "openadr-3")
    if is_withdrawn(raw):
        ended = GridEvent(notice.id, ours, notice.modification, ObligationKind.REDUCE_TO, (), rank, is_cancelled=True)
        return Heard(notice.id, text, ended)
    slots = resolved(raw, issued_at(raw, notice.now), notice.now + AHEAD)
    kinds = {kind for s in slots for kind in s.values}
    dispatch = next((k for k in DISPATCH if k in kinds), None)
    return Heard(
        notice.id,
        text,
        event=None if dispatch is None else _dispatch(notice, ours, rank, dispatch, slots),
        limits=_capacity(notice, slots, LIMIT),
        subscriptions=_capacity(notice, slots, SUBSCRIPTION),
        reservations=_capacity(notice, slots, RESERVATION),
        prices=tuple(_prices(notice, slots)) if dispatch is None else (),
        alerts=tuple(_alerts(slots)),
        asks=tuple(_asks(notice, slots)),
        problem=_not_understood(kinds),
    )


def issued_at(raw: Mapping[str, Any], now: datetime) -> datetime:
    """When this version was written: what "now" means in it, however late it is read."""
    stamp = raw.get("modificationDateTime") or raw.get("createdDateTime")
    return now if stamp is None else instant_from(stamp, "modificationDateTime")


def _not_understood(kinds: set[str]) -> str:
    known = {*DISPATCH, LIMIT, SUBSCRIPTION, RESERVATION, "PRICE"}
    if not kinds:
        return "no payload in it"
    if any(k in known or k.startswith(("ALERT_", "IMPORT_CAPACITY_")) for k in kinds):
        return ""
    return f"not understood: {', '.join(sorted(kinds))[:120]}"


def _dispatch(notice: Notice, ours: str, rank: int, kind: str, slots: Sequence[Slot]) -> GridEvent:
    """The event; intervals that ask nothing (SIMPLE 0) are left out, and with none left it is a cancellation."""
    asked = [(s, _kw_of(notice, kind, s)) for s in slots if kind in s.values]
    intervals = tuple(EventInterval(s.start, s.end or s.start + LONGEST, kw) for s, kw in asked if kw is not None)
    spread_s = spread_of(notice.raw)
    prices = [p.price_per_kwh for p in _prices(notice, slots)]
    return GridEvent(
        notice.id,
        ours,
        notice.modification,
        ObligationKind.REDUCE_TO if kind == "DISPATCH_SETPOINT" else ObligationKind.REDUCE_BY,
        intervals,
        rank,
        (-spread_s, spread_s),
        is_cancelled=not intervals,
        price_per_kwh=sum(prices) / len(prices) if prices else None,
    )


def _kw_of(notice: Notice, kind: str, slot: Slot) -> float | None:
    value = _single(kind, slot.values[kind])
    if kind == "SIMPLE":
        return _level_kw(notice.channel, value)
    kw = value * _factor(notice, kind, KILOWATTS)
    if kind == "DISPATCH_SETPOINT":
        return _bounded(kind, kw)
    if notice.channel.relative_is == "change":
        kw = -kw
    if kw < 0:
        raise DataError(f"{kind} = {value:g} asks for more import: it is not followed (relative_is: {notice.channel.relative_is})")
    return _bounded(kind, kw)


def _level_kw(channel: ChannelFile, level: float) -> float | None:
    if level == 0:
        return None
    if level not in (1, 2, 3):
        raise DataError(f"SIMPLE = {level:g}: expected 0 to 3")
    if len(channel.simple_levels_kw) < level:
        raise DataError(f"SIMPLE level {level:g}: channel {channel.id} does not say how many kW that means (simple_levels_kw)")
    return channel.simple_levels_kw[int(level) - 1]


def _capacity(notice: Notice, slots: Sequence[Slot], kind: str) -> tuple[CapacityInterval, ...]:
    """Intervals of a capacity payload. Their start is not shifted at random: no shift lies in the range, and a limit is never late."""
    factor = _factor(notice, kind, KILOWATTS)
    found = ((s, _single(kind, s.values[kind])) for s in slots if kind in s.values)
    return tuple(CapacityInterval(s.start, s.end or FAR, _bounded(kind, v * factor)) for s, v in found if s.end is None or s.end > s.start)


def _prices(notice: Notice, slots: Sequence[Slot]) -> Iterator[PriceRow]:
    source, factor = notice.channel.price_source or "real_time", _factor(notice, "PRICE", PER_KWH)
    known_at = issued_at(notice.raw, notice.now)
    for part in (p for s in slots if "PRICE" in s.values for p in unpacked(s)):
        if "PRICE" in part.values:
            price = _single("PRICE", part.values["PRICE"]) * factor
            if not LOW_PER_KWH <= price <= HIGH_PER_KWH:
                raise DataError(f"PRICE = {price:g} per kWh: expected {LOW_PER_KWH:g} to {HIGH_PER_KWH:g}")
            yield PriceRow(part.start, part.end or min(part.start + LONGEST, FAR), known_at, price, source)


def _alerts(slots: Sequence[Slot]) -> Iterator[str]:
    """What is told to people: alerts, and capacity that is on offer or priced (we do not bid for it)."""
    for s in slots:
        for kind, values in s.values.items():
            is_offer = kind.startswith("IMPORT_CAPACITY_") and kind not in (LIMIT, SUBSCRIPTION, RESERVATION)
            if kind.startswith("ALERT_") or is_offer:
                yield f"{kind} from {s.start:%Y-%m-%d %H:%M} UTC: {' '.join(str(v) for v in values)[:200]}"


def _asks(notice: Notice, slots: Sequence[Slot]) -> Iterator[Ask]:
    given = notice.raw.get("reportDescriptors") or []
    spans = tuple((s.start, s.end) for s in slots if s.end is not None and s.end > s.start)
    for n, descriptor in enumerate(given if isinstance(given, list) else []):
        if isinstance(descriptor, Mapping) and spans:
            yield Ask(str(notice.raw["id"]), str(notice.raw.get("programID")), n, spans, descriptor)


def _factor(notice: Notice, kind: str, units: Mapping[str, float]) -> float:
    """To our unit, from the event's descriptor, else the programme's; without one our unit is meant."""
    for holder in (notice.raw, notice.program):
        found = holder.get("payloadDescriptors") or []
        for d in found if isinstance(found, list) else []:
            if isinstance(d, Mapping) and d.get("payloadType") == kind and d.get("units"):
                unit = str(d["units"]).upper()
                if unit not in units:
                    raise DataError(f"{kind} in {unit[:20]}: expected {', '.join(units)}")
                return units[unit]
    return 1.0


def _single(kind: str, values: tuple[Any, ...]) -> float:
    value = values[0] if len(values) == 1 else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{kind} = {str(list(values))[:60]}: expected one number")
    return float(value)


def _bounded(kind: str, kw: float) -> float:
    if not 0.0 <= kw <= LARGEST_KW:
        raise DataError(f"{kind} = {kw:g} kW: expected 0 to {LARGEST_KW:.0f}")
    return kw
