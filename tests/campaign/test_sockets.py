"""A sample of the campaign's faults over real sockets: the real control process, real Modbus/TCP, and a proxy that spoils the wire."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ems.app.rerun import rerun_journal
from ems.app.runfile import RunFile
from ems.journal.read import read_journal, verify_journal
from ems.messages import Mode
from ems.plan.plan import encode_plan
from simulators.proxy import FaultProxy, ProxyFault
from tests.app.rig import PATIENT_S, Rig, ended, until, waited_s
from tests.control.plans import flat_plan

SPEED = 10.0
SPOILT_S, CLEAN_S = 3.0, 6.0  # wall, waiting for a core not counted: a fault is named within, and the device counts again within
VICTIMS = ("hall-b", "bess-1")
UNSEEN = {ProxyFault.STALE}  # a well-formed answer with old values cannot be told from a true one within a second


@contextmanager
def proxies(rig: Rig) -> Iterator[dict[str, FaultProxy]]:
    """A proxy before each victim, in a thread with a loop of its own; the run's site file points at them."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    links = rig.run_file.site.links
    made = {asset: FaultProxy(links[asset].port, random.Random(asset)) for asset in VICTIMS}
    try:
        for proxy in made.values():
            asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(PATIENT_S)
        redirected(rig.run_file, {asset: proxy.port for asset, proxy in made.items()}).save(rig.state.site)
        yield made
    finally:
        for proxy in made.values():
            asyncio.run_coroutine_threadsafe(proxy.stop(), loop).result(PATIENT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENT_S)


def redirected(run_file: RunFile, ports: dict[str, int]) -> RunFile:
    site = run_file.site
    assets = {a: replace(x, link=replace(x.link, port=ports[a])) if a in ports else x for a, x in site.assets.items()}  # type: ignore[union-attr,call-arg]
    return replace(run_file, site=replace(site, assets=assets))


def both_named(rig: Rig, named: dict[tuple[str, str], str], fault: ProxyFault) -> bool:
    """Notes what the snapshot says of the victims; True once each was named with this fault. The two need not be so in one cycle."""
    for asset in VICTIMS:
        if problem := rig.asset(asset).get("problem"):
            named.setdefault((fault, asset), problem)
    return all((fault, asset) in named for asset in VICTIMS)


class Stopwatch:
    """Wall time, and how much of it the site's processes and this one waited for a core."""

    def __init__(self, rig: Rig) -> None:
        assert rig.control is not None
        self._pids = (rig.control.pid, rig.equipment.pid, os.getpid())
        self._waited_s, self._began = waited_s(self._pids), time.perf_counter()

    @property
    def took_s(self) -> float:
        """Since it was made."""
        return time.perf_counter() - self._began

    def within(self, promised_s: float, what: str) -> None:
        """Fails when it took longer than promised and waited for."""
        took_s, waiting_s = self.took_s, waited_s(self._pids) - self._waited_s
        assert took_s <= promised_s + waiting_s, f"{what}: after {took_s:.1f} s, {waiting_s:.1f} s of them without a core"


def blind_s(folder: Path) -> float:
    """Site seconds in which the machine, not the wire, kept control from seeing the site: late cycles, and cycles in which a device that
    nobody spoilt had not answered for three seconds. 0 on a machine that keeps up."""
    cycles = list(read_journal(folder, "cycle"))
    gaps_s = [(after.at - before.at).total_seconds() for before, after in pairwise(cycles)]
    late = sum(1 for cycle in cycles if oldest_s(cycle.body["image"]["readings"]) > 3.0)
    return late + sum(gap_s for gap_s in gaps_s if gap_s > 2.0)


def oldest_s(readings: dict[str, dict[str, list[Any]]]) -> float:
    """The age of the oldest power that nobody spoilt."""
    return max((r["power_kw"][1] / 1e6 for asset, r in readings.items() if asset not in VICTIMS and "power_kw" in r), default=0.0)


SAMPLE = (ProxyFault.DELAY, ProxyFault.CUT, ProxyFault.HALF_OPEN, ProxyFault.CROSSED)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("faults", [SAMPLE, pytest.param(tuple(ProxyFault), marks=pytest.mark.slow)], ids=["sample", "all"])
def test_a_spoilt_wire_is_named_never_believed_and_costs_neither_limit_nor_reserve(tmp_path: Path, faults: tuple[ProxyFault, ...]):
    with Rig(tmp_path, SPEED, Mode.CONTROL) as rig, proxies(rig) as wires:
        rig.start_control()
        plan = flat_plan(rig.run_file.site, rig.clock.now(), 20.0)
        rig.mailbox.post("plan", encode_plan(plan), rig.clock.now(), plan.valid_until)
        rig.shows(lambda s: not any(a["problem"] for a in s["assets"]), "all is well")
        time.sleep(0.5)
        named: dict[tuple[str, str], str] = {}
        for fault in faults:
            for wire in wires.values():
                wire.fault = fault
                if fault in (ProxyFault.CUT, ProxyFault.HALF_OPEN):
                    wire.reset()
            watch = Stopwatch(rig)
            if fault not in UNSEEN:
                until(lambda fault=fault: both_named(rig, named, fault), PATIENT_S, f"{fault} is named at every victim")
                watch.within(SPOILT_S, f"{fault} is named at every victim")
            time.sleep(max(0.0, SPOILT_S - watch.took_s))
            for wire in wires.values():
                wire.fault = None
            watch = Stopwatch(rig)
            rig.shows(lambda s: not any(a["problem"] for a in s["assets"] if a["id"] in VICTIMS), f"the devices count again after {fault}")
            watch.within(CLEAN_S, f"the devices count again after {fault}")
        plant = rig.plant()
        assert rig.control is not None
        rig.control.terminate()
        assert ended(rig.control) == 0
    assert plant["excursions"]["seconds"] <= blind_s(tmp_path) and plant["reserve_shortfall_s"] == 0, plant["excursions"]
    assert verify_journal(tmp_path) is None and rerun_journal(tmp_path).differing == 0
    cycles = [entry.body["image"]["readings"].get("hall-b", {}).get("power_kw") for entry in read_journal(tmp_path, "cycle")]
    powers = [reading[0] for reading in cycles if reading is not None]
    assert len(powers) > 50 and all(kw is None or 100.0 < kw < 620.0 for kw in powers), "a value that the hall never drew was believed"
