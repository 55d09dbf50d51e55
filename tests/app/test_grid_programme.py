"""A grid programme end to end: an independent OpenADR 3 client calls, the daemon acts on the simulated site over Modbus, the client reads
what was delivered."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from openadr3 import OpenADRClient

from adapters.gateway.map import gateway_page
from adapters.modbus.link import Link
from adapters.modbus.registers import decode
from adapters.openadr3.times import written
from ems.control.ladder import Level
from ems.errors import FieldError
from ems.journal.read import read_journal
from ems.messages import Mode
from simulators.openadr3.serve import BUSINESS, SITE, AppServer
from simulators.openadr3.vtn import Vtn
from tests.app.rig import PATIENT_S, Rig, ended, spawn, until

SPEED = 10.0  # a snapshot is shown for 3 s of wall time
LIMIT_KW, SUBSCRIPTION_KW = 700.0, 1450.0
MINUTE, LATE = timedelta(minutes=1), timedelta(seconds=3)
MINUTES = 5  # half a minute of wall time, in which the limit is seen by three readers one after the other
ENROLMENTS = "enrolments:\n  - {program: nonfirm-connection, status: active, since: 2020-01-01, level_kw: 700, constant_kw: 1450}\n"


def enrol(rig: Rig, url: str, gateway_port: int) -> None:
    """The two files and the secret that a site needs."""
    (rig.state.path / "secret").write_text(SITE.secret)
    channel = {
        "id": "dso",
        "profile": "openadr-3.1",
        "url": url,
        "programs": {"Flexible connection": "nonfirm-connection"},
        "client_id": SITE.id,
        "secret_file": "secret",
        "poll_s": 10,
        "capacity": {"subscription_kw": SUBSCRIPTION_KW, "stale_after_s": 3600},
    }
    gateway = {"port": gateway_port, "capacity": {"subscription_kw": SUBSCRIPTION_KW, "stale_after_s": 3600}}
    (rig.state.path / "channels.yaml").write_text(json.dumps({"channels": [channel], "gateway": gateway}))
    (rig.state.path / "enrolments.yaml").write_text(ENROLMENTS)


def call(business: OpenADRClient, start: datetime, minutes: int) -> str:
    """The programme and its one event, with the report that is wanted."""
    program = business.create_program({"programName": "Flexible connection"}).json()["id"]
    event: dict[str, Any] = {
        "programID": program,
        "intervalPeriod": {"start": written(start), "duration": f"PT{minutes}M"},
        "intervals": [{"id": 0, "payloads": [{"type": "IMPORT_CAPACITY_LIMIT", "values": [LIMIT_KW]}]}],
        "payloadDescriptors": [{"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "IMPORT_CAPACITY_LIMIT", "units": "KW"}],
        "reportDescriptors": [{"payloadType": "DEMAND", "reportIntervals": "SUB_INTERVALS"}],
    }
    answer = business.create_event(event)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def has_limit(snapshot: dict[str, Any]) -> bool:
    return "dso/" in snapshot["limit_source"] and snapshot["limit_kw"] == LIMIT_KW


async def registers(port: int) -> list[float]:
    """Import and limit as the substation's gateway reads them; none while it does not answer."""
    link = Link("127.0.0.1", port, random.Random(1), deadline_s=20.0, connect_s=20.0)
    try:
        words = await link.read(1, "holding", 4, 4)
    except FieldError:
        return []
    finally:
        link.close()
    return [decode(p, words[p.address - 4 : p.end - 4]) or 0.0 for p in gateway_page().points if p.address in (4, 6)]


def follows(shown: list[float]) -> bool:
    return len(shown) == 2 and shown[0] <= 1.01 * LIMIT_KW and shown[1] == LIMIT_KW


def late_at(folder: Path) -> list[datetime]:
    """Instants at which the machine kept control from seeing the site: none where it keeps up. At this speed a third of a second does."""
    cycles = list(read_journal(folder, "cycle"))
    return [after.at for before, after in pairwise(cycles) if after.at - before.at > LATE or Level[after.body["level"]] >= Level.L4]


@pytest.mark.timeout(600)
def test_an_independent_client_limits_the_site_and_reads_back_what_it_drew(tmp_path: Path):
    with Rig(tmp_path, SPEED, Mode.CONTROL) as rig, AppServer((vtn := Vtn([BUSINESS, SITE], rig.clock.now)).app) as server:
        business = OpenADRClient(server.url)
        business.fetch_token(BUSINESS.id, BUSINESS.secret)
        gateway_port = rig.spare_port(0)
        enrol(rig, server.url, gateway_port)
        rig.start_control()
        replace(rig.run_file, port=rig.spare_port(1)).save(rig.state.site)
        office = spawn(["-m", "ems.app.office", str(rig.state.path)], rig.state.path / "log")
        try:
            until(lambda: ("GET", "/events") in vtn.requests, PATIENT_S, "the office asks for events")
            start = (rig.clock.now() + timedelta(minutes=2)).replace(second=0, microsecond=0)
            event = call(business, start, MINUTES)
            rig.shows(has_limit, "the limit stands")
            late_s = (rig.clock.now() - start).total_seconds()
            rig.shows(lambda s: s["import_kw"] <= 1.01 * LIMIT_KW, "the plant is under the limit")
            print(f"limit seen {late_s:.0f} s after its start, held {(rig.clock.now() - start).total_seconds():.0f} s after it (site time)")
            # the gateway serves the snapshot it saw last, which may be the cycle in which the limit began
            until(lambda: follows(asyncio.run(registers(gateway_port))), PATIENT_S, "the gateway shows the limit and an import under it")
            reports = until(lambda: business.reports(eventID=event), 120, "the report")
        finally:
            office.terminate()
            ended(office)
            business.close()
    values = [float(i.payloads[0].values[0]) for r in reports for i in r.resources[0].intervals if i.payloads[0].type == "DEMAND"]
    late = late_at(rig.state.path)
    seen = [kw for k, kw in enumerate(values) if k > 0 and not any(-0.5 < (at - start) / MINUTE - k < 1 for at in late)]
    assert len(values) == MINUTES and len(seen) >= MINUTES // 2, (values, late)
    assert max(seen) <= LIMIT_KW * 1.01, (values, late)  # the first minute holds the seconds of the way down
