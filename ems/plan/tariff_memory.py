"""What a tariff's charges remember, as plain data that outlives the process: peaks of past months for ratchets, of this month for windows,
the month's energy. The minutes told again after a restart reach back four days only, and are not counted twice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

ByMonth = dict[int, float]
KNOWN_H = 24.0  # hours of a month (or year) after which its mean says what it will come to


@dataclass(frozen=True)
class TariffMemory:
    """Metered up to `until`; months since January 1970, intervals in minutes with the number of the running one and its kWh so far."""

    until: datetime | None
    month_kwh: ByMonth
    month_h: ByMonth
    peaks_kw: dict[str, ByMonth]
    running: dict[int, tuple[int, float]]

    def encode(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "until": None if self.until is None else self.until.isoformat(),
            "month_kwh": _named(self.month_kwh),
            "month_h": _named(self.month_h),
            "peaks_kw": {name: _named(peaks) for name, peaks in self.peaks_kw.items()},
            "running": {str(minutes): list(running) for minutes, running in self.running.items()},
        }


def decode_memory(data: Mapping[str, Any]) -> TariffMemory:
    """What `encode` gave. Raises KeyError, TypeError, ValueError or AttributeError on anything else."""
    return TariffMemory(
        until=instant(data["until"]),
        month_kwh=_by_month(data["month_kwh"]),
        month_h=_by_month(data["month_h"]),
        peaks_kw={str(name): _by_month(months) for name, months in data["peaks_kw"].items()},
        running={int(minutes): (int(index), amount(kwh)) for minutes, (index, kwh) in data["running"].items()},
    )


def instant(text: str | None) -> datetime | None:
    """An aware instant in UTC, None for none. Raises ValueError or TypeError on anything else."""
    at = None if text is None else datetime.fromisoformat(text)
    if at is not None and at.tzinfo is None:
        raise ValueError(f"expected an instant with its zone, not {text!r}")
    return None if at is None else at.astimezone(UTC)


def amount(value: Any) -> float:
    """A finite number, at least 0. Raises ValueError or TypeError on anything else."""
    number = float(value)
    if not math.isfinite(number) or number < 0.0:
        raise ValueError(f"expected an amount, not {value!r}")
    return number


def higher(a: Mapping[int, float], b: Mapping[int, float]) -> ByMonth:
    """The higher of two in each month."""
    return {month: max(a.get(month, 0.0), b.get(month, 0.0)) for month in sorted({*a, *b})}


def _named(months: Mapping[int, float]) -> dict[str, float]:
    return {str(month): value for month, value in months.items()}


def _by_month(data: Mapping[str, Any]) -> ByMonth:
    return {int(month): amount(value) for month, value in data.items()}
