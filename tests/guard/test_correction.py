"""Golden case 8 of the campaign: import above the limit though every ceiling says otherwise is taken off the room until it stays away."""

from datetime import UTC, datetime, timedelta

import pytest

from ems.guard.correction import GIVE_BACK_AFTER_S, MOST, Correction

START = datetime(2024, 8, 19, 5, tzinfo=UTC)


def run(overs: list[float]) -> list[float]:
    correction = Correction()
    return [correction.update(START + timedelta(seconds=k), over, 1000.0) for k, over in enumerate(overs)]


def test_golden_8_what_is_over_the_limit_is_added_up_at_once_and_bounded():
    assert run([-5.0, 20.0, 15.0, -1.0]) == [0.0, 20.0, 35.0, 35.0]
    assert run([400.0] * 5)[-1] == MOST * 1000.0


def test_it_is_given_back_slowly_after_ten_good_cycles():
    found = run([50.0, *[-10.0] * 200])
    quiet = int(GIVE_BACK_AFTER_S)
    assert found[quiet] == 50.0 and 0.0 < found[quiet + 5] < 50.0 and found[-1] < 3.0
    assert found[quiet + 60] == pytest.approx(50.0 * (1 - 1 / 60) ** 60, rel=0.05)


def test_nothing_is_taken_off_below_the_limit():
    assert run([-1.0] * 50) == [0.0] * 50
