"""The control process with simulated equipment: how soon it holds the site, what it weighs, what it writes."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from statistics import median

import pytest

from ems.control.ladder import Level
from ems.errors import DataError
from ems.journal.entry import Entry
from ems.journal.read import read_journal
from ems.messages import Mode
from tests.app.rig import Rig, spawn, until
from tests.benchmarks.measure import note
from tests.benchmarks.table import Figure

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

STARTS = 6
HEAVY = ("numpy", "scipy", "pandas", "highspy")
MB = 1024.0  # KiB per MiB


def cycles_of(state_dir: Path) -> list[Entry]:
    """The journalled cycles; none while the journal is not there yet."""
    try:
        return list(read_journal(state_dir, "cycle"))
    except DataError:
        return []


def first_safe_cycle_s(rig: Rig, started_at: datetime) -> float | None:
    """Wall seconds from exec until a cycle that caps every cluster on fresh readings is durable in the journal; None before."""
    clusters = {c.id for c in rig.run_file.site.clusters}
    for entry in cycles_of(rig.state.path):
        capped = {asset for asset, command, _, _, is_written in entry.body["setpoints"] if command == "power_cap_kw" and is_written}
        if entry.at > started_at and capped >= clusters and Level[entry.body["level"]] <= Level.L3:
            return (rig.clock.now() - started_at).total_seconds() / rig.clock.speed
    return None


def status_mb(pid: int, key: str) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split(f"{key}:")[1].split()[0]) / MB


@pytest.fixture
def bytecode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled modules are kept, as in any installation, but not in the source tree."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path / "bytecode"))


@pytest.mark.usefixtures("bytecode")
def test_time_to_the_first_safe_cycle(tmp_path: Path) -> None:
    took_s = []
    with Rig(tmp_path, 1.0, Mode.CONTROL) as rig:
        for _ in range(STARTS):
            started_at = rig.clock.now()
            rig.control = spawn(["-m", "ems.app.control", str(rig.state.path)], tmp_path / "log")
            took_s.append(until(lambda at=started_at: first_safe_cycle_s(rig, at), 10, "a safe cycle"))
            rig.control.kill()
            rig.control.wait()
    again = took_s[1:]
    words = f"{took_s[0]:.2f} s the first; median {median(again):.2f}, longest {max(again):.2f} s of {len(again)} after kill -9"
    name = "time from exec until the first safe cycle (every hall capped on fresh readings) is durable"
    note(Figure(name, words, "≤ 2 s", "bench -k first_safe"))


@pytest.mark.usefixtures("bytecode")
def test_memory_and_journal_of_a_running_control(tmp_path: Path) -> None:
    with Rig(tmp_path, 20.0, Mode.CONTROL) as rig:
        rig.start_control()
        until(lambda: (rig.snapshot() or {"counters": {"cycles": 0}})["counters"]["cycles"] >= 300, 40, "300 cycles")
        assert rig.control is not None
        resident, peak = (status_mb(rig.control.pid, key) for key in ("VmRSS", "VmHWM"))
        maps = Path(f"/proc/{rig.control.pid}/maps").read_text()
        modules = loaded_modules()
        rig.control.terminate()
        rig.control.wait(15)
        weight = f"resident {resident:.0f}, peak {peak:.0f} MiB"
        loaded = f"{len(modules)}, of them {our(modules)} of this package; numpy, scipy, pandas, highspy not among them (asserted)"
        note(
            Figure("memory of the control process after 300 cycles", weight, "≤ 80 MB", "bench -k memory"),
            Figure("modules the control process loads", loaded, "-", "bench -k memory"),
            journal_figure(rig.state.path, rig.state.journal),
        )
    assert not [name for name in HEAVY if name in maps or name in modules], "control loads no numeric library"


def loaded_modules() -> list[str]:
    argv = [sys.executable, "-c", "import sys, ems.app.control; print(*sys.modules)"]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.split()


def our(modules: Sequence[str]) -> int:
    return sum(name.split(".")[0] in {"ems", "adapters"} for name in modules)


def journal_figure(state_dir: Path, journal: Path) -> Figure:
    plain = [len(json.dumps(entry.body)) for entry in read_journal(state_dir, "cycle")]
    with sqlite3.connect(journal) as db:
        db.execute("pragma wal_checkpoint(truncate)")
        packed = db.execute("select sum(length(packed)) from entry where kind = 'cycle'").fetchone()[0] / len(plain)
    whole = journal.stat().st_size / len(plain)
    words = f"{packed:.0f} B packed ({sum(plain) / len(plain):.0f} B as JSON), {whole:.0f} B of file with hashes, index and other entries"
    return Figure("journal per cycle, demo site", f"{words}; {len(plain)} cycles", "-", "bench -k memory")
