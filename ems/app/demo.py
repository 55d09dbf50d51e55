"""`ems demo`: the simulated site in closed loop, in real processes on loopback, at a speed; ends by itself or with Ctrl-C."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from ems.app.generated import drop_generated_prices, post_generated
from ems.app.head_end import LENGTH, called_at, event_lines, join_head_end
from ems.app.ports import PORT_STEP, PortRow, is_listening, refuse_busy_port
from ems.app.prepare import prepared_run
from ems.app.runfile import RunFile
from ems.app.show import fresh_snapshot
from ems.app.simulate import DEMO_SEED
from ems.app.statedir import StateDir, hold_lock, prepare
from ems.app.summary import status_line, summary_lines
from ems.clock import Clock
from ems.errors import EmsError
from ems.history.schema import upgrade
from ems.journal.read import last_entry
from ems.mailbox import Mailbox
from ems.messages import Mode

BEGINS_AT = datetime(2024, 8, 20, 19, 30, tzinfo=UTC)  # the load of the generator rises towards its evening crest
CALLED_SHARE = 0.65  # of the connection limit: what the head-end of the demo asks for
UP_WITHIN_S = 20.0
END_WITHIN_S = 12.0
LOOK_EVERY_S = 0.2
LINE_EVERY_S = 1.0  # on a terminal, where the line is overwritten
LOG_EVERY_S = 5.0  # elsewhere


def run_demo(site: str, speed: float, seconds: float | None, port: int, state_dir: Path | None, has_head_end: bool = False) -> int:
    """Runs the demo; exit status. EmsError in one line when a port is taken or a process does not come up."""
    refuse_busy_port(port)
    given = state_dir or (Path(os.environ["EMS_STATE_DIR"]) if os.environ.get("EMS_STATE_DIR") else None)
    state = StateDir((given or Path(tempfile.mkdtemp(prefix="ems-demo-"))).absolute())
    try:
        prepare(state)
        return Demo(site, speed, seconds, port, state, has_head_end).run()
    finally:
        if given is None:
            shutil.rmtree(state.path, ignore_errors=True)


class Demo:
    """The demo's processes: simulated equipment and the daemon, both children of this one."""

    def __init__(self, site: str, speed: float, seconds: float | None, port: int, state: StateDir, has_head_end: bool = False) -> None:
        hold_lock(state, "demo")
        os.close(hold_lock(state, "run"))  # a daemon on this state directory keeps its site and its clock
        self.state, self._seconds, self._has_head_end = state, seconds, has_head_end
        self._ports = PortRow()
        self._run_file = prepared_run(site, state, self._ports.base, Mode.CONTROL, port, None)
        self._speed = speed
        self._is_told = False
        self._log = open(state.path / "demo.log", "ab")  # noqa: SIM115  closed with the process
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def run(self) -> int:
        """Until told to end; then everything is let go and summed up."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._tell)
        try:
            self._start()
            self._watch()
        finally:
            self._end()
        for line in (*summary_lines(self.state), *event_lines(self.state.path)):
            print(line, flush=True)
        return 0

    def _tell(self, number: int, frame: object) -> None:
        self._is_told = True

    def _start(self) -> None:
        run_file, state = self._run_file, self.state
        print(f"{run_file.site.name}: simulated equipment, generated load, prices and weather; {self._speed:g} x real time", flush=True)
        upgrade(run_file.db_url)
        run_file.save(state.site)
        begins_at = beginning(state)
        mailbox = Mailbox(state.mailbox, busy_ms=2000)
        post_generated(mailbox, run_file.site, DEMO_SEED, begins_at)
        drop_generated_prices(state.path / "feeds" / "prices", DEMO_SEED, begins_at)
        mailbox.close()
        Clock.starting_at(begins_at, self._speed).save(state.clock)
        self._spawn("simulate", ["-m", "ems.app.simulate", str(state.path)])
        self._wait_for_equipment(run_file)
        self._ports.let_go()
        if self._has_head_end:
            self._start_head_end(begins_at)
        self._spawn_daemon()
        print(f"dashboard http://127.0.0.1:{run_file.port}   EMS_STATE_DIR={state.path}   log {self._log.name}", flush=True)

    def _start_head_end(self, begins_at: datetime) -> None:
        """A utility that calls the site once; nothing where the site is joined to another one already."""
        limit_kw, port = self._run_file.site.point_of_connection.import_limit_kw, self._ports.base + PORT_STEP - 1
        if not join_head_end(self.state.path, port, limit_kw):
            print("no head-end: this state directory has channels or enrolments of its own", flush=True)
            return
        start, kw = called_at(begins_at), round(CALLED_SHARE * limit_kw, -1)
        call = ["--call-at", start.isoformat(), "--call-min", f"{LENGTH.total_seconds() / 60:g}", "--call-kw", f"{kw:g}"]
        self._spawn("head-end", ["-m", "simulators.openadr3.serve", "--clock", str(self.state.clock), "--port", str(port), *call])
        zone = ZoneInfo(self._run_file.site.time_zone)
        when = f"{start.astimezone(zone):%H:%M} to {(start + LENGTH).astimezone(zone):%H:%M}"
        print(f"head-end http://127.0.0.1:{port} (OpenADR 3.1) calls for {kw:.0f} kW from {when} local", flush=True)

    def _spawn_daemon(self) -> None:
        options = ["--state-dir", str(self.state.path), "--loopback", str(self._ports.base), "--mode", "control", "--keep-clock", "--tied"]
        address = ["--port", str(self._run_file.port), "--db", self._run_file.db_url]
        self._spawn("run", ["-m", "ems.app.cli", "run", self._run_file.source, *options, *address])

    def _spawn(self, name: str, argv: Sequence[str]) -> None:
        self._processes[name] = subprocess.Popen(
            [sys.executable, "-P", *argv],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )

    def _wait_for_equipment(self, run_file: RunFile) -> None:
        give_up_at = time.monotonic() + UP_WITHIN_S
        for link in run_file.site.links.values():
            while not is_listening(link.port):
                if self._processes["simulate"].poll() is not None or time.monotonic() > give_up_at:
                    raise EmsError(f"the simulated equipment did not come up; see {self._log.name}")
                time.sleep(0.05)

    def _watch(self) -> None:
        is_terminal = sys.stdout.isatty()
        end_at = time.monotonic() + self._seconds if self._seconds is not None else float("inf")
        line_at = time.monotonic()
        while not self._is_told and time.monotonic() < end_at:
            self._keep_alive()
            if time.monotonic() >= line_at:
                line_at += LINE_EVERY_S if is_terminal else LOG_EVERY_S
                self._show_line(is_terminal)
            time.sleep(LOOK_EVERY_S)
        if is_terminal:
            print(flush=True)

    def _keep_alive(self) -> None:
        """A killed daemon is started again; without equipment there is nothing to show."""
        if self._processes["simulate"].poll() is not None:
            raise EmsError(f"the simulated equipment ended; see {self._log.name}")
        if self._processes["run"].poll() is not None:
            self._spawn_daemon()

    def _show_line(self, is_terminal: bool) -> None:
        try:
            line = status_line(fresh_snapshot(self.state))
        except EmsError:
            line = "control is starting"
        print(f"\r\x1b[K{line}" if is_terminal else line, end="" if is_terminal else "\n", flush=True)

    def _end(self) -> None:
        for name in ("run", "head-end", "simulate"):  # the equipment outlives the daemon, which lets go of it
            process = self._processes.get(name)
            if process is None:
                continue
            process.terminate()
            try:
                process.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()


def beginning(state: StateDir) -> datetime:
    """Site time at the start: the demo's hour, or just after what this state directory has already seen."""
    if not state.journal.exists():
        return BEGINS_AT
    seen = last_entry(state.path, "memory")
    return max(BEGINS_AT, seen.at + timedelta(minutes=1)) if seen else BEGINS_AT
