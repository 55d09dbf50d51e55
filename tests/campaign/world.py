"""A whole site in one process under virtual time: the real control process on real device pages, the simulated plant, every fault an event.

Same seed, commit and lock: the same journal, byte for byte (`World.journal_hash`). Control is `ems.app.control.ControlLoop` with its real
controller, field, journal (SQLite) and inbox; planner and office are actors that post into the mailbox.
"""

from __future__ import annotations

import gc
import heapq
import json
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import ems.app.control as control_app
from adapters.field import ModbusField
from adapters.modbus.page import Page
from adapters.modbus.page_file import load_page
from ems.app.fence import Fence
from ems.app.opened import Opened
from ems.app.resume import remembered
from ems.app.runfile import RunFile
from ems.app.statedir import StateDir
from ems.journal import file as journal_file
from ems.journal.journal import Journal
from ems.mailbox import Message
from ems.messages import Mode
from ems.site.load import load_site
from ems.site.model import Site
from simulators.demand import GeneratedDemand
from simulators.plant import Demand, Plant, PlantStep
from tests.campaign.bus import Bus
from tests.campaign.loop import Process, SimClock, Time

ROOT = Path(__file__).parents[2]
EPOCH = datetime(2024, 8, 19, 5, tzinfo=UTC)
SETTLE_S = 3600  # the plant runs alone before control starts
RAM = Path("/dev/shm")  # a commit there costs what SQLite costs, not what this disk costs
CONTACT_S = 20.0  # the office hears the source of a limit so often
UNHEARD_S = (15.0, 75.0)  # of a run: nobody was heard for long enough


class SimMailbox:
    """The mailbox of the run in memory; it outlives every process."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.topics: dict[str, list[Message]] = {}
        self.watchers: list[Callable[[str, Mapping[str, Any], datetime], None]] = []
        self._sequence = 0

    def post(self, topic: str, body: Mapping[str, Any], now: datetime, valid_until: datetime) -> int:
        self._sequence += 1
        message = Message(topic, self._sequence, now, valid_until, dict(body))
        kept = self.topics.setdefault(topic, [])
        kept.append(message)
        if topic not in ("order", "event"):
            del kept[:-1]
        for watch in self.watchers:
            watch(topic, body, now)
        return self._sequence

    def since(self, topic: str, sequence: int, limit: int = 1000) -> list[Message]:
        return [m for m in self.topics.get(topic, []) if m.sequence > sequence][:limit]

    def close(self) -> None:
        pass


class SimJournal(Journal):
    """The real journal, committing on the virtual clock: `delay_s` is how long the disk takes, `is_full` that it takes nothing."""

    def __init__(self, path: Path, process: Process, disk: Disk) -> None:
        self._process, self._disk, self._is_busy = process, disk, False
        super().__init__(path, process.loop.time)
        self._db.execute("pragma synchronous = off")  # power cuts have a test of their own

    def _begin(self) -> Any:
        return None

    def commit(self) -> None:
        if self._asked_at is None:
            self._asked_at = self._wall_s()
        if self._is_busy:
            return
        if self._disk.delay_s <= 0.0:
            self._commit_now()
        else:
            self._is_busy = True
            self._process.loop.call_later(self._disk.delay_s, self._commit_now)

    def _commit_now(self) -> None:
        self._is_busy = False
        pages = self._db.execute("pragma page_count").fetchone()[0] if self._disk.is_full else 1 << 30
        self._db.execute(f"pragma max_page_count = {pages}")
        self._turn()
        if self._asked_at is not None:
            self.commit()

    def close(self, timeout_s: float = 2.0) -> None:
        self._disk.delay_s = 0.0
        self.commit()
        self._db.close()


@dataclass
class Disk:
    """How the disk behaves now."""

    delay_s: float = 0.0
    is_full: bool = False


@dataclass(frozen=True)
class Setting:
    """What a world is made of, beside its faults."""

    seed: int
    import_limit_kw: float = 1350.0
    policy_kind: str = "honest"  # honest | hostile | none
    demand_scale: float = 1.0
    load_shift_s: float = 0.0  # where in the generated demand the run begins
    noise: float = 0.05  # standard deviation of the load within a second, relative
    overrides: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Second:
    """The truth of one second, for the oracle."""

    at_s: float
    step: PlantStep
    limit_kw: float


class World:
    """One site, one control process at a time. `at(t, action)` schedules; `run(seconds)` advances; the oracle reads the lists."""

    def __init__(self, setting: Setting, folder: Path | None = None) -> None:
        self.setting = setting
        self.time = Time()
        self.rng = random.Random(setting.seed)
        self.folder = Path(tempfile.mkdtemp(prefix="campaign-", dir=folder or (RAM if RAM.is_dir() else None)))
        self.site, self.pages = demo(setting.import_limit_kw, json.dumps(setting.overrides, sort_keys=True))
        self.clock = SimClock(EPOCH, self.time)
        self.plant = Plant(self.site, setting.seed, starts_lapsed=True)
        self.bus = Bus(self.site, self.plant, self.pages, self.time, EPOCH.timestamp())
        self.mailbox = SimMailbox()
        self.disk = Disk()
        self.state = StateDir(self.folder)
        self.limit_kw = setting.import_limit_kw
        self.limit_events: list[tuple[float, float, float]] = []  # from, to (world seconds), kW
        self.control: Process | None = None
        self.loop: control_app.ControlLoop | None = None
        self.others: list[Process] = []  # processes that run beside the one in charge
        self.graveyard: list[Any] = []  # killed processes: collecting them would run clean-up code
        self.seconds = 0
        self.on_second: list[Callable[[Second], None]] = []
        self.starts: list[float] = []
        self.phase_s = self.rng.uniform(0.02, 0.95)
        self._demand = GeneratedDemand(self.site, setting.seed)
        self._noise = random.Random(f"{setting.seed} noise")
        self.load_override: Callable[[float], Mapping[str, Demand]] | None = None
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._settle()
        self.at(self.phase_s, self.start_control)
        self.source_lost_until_s = 0.0
        for limit in self.site.point_of_connection.limits:
            if limit.heartbeat_s is not None and limit.fail_safe_kw is not None:
                self.at(CONTACT_S, self._contact)
                self.limit_events.append((UNHEARD_S[0], UNHEARD_S[1], limit.fail_safe_kw))

    # -- events -----------------------------------------------------------------------------------------------------------------

    def at(self, at_s: float, action: Callable[[], None]) -> None:
        """Runs an action at a world second."""
        self._number += 1
        heapq.heappush(self._queue, (at_s, self._number, action))

    def _contact(self) -> None:
        """The office hears who gives limits, and tells."""
        now = EPOCH + timedelta(seconds=self.time.s)
        if self.time.s >= self.source_lost_until_s:
            self.mailbox.post("contact", {"source": "dso", "at": now.isoformat()}, now, now + timedelta(minutes=10))
        self.at(self.time.s + CONTACT_S, self._contact)

    def start_control(self) -> None:
        """The supervisor starts a control process."""
        process = Process(f"control {len(self.starts)}", self.time)
        self.control = process
        self.starts.append(self.time.s)
        self.loop = process.call(lambda: self._open(process))
        process.spawn(self.loop.turn())

    def kill_control(self, down_s: float = 1.0) -> None:
        """kill -9, and the supervisor starts another."""
        self._bury()
        self.at(self.time.s + down_s, self.start_control)

    def _bury(self) -> None:
        if self.control is not None and self.loop is not None:
            self.control.kill()
            self.graveyard.append((self.control, self.loop))
            self.loop.journal._db.close()
        self.control = self.loop = None

    def _open(self, process: Process) -> control_app.ControlLoop:
        clock = self.clock
        run_file = RunFile(self.site, dict(self.pages), Mode.CONTROL, "demo", 0, "")
        journal = SimJournal(self.state.journal, process, self.disk)
        memory = remembered(self.state, self.site.name)
        fence = Fence(self.state.epoch, clock.wall_s)
        equipment = ModbusField(self.site, self.pages, clock, {}, may_write=fence.may_write, links=self.bus.links(fence.epoch))
        return control_app.ControlLoop(Opened(run_file, clock, self.mailbox, journal, equipment, fence, memory, None, fence.epoch))  # type: ignore[arg-type]

    # -- running ----------------------------------------------------------------------------------------------------------------

    def run(self, seconds: int) -> None:
        """Advances by whole seconds of site time."""
        with _quiet():
            end_s = self.time.s + seconds
            while self.seconds < end_s:
                self._advance_to(self.seconds + 1.0)
                self._second()
        gc.unfreeze()

    def _advance_to(self, until_s: float) -> None:
        """Runs actions and processes up to the instant, the plant standing still between two seconds."""
        while True:
            process = min(self._processes(), key=Process.due_s, default=None)
            due_s = process.due_s() if process is not None else float("inf")
            action_s = self._queue[0][0] if self._queue else float("inf")
            next_s = min(due_s, action_s)
            if next_s >= until_s:
                self.time.s = until_s
                return
            self.time.s = max(self.time.s, next_s)
            if action_s <= due_s:
                heapq.heappop(self._queue)[2]()
            elif process is not None:
                process.loop.turn()

    def _processes(self) -> list[Process]:
        return [*self.others, self.control] if self.control is not None else self.others

    def _second(self) -> None:
        """One second of plant, `[seconds, seconds + 1)`, with the commands that arrived until its end."""
        at_s = float(self.seconds)
        step = self.plant.step(1.0, EPOCH + timedelta(seconds=at_s), self.demand(at_s), 33.0)
        self.seconds += 1
        for endpoint in self.bus.endpoints.values():
            endpoint.tick()
        second = Second(at_s, step, self._true_limit_kw(at_s))
        for watch in self.on_second:
            watch(second)

    def _true_limit_kw(self, at_s: float) -> float:
        return min([self.limit_kw, *(kw for begin, end, kw in self.limit_events if begin <= at_s < end)])

    def demand(self, at_s: float) -> Mapping[str, Demand]:
        """What the users ask for in a second."""
        if self.load_override is not None:
            return self.load_override(at_s)
        scale, noise = self.setting.demand_scale, self.setting.noise
        base = self._demand.at(EPOCH.timestamp() + self.setting.load_shift_s + at_s)
        return {k: _scaled(d, scale * max(0.0, 1.0 + noise * self._noise.gauss(0.0, 1.0))) for k, d in base.items()}

    def _settle(self) -> None:
        for k in range(SETTLE_S // 5):
            at_s = k * 5.0 - SETTLE_S
            base = self._demand.at(EPOCH.timestamp() + self.setting.load_shift_s + at_s)
            demand = {name: _scaled(d, self.setting.demand_scale) for name, d in base.items()}
            self.plant.step(5.0, EPOCH + timedelta(seconds=at_s), demand, 33.0)

    # -- the end ----------------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends the run; the journal is closed and stays for the oracle."""
        if self.loop is not None and self.control is not None:
            self.control.call(self.loop.journal.close)
        self.control = self.loop = None

    def journal_hash(self) -> str:
        """The last hash of the chain: the same for the same seed, commit and lock."""
        import sqlite3

        db = sqlite3.connect(self.state.journal)
        try:
            return journal_file.head(db)[1].hex()
        finally:
            db.close()


def _scaled(d: Demand, by: float) -> Demand:
    return Demand(d.interactive_kw * by, d.batch_kw * by, d.training_kw * by, d.prompt_tokens_per_s * by, d.output_tokens_per_s * by)


@cache
def demo(import_limit_kw: float, overrides: str = "{}") -> tuple[Site, dict[str, Page]]:
    """The demo site with another limit, every device at an endpoint of its own, and the pages of its devices."""
    given = json.loads(overrides)
    given.setdefault("point_of_connection", {})["import_limit_kw"] = import_limit_kw
    site = load_site(ROOT / "config/sites/demo-2mw.yaml", given)
    return replace(site), {link.page: load_page(link.page) for link in site.links.values()}


@contextmanager
def _quiet() -> Iterator[None]:
    """No log lines, and no freezing of garbage: there are many processes in this one."""
    with mock.patch.object(control_app, "log_line", lambda *a, **k: None), mock.patch.object(control_app.gc, "freeze", lambda: None):
        yield
