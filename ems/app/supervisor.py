"""The supervisor: three children kept alive, control first. It decides nothing; any process of the run may be killed at any time."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from setproctitle import setproctitle

from ems.app.child import Child, ChildSpec
from ems.app.commissioned import hold_commissioned
from ems.app.log import log_line
from ems.app.ports import is_free, refuse_busy_port
from ems.app.resume import refuse_newer_state
from ems.app.runfile import RunFile
from ems.app.statedir import StateDir, hold_lock, prepare, shared_clock, write_whole
from ems.clock import Clock
from ems.mailbox import Mailbox

LOOK_EVERY_S = 0.05
CHECKPOINT_EVERY_S = 5.0
END_WITHIN_S = 9.5  # of wall time, from SIGTERM to the last child gone
PLANNER_LOOK_S = 60.0  # a planner that has not come back from planning for so long hangs
NO_CYCLE_S = 5.0  # a control without a finished cycle for so long is replaced


def supervise(state: StateDir, resolve_run: Callable[[], RunFile], clock: Clock | None, log_file: Path | None = None) -> int:
    """Runs a site until SIGTERM or SIGINT; exit status. `clock` None keeps the clock of an earlier run of this state directory.

    Raises EmsError or ConfigError when the site or the state directory cannot be used, another instance runs on it, or at the first start
    its port is in use.
    """
    run_file = resolve_run()
    prepare(state)
    hold_lock(state, "run")
    refuse_newer_state(state)
    if not state.site.exists():  # somebody starts a site here for the first time and reads; later control comes before the dashboard
        refuse_busy_port(run_file.port)
    elif not is_free(run_file.port):
        log_line("office", f"port {run_file.port} of 127.0.0.1 is in use: control runs, the dashboard waits for it")
    hold_commissioned(run_file, state, Clock.real().now())
    setproctitle("ems supervisor")
    run_file.save(state.site)
    (clock or shared_clock(state)).save(state.clock)
    with open(log_file or os.devnull, "ab") as log:
        Supervisor(state, run_file, log if log_file else None).run()
    return 0


def end_this_process() -> None:
    """Ends this process in order, as SIGTERM does."""
    os.kill(os.getpid(), signal.SIGTERM)


class Supervisor:
    """Looks after the children until told to stop."""

    def __init__(self, state: StateDir, run_file: RunFile, log: IO[bytes] | None) -> None:
        self._state = state
        self._mailbox = Mailbox(state.mailbox, busy_ms=1000)
        cycle_s = run_file.site.control.cycle_s
        self.control = Child(control_spec(state, cycle_s), log)
        self.children = [self.control, *(Child(spec, log) for spec in advisers(state))]
        self._is_told = False
        self._pids: dict[str, int | None] = {}

    def run(self) -> None:
        """Until SIGTERM or SIGINT; then control lets go, all children end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._tell)
        next_checkpoint_s = time.monotonic()
        while not self._is_told:
            for child in self.children:
                child.look()
            self._note_pids()
            if time.monotonic() >= next_checkpoint_s:
                next_checkpoint_s = time.monotonic() + CHECKPOINT_EVERY_S
                self._mailbox.checkpoint()
            time.sleep(LOOK_EVERY_S)
        self._end()

    def _tell(self, number: int, frame: object) -> None:
        self._is_told = True

    def _end(self) -> None:
        give_up_at = time.monotonic() + END_WITHIN_S
        for child in self.children:
            child.terminate()
        while time.monotonic() < give_up_at and not all(child.has_ended() for child in self.children):
            time.sleep(LOOK_EVERY_S)
        for child in self.children:
            if not child.has_ended():
                log_line("supervisor", f"{child.spec.name} did not end in time: killed", fields={"pid": child.pid})
                child.kill()
        self._mailbox.close()

    def _note_pids(self) -> None:
        pids = {"supervisor": os.getpid(), **{child.spec.name: child.pid for child in self.children}}
        if pids != self._pids:
            self._pids = pids
            write_whole(self._state.pids, json.dumps(pids))


def control_spec(state: StateDir, cycle_s: float) -> ChildSpec:
    """Control comes back at once, always."""
    return ChildSpec(
        "control",
        ("-m", "ems.app.control", str(state.path)),
        most_pause_s=1.0,
        good_life_s=1.0,
        beat_within_s=max(NO_CYCLE_S, 3 * cycle_s),
    )


def advisers(state: StateDir) -> list[ChildSpec]:
    """Planner and office back off when they keep crashing; a planner that hangs is replaced."""
    planner, office = (("-m", f"ems.app.{name}", str(state.path)) for name in ("planner", "office"))
    return [
        ChildSpec("planner", planner, beat_within_s=PLANNER_LOOK_S, first_beat_within_s=2 * PLANNER_LOOK_S),
        ChildSpec("office", office),
    ]
