"""The control process alone with simulated equipment: light, quick, obeys orders, lets go safely, resumes."""

import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from ems.app.ordering import give_order
from ems.app.probing import probe_lines
from ems.app.rerun import rerun_journal
from ems.app.show import fresh_snapshot, status_lines, why_lines
from ems.errors import EmsError
from ems.journal.entry import Entry
from ems.journal.read import read_journal, verify_journal
from ems.messages import Mode, OrderKind
from tests.app.rig import PATIENT_S, Rig, ended, said, until

# A snapshot is shown for 3 and 6 s of wall time, a reading is fresh for half and one: others work here too.
SPEED, CALM = 10.0, 5.0
LONGER_THAN_A_REFRESH = timedelta(seconds=30)  # a lease of 75 s is kept every 25 s
DRAIN_WITHIN_S = 20.0  # twice the promise of 10 s
HEAVY = ("cvxpy", "scipy", "pandas", "numpy", "sqlalchemy", "apscheduler", "fastapi", "uvicorn", "pydantic", "ruamel", "typer", "highspy")


def test_control_loads_no_solver_frame_database_scheduler_or_web_framework():
    script = "import sys; import ems.app.control; from ems.app.health import memory_mb\nprint(memory_mb(), *sys.modules)"
    memory_mb, *loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in HEAVY if name in loaded] == []
    print(f"control process after its imports: {memory_mb} MB")


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory):
    with Rig(tmp_path_factory.mktemp("observed"), CALM, Mode.OBSERVE) as rig:
        rig.start_control()
        until(lambda: (rig.snapshot() or {"counters": {"cycles": 0}})["counters"]["cycles"] > 20, PATIENT_S, "20 cycles")
        yield rig


def test_in_observe_nothing_is_ever_written_and_setpoints_are_still_decided(observed: Rig):
    snapshot = observed.shows(lambda s: any(asset["setpoints"] for asset in s["assets"]), "setpoints are decided")
    assert not any(s["written"] for asset in snapshot["assets"] for s in asset["setpoints"])
    assert set(until(lambda: observed.plant()["writes"], PATIENT_S, "plant.json").values()) == {0}


def test_the_running_site_is_shown_in_words_with_reasons_and_intervals(observed: Rig):
    status = ("kW of 1450 kW", "no valid plan", "no plan", *observed.run_file.site.assets)
    until(lambda: has(said(lambda: status_lines(fresh_snapshot(observed.state))), *status), PATIENT_S, "the status in words")
    why = ("power_setpoint_kw", "allowed from", "(not written)")
    until(lambda: has(said(lambda: why_lines(observed.state, "bess-1", None)), *why), PATIENT_S, "why the battery got its setpoint")
    unknown = "no asset bess-9; there are bess-1"
    until(lambda: unknown in said(lambda: why_lines(observed.state, "bess-9", None)), PATIENT_S, "an asset that is not there")


def has(text: str, *words: str) -> bool:
    return all(word in text for word in words)


def test_why_at_an_instant_is_answered_from_the_journal(observed: Rig):
    first = next(read_journal(observed.state.path, "cycle"))
    told = until(lambda: [c for c in read_journal(observed.state.path, "cycle") if has_setpoint(c, "bess-1")][1:], PATIENT_S, "two cycles")[
        0
    ]
    then = "\n".join(why_lines(observed.state, "bess-1", told.at))
    assert then.startswith(told.at.isoformat()) and "bess-1 power_setpoint_kw" in then
    with pytest.raises(EmsError, match="no cycle at or before"):
        list(why_lines(observed.state, "bess-1", first.at - timedelta(hours=1)))


def has_setpoint(cycle: Entry, asset: str) -> bool:
    return any(row[0] == asset for row in cycle.body["setpoints"])


def test_probe_speaks_through_the_running_controller_and_else_asks_the_devices(observed: Rig, tmp_path: Path):
    base, links = observed.run_file.site.links["poc"].port, list(observed.run_file.site.links)
    through = until(
        lambda: t if "as read" in (t := said(lambda: probe_lines("demo-2mw", base, observed.state.path))) else "", PATIENT_S, "read"
    )
    assert through.startswith("as read by the controller") and "soc" in through

    def devices() -> list[str]:  # each is given a second
        return [line for line in said(lambda: probe_lines("demo-2mw", base, tmp_path)).splitlines() if not line.startswith(" ")]

    until(lambda: devices() == links, PATIENT_S, "every device answers for itself")
    assert set(observed.plant()["writes"].values()) == {0}


def test_an_order_for_an_asset_that_does_not_exist_is_refused_by_name(observed: Rig):
    with pytest.raises(EmsError, match="no asset bess-9"):
        give_order(observed.state, OrderKind.HOLD, "bess-9", "A. Tester", "test")


def test_orders_are_obeyed_survive_a_kill_and_sigterm_leaves_the_devices_safe(tmp_path: Path):
    """One life of a control process without planner and office: order, kill -9, resume, drain."""
    with Rig(tmp_path, SPEED, Mode.CONTROL) as rig:
        began = time.perf_counter()
        rig.start_control()
        print(f"first cycle after {time.perf_counter() - began:.2f} s")
        give_order(rig.state, OrderKind.OVERRIDE, "bess-1", "A. Tester", "charge", kw=60.0, lasts=timedelta(hours=1))
        until(lambda: abs(rig.asset("bess-1").get("power_kw", 0.0) - 60.0) < 5.0, PATIENT_S, "the battery follows the override")

        assert rig.control is not None
        rig.control.kill()
        rig.control.wait()
        rig.start_control()
        orders = until(lambda: (rig.snapshot() or {}).get("orders"), PATIENT_S, "the override stands after the restart")
        assert [(o["asset"], o["kw"], o["by"]) for o in orders] == [("bess-1", 60.0, "A. Tester")]
        until(lambda: abs(rig.asset("bess-1").get("power_kw", 0.0) - 60.0) < 5.0, PATIENT_S, "the battery follows after the restart")

        assert rig.control is not None
        told = time.perf_counter()
        rig.control.send_signal(signal.SIGTERM)
        assert ended(rig.control) == 0
        assert time.perf_counter() - told < DRAIN_WITHIN_S
        plant = until(lambda: p if abs((p := rig.plant())["asset_kw"]["bess-1"]) < 1.0 else None, PATIENT_S, "the battery is idle")
        contract = {c.id: c.contract_cap_kw for c in rig.run_file.site.clusters}
        assert all(plant["commands"][name]["power_cap_kw"] <= cap + 1.0 for name, cap in contract.items())
        assert plant["excursions"]["seconds"] == 0 and plant["reserve_shortfall_s"] == 0

    assert verify_journal(tmp_path) is None
    kinds = [entry.kind for entry in read_journal(tmp_path)]
    assert kinds.count("start") == 2 and kinds.count("order") == 1 and kinds[-1] == "stop"
    stop = list(read_journal(tmp_path, "stop"))[-1]
    assert stop.body["was_confirmed"]
    rerun = rerun_journal(tmp_path)
    assert (rerun.starts, rerun.differing) == (2, 0) and rerun.cycles >= 4


def test_stop_all_withdraws_until_a_person_releases_and_observe_lets_an_asset_go(tmp_path: Path):
    with Rig(tmp_path, SPEED, Mode.CONTROL) as rig:
        rig.start_control()
        give_order(rig.state, OrderKind.STOP, "all", "A. Tester", "works on the busbar")
        until(lambda: (rig.snapshot() or {}).get("level") == "L5", PATIENT_S, "withdrawn")
        withdrawn = rig.settled(*rig.run_file.site.links)  # what they were told last and their release are on their way for a moment
        later = rig.plant_after(rig.clock.now() + LONGER_THAN_A_REFRESH)
        assert later["writes"] == withdrawn["writes"]
        assert later["commands"]["bess-1"]["power_setpoint_kw"] == 0.0

        give_order(rig.state, OrderKind.RELEASE, "all", "A. Tester", "works done")
        until(lambda: (rig.snapshot() or {}).get("level") == "L2", PATIENT_S, "rules again")
        until(lambda: rig.plant()["writes"]["hall-a"] > later["writes"]["hall-a"], PATIENT_S, "setpoints are written again")

        give_order(rig.state, OrderKind.MODE, "hall-a", "A. Tester", "watch only", mode=Mode.OBSERVE)
        let_go = rig.settled("hall-a")
        contract_kw = next(c.contract_cap_kw for c in rig.run_file.site.clusters if c.id == "hall-a")
        assert let_go["commands"]["hall-a"]["power_cap_kw"] == pytest.approx(contract_kw, abs=1.0)
        assert rig.plant_after(rig.clock.now() + LONGER_THAN_A_REFRESH)["writes"]["hall-a"] == let_go["writes"]["hall-a"]


def test_a_control_whose_supervisor_is_gone_lets_go_and_ends(tmp_path: Path):
    with Rig(tmp_path, SPEED, Mode.CONTROL) as rig:
        rig.start_control()
        assert rig.control is not None and rig.control.stdin is not None
        until(lambda: sum(rig.plant()["writes"].values()), PATIENT_S, "setpoints are written")
        rig.control.stdin.close()
        assert ended(rig.control) == 0
        assert "the supervisor is gone" in rig.log()
        contract = {c.id: c.contract_cap_kw for c in rig.run_file.site.clusters}
        until(
            lambda: all(rig.plant()["commands"][k]["power_cap_kw"] <= kw + 1.0 for k, kw in contract.items()), PATIENT_S, "caps at contract"
        )


def test_a_second_control_on_the_same_state_directory_waits_and_then_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from ems.app.statedir import StateDir, hold_lock

    hold_lock(StateDir(tmp_path), "control")
    with pytest.raises(EmsError, match="another instance runs on this state directory"):
        hold_lock(StateDir(tmp_path), "control", wait_s=0.1)
