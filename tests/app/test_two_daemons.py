"""Two controllers with state directories of their own on the same devices: no lock can know, so the devices must tell."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ems.app.ordering import give_order
from ems.app.statedir import StateDir
from ems.mailbox import Mailbox
from ems.messages import Mode, OrderKind
from tests.app.rig import PATIENT_S, Process, Rig, spawn, until

SPEED = 10.0


def second_control(rig: Rig, folder: Path) -> tuple[StateDir, Mailbox, Process]:
    """Another controller of the same site, as somebody would start it on another machine."""
    folder.mkdir()
    state = StateDir(folder)
    rig.run_file.save(state.site)
    rig.clock.save(state.clock)
    return state, Mailbox(state.mailbox, busy_ms=2000), spawn(["-m", "ems.app.control", str(folder)], folder / "log")


def at(plant: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(plant["at"])


@pytest.mark.timeout(600)
def test_each_of_two_controllers_names_the_other_and_wages_no_war(tmp_path: Path):
    first_dir = tmp_path / "first"
    first_dir.mkdir()
    with Rig(first_dir, SPEED, Mode.CONTROL) as rig:
        rig.start_control()
        state, mailbox, control = second_control(rig, tmp_path / "second")
        try:
            other = lambda: (m := mailbox.latest("snapshot", rig.clock.now())) and m.body  # noqa: E731
            until(other, PATIENT_S, "the second controller has a cycle")
            give_order(rig.state, OrderKind.OVERRIDE, "bess-1", "Ada", "charge", kw=80.0, lasts=timedelta(hours=1))
            give_order(state, OrderKind.OVERRIDE, "bess-1", "Grace", "discharge", kw=-80.0, lasts=timedelta(hours=1))
            words: list[str] = []

            def is_named() -> bool:
                words.extend(a for s in (rig.snapshot(), other()) if s for a in s["alarms"] if "bess-1" in a)
                return any("another master writes" in w or "does not follow" in w for w in words)

            def is_suspect() -> bool:
                return any(s["trust"]["bess-1"]["state"] in ("suspect", "quarantined") for s in (rig.snapshot(), other()) if s)

            until(is_named, PATIENT_S, "one of them says that the battery is not its own")
            until(is_suspect, PATIENT_S, "one of them trusts the battery less")
            before = rig.plant_after(rig.clock.now())
            after = rig.plant_after(at(before) + timedelta(seconds=40))
            minutes = (at(after) - at(before)).total_seconds() / 60.0
            written = after["writes"]["bess-1"] - before["writes"]["bess-1"]
            assert written / minutes < 200.0, "a war of writes: both in every cycle would be 360 and more"
        finally:
            control.kill()
            control.wait()
            mailbox.close()
