"""What holds under any sequence of commands: energy stays in the store, work is conserved, the limits of each device hold."""

import math
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.errors import Refused
from simulators.plant import Demand, Plant
from tests.simulators.sites import two_mw_site

START = datetime(2024, 8, 19, tzinfo=UTC)
TARGETS = (
    ("bess-1", "power_setpoint_kw", 520.0),
    ("ups-1", "battery_setpoint_kw", 1000.0),
    ("hall-a", "power_cap_kw", 1080.0),
    ("hall-a", "batch_limit_kw", 500.0),
    ("hall-b", "training_limit_kw", 200.0),
    ("hall-b", "power_cap_kw", 600.0),
)
share = st.floats(-1.0, 1.0, allow_nan=False)
moves = st.lists(
    st.tuples(
        st.sampled_from(TARGETS),
        share,
        st.floats(0.0, 600.0),
        st.floats(0.0, 600.0),
        st.floats(0.0, 300.0),
        st.sampled_from((1.0, 5.0, 300.0, 1800.0)),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(moves)
def test_whatever_is_commanded_energy_and_work_are_conserved(sequence) -> None:
    plant = Plant(two_mw_site(), 1)
    at, totals = START, {}
    for (asset, command, scale), value, interactive, batch, training, dt_s in sequence:
        try:
            plant.devices[asset].write(command, value * scale, at.timestamp())
        except Refused:
            pass
        demand = {"hall-a": Demand(interactive, batch, training), "hall-b": Demand(training, batch / 2, interactive / 2)}
        step = plant.step(dt_s, at, demand, 30.0)
        at += timedelta(seconds=dt_s)
        add_up(totals, step.work)
        assert step.poc_kw == sum(step.asset_kw.values())
        stays_within_ratings(plant, step)
    work_is_conserved(plant, totals)


def stays_within_ratings(plant: Plant, step) -> None:
    for store in (*plant.batteries, *plant.upses):
        assert 0.0 <= store.soc <= 1.0
    assert -500.0 - 1e-6 <= step.store_kw["bess-1"] <= 500.0 + 1e-6
    assert step.store_kw["ups-1"] >= -step.it_kw - 1e-6
    for cluster in plant.clusters:
        cap_kw = cluster.commands()["power_cap_kw"]
        assert cluster.rating.idle_kw <= cluster.power_kw <= max(cluster.rating.idle_kw, cap_kw) + 1e-6


def add_up(totals: dict, work: dict) -> None:
    for cluster, classes in work.items():
        for name, w in classes.items():
            row = totals.setdefault((cluster, name), [0.0, 0.0, 0.0])
            row[0] += w.deferred_kwh
            row[1] += w.recovered_kwh
            row[2] += w.dropped_kwh
            assert min(w) >= -1e-9


def work_is_conserved(plant: Plant, totals: dict) -> None:
    rest = plant.finish()
    for (cluster, name), (deferred, recovered, dropped) in totals.items():
        assert math.isclose(deferred, recovered + dropped + rest[cluster].get(name, 0.0), abs_tol=1e-6)
