"""Announced load reaches the plan of the running site, and the peaks foreseen reach the guard, which only raises its own."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ems.app.cli import app
from ems.app.cli_jobs import announcement
from ems.app.inbox import MailboxInbox
from ems.app.planner import PlannerProcess
from ems.app.runfile import RunFile
from ems.app.statedir import StateDir
from ems.app.wrong_usage import WrongUsage
from ems.clock import Clock
from ems.control.decision import Decision
from ems.control.plan_state import plan_state
from ems.mailbox import Mailbox
from ems.messages import MinuteFrame, Mode
from ems.plan.plan import Plan, decode_plan
from tests.control.loop import START, Loop, demo_site, even

NOON = datetime(2024, 8, 19, 17, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
VALID = timedelta(days=2)


class Running:
    """A planner process, the state it reads, and a clock that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.state, self.now = StateDir(folder), NOON
        self.site = demo_site(plan={"budget_s": 300})  # of a machine that runs other tests
        RunFile(self.site, {}, Mode.CONTROL, "", 0, "").save(self.state.site)
        self.set_clock()
        self.mailbox = Mailbox(self.state.mailbox)
        self.loop = Loop(self.site)
        for minute in range(-120, 0):
            demand = {"hall-a": 600.0, "hall-b": 300.0}
            frame = MinuteFrame(NOON + minute * MINUTE, None, {}, demand, {}, {}, None)
            self.mailbox.post("minute", frame.encode(), NOON, NOON + VALID)
        self.process = PlannerProcess(self.state)

    def set_clock(self) -> None:
        Clock(self.now, time.monotonic(), 1.0).save(self.state.clock)

    def tell(self, a_kw: float, b_kw: float) -> Decision:
        """One cycle of the controller with these demands above idle, published as its snapshot."""
        self.loop.run(1, lambda _now: {"hall-a": even(a_kw), "hall-b": even(b_kw)})
        decision = self.loop.decisions[-1]
        body = {**plan_state(self.site, decision, None).encode(), "at": self.now.isoformat()}
        self.mailbox.post("snapshot", {"plan_state": body}, self.now, self.now + HOUR)
        return decision

    def plan(self) -> Plan:
        self.process.look()
        return decode_plan(self.mailbox.since("plan", 0)[-1].body)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    running.process.mailbox.close()
    running.mailbox.close()


def announce(running: Running, *more: str) -> object:
    start, end = (t.isoformat() for t in (NOON + 3 * HOUR, NOON + 5 * HOUR))
    where = ["--state-dir", str(running.state.path), "--by", "queue"]
    return CliRunner().invoke(app, ["announce", "hall-b", "--kw", "250", "--start", start, "--end", end, *where, *more])


def test_load_announced_to_the_running_site_is_in_the_next_plan(running: Running):
    running.tell(400.0, 200.0)
    before = running.plan()
    result = announce(running)
    assert result.exit_code == 0, result.output
    after = running.plan()
    step = next(k for k, s in enumerate(after.starts) if s >= NOON + 3.5 * HOUR)
    assert after.load_q90_kw["hall-b"][step] > before.load_q90_kw["hall-b"][step] + 150.0
    assert after.load_q50_kw["hall-b"][step] > before.load_q50_kw["hall-b"][step] + 150.0
    assert after.load_q90_kw["hall-a"][step] == pytest.approx(before.load_q90_kw["hall-a"][step], abs=1.0)
    assert len(running.mailbox.since("plan", 0)) == 2, "an announcement asks for a plan at once"


def test_a_planner_that_starts_knows_of_announcements_before_it_learns_from_minutes_and_of_none_to_come(running: Running):
    announce(running)
    ahead = MinuteFrame(NOON + 48 * HOUR, None, {}, {"hall-a": 1.0, "hall-b": 1.0}, {}, {}, None)  # of a start with a wrong clock
    running.mailbox.post("minute", ahead.encode(), NOON, NOON + VALID)
    told: list[str] = []
    observe, announced = running.process.plans.observe, running.process.plans.announce
    running.process.plans.observe = lambda frame: (told.append(frame.start.isoformat()), observe(frame))[1]  # type: ignore[method-assign]
    running.process.plans.announce = lambda loads: (told.append("jobs"), announced(loads))[1]  # type: ignore[method-assign]
    running.process.look()
    assert told[0] == "jobs" and len(told) == 121
    assert max(told[1:]) == (NOON - MINUTE).isoformat()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["--kw", "99999"], "--kw 99999: expected 0 to"),
        (["--kw", "nan"], "finite"),
        (["--end", "2024-08-19T10:00:00Z"], "--end 2024-08-19T10:00:00Z: expected an instant after --start"),
        (["--start", "soon"], "--start soon: expected an instant such as"),
        (["--end", "2224-08-19T10:00:00Z"], "--end 2224-08-19T10:00:00Z: expected an instant of the years"),
        (["--end", "2026-08-19T10:00:00Z"], "--end 2026-08-19T10:00:00Z: expected an instant of the next 366 days"),
        (["--start", "2024-08-01T10:00:00Z"], "--start 2024-08-01T10:00:00Z: expected an instant to come"),
        (["--start", "2024-08-19T10:00:00Z", "--end", "2024-08-19T17:00:00Z"], "it is 2024-08-19T17:00:0"),
    ],
)
def test_an_announcement_that_cannot_be_is_refused_in_one_line(running: Running, wrong: list[str], says: str):
    result = announce(running, *wrong)
    assert result.exit_code != 0 and says in str(result.exception)
    assert running.mailbox.since("jobs", 0) == []


def test_a_mistyped_cluster_is_told_with_the_near_name(running: Running):
    with pytest.raises(WrongUsage, match="hall-c: expected a cluster of this site, perhaps `hall-b`"):
        announcement(running.site, "hall-c", 1.0, "2024-08-20T10:00:00Z", "2024-08-20T11:00:00Z", "queue", 1.0, NOON)


def test_peaks_foreseen_by_the_planner_raise_the_guards_holds_and_never_lower_them(running: Running):
    foreseen, inbox = running.loop.controller.foreseen, MailboxInbox(running.mailbox, {})
    for second in range(40):
        running.now = NOON + timedelta(seconds=second)
        decision = running.tell(300.0 + 200.0 * (second % 8 == 0), 150.0)
        running.process.peaks.observe(running.now, {k: c.demand_kw for k, c in decision.state.clusters.items()})
    running.process.look()
    news = inbox.news(NOON + timedelta(seconds=40))
    assert [topic for topic, _ in news if topic == "peak"] == ["peak"]
    measured = running.loop.controller.trend.update(running.loop.decisions[-1].state)
    running.loop.controller._take_news([n for n in news if n[0] == "peak"], NOON)
    raised = foreseen.raised(measured, 60.0, NOON + timedelta(seconds=41))
    assert all(raised[k].held_kw >= t.held_kw for k, t in measured.items())
    assert raised["hall-a"].held_kw > 270.0 + 480.0, "the pulse will come again within the minute"
    assert foreseen.peak_kw("hall-a", 900.0, NOON) >= foreseen.peak_kw("hall-a", 10.0, NOON)


def test_a_foreseen_peak_reserves_more_and_a_low_one_changes_nothing():
    def reserved(peak_kw: float) -> tuple[float, list[float]]:
        loop = Loop(demo_site(), "rules")
        windows = [10.0, 60.0, 300.0, 900.0]
        body = {"valid_until": (START + HOUR).isoformat(), "windows_s": windows, "peaks_kw": {"hall-a": [peak_kw] * 4}}
        loop.controller.foreseen.take(body)
        loop.run(5, lambda _now: {"hall-a": even(300.0), "hall-b": even(150.0)})
        observed = loop.controller._observed(loop.decisions[-1].state)
        caps = [s.power_kw for s in loop.decisions[-1].setpoints if s.command == "power_cap_kw"]
        return observed.critical_kw["ups-1"], caps

    loop = Loop(demo_site(), "rules")
    loop.run(5, lambda _now: {"hall-a": even(300.0), "hall-b": even(150.0)})
    plain_caps = [s.power_kw for s in loop.decisions[-1].setpoints if s.command == "power_cap_kw"]
    assert reserved(1.0)[1] == plain_caps
    assert reserved(1000.0)[0] >= 1000.0 > reserved(1.0)[0]
    high, low = reserved(1000.0)[1], plain_caps
    assert high[0] > low[0] and sum(high) <= sum(low) + 2.0, "room goes to where the peak is foreseen, and never beyond the limit"
