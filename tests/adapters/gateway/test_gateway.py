"""The register map of the substation gateway, over Modbus: what it reads, what its writes become, and what its silence means."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.gateway.map import LEASE, READINGS, WRITES, described, gateway_page
from adapters.modbus.link import Link
from adapters.modbus.registers import decode, raw_to_registers
from ems.errors import DeviceRefused, FieldError
from ems.mailbox import Mailbox
from ems.office.gateway import GatewayDesk
from ems.program.channel import GatewayFile
from ems.program.envelope import FlexibilityEnvelope, Reduction
from ems.resources import bundled
from ems.site.load import load_site
from tests.program.desks import NOW, World, desk_on

SITE = load_site(bundled("config/sites/demo-2mw.yaml"))
PAGE = gateway_page()
FILE = GatewayFile.model_validate({"port": 0, "capacity": {"subscription_kw": 900, "stale_after_s": 600}})
SECOND = timedelta(seconds=1)
ENVELOPE = FlexibilityEnvelope(
    site="demo",
    at=NOW,
    start=NOW,
    reductions=[
        Reduction(hours=h, kw={"p50": 300, "p90": 250 - 10 * h, "p95": 200}, planned_import_kw=900, response_s=30, limiting="x")
        for h in (0.25, 1.0, 2.0, 4.0)
    ],
)


class Rig:
    """A gateway desk on a folder, stepped by hand, and a Modbus client as the substation's end."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.desk = desk_on(folder / "programs.db", World())
        self.mailbox = Mailbox(folder / "mailbox.db", busy_ms=2000)
        self.gateway = GatewayDesk.started(FILE, SITE, self.desk, self.mailbox, lambda: self.now)
        self.link = Link("127.0.0.1", self.gateway.server.port, random.Random(1), deadline_s=20.0, connect_s=20.0)

    def step(self, after: timedelta = SECOND, import_kw: float = 850.0) -> None:
        self.now += after
        body = {"at": self.now.isoformat(), "import_kw": import_kw, "is_metered": True, "limit_kw": 1450.0, "level": "L0", "assets": []}
        self.mailbox.post("snapshot", body, self.now, self.now + 600 * SECOND)
        self.gateway.deliver(self.now, ENVELOPE)

    def in_force(self) -> Any:
        known = [o for o in self.gateway.connection.obligations(self.now) if o.is_in_force(self.now)]
        return min(known, key=lambda o: o.kw)

    def limit_kw(self) -> float:
        return float(self.in_force().kw)

    async def read(self, name: str) -> float | None:
        point = next(p for p in (*PAGE.points, *(c.point for c in PAGE.commands)) if p.name == name)
        return decode(point, await self.link.read(1, "holding", point.address, point.count))

    async def write(self, name: str, value: float) -> None:
        point = next(p for p in (*PAGE.registers, *(c.point for c in PAGE.commands)) if p.name == name)
        await self.link.write(1, point.address, raw_to_registers(point, value if point.count == 2 else round(value)))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.gateway.close()


async def test_the_gateway_reads_import_flexibility_and_a_growing_heartbeat(rig: Rig):
    rig.step()
    first = await rig.read("heartbeat")
    rig.step()
    assert [await rig.read(n) for n in ("map_version", "import_kw", "limit_kw", "headroom_kw", "ladder")] == [1, 850.0, 1450.0, 600.0, 0]
    assert [await rig.read(n) for n in ("down_15min_kw", "down_60min_kw", "down_240min_kw")] == [247.5, 240.0, 210.0]
    assert await rig.read("heartbeat") == (first or 0) + 1
    assert await rig.read("storage_energy_kwh") is None and await rig.read("accepted_limit_kw") is None
    rig.link.close()


async def test_a_limit_is_taken_with_its_audit_and_shown_as_accepted(rig: Rig):
    rig.step()
    await rig.write("import_limit_kw", 700.0)
    await rig.write("gateway_heartbeat", 1)
    rig.step()
    rig.step()
    assert rig.limit_kw() == 700.0 and await rig.read("accepted_limit_kw") == 700.0 and await rig.read("status") == 2
    kept = [r.body for r in rig.desk.store.since() if r.kind == "message"]
    assert len(kept) == 1 and kept[0]["source"] == "gateway import_limit_kw" and '"kw": 700.0' in kept[0]["raw"]
    rig.link.close()


async def test_the_smaller_of_limit_and_target_holds_and_zero_beats_withdraw_both(rig: Rig):
    for name, kw in (("import_limit_kw", 850.0), ("import_target_kw", 600.0)):
        await rig.write(name, kw)
    await rig.write("gateway_heartbeat", 7)
    rig.step()
    assert rig.limit_kw() == 600.0
    await rig.write("gateway_heartbeat", 0)
    rig.step()
    assert rig.limit_kw() == 900.0 and await rig.read("accepted_target_kw") is None
    rig.link.close()


async def test_a_silent_gateway_means_the_agreed_fall_back(rig: Rig):
    await rig.write("import_limit_kw", 1300.0)
    await rig.write("gateway_heartbeat", 1)
    rig.step()
    assert rig.limit_kw() == 1300.0
    rig.step(601 * SECOND)
    assert rig.limit_kw() == 900.0 and await rig.read("status") == 3
    await rig.write("gateway_heartbeat", 2)
    rig.step()
    assert rig.limit_kw() == 1300.0
    rig.link.close()


async def test_a_lease_the_gateway_asks_for_lapses_without_its_beat(rig: Rig):
    await rig.write("lease_s", 30)
    await rig.write("import_limit_kw", 500.0)
    await rig.write("gateway_heartbeat", 1)
    rig.step()
    assert rig.limit_kw() == 500.0
    rig.step(31 * SECOND)
    assert rig.limit_kw() == 900.0
    assert any("no heartbeat" in r.body.get("why", "") for r in rig.desk.store.since() if r.kind == "message")
    rig.link.close()


@pytest.mark.parametrize("value", [-1.0, 6e6, math.nan, math.inf])
async def test_a_number_that_cannot_be_meant_is_refused_at_the_register(rig: Rig, value: float):
    with pytest.raises((DeviceRefused, FieldError)):
        await rig.write("import_limit_kw", value)
    rig.step()
    assert rig.limit_kw() == 900.0 and not rig.gateway.connection.told
    rig.link.close()


async def test_a_reading_cannot_be_written(rig: Rig):
    with pytest.raises(FieldError):
        await rig.link.write(1, 4, [0, 0])
    rig.link.close()


def test_a_restarted_office_goes_on_with_the_gateway_s_limit(rig: Rig, tmp_path: Path):
    rig.gateway._take(type("W", (), {"at": NOW, "name": "import_limit_kw", "value": 650.0})(), NOW)  # type: ignore[arg-type]
    again = GatewayDesk(rig.gateway.server, SITE, desk_on(tmp_path / "programs.db", World()), rig.mailbox)
    assert again._held == {"import_limit_kw": 650.0} and min(o.kw for o in again.connection.obligations(NOW)) == 650.0


def test_the_map_has_no_overlap_and_stands_in_the_readme():
    points = [*PAGE.points, *PAGE.registers, *(c.point for c in PAGE.commands)]
    taken = [a for p in points for a in range(p.address, p.end)]
    assert len(taken) == len(set(taken)) and len(points) == len(READINGS) + 4 + len(WRITES) + len(LEASE)
    assert described() in (Path(__file__).parents[3] / "adapters" / "README.md").read_text()
