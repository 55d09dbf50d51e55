"""Programmes whose baseline is the meter just before the event: read when complete, shared by events that overlap, a ceiling after."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from ems.control.news import decode_obligation, encode_obligation
from ems.obligation import ObligationKind
from ems.program.baseline import EventDay, run_baseline
from ems.program.meter import MeterSeries
from ems.program.methods import method_of
from tests.program.desks import HOUR, MINUTE, NOW, World, desk_on, event, message, modified

READ = "manual"  # its baseline is the quarter of an hour before


def asked(name: str = "e1", start_min: float = 30, kw: float = 200.0, kind: ObligationKind = ObligationKind.REDUCE_BY):
    return message(event(name, READ, start_min, 60, kw, kind=kind))


def walked(desk, until_min: float, from_min: float = 0.0) -> None:
    for k in range(round(4 * (until_min - from_min)) + 1):
        desk.tick(NOW + (from_min + k / 4) * MINUTE)


def held_kw(desk, name: str = "e1") -> float:
    return next(o.kw for o in desk.events[name].posted if "/hold" in o.id)


def test_the_baseline_is_read_again_when_its_last_minute_is_there(tmp_path):
    start = NOW + 30 * MINUTE
    world = World(steps=((start, 1000.0),))
    desk = desk_on(tmp_path / "p.db", world)
    desk.receive(asked(), NOW)
    walked(desk, 30)
    assert held_kw(desk) == 800.0
    world.steps = ((start, 980.0),)
    walked(desk, 32, 30)
    assert held_kw(desk) == 780.0 and desk.events["e1"].state == "holding"
    world.steps = ((start, 500.0),)  # nothing that comes later is the quarter of an hour before
    walked(desk, 60, 32)
    assert held_kw(desk) == 780.0


def test_the_import_comes_back_to_no_more_than_was_read(tmp_path):
    world = World(measured_kw=1000.0, steps=((NOW + 30 * MINUTE, 960.0),))
    desk = desk_on(tmp_path / "p.db", world)
    desk.receive(asked(), NOW)
    walked(desk, 40)
    after = [o for o in desk.events["e1"].posted if o.start >= NOW + 90 * MINUTE]
    assert max(o.kw for o in after) == 960.0 and max(o.end for o in after) == NOW + 90 * MINUTE + HOUR


def test_an_event_inside_another_is_counted_from_what_that_one_is(tmp_path):
    """The reduced import is nobody's baseline: 30 % off what is already 30 % off was never asked for."""
    world = World(measured_kw=1000.0, steps=((NOW + 30 * MINUTE, 1000.0),))
    desk = desk_on(tmp_path / "p.db", world)
    desk.receive(asked("e1", kw=300.0), NOW)
    walked(desk, 40)
    world.steps = ((NOW + 60 * MINUTE, 700.0),)  # what the meter says now
    desk.receive(asked("e2", start_min=60, kw=350.0), NOW + 40 * MINUTE)
    walked(desk, 65, 40)
    assert held_kw(desk, "e2") == 650.0 and held_kw(desk, "e1") == 700.0


def test_limits_that_only_keep_storage_from_charging_do_not_freeze_a_higher_reference(tmp_path):
    world = World(measured_kw=1100.0)
    desk = desk_on(tmp_path / "p.db", world)
    desk.receive(asked(kind=ObligationKind.REDUCE_TO, kw=1080.0), NOW)
    walked(desk, 25)
    world.measured_kw = 900.0
    walked(desk, 31, 25)
    assert desk.events["e1"].reference_kw == 900.0


def test_the_settlement_of_an_event_inside_another_reads_the_meter_before_that_one():
    kw = [1000.0] * 60 + [700.0] * 60
    meter = MeterSeries.of(NOW, 1, kw)
    first, second = (NOW + HOUR, NOW + 2 * HOUR), NOW + 100 * MINUTE
    day = EventDay(second, NOW + 2 * HOUR, ZoneInfo("UTC"), lambda day: "weekday", (first,))
    assert set(run_baseline(method_of("mbma", {"interval_min": 1}), day, meter).kw) == {1000.0}
    apart = EventDay(second, NOW + 2 * HOUR, ZoneInfo("UTC"), lambda day: "weekday", ((NOW, NOW + 10 * MINUTE),))
    assert set(run_baseline(method_of("mbma", {"interval_min": 1}), apart, meter).kw) == {700.0}


def test_an_event_begun_before_the_others_baseline_was_complete_follows_it(tmp_path):
    """The second froze what the first was counted from a minute before that was read to its end."""
    world = World(measured_kw=1000.0, steps=((NOW + 30 * MINUTE, 1000.0),))
    desk = desk_on(tmp_path / "p.db", world)
    desk.receive(asked("e1", kw=200.0), NOW)
    desk.receive(asked("e2", start_min=31, kw=20.0), NOW)  # no ramp to speak of: it moves after the first
    walked(desk, 31)
    assert held_kw(desk, "e1") == 800.0 and held_kw(desk, "e2") == 980.0
    world.steps = ((NOW + 30 * MINUTE, 940.0),)
    walked(desk, 33, 31)
    assert held_kw(desk, "e1") == 740.0 and held_kw(desk, "e2") == 920.0


def test_an_event_taken_back_before_its_baseline_was_read_comes_back_to_what_was_read(tmp_path):
    world = World(measured_kw=1000.0, steps=((NOW + 30 * MINUTE, 1000.0),))
    desk = desk_on(tmp_path / "p.db", world)
    call = asked()
    desk.receive(call, NOW)
    walked(desk, 30.5)
    desk.receive(message(modified(call.event, 1, is_cancelled=True)), NOW + 30.75 * MINUTE)
    world.steps = ((NOW + 30 * MINUTE, 960.0),)
    walked(desk, 40, 30.75)
    assert desk.events["e1"].state == "recovering" and max(o.kw for o in desk.events["e1"].posted if "/quiet" not in o.id) == 960.0
    world.steps = ((NOW + 30 * MINUTE, 900.0),)
    before = desk.store.since()
    walked(desk, 45, 40)
    assert desk.store.since() == before  # read once


def test_only_a_baseline_that_is_read_before_the_event_is_left_alone(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(asked("read"), NOW)
    desk.receive(message(event("days", "pjm-economic", 240, 60)), NOW)
    walked(desk, 10)
    quiet = {e: [o for o in s.posted if "/quiet" in o.id] for e, s in desk.events.items()}
    assert [o.sets_baseline for o in quiet["read"]] == [True] and [o.sets_baseline for o in quiet["days"]] == [False]
    assert decode_obligation(encode_obligation(quiet["read"][0])) == quiet["read"][0]


def test_nobody_counts_from_the_import_while_another_event_moves_the_site(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(asked("e1", kw=20.0), NOW)
    desk.receive(asked("e2", start_min=35, kw=20.0), NOW)
    walked(desk, 25)
    assert any(o.sets_baseline for o in desk.events["e2"].posted)
    walked(desk, 29, 25)
    assert desk.events["e1"].is_moving and not any(o.sets_baseline for o in desk.events["e2"].posted)


def test_the_import_is_left_alone_only_until_the_site_begins_to_move(tmp_path):
    desk = desk_on(tmp_path / "p.db", World())
    desk.receive(asked(), NOW)  # 200 kW at 20 kW per minute
    walked(desk, 10)
    quiet, ramp = (min(o for o in ((x.start, x.end) for x in desk.events["e1"].posted if name in x.id)) for name in ("/quiet", "/ramp"))
    assert quiet == (NOW + 15 * MINUTE, NOW + 20 * MINUTE) and ramp[0] == quiet[1]
