"""Reading a table of measurements: csv, csv.gz, jsonl or parquet to ascending UTC (or relative) times, with every fault counted.

Nothing here repairs silently: what was dropped or held is in the returned counts, which end up in `data_quality`.
"""

from __future__ import annotations

import gzip
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import orjson
import pandas as pd

from ems.errors import DataError

EPOCH = pd.Timestamp(0, tz="UTC").as_unit("us")  # in nanoseconds it could not be set against far years
EPOCH_FROM_S = 1e9  # 31 years: no trace counts so far from a zero of its own
TIME_NAMES = ("time", "timestamp", "t_utc", "interval_start", "t_s")


@dataclass(frozen=True)
class Table:
    """Columns of one file by meaning. `seconds` ascends without duplicates: seconds since 1970 UTC when `is_absolute`, else since
    the trace's own zero. A value that is missing is NaN."""

    seconds: np.ndarray
    values: dict[str, np.ndarray]
    is_absolute: bool
    quality: dict[str, int] = field(default_factory=dict)
    contradicting_s: np.ndarray = field(default_factory=lambda: np.array([]))  # stamps as written that stand there with different values

    @property
    def step_s(self) -> float:
        """The usual distance between rows in seconds (median)."""
        return float(np.median(np.diff(self.seconds))) if len(self.seconds) > 1 else 3600.0

    @staticmethod
    def ordered(
        seconds: np.ndarray, values: dict[str, np.ndarray], is_absolute: bool, label: str, path: Path, keep_duplicates: bool = False
    ) -> Table:
        """The rows in ascending time, unreadable times left out, duplicates dropped; each fault counted."""
        readable = np.isfinite(seconds)
        if not readable.any():
            raise DataError(f"{path}: no readable time")
        known = seconds[readable]
        order = np.argsort(known, kind="stable")
        ascending = known[order]
        last = np.append(np.diff(ascending) > 0, True)
        quality = {
            "rows": len(seconds),
            "unreadable_times": int((~readable).sum()),
            "backward": int((np.diff(known) < 0).sum()),
            "duplicates": 0 if keep_duplicates else int((~last).sum()),
        }
        columns = {name: column[readable][order] for name, column in values.items()}
        kept, twice = (np.ones_like(last), np.array([])) if keep_duplicates else (last, _contradicting(ascending, columns))
        quality["contradicting_duplicates"] = len(twice)
        table = Table(ascending[kept], {name: column[kept] for name, column in columns.items()}, is_absolute, quality, twice)
        return replace(table, seconds=table.seconds - table.step_s) if label == "end" else table


def read_frame(path: Path) -> pd.DataFrame:
    """The file as a frame; DataError with the file's name when it is missing, empty or not what its name says."""
    try:
        frame = _parse(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (ValueError, TypeError, OSError, EOFError, zlib.error) as error:  # pandas and pyarrow raise ValueError kinds on malformed files
        raise DataError(f"{path}: not readable as {''.join(path.suffixes[-2:]) or 'a table'} ({_first_line(error)})") from error
    if frame.empty:
        raise DataError(f"{path}: holds no rows")
    return frame


def read_table(
    path: Path,
    columns: Mapping[str, str],
    wanted: Mapping[str, tuple[str, ...]],
    time_zone: str | None = None,
    label: str = "start",
    keep_duplicates: bool = False,
) -> Table:
    """A table by meaning. `columns` maps meaning to column name; a meaning of `wanted` without an entry is looked for under its known
    names and left out when absent. Duplicate stamps keep the last row (all rows for single requests), backward stamps are sorted in;
    both are counted."""
    frame = read_frame(path)
    time_name = _find(frame, path, "time", columns, TIME_NAMES)
    if time_name is None:
        raise DataError(f"{path}: no time column; the file has {', '.join(map(str, frame.columns[:12]))}")
    seconds, is_absolute = to_seconds(frame[time_name], path, time_zone)
    values = {}
    for meaning, names in wanted.items():
        name = _find(frame, path, meaning, columns, names)
        if name is not None:
            values[meaning] = numbers(frame[name])
    return Table.ordered(seconds, values, is_absolute, label, path, keep_duplicates)


def to_seconds(column: pd.Series, path: Path, time_zone: str | None) -> tuple[np.ndarray, bool]:
    """Seconds of a time column, NaN where unreadable, and whether they are absolute. Numbers are relative seconds; naive stamps need a
    time zone (an hour that local time repeats is taken as standard time, one it skips is unreadable)."""
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=float), False
    stamps = _stamps(column) if column.dtype == object or _is_text(column) else column
    if stamps.isna().all():
        first = next((text for text in column if isinstance(text, str)), "empty")
        raise DataError(f"{path}: no readable time; the first is {first}, read is ISO 8601, such as 2024-08-20T05:00:00Z")
    if getattr(stamps.dt, "tz", None) is None:
        if time_zone is None:
            raise DataError(f"{path}: times carry no zone; say `time_zone:`")
        stamps = stamps.dt.tz_localize(ZoneInfo(time_zone), ambiguous=np.zeros(len(stamps), dtype=bool), nonexistent="NaT")
    utc = stamps.dt.tz_convert("UTC")
    seconds = (utc - EPOCH).dt.total_seconds().to_numpy(dtype=float)
    return seconds, True


def _stamps(column: pd.Series) -> pd.Series:
    """Text as instants, NaT where unreadable. Among instants with differing offsets one without any is unreadable."""
    try:
        stamps = pd.to_datetime(column, errors="coerce", utc=False, format="ISO8601")
    except ValueError:  # differing offsets
        stamps = None
    if stamps is not None and stamps.dtype != object:
        return stamps
    text = column.astype(str)
    return pd.to_datetime(text.where(text.str.contains(r"(?:Z|[+-]\d\d:?\d\d)$")), errors="coerce", utc=True, format="ISO8601")


def epoch_hint(first_s: float) -> str:
    """What to say of times that are too large to count from a zero of their own; empty for others."""
    if first_s < EPOCH_FROM_S:
        return ""
    return f" (they look like seconds since 1970, from {first_s:.0f} on: write instants such as 2024-08-20T05:00:00Z)"


def numbers(column: pd.Series) -> np.ndarray:
    """Finite floats; text, blanks and infinities become NaN (missing, never zero)."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, copy=True, na_value=np.nan)
    values[~np.isfinite(values)] = np.nan
    return values


def hold_last(values: np.ndarray) -> np.ndarray:
    """Each missing value replaced by the last known one; leading ones by the first known. All missing stays missing."""
    known = np.isfinite(values)
    if known.all() or not known.any():
        return values
    index = np.where(known, np.arange(len(values)), -1)
    index = np.maximum.accumulate(index)
    index[index < 0] = int(np.argmax(known))
    return values[index]


def _contradicting(seconds: np.ndarray, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """The stamps at which a column has two values; a blank contradicts nothing. `seconds` ascends."""
    same = np.diff(seconds) == 0
    differs = np.zeros(len(same), dtype=bool)
    for column in columns.values():
        differs |= np.isfinite(column[1:]) & np.isfinite(column[:-1]) & (column[1:] != column[:-1])
    return np.unique(seconds[1:][same & differs])


def _parse(path: Path) -> pd.DataFrame:
    name = path.name.lower()
    if name.endswith(".parquet"):
        return pd.read_parquet(path)
    if name.endswith((".jsonl", ".jsonl.gz")):
        with gzip.open(path, "rb") if name.endswith(".gz") else path.open("rb") as lines:
            records = [orjson.loads(line) for line in lines if line.strip()]
        if not all(isinstance(record, dict) for record in records):
            raise ValueError("expected an object on each line")
        return pd.DataFrame.from_records(records)
    if name.endswith((".csv", ".csv.gz")):
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            try:
                return pd.read_csv(path, on_bad_lines="error", index_col=False)  # else the first column may become labels, all others shift
            except pd.errors.ParserWarning:
                raise ValueError("its rows have more fields than its header") from None
    raise ValueError("expected .csv, .csv.gz, .jsonl or .parquet")


def _find(frame: pd.DataFrame, path: Path, meaning: str, columns: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    if meaning in columns:
        if columns[meaning] not in frame.columns:
            raise DataError(f"{path}: no column {columns[meaning]!r} ({meaning}); the file has {', '.join(map(str, frame.columns[:12]))}")
        return columns[meaning]
    return next((name for name in names if name in frame.columns), None)


def _is_text(column: pd.Series) -> bool:
    return pd.api.types.is_string_dtype(column)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
