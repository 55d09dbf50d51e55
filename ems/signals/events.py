"""Grid events as a scenario, a person or a programme writes them, made into obligations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from ems.errors import DataError
from ems.obligation import Obligation, ObligationKind

KEYS = {"id", "program", "notice_at", "start", "end", "kind", "kw", "fraction", "baseline_kw"}


def obligation_from(event: Mapping[str, Any], reference_kw: float | None = None) -> Obligation:
    """The obligation an event means. `fraction` is of the event's `baseline_kw`, else of `reference_kw` (the site's import limit).

    Raises DataError that names the key, the value and what would be right.
    """
    unknown = sorted(set(event) - KEYS)
    if unknown:
        raise DataError(f"event: {unknown[0]} = {event[unknown[0]]}: expected only {', '.join(sorted(KEYS))}")
    kind = _kind(event.get("kind"))
    start, end = _instant(event, "start"), _instant(event, "end")
    notice_at = _instant(event, "notice_at") if event.get("notice_at") is not None else start
    if end <= start:
        raise DataError(f"event: end = {end.isoformat()}: expected later than start {start.isoformat()}")
    baseline_kw = _number(event, "baseline_kw") if event.get("baseline_kw") is not None else None
    program = str(event.get("program", "manual"))
    name = str(event.get("id") or f"{program}-{start.strftime('%Y%m%dT%H%MZ')}")
    return Obligation(name, kind, _kw(event, kind, baseline_kw, reference_kw), start, end, notice_at, program, baseline_kw)


def known_obligations(obligations: Iterable[Obligation], now: datetime) -> tuple[Obligation, ...]:
    """Obligations notified by `now` and not over, each id once in its newest version, in order of start."""
    newest: dict[str, Obligation] = {}
    for o in sorted((o for o in obligations if o.notice_at <= now), key=lambda o: o.notice_at):
        newest[o.id] = o
    return tuple(sorted((o for o in newest.values() if o.end > now), key=lambda o: (o.start, o.id)))


def frozen_baseline(obligation: Obligation, baseline_kw: float) -> Obligation:
    """The same obligation with its baseline frozen, where it needs one and has none."""
    if obligation.kind is not ObligationKind.REDUCE_BY or obligation.baseline_kw is not None:
        return obligation
    o = obligation
    return Obligation(o.id, o.kind, o.kw, o.start, o.end, o.notice_at, o.program, baseline_kw)


def _kind(value: Any) -> ObligationKind:
    try:
        return ObligationKind(value)
    except ValueError:
        raise DataError(f"event: kind = {value}: expected one of {', '.join(ObligationKind)}") from None


def _kw(event: Mapping[str, Any], kind: ObligationKind, baseline_kw: float | None, reference_kw: float | None) -> float:
    if (event.get("kw") is None) == (event.get("fraction") is None):
        raise DataError(f"event: kw = {event.get('kw')}, fraction = {event.get('fraction')}: expected exactly one of them")
    if event.get("kw") is not None:
        return _at_least_zero(_number(event, "kw"), "kw")
    whole = baseline_kw if baseline_kw is not None else reference_kw
    fraction = _at_least_zero(_number(event, "fraction"), "fraction")
    if whole is None or fraction > 1.0:
        raise DataError(f"event: fraction = {fraction}: expected 0 to 1 and a baseline_kw to take it of")
    return fraction * whole


def _at_least_zero(value: float, key: str) -> float:
    if value < 0:
        raise DataError(f"event: {key} = {value}: expected at least 0")
    return value


def _number(event: Mapping[str, Any], key: str) -> float:
    value = event[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"event: {key} = {value}: expected a number")
    return float(value)


def _instant(event: Mapping[str, Any], key: str) -> datetime:
    value = event.get(key)
    try:
        instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise DataError(f"event: {key} = {value}: expected an instant like 2024-08-20T19:00:00Z") from None
    if instant.tzinfo is None:
        raise DataError(f"event: {key} = {value}: expected a time zone (Z or an offset)")
    return instant
