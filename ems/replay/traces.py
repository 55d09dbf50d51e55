"""A workload trace as an even series: requests per second (or kW) per step, with tokens, and every fault counted.

Formats: `table` (own columns), `azure-llm` (TIMESTAMP, ContextTokens, GeneratedTokens), `mooncake` (JSON lines with timestamp in ms,
input_length, output_length), `servegen` (a folder of chunk-<n>-trace.csv and chunk-<n>-dataset.json, summed over the clients).
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from ems.errors import DataError
from ems.replay.tables import Table, hold_last, numbers, read_frame, read_table, to_seconds

BIN_S = 10.0  # requests are counted in bins of this many seconds
ZERO_IS_A_GAP_FROM_S = 60.0  # a zero over a window this long is a gap in the collection, not idleness (see the ServeGen m-small trace)
ABSURD_FACTOR = 50.0  # above this many times the mean of the lower 99 % a value is a fault of the recorder, not a burst
SCALE_PERCENTILE = 99.5
MOST_CONTRADICTING = 0.01  # share of the stamps that may stand there with different values; of more nobody can say which were right
LEVEL_KEYS = {"power": ("power_kw", "power_w"), "rates": ("requests_per_s", "requests")}
WANTED: dict[str, dict[str, tuple[str, ...]]] = {
    "requests": {"prompt_tokens": ("prompt_tokens",), "output_tokens": ("output_tokens",)},
    "rates": {
        "requests_per_s": ("requests_per_s",),
        "requests": ("requests",),
        "prompt_tokens_per_s": ("prompt_tokens_per_s",),
        "output_tokens_per_s": ("output_tokens_per_s",),
        "prompt_tokens": ("prompt_tokens",),
        "output_tokens": ("output_tokens",),
        "dispersion": ("dispersion",),
    },
    "power": {"power_kw": ("power_kw",), "power_w": ("power_w",)},
}


@dataclass(frozen=True)
class Trace:
    """An even series from `begin_s` (seconds since 1970 UTC, or from the trace's own zero) in steps of `step_s`. `level` is requests
    per second, or kW for kind power; tokens are per second, None where the file has none. No value is missing."""

    begin_s: float
    step_s: float
    is_absolute: bool
    level: np.ndarray
    prompt_per_s: np.ndarray | None
    output_per_s: np.ndarray | None
    dispersion: np.ndarray | None  # variance of the requests counted in a bin over their mean
    quality: dict[str, int]
    key: str = ""  # the meaning of the column that the level comes from

    @property
    def end_s(self) -> float:
        """Where the last step ends."""
        return self.begin_s + len(self.level) * self.step_s

    def percentile(self) -> float:
        """The 99.5th percentile of the level over the whole file."""
        return float(np.percentile(self.level, SCALE_PERCENTILE))


def read_trace(path: Path, kind: str, fmt: str, columns: Mapping[str, str], time_zone: str | None, label: str) -> Trace:
    """The trace of a file; DataError says what is wrong with it."""
    if fmt == "servegen":
        return _even(*_servegen(path), "rate", path)
    table = _table(path, kind, fmt, columns, time_zone, label)
    if kind == "requests":
        return _counted(table)
    _refuse_contradictions(table, path)
    key = _level_key(table, kind, path)
    return _even(table, table.values[key] / {"power_w": 1000.0, "requests": table.step_s}.get(key, 1.0), key, path)


def skip(trace: Trace, skip_s: float) -> Trace:
    """The trace without its first part; what is left starts where the trace started."""
    first = round(skip_s / trace.step_s)
    if first >= len(trace.level):
        raise DataError(f"skip_s leaves nothing of a trace of {len(trace.level) * trace.step_s:.0f} s")
    return _mapped(trace, lambda column: column[first:])


def cover(trace: Trace, needed_s: float, rng: np.random.Generator) -> Trace:
    """The trace repeated until it is `needed_s` long: each repeat starts at a seeded offset (whole days where it has some) and is
    scaled by up to 10 % either way. Counted as `repeats`."""
    missing = int(np.ceil(needed_s / trace.step_s)) - len(trace.level)
    if missing <= 0:
        return trace
    n = len(trace.level)
    per_day = round(86400 / trace.step_s)
    index, scale = [np.arange(n)], [np.ones(n)]
    repeats = 0
    while missing > 0:
        offset = int(rng.integers(n // per_day)) * per_day if n >= 2 * per_day else int(rng.integers(n))
        take = min(n, missing)
        index.append((offset + np.arange(take)) % n)
        scale.append(np.full(take, 1.0 + rng.uniform(-0.1, 0.1)))
        missing -= take
        repeats += 1
    order, factor = np.concatenate(index), np.concatenate(scale)
    longer = _mapped(trace, lambda column: column[order] * factor)
    dispersion = None if trace.dispersion is None else trace.dispersion[order]
    return replace(longer, dispersion=dispersion, quality={**trace.quality, "repeats": repeats})


def _table(path: Path, kind: str, fmt: str, columns: Mapping[str, str], time_zone: str | None, label: str) -> Table:
    if fmt == "azure-llm":
        names = {"time": "TIMESTAMP", "prompt_tokens": "ContextTokens", "output_tokens": "GeneratedTokens"}
        return read_table(path, names, WANTED["requests"], time_zone or "UTC", keep_duplicates=True)
    if fmt == "mooncake":
        return _mooncake(path)
    return read_table(path, columns, WANTED[kind], time_zone, label, keep_duplicates=kind == "requests")


def _mooncake(path: Path) -> Table:
    frame = read_frame(path)
    missing = [name for name in ("timestamp", "input_length", "output_length") if name not in frame.columns]
    if missing:
        raise DataError(f"{path}: not a Mooncake trace, without {', '.join(missing)}")
    milliseconds, _ = to_seconds(pd.to_numeric(frame["timestamp"], errors="coerce"), path, None)
    values = {"prompt_tokens": numbers(frame["input_length"]), "output_tokens": numbers(frame["output_length"])}
    return Table.ordered(milliseconds / 1000.0, values, False, "start", path, keep_duplicates=True)


def _servegen(path: Path) -> tuple[Table, np.ndarray]:
    files = sorted(path.glob("chunk-*-trace.csv")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: holds no chunk-<n>-trace.csv")
    clients = [_client(file) for file in files]
    seconds = np.unique(np.concatenate([c["t_s"].to_numpy() for c in clients])).astype(float)
    total = pd.concat(clients).groupby("t_s").sum().reindex(seconds)
    rate = total["rate"].to_numpy(dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        known = total["rate_known"].to_numpy() / rate  # the tokens of clients without length files are scaled up by request share
        values = {
            "prompt_tokens_per_s": np.where(known > 0, total["prompt"] / known, np.nan),
            "output_tokens_per_s": np.where(known > 0, total["output"] / known, np.nan),
            "dispersion": np.where(rate > 0, total["rate_cv2"] / rate, np.nan),
        }
    return Table(seconds, values, False, {"rows": sum(map(len, clients)), "clients": len(files)}), rate


def _client(file: Path) -> pd.DataFrame:
    try:
        frame = pd.read_csv(file, header=None, names=["t_s", "rate", "cv", "pattern", "p1", "p2"])
    except (FileNotFoundError, ValueError) as error:
        raise DataError(f"{file}: not a ServeGen client trace ({str(error).splitlines()[0]})") from error
    frame["rate"], frame["cv"], frame["t_s"] = numbers(frame["rate"]), numbers(frame["cv"]), numbers(frame["t_s"])
    frame = frame.dropna(subset=["t_s"])
    lengths = _lengths(file.with_name(file.name.replace("-trace.csv", "-dataset.json")))
    mean = pd.merge_asof(frame[["t_s"]].sort_values("t_s"), lengths, on="t_s")
    known = mean["input_tokens"].notna().to_numpy()
    rate = frame["rate"].fillna(0.0).to_numpy()
    return pd.DataFrame(
        {
            "t_s": frame["t_s"].to_numpy(dtype=float),
            "rate": rate,
            "rate_cv2": rate * frame["cv"].fillna(1.0).to_numpy() ** 2,
            "rate_known": np.where(known, rate, 0.0),
            "prompt": np.where(known, rate * mean["input_tokens"].to_numpy(), 0.0),
            "output": np.where(known, rate * mean["output_tokens"].to_numpy(), 0.0),
        }
    )


def _lengths(file: Path) -> pd.DataFrame:
    """Mean token counts per window of one client; empty when the publisher gives none."""
    rows = []
    if file.exists():
        try:
            windows = json.loads(file.read_text())
            rows = [(float(t), _mean(w["input_tokens"]), _mean(w["output_tokens"])) for t, w in windows.items()]
        except (ValueError, KeyError, SyntaxError, TypeError, AttributeError) as error:
            raise DataError(f"{file}: not a ServeGen length file ({type(error).__name__}: {error})") from error
    frame = pd.DataFrame(rows, columns=["t_s", "input_tokens", "output_tokens"], dtype=float)
    return frame.dropna().sort_values("t_s")


def _mean(published: str | Mapping[str, float]) -> float:
    """The mean of a published histogram {length: probability}, written as a Python literal."""
    histogram = ast.literal_eval(published) if isinstance(published, str) else published
    weight = sum(histogram.values())
    return sum(float(length) * p for length, p in histogram.items()) / weight if weight > 0 else float("nan")


def _refuse_contradictions(table: Table, path: Path) -> None:
    twice = table.contradicting_s
    if len(twice) > MOST_CONTRADICTING * len(table.seconds):
        first = f"{datetime.fromtimestamp(twice[0], UTC):%Y-%m-%dT%H:%M:%SZ}" if table.is_absolute else f"{twice[0]:g} s"
        raise DataError(f"{path}: {len(twice)} of {len(table.seconds)} stamps stand there with different values, the first is {first}")


def _level_key(table: Table, kind: str, path: Path) -> str:
    """The meaning of the column that holds the level."""
    wanted = LEVEL_KEYS[kind]
    found = next((key for key in wanted if key in table.values), None)
    if found is None:
        named = " or ".join(f"{key}: <its name>" for key in wanted)
        raise DataError(f"{path}: no column for kind {kind}; name it under `columns:`, as {named}")
    return found


def _counted(table: Table) -> Trace:
    """Requests counted in even bins; an empty bin within the trace is an honest zero."""
    begin = np.floor(table.seconds[0] / BIN_S) * BIN_S if table.is_absolute else table.seconds[0]
    index = ((table.seconds - begin) // BIN_S).astype(int)
    n = int(index[-1]) + 1
    quality = {**table.quality, "bin_s": int(BIN_S)}
    level = np.bincount(index, minlength=n) / BIN_S
    prompt, output = (_binned(table, index, n, name, quality) for name in ("prompt_tokens", "output_tokens"))
    return Trace(float(begin), BIN_S, table.is_absolute, level, prompt, output, None, quality, "requests")


def _binned(table: Table, index: np.ndarray, n: int, name: str, quality: dict[str, int]) -> np.ndarray | None:
    if name not in table.values:
        return None
    tokens = table.values[name]
    bad = ~(tokens >= 0)
    quality["absurd"] = quality.get("absurd", 0) + int(bad.sum())
    return np.bincount(index, weights=np.where(bad, 0.0, tokens), minlength=n) / BIN_S


def _even(table: Table, level: np.ndarray, key: str, path: Path) -> Trace:
    """The rows on an even grid; missing rows, blanks, gaps and absurd values hold the last value and are counted. Power has no gaps at
    zero: a hall that is switched off draws nothing."""
    step = table.step_s
    begin = float(table.seconds[0])
    index = np.round((table.seconds - begin) / step).astype(int)
    n = int(index[-1]) + 1
    quality = dict(table.quality)
    clean = _without_absurd(level, quality)
    zero = (clean == 0) & (step >= ZERO_IS_A_GAP_FROM_S) & (key not in LEVEL_KEYS["power"])
    quality["blank"] = int(np.isnan(level).sum())
    quality["zero_windows"] = int(zero.sum())
    clean = np.where(zero, np.nan, clean)
    grid = _on_grid(index, clean, n)
    quality["gaps"] = n - len(np.unique(index))
    quality["held"] = int(np.isnan(grid).sum())
    quality["held_s"] = round(quality["held"] * step)
    if not (grid > 0).any():
        raise DataError(f"{path}: no usable value of {key} in {len(level)} rows: {_why_unusable(level)}")
    filled = hold_last(grid)
    tokens = [_tokens(table, index, n, name, filled, np.isnan(grid)) for name in ("prompt_tokens", "output_tokens")]
    dispersion = hold_last(_on_grid(index, table.values["dispersion"], n)) if "dispersion" in table.values else None
    return Trace(begin, step, table.is_absolute, filled, tokens[0], tokens[1], dispersion, quality, key)


def _why_unusable(level: np.ndarray) -> str:
    counts = {
        "no number (a decimal comma is none)": np.isnan(level).sum(),
        "negative (consumption is positive)": (level < 0).sum(),
        "zero": (level == 0).sum(),
    }
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _without_absurd(level: np.ndarray, quality: dict[str, int]) -> np.ndarray:
    known = level[np.isfinite(level) & (level > 0)]  # a hall that is mostly off is not absurd while it is on
    usual = float(known[known <= np.percentile(known, 99)].mean()) if len(known) > 1 else 0.0
    ceiling = ABSURD_FACTOR * usual if usual > 0 else np.inf
    bad = (level < 0) | (level > ceiling)
    quality["absurd"] = int(bad.sum())
    return np.where(bad, np.nan, level)


def _tokens(table: Table, index: np.ndarray, n: int, name: str, level: np.ndarray, is_gap: np.ndarray) -> np.ndarray | None:
    """Tokens per second; where the file has none the last known tokens per request are held."""
    if f"{name}_per_s" in table.values:
        per_s = table.values[f"{name}_per_s"]
    elif name in table.values:
        per_s = table.values[name] / table.step_s
    else:
        return None
    grid = _on_grid(index, np.where(per_s > 0, per_s, np.nan), n)
    grid[is_gap] = np.nan
    if np.isnan(grid).all():
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(level > 0, grid / level, np.nan)
    return hold_last(ratio) * level if np.isfinite(ratio).any() else None


def _on_grid(index: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Mean of the known values that fall on each grid step; NaN where none does."""
    known = np.isfinite(values)
    count = np.bincount(index[known], minlength=n)
    total = np.bincount(index[known], weights=values[known], minlength=n)
    return np.divide(total, count, out=np.full(n, np.nan), where=count > 0)


def _mapped(trace: Trace, change: object) -> Trace:
    def each(column: np.ndarray | None) -> np.ndarray | None:
        return None if column is None else change(column)  # type: ignore[operator]

    level = each(trace.level)
    assert level is not None
    return replace(
        trace, level=level, prompt_per_s=each(trace.prompt_per_s), output_per_s=each(trace.output_per_s), dispersion=each(trace.dispersion)
    )
