"""What one hall gives up another gets only when it is known to be free."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems.guard.guard import share_caps
from tests.control.loop import Loop, demo_site, even

SITE = demo_site(1250.0)
VERDICT = Loop(SITE, "capped").cycle({"hall-a": even(500.0), "hall-b": even(300.0)}).verdict
RATING = {"hall-a": 1080.0, "hall-b": 600.0}


@given(
    a=st.floats(270.0, 1080.0),
    b=st.floats(150.0, 600.0),
    it_kw=st.floats(0.0, 1800.0),
    fresh_a=st.floats(0.0, 1080.0),
    fresh_b=st.floats(0.0, 600.0),
)
def test_no_hall_is_widened_before_the_caps_in_force_leave_room_for_it(a: float, b: float, it_kw: float, fresh_a: float, fresh_b: float):
    """Whatever is told and not obeyed: the widest that may be in force with one cap wider than it was stays within the room."""
    in_force = {"hall-a": a, "hall-b": b}
    caps = share_caps(SITE, replace(VERDICT, ceilings_kw=in_force), it_kw, {"hall-a": fresh_a, "hall-b": fresh_b}, RATING)
    if any(caps[k] > in_force[k] + 1e-6 for k in caps):
        assert sum(max(in_force[k], caps[k]) for k in caps) <= it_kw + 1e-6
    assert all(caps[k] >= VERDICT.caps[k].low_kw for k in caps)


def test_what_one_hall_gives_up_the_other_gets_when_it_is_read_back_and_at_long_steps_at_once():
    caps = {"hall-a": 700.0, "hall-b": 200.0}
    wants = {"hall-a": 400.0, "hall-b": 500.0}
    at_once = replace(SITE, control=replace(SITE.control, cycle_s=300.0))
    waits = share_caps(SITE, replace(VERDICT, ceilings_kw=caps), 900.0, wants, wants)
    assert waits["hall-a"] == pytest.approx(400.0) and waits["hall-b"] == pytest.approx(200.0)
    assert share_caps(SITE, replace(VERDICT, ceilings_kw={**caps, "hall-a": 400.0}), 900.0, wants, wants) == pytest.approx(wants)
    assert share_caps(at_once, replace(VERDICT, ceilings_kw=caps), 900.0, wants, wants) == pytest.approx(wants)


def test_what_a_hall_draws_above_its_share_of_the_ups_its_neighbour_does_not_get():
    """Either hall wants 540 kW and the UPS can carry 1000: a hall that draws 800, whatever it is told, leaves 200 for the other."""
    wants, free = {"hall-a": 540.0, "hall-b": 540.0}, replace(VERDICT, ceilings_kw=RATING, carried_kw={"ups-1": 1000.0})
    obeyed = share_caps(SITE, free, 1700.0, wants, wants)
    assert sum(obeyed.values()) == pytest.approx(1000.0) and obeyed["hall-b"] > 400.0
    drawn = share_caps(SITE, replace(free, drawn_kw={"hall-a": 800.0}), 1700.0, wants, wants)
    assert drawn == pytest.approx({"hall-a": obeyed["hall-a"], "hall-b": 200.0})
    below = share_caps(SITE, replace(free, drawn_kw={"hall-a": 400.0}), 1700.0, wants, wants)
    assert below == pytest.approx(obeyed)
    beyond = share_caps(SITE, replace(free, drawn_kw={"hall-a": 1080.0}), 1700.0, wants, wants)
    assert beyond["hall-b"] == VERDICT.caps["hall-b"].low_kw


def test_the_verdict_names_what_is_drawn_by_a_hall_that_cannot_be_heard_or_does_not_obey():
    loop = Loop(SITE, "capped")
    loop.run(30, lambda k: {"hall-a": even(300.0), "hall-b": even(100.0)})
    assert loop.decisions[-1].verdict.drawn_kw == {}
    loop.plant.devices["hall-a"].inject("silent", loop.now.timestamp() + 60.0)
    loop.run(20, lambda k: {"hall-a": even(300.0), "hall-b": even(100.0)})
    verdict = loop.decisions[-1].verdict
    assert verdict.drawn_kw == {"hall-a": verdict.ceilings_kw["hall-a"]}
