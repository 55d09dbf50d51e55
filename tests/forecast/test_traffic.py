"""Power from traffic: learnt from measured power, another model noticed within the hour, more joules per token told."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from ems.forecast.traffic import Traffic, TrafficPower, concave, followed_within

T0 = datetime(2024, 1, 1, tzinfo=UTC)
CHANGE = 1440 + 300


def day_and_more(factor: float, minutes: int = 2400, noise: float = 8.0):
    """A cluster whose joules per token change by a factor; its physics is not the model's."""
    rng = np.random.default_rng(3)
    model, errors = TrafficPower(2, 300.0, 1000.0, 10000.0), []
    for i in range(minutes):
        u = 0.45 + 0.2 * np.sin(2 * np.pi * i / 1440) + 0.05 * rng.standard_normal()
        share = 0.3 + 0.1 * np.sin(i / 500)
        output = np.array([share, 1 - share]) * u * 9000
        traffic = Traffic(tuple(output * 4 * np.array([1.2, 0.8])), tuple(output))
        work = 650.0 * u**0.8 * (1.1 * share + 0.9 * (1 - share))
        power = 280.0 + (factor if i >= CHANGE else 1.0) * work + noise * rng.standard_normal()
        errors.append(abs(model.predict(traffic) - power))
        model.observe(T0 + timedelta(minutes=i), traffic, power)
    return model, np.array(errors)


def test_power_is_learnt_from_a_wrong_prior_within_hours():
    _, errors = day_and_more(1.0)
    assert errors[:10].mean() > 2.0 * errors[600:1200].mean()
    assert errors[600:1200].mean() < 15.0


@pytest.mark.parametrize("factor", [1.3, 0.8])
def test_another_model_is_noticed_and_followed_within_an_hour(factor):
    model, errors = day_and_more(factor)
    assert followed_within(model, T0 + timedelta(minutes=CHANGE))
    assert errors[CHANGE + 60 : CHANGE + 180].mean() < 0.3 * errors[CHANGE : CHANGE + 3].mean()


def test_more_joules_per_token_are_told_and_fewer_are_not():
    assert "tokens per joule" in {a.name for a in day_and_more(1.3)[0].alarms}
    assert "tokens per joule" not in {a.name for a in day_and_more(0.8)[0].alarms}


def test_without_a_change_nothing_is_told():
    assert day_and_more(1.0)[0].alarms == []


def test_what_was_not_measured_teaches_nothing():
    model = TrafficPower(1, 300.0, 1000.0, 10000.0)
    traffic = Traffic((4000.0,), (4000.0,))
    before = model.predict(traffic)
    for power in (None, float("nan"), float("inf")):
        model.observe(T0, traffic, power)
    model.observe(T0, Traffic((float("nan"),), (1.0,)), 500.0)
    assert model.predict(traffic) == before


def test_the_shape_starts_at_idle_bends_and_ends_at_the_rating():
    assert concave(0.0) == 0.0 and concave(1.0) == pytest.approx(1.0)
    assert concave(0.25) > 0.25 * concave(1.0)
    model = TrafficPower(1, 300.0, 1000.0, 10000.0)
    assert model.predict(Traffic((0.0,), (0.0,))) == 300.0
    assert model.predict(Traffic((0.0,), (10000.0,))) == pytest.approx(1000.0)
    assert model.predict(Traffic((0.0,), (99999.0,))) == 1000.0
