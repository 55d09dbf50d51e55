"""What a demo run came to: the lines printed at its end, and the line shown while it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ems.app.show import imported
from ems.app.statedir import StateDir
from ems.errors import DataError
from ems.journal.read import verify_journal
from ems.mailbox import Mailbox
from simulators.modbus import STATUS_FILE


def status_line(snapshot: dict[str, Any]) -> str:
    """Import and limit, storage, ladder, age of the plan; one line."""
    at = datetime.fromisoformat(snapshot["at"])
    plan = snapshot["plan"]
    age = f"{(at - datetime.fromisoformat(plan['made_at'])).total_seconds():.0f} s" if plan else "none"
    stores = [_store(asset) for asset in snapshot["assets"] if asset.get("soc") is not None]
    return " | ".join(
        [
            f"{at:%a %H:%M:%S} UTC",
            f"{imported(snapshot)} of {snapshot['limit_kw']:.0f} kW",
            *stores,
            f"{snapshot['level']} {snapshot['level_name']}",
            f"plan age {age}",
        ]
    )


def _store(asset: dict[str, Any]) -> str:
    kw = asset.get("battery_kw", asset["power_kw"])
    does = "charging" if kw > 0.5 else "discharging" if kw < -0.5 else "idle"
    return f"{asset['id']} {does} {abs(kw):.0f} kW, {asset['soc']:.1%}" if does != "idle" else f"{asset['id']} idle, {asset['soc']:.1%}"


def summary_lines(state: StateDir) -> Iterator[str]:
    """The whole run in a few lines; what is not known is said so."""
    counters = _counters(state)
    if counters is None:
        yield "control finished no cycle"
    else:
        yield from _control_lines(counters)
    yield from _plant_lines(_plant(state))
    try:
        broken = verify_journal(state.path)
        yield f"journal: {broken or 'hash chain whole'}"
    except DataError as error:
        yield f"journal: {error}"


def _control_lines(c: dict[str, Any]) -> Iterator[str]:
    missed = c["missed_cycles"] / max(1, c["cycles"] + c["missed_cycles"])
    yield f"cycles {c['cycles']}, missed {c['missed_cycles']} ({missed:.2%})"
    yield f"plans adopted {c['plans_adopted']}"
    replaced = f", {c['setpoints_replaced']} replaced by a newer one before they were seen"
    yield f"setpoints written {c['setpoints_written']}, read back {c['setpoints_read_back']}{replaced}"
    yield "ladder seconds " + ", ".join(f"{level} {seconds:.0f}" for level, seconds in c["ladder_s"].items())


def _plant_lines(plant: dict[str, Any] | None) -> Iterator[str]:
    if plant is None:
        yield "excursions not known: the simulated plant left no record"
        return
    e = plant["excursions"]
    longest = f"longest {e['longest_s']:.0f} s, at most {e['max_kw']:.0f} kW above"
    yield f"excursions of the plant's 1-s mean import: {e['seconds']:.0f} s, {longest}"
    simulated = f"simulated {plant['simulated_s']:.0f} s, imported {plant['import_kwh']:.0f} kWh"
    yield f"reserve short for {plant['reserve_shortfall_s']:.0f} s; {simulated}"


def _counters(state: StateDir) -> dict[str, Any] | None:
    mailbox = Mailbox(state.mailbox, busy_ms=1000)
    last = mailbox.since("snapshot", 0)
    mailbox.close()
    return last[-1].body["counters"] if last else None


def _plant(state: StateDir) -> dict[str, Any] | None:
    try:
        found = json.loads((state.path / STATUS_FILE).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
