"""Faults of simulated devices over Modbus/TCP: each raises its own alarm within its time, and clears."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ems.app.demo import BEGINS_AT
from ems.messages import Mode
from ems.office.alarms.book import Alarm
from ems.office.alarms.desk import AlarmDesk
from ems.office.health import Health
from tests.app.rig import Rig

SPEED = 20.0
GOOD = Health((), (), 0.5, 60.0, "L0")
ROUND_S = 6.0  # site time: looking, and the wall's share of it at this speed
CLEARS_S = 15.0


@dataclass(frozen=True)
class Case:
    """A fault begins `at_s` after the start and must raise one of `names` within `within_s`."""

    at_s: float
    device: str
    fault: str
    for_s: float
    names: tuple[str, ...]
    within_s: float


CASES = (
    Case(140.0, "hall-b", "silent", 20.0, ("device-silent",), 8.0),
    Case(140.0, "poc", "frozen", 50.0, ("meter-stuck",), 30.0),
    Case(170.0, "cooling-1", "reboot", 20.0, ("device-silent",), 8.0),
    Case(230.0, "ups-1", "local", 25.0, ("local",), 8.0),
    Case(230.0, "hall-a", "reject", 30.0, ("refused", "not-applied"), 30.0),
)


def test_each_fault_raises_its_own_alarm_within_its_time_and_clears(tmp_path: Path):
    rows = [
        f"{{at: {(BEGINS_AT + timedelta(seconds=c.at_s)).isoformat()}, device: {c.device}, fault: {c.fault}, for_s: {c.for_s}}}"
        for c in CASES
    ]
    (tmp_path / "faults.yaml").write_text(f"faults: [{', '.join(rows)}]\n")
    with Rig(tmp_path, SPEED, Mode.CONTROL, tmp_path / "faults.yaml") as rig:
        rig.start_control()
        desk = AlarmDesk(rig.run_file.site, tmp_path)
        seen = watched(rig, desk, max(c.at_s + c.for_s for c in CASES) + CLEARS_S + 2 * ROUND_S)
        log = rig.log()
    began = rig.clock.epoch
    for case in CASES:
        own = [a for a in seen if a.subject == case.device and a.name in case.names]
        assert own, (case, [(a.name, a.subject) for a in seen])
        raised_s = (own[0].since - began).total_seconds() - case.at_s
        assert -1.0 <= raised_s <= case.within_s + ROUND_S, (case, raised_s)
        cleared = [a for a in own if a.cleared_at is not None]
        assert cleared, case
        after_s = (cleared[-1].cleared_at - began).total_seconds() - case.at_s - case.for_s  # type: ignore[operator]
        assert after_s <= CLEARS_S + 2 * ROUND_S, (case, after_s)
        if case.fault != "local":  # what a person does at the device is no trouble of control's
            assert any('"alarm raised"' in line and case.device in line for line in log.splitlines())
    assert desk.book.standing == ()


def watched(rig: Rig, desk: AlarmDesk, until_s: float) -> list[Alarm]:
    """Everything raised and cleared until a second of site time."""
    seen: list[Alarm] = []
    gives_up = time.perf_counter() + 60.0
    while (rig.clock.now() - rig.clock.epoch).total_seconds() < until_s and time.perf_counter() < gives_up:
        snapshot = rig.snapshot()
        if snapshot is not None:
            seen += desk.look(datetime.fromisoformat(snapshot["at"]), snapshot, GOOD, True, 60.0)
        time.sleep(0.05)
    return seen
