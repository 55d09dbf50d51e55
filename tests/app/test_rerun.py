"""Re-running a journal: what was decided comes out again, and what was not is noticed."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ems.app.prepare import prepared_run
from ems.app.rerun import rerun_journal
from ems.app.statedir import StateDir
from ems.control.controller import Controller
from ems.control.cycle import encode_cycle
from ems.journal.journal import Journal
from ems.messages import Mode, Order, OrderKind
from ems.reading import Reading
from ems.state.image import SiteImage

NOON = datetime(2024, 8, 19, 12, tzinfo=UTC)


def an_image(second: int) -> SiteImage:
    now = NOON + timedelta(seconds=second)
    wire = now - timedelta(milliseconds=137)
    power = {"poc": 1100.0 + 30 * second, "bess-1": 12.5, "hall-a": 600.0 + 20 * second, "hall-b": 300.0, "cooling-1": 120.0}
    readings = {asset: {"power_kw": Reading(kw, wire)} for asset, kw in power.items()}
    readings["bess-1"] |= {"soc": Reading(0.5, wire), "max_charge_kw": Reading(500.0, wire), "max_discharge_kw": Reading(500.0, wire)}
    return SiteImage(now, readings, {}, {})


def record(folder: Path, spoil: bool, rotate_bytes: int = 1 << 30) -> None:
    """Ten recorded cycles with an order among their news; one setpoint is off by a watt when spoilt."""
    run_file = prepared_run("demo-2mw", StateDir(folder), None, None, 1, None)
    modes = dict.fromkeys(run_file.site.assets, Mode.CONTROL)
    controller = Controller(run_file.site, "plan", modes)
    journal = Journal(folder / "journal.db", time.perf_counter, rotate_bytes=rotate_bytes, look_every=1)
    named = {asset: mode.value for asset, mode in modes.items()}
    journal.append("start", NOON, {"run": run_file.encode(), "policy": "plan", "modes": named, "memory": None})
    for second in range(10):
        image = an_image(second)
        order = Order(OrderKind.OVERRIDE, "bess-1", "A. Tester", "test", image.now, kw=25.0, until=image.now + timedelta(seconds=4))
        news = [("order", order.encode())] if second == 3 else []
        body = encode_cycle(image, news, True, controller.decide(image, news, image.now, True))
        if spoil and second == 7:
            body["setpoints"][0][2] += 0.001
        journal.append("cycle", image.now, body)
        assert journal.flush()
    journal.close()


def test_a_recorded_run_decides_the_same_again(tmp_path: Path):
    record(tmp_path, spoil=False)
    rerun = rerun_journal(tmp_path)
    assert (rerun.starts, rerun.cycles, rerun.differing) == (1, 10, 0)


def test_a_setpoint_that_does_not_come_out_again_is_counted_and_shown(tmp_path: Path):
    record(tmp_path, spoil=True)
    rerun = rerun_journal(tmp_path)
    assert rerun.differing == 1 and "2024-08-19T12:00:07" in rerun.first[0]


def test_a_run_over_several_segments_decides_the_same_and_without_its_start_is_not_compared(tmp_path: Path):
    record(tmp_path, spoil=False, rotate_bytes=1)
    segments = sorted(tmp_path.glob("journal-*.db"))
    rerun = rerun_journal(tmp_path)
    assert len(segments) > 5 and (rerun.starts, rerun.cycles, rerun.differing, rerun.skipped) == (1, 10, 0, 0)
    segments[0].unlink()
    assert rerun_journal(tmp_path).cycles == 0 and rerun_journal(tmp_path).skipped > 0
