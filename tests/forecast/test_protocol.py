"""What a forecast is: its levels, its steps, its history."""

from datetime import UTC, datetime

import numpy as np
import pytest

from ems.forecast.pending import Pending
from ems.forecast.protocol import LEVELS, History, history_of, issue, uncrossed


def forecast():
    values = np.array(LEVELS)[:, None] * 100.0 + np.array([0.0, 10.0, 20.0])
    return issue(history_of(np.ones(4), 600.0, 100), "test", np.array([1, 2, 4]), values)


def test_a_level_between_two_is_interpolated_and_one_outside_is_refused():
    assert forecast().q(0.5) == pytest.approx([50.0, 60.0, 70.0])
    assert forecast().q(0.25)[0] == pytest.approx(25.0)
    for level in (0.001, 0.999):
        with pytest.raises(ValueError, match=r"0\.01 to 0\.99"):
            forecast().q(level)


def test_a_forecast_is_made_at_the_end_of_its_history_and_says_until_when_it_holds():
    f = forecast()
    assert f.made_at == datetime.fromtimestamp(104 * 600, UTC)
    assert f.valid_until > f.made_at and f.source == "test" and f.reason == ""


def test_steps_of_any_length_take_the_lead_of_their_middle():
    f = forecast()
    now = f.made_at.timestamp()
    at = f.at(np.array([now, now + 600.0, now + 1200.0, now + 9000.0]), np.array([1 / 6, 1 / 6, 1 / 6, 1.0]))
    assert at[LEVELS.index(0.5)] == pytest.approx([50.0, 60.0, 65.0, 70.0])


def test_an_estimate_is_never_a_target():
    history = History(600.0, 10, np.array([1.0, 2.0, np.nan]), np.array([False, True, False]))
    assert history.target(10) == 1.0
    assert np.isnan([history.target(cell) for cell in (9, 11, 12, 13)]).all()


def test_crossed_quantiles_are_put_in_order():
    assert (np.diff(uncrossed(np.array([[3.0], [1.0], [2.0]])), axis=0) >= 0).all()


def test_what_is_pending_is_handed_back_once_its_cell_is_known_also_after_a_jump():
    leads = np.array([1, 3, 7])
    pending = Pending(leads, 2)
    before = 10
    for end in (*range(10, 16), 19, 20):
        for cell in range(before, end):
            rows, ok = pending.due(cell)
            for lead, row, is_there in zip(leads, rows, ok, strict=True):
                issued_at = cell + 1 - lead
                assert is_there == (issued_at in (10, 11, 12, 13, 14, 15, 19) and issued_at < end)
                if is_there:
                    assert list(row) == [issued_at, lead]
        before = end
        pending.put(end, np.column_stack([np.full(3, end), leads]))
    assert pending._rows.shape == (14, 2)
