"""Whether a connection's dynamic limits were held: what was told, what held at each minute, what the meter says. Proof, not money.

The limit of a minute is reckoned from the records alone, by the rules of `ems.signals.capacity`. A limit that is told counts after the
programme's response time; one that is lifted counts at once. What is held is judged by means over the programme's intervals; excursions
are also told by the minute.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ems.program.channel import CapacityFile
from ems.program.connection import KIND, Connection
from ems.program.meter import MeterQuality, MeterSeries
from ems.program.store import KeptRecords, Record
from ems.timegrid import interval_start

LIMITS = "limits"  # kind of a bundle
MINUTE = timedelta(minutes=1)
TOLERANCE_KW = 0.1
LONGEST = timedelta(days=31)


@dataclass(frozen=True)
class LimitInputs:
    """What a proof looks at: one connection as it was agreed, a time, the meter by minutes, and the programme's response and intervals."""

    connection: str
    capacity: CapacityFile
    start: datetime
    end: datetime
    response_min: float
    interval_min: int
    meter: MeterSeries

    def encode(self) -> dict[str, Any]:
        """Plain data, the meter apart."""
        spans = {"start": self.start.isoformat(), "end": self.end.isoformat()}
        numbers = {"response_min": self.response_min, "interval_min": self.interval_min}
        return {"connection": self.connection, "capacity": self.capacity.model_dump(mode="json"), **spans, **numbers}

    @staticmethod
    def decode(data: Mapping[str, Any], meter: MeterSeries) -> LimitInputs:
        """The inputs back; raises KeyError, ValueError or TypeError on anything else."""
        instants = {k: datetime.fromisoformat(data[k]) for k in ("start", "end")}
        return LimitInputs(**{**data, **instants, "capacity": CapacityFile.model_validate(data["capacity"]), "meter": meter})


def prove_limits(inputs: LimitInputs, records: Sequence[Record]) -> dict[str, Any]:
    """The spans of equal limits, the intervals with their verdicts, and the sums, as plain data."""
    minutes = list(_minutes(inputs, records))
    rows = [*_intervals(inputs, minutes)]
    known = [r for r in rows if r["metered_kw"] is not None]
    above = [max(0.0, kw - limit) for at, limit, _ in minutes if (kw := inputs.meter.mean_kw(at, 1)) is not None]
    over = [kw if kw > TOLERANCE_KW else 0.0 for kw in above]
    return {
        "spans": [*_spans(minutes)],
        "intervals": rows,
        "intervals_known": len(known),
        "intervals_held": sum(r["is_held"] for r in known),
        "minutes_above": sum(kw > 0 for kw in over),
        "longest_min": _longest(over),
        "worst_kw": max(over, default=0.0),
        "energy_above_kwh": sum(over) / 60.0,
    }


def limit_faults(files: Mapping[str, bytes], records: Sequence[Record]) -> Iterator[str]:
    """What does not come out again from the files of a bundle."""
    inputs = LimitInputs.decode(json.loads(files["inputs.json"]), MeterSeries.decode(json.loads(files["meter.json"])))
    recorded, found = json.loads(files["limits.json"]), json.loads(json.dumps(prove_limits(inputs, records)))
    yield from (f"limits.json: {key} is not what the records and the meter give" for key in found if found[key] != recorded.get(key))


def _minutes(inputs: LimitInputs, records: Sequence[Record]) -> Iterator[tuple[datetime, float, str]]:
    """Per minute the limit that counts and its source: of what was known, and was known the response time ago, the larger."""
    grace = timedelta(minutes=inputs.response_min)
    newest, older = _Told(inputs, records), _Told(inputs, records)
    at = interval_start(inputs.start, 60)
    while at < inputs.end:
        yield (at, *max(newest.limit(at, at), older.limit(at, at - grace)))
        at += MINUTE


class _Told:
    """A connection as its records tell it, followed in time."""

    def __init__(self, inputs: LimitInputs, records: Sequence[Record]) -> None:
        self._left = deque(r for r in records if r.kind == KIND)
        self._connection = Connection(inputs.connection, inputs.capacity, "", KeptRecords([]))

    def limit(self, at: datetime, known_at: datetime) -> tuple[float, str]:
        """The smallest limit in force at an instant by what was known at another, and its source."""
        while self._left and self._left[0].at <= known_at:
            self._connection.take(self._left.popleft())
        limits = self._connection.book(at).limits(at)
        return min((x.kw, x.source) for x in limits if (x.valid_from or at) <= at and (x.valid_to is None or at < x.valid_to))


def _spans(minutes: Sequence[tuple[datetime, float, str]]) -> Iterator[dict[str, Any]]:
    begin = 0
    for n in range(1, len(minutes) + 1):
        if n == len(minutes) or minutes[n][1:] != minutes[begin][1:]:
            at, kw, source = minutes[begin]
            yield {"start": at.isoformat(), "end": (minutes[n - 1][0] + MINUTE).isoformat(), "kw": kw, "source": source}
            begin = n


def _intervals(inputs: LimitInputs, minutes: Sequence[tuple[datetime, float, str]]) -> Iterator[dict[str, Any]]:
    """Means over the programme's intervals that lie wholly in the time."""
    length = timedelta(minutes=inputs.interval_min)
    limits = {at: kw for at, kw, _ in minutes}
    at = interval_start(inputs.start, inputs.interval_min * 60)
    at += length if at < inputs.start else timedelta(0)
    while at + length <= inputs.end:
        allowed = sum(limits[at + n * MINUTE] for n in range(inputs.interval_min)) / inputs.interval_min
        kw, quality = inputs.meter.mean_kw(at, inputs.interval_min), inputs.meter.worst(at, inputs.interval_min)
        is_held = kw is not None and quality is not MeterQuality.BAD and kw <= allowed + TOLERANCE_KW
        yield {"start": at.isoformat(), "limit_kw": allowed, "metered_kw": kw, "quality": quality.value, "is_held": is_held}
        at += length


def _longest(over: Sequence[float]) -> int:
    """The longest run of minutes above."""
    longest = run = 0
    for kw in over:
        run = run + 1 if kw > 0 else 0
        longest = max(longest, run)
    return longest
