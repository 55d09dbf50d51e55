"""Golden cases 5 to 7 of the campaign: a store that does the opposite, one that does nothing, one that somebody else commands."""

from datetime import UTC, datetime, timedelta

from ems.guard.response import FIRST_PAUSE, Watch
from ems.plan.plan import encode_plan
from tests.control.loop import Loop, demo_site, even
from tests.control.plans import flat_plan

CALM = {"hall-a": even(350.0), "hall-b": even(150.0)}
START = datetime(2024, 8, 19, 5, tzinfo=UTC)


def watched(rows: list[tuple[float | None, float | None]], watch: Watch | None = None, first_s: float = 0.0) -> list[bool]:
    """Whether the store is suspect after each second's (power, told)."""
    watch = watch or Watch(500.0, 1.0, 250.0)
    out = []
    for k, (kw, told_kw) in enumerate(rows):
        now = START + timedelta(seconds=first_s + k)
        watch.update(now, kw, told_kw)
        out.append(watch.is_suspect(now))
    return out


def test_golden_5_a_store_that_moves_the_other_way_is_suspect_in_the_first_cycle_that_shows_it():
    assert watched([(0.0, 0.0), (0.0, -300.0), (125.0, -300.0)]) == [False, False, True]


def test_golden_6_a_store_that_does_not_move_is_suspect_within_five_seconds():
    found = watched([(0.0, 0.0), *[(0.0, -300.0)] * 8])  # the second row is the cycle after it was told
    assert found.index(True) - 1 <= 4 and not any(found[:4])


def test_a_store_on_a_slow_ramp_has_the_time_of_its_ramp():
    slow = Watch(500.0, 1.0, 50.0)
    assert not any(watched([(0.0, 0.0), *[(max(-300.0, -50.0 * k), -300.0) for k in range(9)]], slow))


def test_a_store_that_does_the_opposite_is_named_so_and_stays_suspect_over_a_restart():
    watch = Watch(500.0, 1.0, 250.0)
    watched([(0.0, 0.0), (0.0, -300.0), (125.0, -300.0)], watch)
    assert "does not follow" in watch.why
    mirrored = Watch(500.0, 1.0, 250.0)
    watched([(0.0, 0.0), (0.0, -300.0), (300.0, -300.0)], mirrored)
    assert "wrong sign" in mirrored.why
    again = Watch(500.0, 1.0, 250.0)
    again.restore(watch.encode() or [])
    assert again.is_suspect(START + timedelta(seconds=60)) and again.why == watch.why


def test_golden_7_a_store_that_somebody_else_moves_is_suspect_at_once():
    assert watched([(0.0, 0.0), (0.0, 0.0), (350.0, 0.0)]) == [False, False, True]


def test_a_store_on_its_ramp_and_one_told_something_new_every_second_are_not_suspect():
    down = [(0.0, 0.0), (0.0, -500.0), (-225.0, -500.0), (-475.0, -500.0), (-500.0, -500.0)]
    up = [(-500.0, 500.0), (-275.0, 500.0), (-25.0, 500.0), (225.0, 500.0), (475.0, 500.0), (500.0, 500.0)]
    assert not any(watched([*down, *up]))
    flips = [(500.0 if k % 2 else 0.0, 0.0 if k % 2 else 500.0) for k in range(30)]
    assert not any(watched([(0.0, 0.0), *flips]))


def test_a_silent_store_and_one_that_is_told_nothing_are_not_judged():
    assert not any(watched([(None, -300.0)] * 10)) and not any(watched([(50.0, None)] * 10))


def test_each_failure_after_a_pause_doubles_the_next_one():
    watch = Watch(500.0, 1.0)
    astray = [(0.0, 0.0), *[(0.0, -300.0)] * 8]
    watched(astray, watch)
    after_s = FIRST_PAUSE.total_seconds() + 20.0
    assert not watch.is_suspect(START + timedelta(seconds=after_s))
    watched(astray, watch, after_s)
    assert watch.is_suspect(START + timedelta(seconds=after_s + 1.5 * FIRST_PAUSE.total_seconds()))


def test_golden_27_a_battery_that_ignores_its_setpoint_is_named_and_told_zero():
    loop = Loop(demo_site(1370.0))
    loop.cycle(CALM, [("plan", encode_plan(flat_plan(loop.site, loop.now, -200.0)))])
    loop.run(15, lambda k: CALM)
    loop.plant.devices["bess-1"].inject("ignores", loop.now.timestamp() + 300.0)
    decisions = [loop.cycle(CALM, [("plan", encode_plan(flat_plan(loop.site, loop.now, 150.0)))]) for _ in range(12)]
    assert any("bess-1" in alarm and "does not follow" in alarm for alarm in decisions[-1].alarms)
    assert next(s.power_kw for s in decisions[-1].setpoints if s.asset == "bess-1") == 0.0


def test_a_cluster_that_ignores_a_narrower_cap_is_named_within_five_seconds_and_one_that_holds_it_never():
    loop = Loop(demo_site(1350.0), "capped")
    heavy = {"hall-a": even(600.0), "hall-b": even(280.0)}
    loop.run(60, lambda k: heavy)
    assert not any("cap:" in alarm for d in loop.decisions for alarm in d.alarms)
    loop.plant.devices["hall-a"].inject("ignores", loop.now.timestamp() + 300.0)
    at = loop.now.isoformat()
    body = {"id": "e", "kind": "import_limit", "kw": 1000.0, "start": at, "end": "2024-08-20T00:00:00+00:00", "notice_at": at}
    named = []
    for k in range(12):
        decision = loop.cycle(heavy, [("event", body)] if k == 0 else ())
        named.append(any("hall-a cap: told at most" in alarm for alarm in decision.alarms))
    assert True in named[:6] and not any("hall-b cap" in alarm for alarm in decision.alarms)
