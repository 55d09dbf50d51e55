"""Made-up history, prices and weather for the demo. Everything here is labelled generated."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from ems.mailbox import Mailbox
from ems.messages import MinuteFrame
from ems.site.model import Site
from simulators.demand import GeneratedDemand
from simulators.weather import generated_temp_c

HISTORY = timedelta(days=2)
AHEAD = timedelta(days=5)
HOUR, QUARTER = timedelta(hours=1), timedelta(minutes=15)
SAMPLES_PER_MINUTE = 6
NIGHT_PER_KWH, EVENING_PER_KWH, EVENING_HOUR_UTC = 0.028, 0.075, 23.5
COLUMNS = ("valid_from", "valid_to", "available_at", "price_per_kwh", "source")
SPIKE_CHANCE, SPIKE_PER_KWH = 0.03, 0.45


def post_generated(mailbox: Mailbox, site: Site, seed: int, now: datetime) -> None:
    """Gives the planner two days of load, prices and weather before `now`."""
    kept = now + AHEAD
    mailbox.post_many("minute", [(frame.encode(), now, kept) for frame in minute_frames(site, seed, now)])
    known = [[row for row in rows if not _is_to_come(row, now)] for rows in price_rows(seed, now)]
    mailbox.post_many("prices", [({"rows": rows, "label": "generated"}, now, kept) for rows in known if rows])
    mailbox.post("weather", {"rows": list(weather_rows(now)), "label": "generated"}, now, kept)


def drop_generated_prices(folder: Path, seed: int, now: datetime) -> None:
    """Lays the prices that become known as the demo runs into the folder where a feed by file drop is looked for."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [",".join(COLUMNS)]
    for rows in price_rows(seed, now):
        lines += [",".join(str(row[column]) for column in COLUMNS) for row in rows if _is_to_come(row, now)]
    draft = folder / "generated.csv.part"
    draft.write_text("\n".join(lines) + "\n")
    draft.replace(folder / "generated.csv")


def minute_frames(site: Site, seed: int, now: datetime) -> Iterator[MinuteFrame]:
    """The demand of the two days before `now`, as the simulated clusters would have shown it; nothing else is known."""
    first = now.replace(second=0, microsecond=0) - HISTORY
    minutes = int(HISTORY.total_seconds() // 60)
    starts_s = first.timestamp() + 60.0 / SAMPLES_PER_MINUTE * np.arange(minutes * SAMPLES_PER_MINUTE, dtype=np.float64)
    demand = GeneratedDemand(site, seed)
    classes = {}
    for cluster in site.clusters:
        series = demand.series(cluster, starts_s)
        named = {"interactive": series.interactive_kw, "batch": series.batch_kw, "training": series.training_kw}
        classes[cluster.id] = {n: named[n].reshape(minutes, -1).mean(axis=1).tolist() for n in cluster.classes}
    nothing: dict[str, float | None] = dict.fromkeys(site.assets)
    for i in range(minutes):
        by_class = {c.id: {n: values[i] for n, values in classes[c.id].items()} for c in site.clusters}
        total: dict[str, float | None] = {c.id: c.idle_kw + sum(by_class[c.id].values()) for c in site.clusters}
        start = first + timedelta(minutes=i)
        at_s = start.timestamp()
        yield MinuteFrame(start, None, nothing, total, {k: dict(v) for k, v in by_class.items()}, {}, generated_temp_c(at_s))


def price_rows(seed: int, now: datetime) -> Iterator[list[dict[str, Any]]]:
    """Day-ahead hours known at 18:30 UTC of the day before, and real-time quarter hours known at their end; one list per day and kind."""
    chance = Random(seed)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0) - HISTORY
    while day < now + AHEAD:
        published = day - timedelta(hours=5, minutes=30)
        yield [_row(day + h * HOUR, HOUR, published, day_ahead_per_kwh(day + h * HOUR), "day_ahead") for h in range(24)]
        rows = []
        for q in range(96):
            start = day + q * QUARTER
            price = day_ahead_per_kwh(start) * math.exp(chance.gauss(0.0, 0.15))
            price += SPIKE_PER_KWH * chance.random() if chance.random() < SPIKE_CHANCE else 0.0
            rows.append(_row(start, QUARTER, start + QUARTER, price, "real_time"))
        yield rows
        day += timedelta(days=1)


def day_ahead_per_kwh(start: datetime) -> float:
    """Cheap nights, a dear evening."""
    hour = start.astimezone(UTC).hour + start.minute / 60.0
    from_evening_h = min((hour - EVENING_HOUR_UTC) % 24.0, (EVENING_HOUR_UTC - hour) % 24.0)
    return NIGHT_PER_KWH + (EVENING_PER_KWH - NIGHT_PER_KWH) * math.exp(-((from_evening_h / 3.5) ** 2))


def weather_rows(now: datetime) -> Iterator[dict[str, Any]]:
    """Hourly temperatures of the two days before `now`."""
    first = now.replace(minute=0, second=0, microsecond=0) - HISTORY
    for h in range(int(HISTORY / HOUR)):
        start = first + h * HOUR
        row = _row(start, HOUR, start + HOUR, 0.0, "observed")
        del row["price_per_kwh"]
        yield {**row, "temp_c": generated_temp_c(start.timestamp() + 1800.0)}


def _is_to_come(row: dict[str, Any], now: datetime) -> bool:
    return datetime.fromisoformat(row["available_at"]) > now


def _row(start: datetime, lasts: timedelta, known: datetime, price_per_kwh: float, source: str) -> dict[str, Any]:
    return {
        "valid_from": start.isoformat(),
        "valid_to": (start + lasts).isoformat(),
        "available_at": known.isoformat(),
        "price_per_kwh": price_per_kwh,
        "source": source,
    }
