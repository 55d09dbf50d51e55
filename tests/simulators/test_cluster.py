"""An IT cluster: who gets the room under the cap, what waits, what is lost."""

from random import Random

import pytest

from simulators.devices.backlog import Backlog
from simulators.devices.cluster import ClusterDevice, Demand
from simulators.errors import Refused
from tests.simulators.sites import cluster

HOUR_S = 3600.0
DEMAND = Demand(interactive_kw=240.0, batch_kw=240.0, training_kw=120.0, prompt_tokens_per_s=480.0, output_tokens_per_s=96.0)
NOTHING = Demand(0.0, 0.0, 0.0)


def hall(**commands: float) -> ClusterDevice:
    """Hall A (idle 270, rating 1,080 kW) with commands written."""
    device = ClusterDevice(cluster("hall-a", 900.0, 0), Random(0))
    for command, value in commands.items():
        device.write(command, value, 0.0)
    return device


def test_without_a_cap_the_cluster_draws_its_demand() -> None:
    device = hall()
    device.step(5.0, 0.0, DEMAND)
    assert device.power_kw == 870.0 == device.demand_kw


def test_the_cluster_clips_at_its_cap_in_the_very_next_step() -> None:
    device = hall()
    device.step(1.0, 0.0, DEMAND)
    device.write("power_cap_kw", 600.0, 1.0)
    device.step(1.0, 1.0, DEMAND)
    assert device.power_kw == pytest.approx(600.0)
    assert device.read()["demand_kw"] == pytest.approx(870.0, rel=0.002)


@pytest.mark.parametrize(
    ("cap_kw", "interactive_kw", "training_kw", "batch_kw"),
    [
        (870.0, 240.0, 120.0, 240.0),
        (700.0, 240.0, 120.0, 70.0),
        (600.0, 240.0, 90.0, 0.0),
        (400.0, 130.0, 0.0, 0.0),
        (100.0, 0.0, 0.0, 0.0),
    ],
)
def test_room_goes_to_interactive_then_training_then_batch(
    cap_kw: float, interactive_kw: float, training_kw: float, batch_kw: float
) -> None:
    device = hall(power_cap_kw=cap_kw)
    device.step(HOUR_S, 0.0, DEMAND)
    served = {name: work.served_kwh for name, work in device.work.items()}
    assert served == pytest.approx({"interactive": interactive_kw, "training": training_kw, "batch": batch_kw})
    assert device.power_kw == pytest.approx(max(270.0, min(870.0, cap_kw)))


def test_interactive_work_without_room_is_lost_and_the_rest_waits() -> None:
    device = hall(power_cap_kw=400.0)
    device.step(HOUR_S, 0.0, DEMAND)
    assert device.work["interactive"].throttled_kwh == pytest.approx(110.0)
    assert device.work["batch"].deferred_kwh == pytest.approx(240.0) == device.backlogs["batch"].kwh
    assert device.work["training"].deferred_kwh == pytest.approx(120.0) == device.backlogs["training"].kwh


def test_waiting_work_is_recovered_as_soon_as_there_is_room_earliest_due_first() -> None:
    device = hall(batch_limit_kw=0.0, training_limit_kw=0.0)
    device.step(HOUR_S, 0.0, Demand(0.0, 100.0, 100.0))
    for command in ("batch_limit_kw", "training_limit_kw"):
        device.write(command, 1080.0, HOUR_S)
    device.write("power_cap_kw", 270.0 + 150.0, HOUR_S)
    device.step(HOUR_S, HOUR_S, NOTHING)
    assert device.work["batch"].recovered_kwh == pytest.approx(100.0)  # due in 8 h
    assert device.work["training"].recovered_kwh == pytest.approx(50.0)  # due in 24 h
    assert device.power_kw == pytest.approx(420.0)


def test_a_class_limit_is_a_ceiling_on_fresh_and_recovered_work_together() -> None:
    device = hall(batch_limit_kw=0.0)
    device.step(HOUR_S, 0.0, Demand(0.0, 100.0, 0.0))
    device.write("batch_limit_kw", 60.0, HOUR_S)
    device.step(HOUR_S, HOUR_S, Demand(0.0, 40.0, 0.0))
    assert device.work["batch"].served_kwh == pytest.approx(60.0)
    assert device.work["batch"].recovered_kwh == pytest.approx(20.0)


def test_recovery_never_exceeds_the_rating() -> None:
    device = hall(batch_limit_kw=0.0)
    for i in range(8):
        device.write("batch_limit_kw", 0.0, i * 600.0)
        device.step(600.0, i * 600.0, Demand(0.0, 800.0, 0.0))
    for command in device.COMMANDS:
        device.write(command, 1080.0, 4800.0)
    device.step(60.0, 4800.0, Demand(200.0, 0.0, 0.0))
    assert device.power_kw == pytest.approx(1080.0)


def test_work_not_recovered_by_its_deadline_is_dropped() -> None:
    device = hall(batch_limit_kw=0.0)
    device.step(300.0, 0.0, Demand(0.0, 120.0, 0.0))
    device.step(300.0, 8 * HOUR_S - 300.0, NOTHING)
    assert device.work["batch"].dropped_kwh == 0.0
    assert device.backlogs["batch"].kwh == 0.0  # the lease had lapsed: recovered under the contract cap
    late = hall(batch_limit_kw=0.0)
    late.step(300.0, 0.0, Demand(0.0, 120.0, 0.0))
    late.write("batch_limit_kw", 0.0, 8 * HOUR_S)
    late.step(300.0, 8 * HOUR_S, NOTHING)
    assert late.work["batch"].dropped_kwh == pytest.approx(10.0)
    assert late.backlogs["batch"].kwh == 0.0


def test_the_rest_is_dropped_when_the_window_ends() -> None:
    device = hall(batch_limit_kw=0.0, training_limit_kw=0.0)
    device.step(HOUR_S, 0.0, Demand(0.0, 30.0, 20.0))
    assert device.drop_rest() == pytest.approx({"batch": 30.0, "training": 20.0})
    assert device.drop_rest() == {"batch": 0.0, "training": 0.0}


def test_demand_above_the_rating_is_not_demand() -> None:
    device = hall()
    device.step(1.0, 0.0, Demand(800.0, 800.0, 400.0))
    assert device.power_kw == pytest.approx(1080.0)
    assert device.demand.interactive_kw == pytest.approx(324.0)


def test_the_backlog_is_reported_by_when_it_is_due() -> None:
    device = hall(batch_limit_kw=0.0)
    device.step(HOUR_S, 0.0, Demand(0.0, 100.0, 0.0))  # due at 8 h, now it is 1 h
    said = device.read()
    assert said["batch_backlog_kwh"] == pytest.approx(100.0)
    assert said["batch_due_4h_kwh"] == 0.0
    assert said["batch_due_8h_kwh"] == said["batch_due_24h_kwh"] == pytest.approx(100.0)


def test_tokens_follow_the_energy_served_and_deferred_batch_makes_its_tokens_later() -> None:
    device = hall(batch_limit_kw=0.0)
    device.step(HOUR_S, 0.0, DEMAND)
    assert device.prompt_tokens == pytest.approx(480.0 * HOUR_S / 2)
    device.write("batch_limit_kw", 1080.0, HOUR_S)
    device.step(HOUR_S, HOUR_S, NOTHING)
    assert device.prompt_tokens == pytest.approx(480.0 * HOUR_S / 2)
    assert device.output_tokens == pytest.approx(96.0 * HOUR_S / 2)


def test_a_lapsed_lease_leaves_the_contract_cap_and_no_class_limit() -> None:
    device = hall(power_cap_kw=1080.0, batch_limit_kw=10.0)
    device.step(1.0, 59.0, DEMAND)
    assert device.commands()["batch_limit_kw"] == 10.0
    device.step(1.0, 60.0, Demand(400.0, 400.0, 200.0))
    assert device.power_kw == pytest.approx(device.rating.contract_cap_kw)
    assert device.commands()["batch_limit_kw"] == 1080.0


@pytest.mark.parametrize(("command", "value"), [("power_cap_kw", 1100.0), ("batch_limit_kw", -5.0), ("power_setpoint_kw", 5.0)])
def test_a_cluster_refuses_what_it_cannot_do(command: str, value: float) -> None:
    with pytest.raises(Refused):
        hall(**{command: value})


def test_a_backlog_rounds_dues_down_never_up() -> None:
    backlog = Backlog()
    backlog.add(5.0, 899.0)
    assert backlog.first_due_s == 600.0
    assert backlog.drop_before(600.0) == 0.0
    assert backlog.drop_before(600.1) == 5.0


@pytest.mark.parametrize("demand", [NOTHING, DEMAND])
def test_a_limit_a_rounding_error_below_zero_counts_as_zero(demand: Demand) -> None:
    device = hall(batch_limit_kw=-0.001953125)
    device.step(1.0, 0.0, demand)
    batch = device.work["batch"]
    assert batch.served_kwh == 0.0
    assert batch.deferred_kwh == pytest.approx(demand.batch_kw / HOUR_S)
