"""A rig for tests of real processes: simulated equipment and control alone, or the whole demo, on free ports and in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from ems.app.demo import BEGINS_AT
from ems.app.ports import PORT_STEP, PortRow, is_listening
from ems.app.prepare import prepared_run
from ems.app.statedir import StateDir, shared_clock
from ems.clock import Clock
from ems.errors import EmsError
from ems.mailbox import Mailbox, Message
from ems.messages import Mode

Process = subprocess.Popen[bytes]
PATIENT_S = 90.0  # wall: for what an idle machine does within a second or two


def spawn(argv: list[str], log: Path) -> Process:
    with open(log, "ab") as out:
        return subprocess.Popen([sys.executable, *argv], stdin=subprocess.PIPE, stdout=out, stderr=out, start_new_session=True)


def until(is_true: Callable[[], Any], within_s: float, what: str) -> Any:
    """The first truthy answer; an assertion with a name when it does not come. The last look is after the time: a stall costs none."""
    give_up_at = time.perf_counter() + within_s
    while True:
        is_last = time.perf_counter() >= give_up_at
        if found := is_true():
            return found
        assert not is_last, f"{what}: not within {within_s} s"
        time.sleep(0.02)


def said(ask: Callable[[], Iterable[str]]) -> str:
    """The lines of a command as one text; an error of ours is text, too: a stalled machine has no fresh cycle to tell of."""
    try:
        return "\n".join(ask())
    except EmsError as error:
        return str(error)


def ended(process: Process) -> int:
    """Its exit status, once it has ended."""
    return process.wait(PATIENT_S)


class Rig:
    """Simulated demo site and one control process; planner and office do not exist."""

    def __init__(self, folder: Path, speed: float, mode: Mode, faults: Path | None = None) -> None:
        self.state = StateDir(folder)
        row = PortRow()
        self._base = row.base
        self.run_file = prepared_run("demo-2mw", self.state, row.base, mode, 1, None)
        self.run_file.save(self.state.site)
        self.clock = Clock.starting_at(BEGINS_AT, speed)
        self.clock.save(self.state.clock)
        self.mailbox = Mailbox(self.state.mailbox, busy_ms=2000)
        argv = ["-m", "ems.app.simulate", str(folder)]
        if faults is not None:
            argv = ["-m", "ems.app.cli", "simulate", "demo-2mw", "--loopback", str(row.base), "--state-dir", str(folder)]
            argv += ["--faults", str(faults)]
        self.equipment = spawn(argv, folder / "log")
        ports = [link.port for link in self.run_file.site.links.values()]
        until(lambda: all(map(is_listening, ports)), PATIENT_S, "the simulated equipment listens")
        row.let_go()
        self.control: Process | None = None

    def __enter__(self) -> "Rig":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in (self.control, self.equipment):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    def spare_port(self, n: int) -> int:
        """A free port in the row of the equipment, which nobody else takes while it listens: no ephemeral port, no other rig's."""
        return self._base + PORT_STEP // 2 + n

    def start_control(self) -> dict[str, Any]:
        """Starts control; its first snapshot."""
        started_at = self.clock.now()
        self.control = spawn(["-m", "ems.app.control", str(self.state.path)], self.state.path / "log")
        return until(lambda: self.snapshot_since(started_at), PATIENT_S, "a first cycle")

    def snapshot(self) -> dict[str, Any] | None:
        message = self.mailbox.latest("snapshot", self.clock.now())
        return message.body if message else None

    def snapshot_since(self, instant: Any) -> dict[str, Any] | None:
        message = self.mailbox.latest("snapshot", self.clock.now())
        return message.body if message and message.written_at > instant else None

    def shows(self, is_so: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        """The first fresh snapshot of which `is_so` is true: for a moment a stalled machine has none, or one on old readings."""
        return until(lambda: s if (s := self.snapshot()) is not None and is_so(s) else None, PATIENT_S, what)

    def asset(self, name: str) -> dict[str, Any]:
        snapshot = self.snapshot() or {"assets": []}
        return next((a for a in snapshot["assets"] if a["id"] == name), {})

    def plant(self) -> dict[str, Any]:
        return json.loads((self.state.path / "plant.json").read_text())

    def plant_after(self, instant: datetime) -> dict[str, Any]:
        """What the plant says of itself at the first look after an instant of site time."""
        return until(lambda: p if datetime.fromisoformat((p := self.plant())["at"]) > instant else None, PATIENT_S, "a look at the plant")

    def settled(self, *assets: str) -> dict[str, Any]:
        """The plant once nobody wrote to these assets for half a minute of site time: what was under way has arrived."""

        def look() -> dict[str, Any] | None:
            before = self.plant_after(self.clock.now())
            after = self.plant_after(datetime.fromisoformat(before["at"]) + timedelta(seconds=30))
            return after if all(after["writes"][a] == before["writes"][a] for a in assets) else None

        return until(look, PATIENT_S, f"no more writes to {', '.join(assets)}")

    def log(self) -> str:
        return (self.state.path / "log").read_text()


def pids(state: StateDir) -> dict[str, int | None]:
    try:
        return json.loads(state.pids.read_text())
    except (OSError, ValueError):
        return {}


def is_alive(pid: int | None) -> bool:
    """True for a process that runs (a zombie does not)."""
    try:
        return pid is not None and Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def waited_s(pids: Iterable[int | None]) -> float:
    """How long the threads of these processes stood ready and had no core, summed. 0 where the kernel does not say."""
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(_waited_ns(task) for task in tasks) / 1e9


def _waited_ns(schedstat: Path) -> int:
    try:
        return int(schedstat.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def kill(pid: int | None, number: int = signal.SIGKILL) -> None:
    assert pid is not None
    os.kill(pid, number)


def level(state: StateDir, since: Any) -> str | None:
    """The rung of a cycle after `since`, None while there is none."""
    message = newest(state, "snapshot")
    return message.body["level"] if message and message.written_at > since else None


def newest(state: StateDir, topic: str) -> Message | None:
    """The newest valid message of a run whose processes come and go; None while its files cannot be read."""
    try:
        mailbox = Mailbox(state.mailbox, busy_ms=2000)
    except EmsError:
        return None
    try:
        return mailbox.latest(topic, shared_clock(state).now())
    except EmsError:
        return None
    finally:
        mailbox.close()
