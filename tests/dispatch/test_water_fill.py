"""The split of one power over many strings."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ems.dispatch.water_fill import LEVEL_H, StringRoom, water_fill

KW = st.floats(0, 500)
STRINGS = st.lists(
    st.builds(lambda low, high, e, soc: StringRoom(-low, high, e, soc), KW, KW, st.floats(1, 2000), st.floats(0, 1)),
    min_size=1,
    max_size=40,
)
FORCED = st.builds(lambda kw, e, soc: StringRoom(kw, kw, e, soc), st.floats(-300, 300), st.floats(1, 2000), st.floats(0, 1))


def mixed(strings: list[StringRoom], forced: list[StringRoom]) -> list[StringRoom]:
    return [*strings, *forced]


@settings(deadline=None)
@given(STRINGS, st.lists(FORCED, max_size=4), st.floats(-20_000, 20_000))
def test_no_string_is_ever_asked_for_more_than_it_may(strings: list[StringRoom], forced: list[StringRoom], total_kw: float) -> None:
    every = mixed(strings, forced)
    for room, kw in zip(every, water_fill(total_kw, every), strict=True):
        assert room.low_kw <= kw <= room.high_kw


@settings(deadline=None)
@given(STRINGS, st.lists(FORCED, max_size=4), st.floats(0, 1))
def test_the_powers_sum_to_what_is_asked_whenever_the_limits_allow_it(
    strings: list[StringRoom], forced: list[StringRoom], share: float
) -> None:
    every = mixed(strings, forced)
    least, most = sum(s.low_kw for s in every), sum(s.high_kw for s in every)
    total_kw = least + share * (most - least)
    assert sum(water_fill(total_kw, every)) == pytest.approx(total_kw, abs=1e-6)


@settings(deadline=None)
@given(STRINGS, st.floats(1, 20_000))
def test_what_cannot_be_met_is_met_as_far_as_the_limits_go(strings: list[StringRoom], beyond_kw: float) -> None:
    least, most = sum(s.low_kw for s in strings), sum(s.high_kw for s in strings)
    assert sum(water_fill(most + beyond_kw, strings)) == pytest.approx(most)
    assert sum(water_fill(least - beyond_kw, strings)) == pytest.approx(least)


@settings(deadline=None)
@given(STRINGS, st.floats(-20_000, 20_000))
def test_no_string_charges_while_another_discharges(strings: list[StringRoom], total_kw: float) -> None:
    powers = water_fill(total_kw, strings)
    assert not (min(powers) < -1e-6 and max(powers) > 1e-6)


@settings(deadline=None)
@given(STRINGS, st.floats(-20_000, 20_000))
def test_no_string_gives_while_a_fuller_one_that_could_is_left_out(strings: list[StringRoom], total_kw: float) -> None:
    powers = water_fill(total_kw, strings)
    giving = [s.soc for s, kw in zip(strings, powers, strict=True) if kw < -1e-6]
    spare = [s.soc for s, kw in zip(strings, powers, strict=True) if kw > -1e-9 and s.low_kw < -1e-3]
    assert not giving or not spare or max(spare) <= min(giving) + 1e-6


def test_equal_strings_share_equally_and_a_fuller_one_gives_more() -> None:
    alike = StringRoom(-100, 100, 200, 0.5)
    assert water_fill(-120, [alike] * 4) == pytest.approx([-30] * 4)
    fuller = StringRoom(-100, 100, 200, 0.6)
    powers = water_fill(-120, [alike, alike, fuller])
    assert powers[0] == pytest.approx(powers[1]) and powers[2] - powers[0] == pytest.approx(-0.1 * 200 / LEVEL_H)


def test_strings_of_different_charge_meet_when_they_are_cycled() -> None:
    rng = random.Random(3)
    soc = [rng.uniform(0.2, 0.8) for _ in range(50)]
    for step in range(400):
        total_kw = 1500.0 if step // 50 % 2 else -1500.0
        powers = water_fill(total_kw, [StringRoom(-100, 100, 200, s) for s in soc])
        soc = [s + kw * 60 / 3600 / 200 for s, kw in zip(soc, powers, strict=True)]
    assert max(soc) - min(soc) < 0.02
