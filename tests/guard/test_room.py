"""The arithmetic of the balance and of sharing, on random numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ems.guard.room import Room
from ems.guard.share import share_total

rooms = st.builds(
    Room,
    target_kw=st.floats(100, 5000),
    loss_fraction=st.floats(0, 0.2),
    cooling_kw=st.floats(0, 500),
    cooling_fraction=st.floats(0, 0.6),
    growth=st.floats(0, 1),
    fixed_kw=st.floats(0, 200),
)


@given(rooms, st.floats(-2000, 2000))
def test_the_it_room_uses_the_target_exactly_and_never_more(room: Room, storage_kw: float) -> None:
    it_kw = room.it_kw(storage_kw)
    assert it_kw >= 0.0
    if it_kw > 0.0:
        assert room.load_kw(it_kw) + storage_kw == pytest.approx(room.target_kw, abs=1e-6)


@given(rooms, st.floats(-2000, 0), st.floats(100, 3000))
def test_it_power_held_by_storage_leaves_cooling_that_the_contract_caps_can_hold(room: Room, storage_kw: float, contract_kw: float) -> None:
    assume(room.growth * room.cooling_fraction > 1e-3)
    safe = replace(room, contract_it_kw=contract_kw)
    it_kw = safe.it_kw(storage_kw)
    assert it_kw <= room.it_kw(storage_kw)
    later_kw = safe.cooling_kw + safe.growth * (safe.cooling_fraction * it_kw - safe.cooling_kw)
    holds = later_kw + safe.fixed_kw + contract_kw * (1 + safe.loss_fraction) <= safe.target_kw + 1e-6
    assert holds or it_kw <= contract_kw + 1e-9


@given(rooms, st.floats(0, 3000), st.floats(0, 500))
def test_more_it_power_never_imports_less(room: Room, it_kw: float, more_kw: float) -> None:
    assert room.load_kw(it_kw + more_kw) >= room.load_kw(it_kw)
    assert room.storage_kw(it_kw) == pytest.approx(room.target_kw - room.load_kw(it_kw))


names = st.lists(st.tuples(st.floats(0, 300), st.floats(0, 1500), st.floats(0, 1000)), min_size=1, max_size=5)


@given(names, st.floats(0, 6000))
def test_shares_sum_to_the_total_between_floors_and_ceilings(rows: list[tuple[float, float, float]], total: float) -> None:
    floor = {str(k): f for k, (f, _, _) in enumerate(rows)}
    ceiling = {str(k): f + c for k, (f, _, c) in enumerate(rows)}
    want = {str(k): w for k, (_, w, _) in enumerate(rows)}
    shares = share_total(total, floor, want, ceiling)
    expected = min(max(total, sum(floor.values())), sum(ceiling.values()))
    assert sum(shares.values()) == pytest.approx(expected, abs=1e-6)
    assert all(floor[k] - 1e-9 <= shares[k] <= ceiling[k] + 1e-9 for k in shares)


def test_a_shortage_takes_the_same_fraction_from_everybody() -> None:
    shares = share_total(700.0, {"a": 100.0, "b": 100.0}, {"a": 500.0, "b": 300.0}, {"a": 900.0, "b": 900.0})
    assert shares["a"] == pytest.approx(100 + 400 * 5 / 6)
    assert shares["b"] == pytest.approx(100 + 200 * 5 / 6)
