"""The field of the demo site: what it keeps, what it writes, and what it says about trouble."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from adapters.field import ModbusField, refuse_assumed_commands
from adapters.modbus.link import Link, NotConnected
from adapters.modbus.page_file import load_page
from adapters.modbus.server import Fault
from ems.clock import Clock
from ems.dispatch.setpoint import Setpoint
from ems.errors import ConfigError
from ems.messages import Mode
from tests.adapters.fuzz import run_at_once
from tests.adapters.small_site import START, Plant, running_field, served_site, setpoint
from tests.benchmarks.large_site import large_site

SPEED = 20.0
SHORT_S = 0.15  # deadline towards a device that will not answer


class TurnedClock(Clock):
    """Site time that a test turns by hand, at a speed that makes polls follow each other quickly."""

    def turn(self, seconds: float) -> None:
        object.__setattr__(self, "epoch", self.epoch + timedelta(seconds=seconds))

    def now(self) -> datetime:
        return self.epoch


@pytest.fixture
async def plant() -> AsyncIterator[Plant]:
    async with served_site() as plant:
        yield plant


@pytest.fixture
def clock() -> Clock:
    return Clock.starting_at(START, SPEED)


async def until(is_true: Callable[[], bool], within_s: float = 90.0) -> None:
    ends = time.monotonic() + within_s
    while not is_true():
        assert time.monotonic() < ends, "it did not become true in time"
        await asyncio.sleep(0.01)


def has_read_all(field: ModbusField, plant: Plant, clock: Clock) -> Callable[[], bool]:
    """Every block of every device was answered; between two blocks of one poll an image holds the first alone."""
    points = {asset: {p.name for p in plant.pages[link.page].points} for asset, link in plant.site.links.items()}
    return lambda: {asset: set(readings) for asset, readings in field.image(clock.now()).readings.items()} == points


async def test_every_reading_of_every_device_is_in_the_image_with_its_age(plant: Plant, clock: Clock):
    async with running_field(plant, clock) as field:
        await until(has_read_all(field, plant, clock))
        image = field.image(clock.now())
        for asset, link in plant.site.links.items():
            assert set(image.readings[asset]) == {p.name for p in plant.pages[link.page].points}
            assert all(0 <= r.age_s(image.now) < 20.0 * SPEED for r in image.readings[asset].values())
        assert image.problems == {}


async def test_nothing_is_written_in_observe_or_advise_whatever_is_asked(plant: Plant, clock: Clock):
    async with running_field(plant, clock) as field:
        await until(has_read_all(field, plant, clock))
        for mode in (Mode.OBSERVE, Mode.ADVISE):
            field.set_modes(dict.fromkeys(plant.servers, mode))
            for _ in range(5):
                field.apply([setpoint("bess-1", "power_setpoint_kw", 9.0), setpoint("hall-a", "power_cap_kw", 9.0)], True)
                await asyncio.sleep(0.05)
            field.release(["bess-1", "hall-a"])
            await asyncio.sleep(0.05)
    assert plant.writes == 0
    assert plant.told == []


async def test_a_setpoint_reaches_the_device_and_its_read_back_the_image(plant: Plant, clock: Clock):
    async with running_field(plant, clock, ("bess-1",)) as field:
        await until(has_read_all(field, plant, clock))
        field.apply([setpoint("bess-1", "power_setpoint_kw", -123.0)], True)
        await until(lambda: field.image(clock.now()).command("bess-1", "power_setpoint_kw", 400.0) == -123.0)
        assert plant.values["bess-1"]["power_setpoint_kw"] == pytest.approx(-123.0)


async def test_caps_of_clusters_are_written_before_storage(plant: Plant, clock: Clock):
    async with running_field(plant, clock, tuple(plant.servers)) as field:
        await until(has_read_all(field, plant, clock))
        field.apply(
            [
                setpoint("bess-1", "power_setpoint_kw", 5.0),
                setpoint("ups-1", "battery_setpoint_kw", 5.0),
                setpoint("hall-a", "power_cap_kw", 500.0),
                setpoint("hall-b", "power_cap_kw", 300.0),
            ],
            True,
        )
        await until(lambda: {"bess-1", "ups-1", "hall-a", "hall-b"} <= {asset for asset, _, _ in plant.told})
        order = list(dict.fromkeys(asset for asset, _, _ in plant.told))
        assert set(order[:2]) == {"hall-a", "hall-b"}


async def applied(field: ModbusField, setpoints: list[Setpoint], refresh_leases: bool = True) -> None:
    """Hands setpoints over and waits until they were written."""
    field.apply(setpoints, refresh_leases)
    await field._write_once()


async def test_an_unchanged_setpoint_is_written_again_only_to_keep_its_lease(plant: Plant):
    clock = TurnedClock(START, SPEED)
    async with running_field(plant, clock, ("hall-a",)) as field:
        await until(has_read_all(field, plant, clock))
        for _ in range(6):  # below a tenth of the 60 s lease
            await applied(field, [setpoint("hall-a", "power_cap_kw", 500.0)])
            clock.turn(1.0)
        assert plant.told == [("hall-a", "power_cap_kw", 500.0), ("hall-a", "lease_s", 60.0)]


async def test_the_lease_is_kept_by_a_tenth_of_its_time_and_only_while_decisions_are_healthy(plant: Plant):
    clock = TurnedClock(START, SPEED)
    async with running_field(plant, clock, ("hall-a",)) as field:
        await until(has_read_all(field, plant, clock))

        async def hold(is_healthy: bool) -> int:
            before = len(plant.told)
            for _ in range(12):  # 36 s
                await applied(field, [setpoint("hall-a", "power_cap_kw", 500.0)], is_healthy)
                clock.turn(3.0)
            return sum(name == "lease_s" for _, name, _ in plant.told[before:])

        assert await hold(True) == 6  # at once, then each 6 s
        assert await hold(False) == 0
        assert await hold(True) == 6


async def test_polling_alone_keeps_no_lease(plant: Plant):
    clock = TurnedClock(START, SPEED)
    async with running_field(plant, clock, ("hall-a", "bess-1")) as field:
        await until(has_read_all(field, plant, clock))
        await applied(field, [setpoint("hall-a", "power_cap_kw", 500.0), setpoint("bess-1", "power_setpoint_kw", 5.0)])
        async with field._round:  # the background, which `apply` woke, has had its turn too
            count = plant.writes
        assert count >= 4
        for _ in range(10):  # 100 s of site time in which nobody decides
            clock.turn(10.0)
            await field.poll_once()
        assert plant.writes == count


async def test_after_a_lapse_the_commands_are_written_again(plant: Plant):
    clock = TurnedClock(START, SPEED)
    async with running_field(plant, clock, ("hall-a",)) as field:
        await until(has_read_all(field, plant, clock))
        await applied(field, [setpoint("hall-a", "power_cap_kw", 500.0)])
        assert plant.values["hall-a"]["power_cap_kw"] == 500.0
        clock.turn(70.0)  # the lease has run out
        plant.values["hall-a"]["power_cap_kw"] = 330.0  # the contract cap
        await applied(field, [setpoint("hall-a", "power_cap_kw", 500.0)])
        assert plant.values["hall-a"]["power_cap_kw"] == 500.0


async def test_a_write_acknowledged_but_not_applied_is_reported_and_tried_again(plant: Plant, clock: Clock):
    async with running_field(plant, clock, ("hall-a",)) as field:
        await until(has_read_all(field, plant, clock))
        plant.servers["hall-a"].fault = Fault.DEAF

        def problem() -> str:
            field.apply([setpoint("hall-a", "power_cap_kw", 500.0)], True)
            return field.image(clock.now()).problems.get("hall-a", "")

        await until(lambda: all(words in problem() for words in ("acknowledged but not applied", "told 500, reads back 0")))
        plant.servers["hall-a"].fault = None
        await until(lambda: problem() == "")
        assert plant.values["hall-a"]["power_cap_kw"] == 500.0


@pytest.mark.parametrize("behind_s", [None, 2])
async def test_a_wish_that_changes_every_second_does_not_hide_that_none_is_done(plant: Plant, behind_s: int | None):
    """A deaf hall is named within five seconds; one that follows two seconds late, as it may, never."""
    clock = TurnedClock(START, SPEED)
    async with running_field(plant, clock, ("hall-a",)) as field:
        await until(has_read_all(field, plant, clock))
        named_s, told_kw = [], [400.0]
        for second in range(12):
            if second >= 4:
                plant.servers["hall-a"].fault = Fault.DEAF
                plant.values["hall-a"]["power_cap_kw"] = told_kw[-behind_s] if behind_s else 430.0
            told_kw.append(400.0 + 10.0 * second)
            await applied(field, [setpoint("hall-a", "power_cap_kw", told_kw[-1])])
            clock.turn(1.0)
            await field.poll_once()
            if "power_cap_kw" in field.image(clock.now()).problems.get("hall-a", ""):
                named_s.append(second - 4)
        assert named_s == [] if behind_s else 2 <= named_s[0] <= 4


async def test_there_is_no_write_war_with_another_master(plant: Plant):
    clock = TurnedClock(START, SPEED)
    async with running_field(plant, clock, ("hall-a",)) as field:
        await until(has_read_all(field, plant, clock))
        named_s = 0.0
        for second in range(30):
            await applied(field, [setpoint("hall-a", "power_cap_kw", 500.0)])
            clock.turn(1.0)
            await field.poll_once()
            named_s = named_s or ("another master" in field.image(clock.now()).problems.get("hall-a", "")) * second
            plant.values["hall-a"]["power_cap_kw"] = 900.0
        assert 0 < named_s <= 5
        assert sum(name == "power_cap_kw" for _, name, _ in plant.told) <= 4


async def test_a_device_that_shows_what_it_was_told_and_does_something_else_is_told_again_every_twenty_seconds(plant: Plant):
    clock = TurnedClock(START, SPEED)
    async with running_field(plant, clock, ("hall-a",)) as field:
        await until(has_read_all(field, plant, clock))
        for astray, writes in ((), 1), (("hall-a",), 4):  # at once, the last write is long ago, and twice more
            for _ in range(45):
                field.apply([setpoint("hall-a", "power_cap_kw", 500.0)], True, astray)
                await field._write_once()
                clock.turn(1.0)
                await field.poll_once()
            assert sum(name == "power_cap_kw" for _, name, _ in plant.told) == writes


async def test_a_silent_device_ages_is_named_and_comes_back(plant: Plant, clock: Clock):
    async with running_field(plant, clock, deadline_s=SHORT_S) as field:
        await until(has_read_all(field, plant, clock))
        plant.servers["poc"].fault = Fault.SILENT
        silent_since = clock.now()
        await until(lambda: "poc" in field.image(clock.now()).problems)
        image = field.image(clock.now())
        assert image.readings["poc"]["power_kw"].at < silent_since
        await until(lambda: field.image(clock.now()).value("poc", "power_kw", 5.0) is None)
        plant.servers["poc"].fault = None
        await until(lambda: "poc" not in field.image(clock.now()).problems)


async def test_a_silent_device_delays_nobody(plant: Plant, clock: Clock):
    """Half a minute is waited for its answer; the others are read meanwhile."""
    async with running_field(plant, clock, deadline_s=30.0) as field:
        await until(has_read_all(field, plant, clock))
        plant.servers["poc"].fault = Fault.SILENT
        silent_since = clock.now()
        await asyncio.sleep(0.2)
        plant.values["bess-1"]["soc"] = 0.25
        await until(lambda: field.image(clock.now()).readings["bess-1"]["soc"].value == pytest.approx(0.25))
        assert field.image(clock.now()).readings["poc"]["power_kw"].at < silent_since + timedelta(seconds=0.2 * SPEED)


async def test_a_silent_cluster_does_not_hold_back_the_battery(plant: Plant, clock: Clock):
    async with running_field(plant, clock, ("hall-a", "bess-1"), deadline_s=SHORT_S) as field:
        await until(has_read_all(field, plant, clock))
        plant.servers["hall-a"].fault = Fault.SILENT

        def hold() -> bool:
            field.apply([setpoint("hall-a", "power_cap_kw", 500.0), setpoint("bess-1", "power_setpoint_kw", 5.0)], True)
            return plant.values["bess-1"]["power_setpoint_kw"] == pytest.approx(5.0)

        await until(hold)


async def test_a_rebooted_device_is_told_again_what_it_forgot(plant: Plant, clock: Clock):
    async with running_field(plant, clock, ("hall-a", "bess-1")) as field:
        await until(has_read_all(field, plant, clock))

        def hold() -> bool:
            field.apply([setpoint("hall-a", "power_cap_kw", 500.0), setpoint("bess-1", "power_setpoint_kw", 5.0)], True)
            return plant.values["hall-a"]["power_cap_kw"] == 500.0 and plant.values["bess-1"]["power_setpoint_kw"] == pytest.approx(5.0)

        await until(hold)
        for asset in ("hall-a", "bess-1"):
            await plant.servers[asset].restart()
            plant.values[asset].update(power_cap_kw=330.0, power_setpoint_kw=0.0)
        await until(hold)
        await until(lambda: hold() and field.image(clock.now()).problems == {})


async def test_a_refused_command_is_a_problem_and_is_not_repeated_every_cycle(plant: Plant):
    clock = TurnedClock(START, SPEED)
    async with running_field(plant, clock, ("hall-a",)) as field:
        await until(has_read_all(field, plant, clock))
        for _ in range(10):
            await applied(field, [setpoint("hall-a", "power_cap_kw", 500.0), setpoint("hall-a", "batch_limit_kw", 2e6)])
        assert "batch_limit_kw: 2e+06 kW is outside" in field.image(clock.now()).problems["hall-a"]
        assert plant.values["hall-a"]["power_cap_kw"] == 500.0
        plant.servers["hall-a"].fault = Fault.REFUSE
        before = plant.writes
        for _ in range(10):
            await applied(field, [setpoint("hall-a", "power_cap_kw", 600.0)])
            clock.turn(1.0)
        assert plant.writes - before <= 3


async def test_release_lets_go_once_and_only_of_what_we_hold_or_control(plant: Plant, clock: Clock):
    async with running_field(plant, clock, ("hall-a", "bess-1")) as field:
        await until(has_read_all(field, plant, clock))
        field.apply([setpoint("hall-a", "power_cap_kw", 500.0), setpoint("bess-1", "power_setpoint_kw", 5.0)], True)
        await until(lambda: len(plant.told) >= 4)
        for _ in range(4):  # asked for again in every cycle
            field.release(["bess-1", "ups-1", "hall-a"])
            await field._write_once()
        assert [asset for asset, name, _ in plant.told if name == "release"] == ["bess-1", "hall-a"]


async def test_what_a_process_before_us_may_hold_is_let_go_when_it_is_ours_to_control(plant: Plant, clock: Clock):
    async with running_field(plant, clock, ("bess-1", "hall-a")) as field:
        await until(has_read_all(field, plant, clock))
        field.release(list(plant.servers))
        await until(lambda: len(plant.told) >= 2)
    assert plant.told == [("bess-1", "release", 0.0), ("hall-a", "release", 0.0)]


async def test_one_lost_answer_is_no_reason_to_distrust_a_device(plant: Plant, clock: Clock):
    async with running_field(plant, clock) as field:
        await until(has_read_all(field, plant, clock))
        seen = []
        plant.servers["bess-1"].drop_connections()
        ends = time.monotonic() + 0.3
        while time.monotonic() < ends:
            seen.append(field.image(clock.now()).problems.get("bess-1"))
            await asyncio.sleep(0.005)
        assert set(seen) == {None}


async def test_stopping_writes_what_was_still_asked_for(plant: Plant, clock: Clock):
    async with running_field(plant, clock, ("bess-1",)) as field:
        await until(has_read_all(field, plant, clock))
        field.apply([setpoint("bess-1", "power_setpoint_kw", 5.0)], True)
        await until(lambda: bool(plant.told))
        field.release(["bess-1"])
    assert plant.told[-1] == ("bess-1", "release", 0.0)


async def test_a_frozen_device_is_still_told_and_shows_it(plant: Plant, clock: Clock):
    """A device that keeps answering the same is told by its read-back: what it was told never appears."""
    async with running_field(plant, clock, ("hall-a",)) as field:
        await until(has_read_all(field, plant, clock))
        plant.servers["hall-a"].fault = Fault.FROZEN
        await asyncio.sleep(0.1)

        def problem() -> str:
            field.apply([setpoint("hall-a", "power_cap_kw", 500.0)], True)
            return field.image(clock.now()).problems.get("hall-a", "")

        await until(lambda: "not applied" in problem())


async def test_an_assumed_command_is_refused_off_loopback(plant: Plant):
    links = {asset: replace(link, host="10.1.2.3") for asset, link in plant.site.links.items()}
    with pytest.raises(ConfigError) as error:
        refuse_assumed_commands(links, plant.pages)
    text = str(error.value)
    assert "generic-it-cluster" in text and "power_cap_kw" in text and "hall-a at 10.1.2.3" in text
    assert "sunspec" not in text and "janitza" not in text


class Asked(Link):
    """A connection that only notes when it was asked for."""

    def __init__(self, asset: str, asked: list[tuple[float, str]]) -> None:
        super().__init__("nowhere", 0, random.Random(0))
        self._asset, self._asked_at = asset, asked

    async def open(self) -> int:
        self._asked_at.append((asyncio.get_running_loop().time(), self._asset))
        raise NotConnected(f"{self._asset} not connected")


@pytest.mark.parametrize("each", [2, 20])
def test_many_devices_are_polled_one_after_the_other_and_the_meter_shortly_before_the_cycle(each: int):
    site = large_site(each, each, each, each)
    links = {asset: replace(link, port=k) for k, (asset, link) in enumerate(site.links.items())}
    assets = {a: replace(x, link=links[a]) if a in links else x for a, x in site.assets.items()}  # type: ignore[call-arg,union-attr]
    site = replace(site, assets=assets, point_of_connection=replace(site.point_of_connection, meter=links["poc"]))
    asked: list[tuple[float, str]] = []
    pages = {link.page: load_page(link.page) for link in links.values()}
    lines = {(link.host, link.port): Asked(asset, asked) for asset, link in links.items()}
    field = ModbusField(site, pages, TurnedClock(START, 1.0), {}, links=lines)

    async def poll() -> None:
        await field.start()
        await asyncio.sleep(2.99)
        await field.stop()

    run_at_once(poll())
    rounds = [sorted(row for row in asked if k <= row[0] < k + 1) for k in range(3)]
    for k, row in enumerate(rounds):
        assert sorted(asset for _, asset in row) == sorted(links)
        assert row[-1][0] - row[0][0] == pytest.approx(field.spread_s, abs=0.01) and row[0][0] == pytest.approx(k)
        gaps = [b[0] - a[0] for a, b in pairwise(row)]
        assert each == 2 or (row[-1][1] == "poc" and max(gaps) < 0.01)
    assert field.spread_s == (0.0 if each == 2 else 0.5)
