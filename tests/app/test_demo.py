"""Parts of the demo that need no processes: made-up signals, the summary, counters."""

import json
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ems.app.counts import Counts
from ems.app.demo import BEGINS_AT
from ems.app.generated import minute_frames, post_generated, price_rows
from ems.app.ports import PortRow
from ems.app.simulate import DEMO_SEED
from ems.app.statedir import StateDir
from ems.app.summary import status_line, summary_lines
from ems.mailbox import Mailbox
from ems.messages import MinuteFrame
from ems.resources import bundled
from ems.signals.prices import PriceBook, PriceRow
from ems.site.load import load_site
from simulators.demand import GeneratedDemand

SITE = load_site(bundled("config/sites/demo-2mw.yaml"))


def test_the_made_up_history_is_what_the_simulated_clusters_would_have_shown():
    frames = list(minute_frames(SITE, DEMO_SEED, BEGINS_AT))
    assert len(frames) == 2 * 24 * 60 and frames[-1].start == BEGINS_AT - timedelta(minutes=1)
    demand = GeneratedDemand(SITE, DEMO_SEED)
    frame = frames[1234]
    shown = [demand.at(frame.start.timestamp() + s)["hall-a"] for s in range(0, 60, 10)]
    mean_kw = sum(d.interactive_kw + d.batch_kw + d.training_kw for d in shown) / 6
    idle_kw = next(c.idle_kw for c in SITE.clusters if c.id == "hall-a")
    assert frame.demand_kw["hall-a"] == pytest.approx(idle_kw + mean_kw)
    assert frame.poc_kw is None  # nobody measured it


def test_a_price_is_not_known_before_its_time():
    rows = [row for day in price_rows(DEMO_SEED, BEGINS_AT) for row in day]
    for row in rows:
        starts, ends, known = (datetime.fromisoformat(row[k]) for k in ("valid_from", "valid_to", "available_at"))
        assert known == ends if row["source"] == "real_time" else known < starts
    book = PriceBook()
    book.add(PriceRow(**{**r, **{k: datetime.fromisoformat(r[k]) for k in ("valid_from", "valid_to", "available_at")}}) for r in rows)
    prices = book.forecast(BEGINS_AT, [BEGINS_AT + timedelta(hours=h) for h in range(24)], [1.0] * 24)
    assert book.steps_on_fallback == 0 and 0.02 < min(prices) < max(prices) < 0.5


def test_everything_made_up_says_that_it_is(tmp_path: Path):
    mailbox = Mailbox(tmp_path / "mailbox.db")
    post_generated(mailbox, SITE, DEMO_SEED, BEGINS_AT)
    assert {m.body["label"] for topic in ("prices", "weather") for m in mailbox.since(topic, 0)} == {"generated"}
    frames = [MinuteFrame.decode(m.body) for m in mailbox.since("minute", 0, 10_000)]
    assert len(frames) == 2880


def test_two_demos_at_once_never_take_the_same_ports_and_servers_may_listen_on_theirs():
    first, second = PortRow(), PortRow()
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", first.base))
        server.listen()
        first.let_go()
        third = PortRow()
        assert len({first.base, second.base, third.base}) == 3
    for row in (second, third):
        row.let_go()


def test_the_summary_says_what_is_not_known(tmp_path: Path):
    text = "\n".join(summary_lines(StateDir(tmp_path)))
    assert "control finished no cycle" in text and "excursions not known" in text and "there is no journal" in text


def test_the_summary_holds_every_line_of_the_contract(tmp_path: Path):
    state = StateDir(tmp_path)
    counts = Counts(cycles=990, missed_cycles=10, plans_adopted=6, setpoints_written=40, setpoints_read_back=39, setpoints_replaced=1)
    counts.ladder_s["L0"] = 950.0
    Mailbox(state.mailbox).post("snapshot", {"counters": counts.encode()}, BEGINS_AT, BEGINS_AT)
    excursions = {"seconds": 3.0, "longest_s": 2.0, "max_kw": 41.0}
    plant = {"excursions": excursions, "reserve_shortfall_s": 0.0, "simulated_s": 1000.0, "import_kwh": 300.0}
    (tmp_path / "plant.json").write_text(json.dumps(plant))
    text = "\n".join(summary_lines(state))
    for promised in (
        "cycles 990, missed 10 (1.00%)",
        "plans adopted 6",
        "setpoints written 40, read back 39",
        "excursions of the plant's 1-s mean import: 3 s, longest 2 s, at most 41 kW above",
        "ladder seconds L0 950",
    ):
        assert promised in text


def test_counters_go_on_over_a_restart_and_survive_nonsense():
    counts = Counts(cycles=7, missed_cycles=1)
    counts.ladder_s["L2"] = 12.0
    resumed = Counts.resumed(counts.encode())
    assert (resumed.cycles, resumed.starts, resumed.ladder_s["L2"]) == (7, 2, 12.0)
    assert Counts.resumed(None).starts == 1
    assert Counts.resumed({"journal": "healthy", "pid": 9, "unknown": 1}).cycles == 0


def test_the_status_line_says_import_limit_storage_ladder_and_plan_age():
    snapshot = {
        "at": datetime(2024, 8, 20, 20, tzinfo=UTC).isoformat(),
        "import_kw": 1301.2,
        "limit_kw": 1450.0,
        "level": "L0",
        "level_name": "fresh plan",
        "plan": {"made_at": datetime(2024, 8, 20, 19, 59, tzinfo=UTC).isoformat()},
        "assets": [{"id": "bess-1", "power_kw": -82.0, "soc": 0.493}, {"id": "hall-a", "power_kw": 700.0}],
    }
    line = status_line(snapshot)
    assert "import  1301 of 1450 kW" in line and "bess-1 discharging 82 kW, 49.3%" in line and "hall-a" not in line
    assert "L0 fresh plan" in line and "plan age 60 s" in line
    assert "plan age none" in status_line({**snapshot, "plan": None})
    assert "import at most  1301 of 1450 kW" in status_line({**snapshot, "is_metered": False})
