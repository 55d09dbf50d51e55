"""The SunSpec battery page against pysunspec2, which shares no code with our server: it scans, reads and writes the served device."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sunspec2.modbus import client as sunspec

from adapters.modbus.page import Page
from adapters.modbus.page_file import load_page
from adapters.modbus.server import PageServer
from adapters.sunspec.battery_page import MODELS, TEXTS, page_text
from adapters.sunspec.layout import layout
from ems.resources import bundled

PATH = bundled("config/devices/sunspec-der-battery.yaml")
VALUES = {
    "power_kw": -123.4,
    "soc": 0.8125,
    "max_charge_kw": 400.0,
    "max_discharge_kw": 450.0,
    "is_local": 0.0,
    "power_setpoint_kw": -100.5,
}


@dataclass
class Battery:
    page: Page
    server: PageServer
    values: dict[str, float]
    told: list[tuple[str, float]] = field(default_factory=list)


@pytest.fixture
async def battery() -> AsyncIterator[Battery]:
    page, values = load_page(PATH), dict(VALUES)
    told: list[tuple[str, float]] = []

    def write(name: str, value: float) -> None:
        told.append((name, value))
        values[name] = value

    server = PageServer(page, lambda: values, write)
    await server.start()
    yield Battery(page, server, values, told)
    await server.stop()


def test_the_page_is_what_the_published_models_say():
    assert PATH.read_text() == page_text()


def test_every_address_of_the_page_lies_where_the_models_put_the_point():
    page, where = load_page(PATH), layout(MODELS, TEXTS)
    named = [p for p in page.registers if p.name != "SunS"]
    assert len(named) > 10
    for point in named:
        model, name = point.name.split(".")
        assert where.place(int(model), name).address == point.address, point.name
    assert where.place(704, "WSet").address == page.command("power_setpoint_kw").point.address
    assert where.place(701, "W").address == page.reading("power_kw").address


async def test_their_client_scans_our_device_and_reads_the_same_values(battery: Battery):
    def scan() -> dict[Any, Any]:
        with_device = sunspec.SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=battery.server.port, timeout=60)
        try:
            with_device.scan()
            found = {"models": [m for m in with_device.models if isinstance(m, int)]}
            found["length"] = {m: with_device.models[m][0].L.value for m in MODELS}
            common, measured, rated, stored, control = (with_device.models[m][0] for m in (1, 701, 702, 713, 715))
            return {
                **found,
                "maker": common.Mn.value,
                "power_kw": -measured.W.cvalue / 1000,
                "soc": stored.SoC.cvalue / 100,
                "max_charge_kw": rated.WChaRteMax.cvalue / 1000,
                "max_discharge_kw": rated.WDisChaRteMax.cvalue / 1000,
                "is_local": control.LocRemCtl.value,
                "power_setpoint_kw": -with_device.models[704][0].WSet.cvalue / 1000,
                "not there": (measured.VA.cvalue, stored.SoH.cvalue, rated.WMaxRtg.cvalue),
            }
        finally:
            with_device.close()

    found = await asyncio.to_thread(scan)
    assert found.pop("models") == list(MODELS)
    assert found.pop("length") == {1: 66, 701: 153, 702: 50, 704: 65, 713: 7, 715: 7}
    assert found.pop("maker") == "Simulated"
    assert found.pop("not there") == (None, None, None)
    assert found == pytest.approx(VALUES)


async def test_their_client_arms_a_setpoint_with_its_reversion_timer(battery: Battery):
    def dispatch() -> None:
        device = sunspec.SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=battery.server.port, timeout=60)
        try:
            device.scan()
            control = device.models[704][0]
            for name, value in (("WSetMod", 1), ("WSetRvrtTms", 45), ("WSetEna", 1)):
                getattr(control, name).value = value
                getattr(control, name).write()
            control.WSet.cvalue = 250_000  # 250 kW out of the device
            control.WSet.write()
        finally:
            device.close()

    await asyncio.to_thread(dispatch)
    assert ("lease_s", 45.0) in battery.told
    assert battery.told[-1] == ("power_setpoint_kw", -250.0)


async def test_a_setpoint_has_no_effect_before_the_function_is_enabled(battery: Battery):
    def write_only() -> None:
        device = sunspec.SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=battery.server.port, timeout=60)
        try:
            device.scan()
            device.models[704][0].WSet.cvalue = 250_000
            device.models[704][0].WSet.write()
        finally:
            device.close()

    await asyncio.to_thread(write_only)
    assert battery.told == []
