"""timeseries.parquet and decisions.jsonl, written in chunks so that no replay is held whole."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from ems.dispatch.setpoint import Setpoint
from ems.plan.plan import Plan

ROWS_PER_CHUNK = 8640
TEXT = ("binding", "ladder")
PLAN_STEPS_SHOWN = 12
SAME_KW = 0.05  # a setpoint that moved less than this has not changed


class TimeSeries:
    """One row per control step, plant means over it; the columns are fixed by the first row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: dict[str, list[Any]] = {}
        self._schema: pa.Schema | None = None
        self._writer: pq.ParquetWriter | None = None
        self._rows = 0

    def __enter__(self) -> TimeSeries:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def add(self, time_us: int, values: Mapping[str, float], texts: Mapping[str, str]) -> None:
        """Appends a row; `time_us` is microseconds since 1970 UTC."""
        if not self._columns:
            self._columns = {name: [] for name in ("time", *values, *texts)}
        columns = self._columns
        columns["time"].append(time_us)
        for name, value in values.items():
            columns[name].append(value)
        for name, text in texts.items():
            columns[name].append(text)
        self._rows += 1
        if self._rows >= ROWS_PER_CHUNK:
            self._flush()

    def close(self) -> None:
        """Writes what is left and ends the file."""
        if self._rows:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        if self._schema is None or self._writer is None:
            self._schema = pa.schema([(name, _type(name)) for name in self._columns])
            self._writer = pq.ParquetWriter(self.path, self._schema, compression="zstd")
        self._writer.write_table(pa.table({name: pa.array(v, _type(name)) for name, v in self._columns.items()}, schema=self._schema))
        for column in self._columns.values():
            column.clear()
        self._rows = 0


class Decisions:
    """Every plan (hash and first steps) and every changed setpoint with its reason, one JSON object per line."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("wb")
        self._last: dict[tuple[str, str], float] = {}

    def __enter__(self) -> Decisions:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def plan(self, plan: Plan, at: datetime) -> None:
        """A plan that was adopted for use at `at`."""
        n = PLAN_STEPS_SHOWN
        body = {
            "kind": "plan",
            "at": at,
            "made_at": plan.made_at,
            "hash": plan.hash(),
            "status": plan.status,
            "peak_kw": plan.peak_kw,
            "objective": plan.objective,
            "starts": plan.starts[:n],
            "import_kw": plan.import_kw[:n],
            "power_kw": {asset: values[:n] for asset, values in plan.power_kw.items()},
            "price_per_kwh": plan.price_per_kwh[:n],
            "binding": plan.binding[:n],
            "explain": plan.lines,
            "limits": [plan.explain(k) for k in range(min(n, len(plan.starts)))],
        }
        self._write(body)

    def setpoints(self, setpoints: tuple[Setpoint, ...], at: datetime) -> None:
        """Those that changed."""
        for s in setpoints:
            key = (s.asset, s.command)
            if abs(self._last.get(key, float("inf")) - s.power_kw) > SAME_KW:
                self._last[key] = s.power_kw
                self._write(
                    {"kind": "setpoint", "at": at, "asset": s.asset, "command": s.command, "kw": round(s.power_kw, 3), "why": s.reason}
                )

    def note(self, kind: str, at: datetime, text: str) -> None:
        """Anything else worth a line: a ladder step, a fault, an event."""
        self._write({"kind": kind, "at": at, "why": text})

    def _write(self, body: dict[str, Any]) -> None:
        self._file.write(orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z))


def _type(name: str) -> pa.DataType:
    if name == "time":
        return pa.timestamp("us", tz="UTC")
    return pa.dictionary(pa.int32(), pa.string()) if name in TEXT else pa.float64()
