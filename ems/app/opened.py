"""What a control process works with, opened once: files and sockets in the daemon, simulated ones in the campaign."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from adapters.field import ModbusField
from ems.app.fence import Fence
from ems.app.resume import last_cycle, refuse_newer_state, remembered
from ems.app.runfile import RunFile
from ems.app.statedir import StateDir, shared_clock
from ems.clock import Clock
from ems.control.ports import Authority
from ems.journal.entry import Entry
from ems.journal.journal import Journal
from ems.mailbox import Mailbox


@dataclass(frozen=True)
class Opened:
    """`memory` is what the process before this one remembered, {} on a first start. The equipment is not polled yet."""

    run_file: RunFile
    clock: Clock
    mailbox: Mailbox
    journal: Journal
    equipment: ModbusField
    fence: Authority
    memory: dict[str, Any]
    last_cycle: Entry | None = None  # of the process before this one
    pid: int = field(default_factory=os.getpid)


def open_control(state: StateDir) -> Opened:
    """Everything real, of one state directory. Raises EmsError and DataError."""
    run_file, clock = RunFile.load(state.site), shared_clock(state)
    mailbox = Mailbox(state.mailbox, checkpoints=False)
    journal = Journal(state.journal, clock.wall_s)
    refuse_newer_state(state)
    memory = remembered(state, run_file.site.name)
    fence = Fence(state.epoch, clock.wall_s, run_file.site.control.cycle_s / clock.speed)
    equipment = ModbusField(run_file.site, run_file.pages, clock, {}, may_write=fence.may_write)
    return Opened(run_file, clock, mailbox, journal, equipment, fence, memory, last_cycle(state, run_file.site))
