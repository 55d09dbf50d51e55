"""Small generated input for the replay tests: traces in each publisher's format, prices, a scenario of a few hours."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

SITE = Path(__file__).resolve().parents[2] / "config" / "sites" / "demo-2mw.yaml"
START = datetime(2024, 8, 20, 5, tzinfo=UTC)


def rates(hours: float, step_s: int = 600, seed: int = 1) -> np.ndarray:
    """A made request rate with a daily shape."""
    t = np.arange(round(hours * 3600 / step_s)) * step_s
    rng = np.random.default_rng(seed)
    return 100.0 + 40.0 * np.sin(2 * np.pi * t / 86400.0) + 10.0 * rng.random(len(t))


def write_rates(path: Path, values: np.ndarray, step_s: int = 600) -> Path:
    """A `table` of kind rates with relative seconds and tokens."""
    lines = ["t_s,requests_per_s,prompt_tokens_per_s,output_tokens_per_s"]
    lines += [f"{i * step_s},{v:.4f},{v * 1000:.1f},{v * 200:.1f}" for i, v in enumerate(values)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_prices(path: Path, start: datetime, n: int, step_min: int = 15, values: np.ndarray | None = None) -> Path:
    """Prices per MWh."""
    shown = values if values is not None else 30.0 + 20.0 * np.sin(np.arange(n) / 10.0)
    rows = [f"{(start + timedelta(minutes=step_min * i)).isoformat()},{v}" for i, v in enumerate(shown.tolist())]
    path.write_text("time,price\n" + "\n".join(rows) + "\n")
    return path


def write_azure(path: Path, n: int = 300) -> Path:
    """The publisher's own columns; naive times with seven digits of a second."""
    begin = datetime(2023, 11, 16, 18, 15, 46)
    rows = [f"{(begin + timedelta(seconds=0.5 * i)).isoformat(sep=' ')}.0000000,{300 + i},{40 + i % 7}" for i in range(0, n, 2)]
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(rows) + "\n")
    return path


def write_mooncake(path: Path, n: int = 200) -> Path:
    """JSON lines, milliseconds."""
    rows = [{"timestamp": 3000 * (i // 5), "input_length": 1000 + i, "output_length": 100, "hash_ids": [i]} for i in range(n)]
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


def write_servegen(folder: Path) -> Path:
    """Two clients; the second has no length file, and is idle in one window."""
    folder.mkdir()
    (folder / "chunk-1-trace.csv").write_text("0,2.0,1.5,Gamma,0.5,2.0\n600,4.0,2.0,Weibull,0.5,2.0\n1200,0.0,0.0,,0.0,0.0\n")
    (folder / "chunk-2-trace.csv").write_text("0,2.0,1.0,Gamma,1.0,1.0\n600,0.0,0.0,,0.0,0.0\n1200,6.0,1.0,Gamma,1.0,1.0\n")
    lengths = {"0": {"input_tokens": "{100: 0.5, 300: 0.5}", "output_tokens": "{10: 1.0}"}}
    (folder / "chunk-1-dataset.json").write_text(json.dumps(lengths))
    return folder


def write_scenario(folder: Path, hours: float = 2.0, start: datetime = START, **changes: str) -> Path:
    """A scenario of `hours` on made traces (two days of history) and prices. `changes` replace or add whole top-level lines."""
    history_h = 48.0
    for name, seed in (("a", 1), ("b", 2)):
        write_rates(folder / f"rates-{name}.csv", rates(history_h + hours + 1, seed=seed))
    write_prices(folder / "prices.csv", start - timedelta(days=2), 96 * 2 + int(hours * 4) + 4)
    begins = (start - timedelta(hours=history_h)).isoformat()
    load = [f"{{cluster: hall-{n}, trace: {{kind: rates, path: rates-{n}.csv, begins_at: {begins}, within_window: gamma}}}}" for n in "ab"]
    lines = {
        "site": str(SITE),
        "overrides": "{point_of_connection: {import_limit_kw: 1370}}",
        "start": start.isoformat(),
        "end": (start + timedelta(hours=hours)).isoformat(),
        "control_step_s": "5",
        "seed": "7",
        "load": f"[{', '.join(load)}]",
        "prices": "{path: prices.csv, currency: USD}",
        **changes,
    }
    path = folder / "scenario.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return path
