"""What the office answers over HTTP, and what it refuses."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ems.errors import DataError, EmsError
from ems.messages import Order, OrderKind
from ems.office.service import listen, resolved_site
from ems.site.resolved import site_to_json
from tests.office.conftest import Served, served, until
from tests.office.given import Running

HOLD = {"kind": "hold", "asset": "bess-1", "by": "Ada", "why": "works on the busbar"}


async def test_the_page_is_readable_without_javascript(office: Served):
    page = (await office.client.get("/")).text
    snapshot = office.service.live.snapshot
    assert snapshot is not None
    assert f"{snapshot['import_kw']:,.0f} kW" in page
    for told in ("bess-1", "hall-a", "cooling-1", "fresh plan", "backup reserve", "1,370 kW", "idle"):
        assert told in page


async def test_the_page_needs_nothing_from_another_host(office: Served):
    page = (await office.client.get("/")).text
    named = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert named
    for address in named:
        assert address.startswith("/")
        assert (await office.client.get(address)).status_code == 200
    for script in ("page.js", "charts.js", "page.css"):
        assert not re.search(r"https?:|@import|url\(", (await office.client.get(f"/static/{script}")).text)


async def test_health_is_good_while_control_turns_and_the_plan_is_fresh(office: Served):
    answer = await office.client.get("/healthz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


@pytest.mark.parametrize("level", ["L3", "L4", "L5"])
async def test_health_is_bad_when_control_is_left_with_limits_or_less(office: Served, level: str):
    await cycle_seen(office, level=level, level_name="safe values", cause="the meter cannot be read")
    answer = await office.client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == [f"control is at {level} safe values: the meter cannot be read"]


async def test_health_is_bad_when_the_newest_cycle_is_old(running: Running):
    running.loop.now += timedelta(seconds=7)
    async with served(running) as office:
        answer = await office.client.get("/healthz")
        assert answer.status_code == 503
        assert "no cycle for" in answer.json()["reasons"][0]
        assert "Not live" in (await office.client.get("/")).text


async def test_at_twenty_times_real_time_seven_site_seconds_are_no_age(running: Running):
    running.loop.now += timedelta(seconds=7)
    async with served(running, speed=20.0) as office:
        assert (await office.client.get("/healthz")).status_code == 200


async def test_health_is_bad_when_the_plan_is_old_though_control_turns(running: Running):
    running.loop.now += timedelta(minutes=29)
    running.cycle()
    async with served(running) as office:
        answer = await office.client.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["the newest plan is 29 min old"]


async def test_what_a_process_says_of_itself_is_a_note_and_no_alarm(office: Served):
    said = {"process": "control", "pid": 1, "at": office.running.now.isoformat(), "note": "journal commit took 250 ms"}
    office.running.mailbox.post("health", said, office.running.now, office.running.now + timedelta(minutes=2))
    office.service.live.look(office.running.now)
    answer = await office.client.get("/healthz")
    assert (answer.status_code, answer.json()["notes"]) == (200, ["control: journal commit took 250 ms"])


async def test_a_mailbox_that_cannot_be_read_for_a_while_does_not_blind_the_office(office: Served, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr(office.service.live, "look", _unreadable)
        await asyncio.sleep(0.3)
        assert (await office.client.get("/")).status_code == 200
    sequence = office.service.live.sequence
    office.running.cycle()
    await until(lambda: office.service.live.sequence != sequence, "the office looks again")


async def test_before_the_first_cycle_everything_answers_and_says_so(tmp_path: Path):
    async with served(Running(tmp_path)) as office:
        assert (await office.client.get("/healthz")).json()["reasons"] == [
            "control has not finished a cycle yet",
            "there is no plan yet",
        ]
        assert (await office.client.get("/api/snapshot")).status_code == 404
        assert (await office.client.get("/api/plan")).status_code == 404
        assert "Waiting for the first cycle" in (await office.client.get("/")).text
        assert "ems_import_kilowatts" not in (await office.client.get("/metrics")).text


async def test_metrics_can_be_parsed_and_tell_what_the_snapshot_tells(office: Served):
    samples = await scrape(office)
    snapshot = office.service.live.snapshot
    assert snapshot is not None
    assert samples["ems_import_kilowatts", ""] == snapshot["import_kw"]
    assert samples["ems_import_limit_kilowatts", ""] == 1370.0
    assert samples["ems_ladder_level", ""] == 0.0
    assert samples["ems_cycles_total", ""] == 90.0
    assert samples["ems_cycles_missed_total", ""] == 1.0
    assert samples["ems_store_soc_ratio", "bess-1"] == pytest.approx(0.5, abs=0.01)
    assert samples["ems_asset_power_kilowatts", "house"] > 0
    assert samples["ems_plan_age_seconds", ""] > 0
    assert samples["ems_import_excursions_seen_total", ""] == 0.0


async def test_stale_values_are_not_exported_only_their_age(running: Running):
    running.loop.now += timedelta(seconds=60)
    async with served(running) as office:
        samples = await scrape(office)
    assert samples["ems_up", ""] == 0.0
    assert samples["ems_snapshot_age_seconds", ""] > 55.0
    assert ("ems_import_kilowatts", "") not in samples
    assert ("ems_store_soc_ratio", "bess-1") not in samples


async def test_excursions_among_the_cycles_seen_are_counted(office: Served):
    await cycle_seen(office, import_kw=1500.0)
    await cycle_seen(office, import_kw=1500.0)
    await cycle_seen(office, import_kw=900.0)
    await cycle_seen(office, import_kw=1900.0, is_metered=False)  # assumed, not seen
    samples = await scrape(office)
    assert samples["ems_import_excursions_seen_total", ""] == 1.0
    assert samples["ems_import_excursion_seen_seconds_total", ""] == pytest.approx(1.0)


async def test_names_and_reasons_are_text_never_markup(office: Served):
    hostile = '<script>alert("x")</script><img src=x onerror=alert(1)>'
    await cycle_seen(office, alarms=[hostile], cause=hostile, limit_source=hostile)
    page = (await office.client.get("/")).text
    assert "&lt;script&gt;alert" in page
    assert "<script>alert" not in page
    assert "<img" not in page


async def test_standing_orders_are_told_in_words(office: Served):
    override = {"kind": "override", "asset": "bess-1", "by": "Ada", "why": "trial", "kw": -150.0, "until": "2024-08-19T05:30:00+00:00"}
    await cycle_seen(office, orders=[override, HOLD])
    page = (await office.client.get("/")).text
    assert "override bess-1: discharge 150 kW until 00:30:00 – Ada: trial" in page
    assert "hold bess-1 – Ada: works on the busbar" in page


async def test_a_snapshot_that_is_none_is_refused_and_the_last_one_stays(office: Served):
    before = office.service.live.snapshot
    for body in ({}, {"at": "yesterday", "import_kw": 1, "limit_kw": 2}, {**(before or {}), "assets": [1]}):
        office.running.mailbox.post("snapshot", body, office.running.now, office.running.now + timedelta(seconds=30))
        office.service.live.look(office.running.now)
    assert office.service.live.snapshot is before
    assert office.service.live.refused == 3
    assert (await office.client.get("/")).status_code == 200


async def test_an_order_reaches_control_with_name_and_reason_and_its_answer_comes_back(office: Served):
    asked = asyncio.create_task(office.client.post("/api/orders", json=HOLD))
    message = await first_order(office)
    order = Order.decode(message.body)
    assert (order.kind, order.asset, order.by, order.why) == (OrderKind.HOLD, "bess-1", "Ada", "works on the busbar")
    said = {"sequence": message.sequence, "is_done": True, "text": "bess-1 holds"}
    office.running.mailbox.post("order_ack", said, office.running.now, office.running.now + timedelta(days=1))
    answer = await asked
    assert (answer.status_code, answer.json()) == (200, said)


async def test_an_order_nobody_answers_is_told_to_stand(office: Served, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ems.office.orders.LOOK_EVERY_S", 10.0)
    answer = await office.client.post("/api/orders", json=HOLD)
    assert answer.status_code == 202
    assert answer.json()["is_done"] is None
    again = await office.client.get(f"/api/orders/{answer.json()['sequence']}")
    assert again.json()["is_done"] is None


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"by": ""}, 422),
        ({"why": "   "}, 422),
        ({"by": None}, 422),
        ({"why": "two\nlines"}, 422),
        ({"by": "\x1b[31mred"}, 422),
        ({"kind": "explode"}, 422),
        ({"asset": "bess-9"}, 422),
        ({"asset": "house"}, 422),
        ({"kind": "mode"}, 422),
        ({"kind": "override"}, 422),
        ({"kind": "override", "kw": 100}, 422),
        ({"kw": 100}, 422),
        ({"kind": "override", "kw": 1e12, "for_minutes": 5}, 422),
        ({"kind": "override", "kw": 10, "for_minutes": -5}, 422),
        ({"suprise": 1}, 422),
    ],
)
async def test_an_order_that_is_not_whole_is_refused_and_not_sent(office: Served, change: dict[str, object], status: int):
    answer = await office.client.post("/api/orders", json={**HOLD, **change})
    assert answer.status_code == status
    assert office.running.mailbox.since("order", 0) == []


@pytest.mark.parametrize("kw", ["NaN", "1e999", "-Infinity"])
async def test_a_number_json_has_no_words_for_is_refused_and_no_fault_of_ours(office: Served, kw: str):
    body = '{"kind":"override","asset":"bess-1","by":"a","why":"b","for_minutes":5,"kw":' + kw + "}"
    answer = await office.client.post("/api/orders", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body", "kw"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"host": "evil.example"},
    ],
)
async def test_another_sites_page_cannot_give_orders(office: Served, headers: dict[str, str]):
    sent = {"content-type": "application/json", **headers}
    answer = await office.client.post("/api/orders", content='{"kind":"stop","asset":"all","by":"x","why":"y"}', headers=sent)
    assert answer.status_code in (400, 403, 415, 422)
    assert office.running.mailbox.since("order", 0) == []


async def test_history_gives_what_was_shipped(office: Served):
    office.running.minutes(10)
    office.service.schedule.ship()
    rows = (await office.client.get("/api/history", params={"asset": "hall-a"})).json()["rows"]
    assert [row["power_kw"] for row in rows] == [600.0] * 10
    poc = (await office.client.get("/api/history", params={"asset": "poc"})).json()["rows"]
    assert len(poc) == 10


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"asset": "nobody"}, 404),
        ({"asset": "poc", "from": "2024-08-19T05:00:00"}, 422),
        ({"asset": "poc", "from": "noon"}, 422),
        ({"asset": "poc", "from": "2024-08-20T00:00:00Z", "to": "2024-08-19T00:00:00Z"}, 422),
        ({"asset": "poc", "from": "2020-01-01T00:00:00Z", "to": "2024-08-19T00:00:00Z"}, 422),
        ({}, 422),
    ],
)
async def test_a_question_to_history_that_makes_no_sense_is_an_answer(office: Served, params: dict[str, str], status: int):
    assert (await office.client.get("/api/history", params=params)).status_code == status


async def test_a_history_that_cannot_be_opened_leaves_the_page_alone(running: Running):
    (running.state_dir / "history.sqlite").mkdir()
    async with served(running) as office:
        await until(lambda: "ship" in office.service.schedule.trouble, "nothing can be shipped")
        assert (await office.client.get("/api/history", params={"asset": "poc"})).status_code == 503
        health = await office.client.get("/healthz")
        assert health.status_code == 200
        assert any("ship" in note for note in health.json()["notes"])
        assert (await office.client.get("/")).status_code == 200


def test_a_busy_port_is_one_line():
    taken = listen(0)
    taken.listen()
    try:
        with pytest.raises(EmsError, match="cannot be used"):
            listen(taken.getsockname()[1])
    finally:
        taken.close()


def test_the_office_listens_on_loopback_only():
    listening = listen(0)
    assert listening.getsockname()[0] == "127.0.0.1"
    listening.close()


def test_the_site_is_read_from_the_runs_file_or_refused_in_one_line(tmp_path: Path, running: Running):
    plain = tmp_path / "site.json"
    plain.write_text(site_to_json(running.site))
    assert resolved_site(plain).name == running.site.name
    plain.write_text("[1, 2]")
    with pytest.raises(EmsError, match="not a resolved site"):
        resolved_site(plain)


def _unreadable(now: object) -> set[str]:
    raise DataError("the mailbox cannot be opened")


async def cycle_seen(office: Served, **changes: object) -> None:
    """Posts a cycle and lets the office look; its clock follows the cycle."""
    office.running.cycle(**changes)
    office.service.live.look(office.running.now)


async def first_order(office: Served):
    return (await until(lambda: office.running.mailbox.since("order", 0), "an order is sent"))[0]


async def scrape(office: Served) -> dict[tuple[str, str], float]:
    answer = await office.client.get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {(s.name, s.labels.get("asset", "")): s.value for f in families for s in f.samples}


async def test_a_head_end_s_call_needs_the_token_of_its_channel_and_its_echo_is_answered(office: Served):
    assert (await office.client.get("/hooks/dso", params={"echo": "a1"})).text == "a1"
    for headers in ({}, {"Authorization": "Bearer guess"}, {"Authorization": "Basic x"}):
        assert (await office.client.post("/hooks/dso", json={}, headers=headers)).status_code == 401
    assert (await office.client.post("/hooks/dso", content=b"x" * 1_000_001)).status_code == 413
