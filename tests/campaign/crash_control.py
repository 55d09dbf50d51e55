"""The control process, killed by itself with SIGKILL at the n-th pass of a point: `python -m tests.campaign.crash_control POINT N DIR`."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import ems.app.control as control
import ems.app.opened as opened
import ems.control.cycle as cycle
import ems.journal.file as journal_file
import ems.journal.journal as journal
from adapters.field import ModbusField
from adapters.modbus.link import Link
from ems.app.inbox import MailboxInbox

Step = Callable[..., Any]
# point: (owner, name of what is called there, killed before or after the call, and for which arguments)
POINTS: dict[str, tuple[Any, str, str, Callable[[tuple[Any, ...]], bool]]] = {
    "before the first poll": (control.ControlLoop, "_first_poll", "before", lambda a: True),
    "before the intent": (cycle, "encode_cycle", "before", lambda a: True),
    "after the intent": (ModbusField, "apply", "before", lambda a: True),
    "before the wire": (Link, "write", "before", lambda a: True),
    "after the wire": (Link, "write", "after", lambda a: True),
    "before the commit": (journal_file, "append", "before", lambda a: True),
    "after the commit": (journal_file, "append", "after", lambda a: True),
    "before the memory": (journal.Journal, "append", "before", lambda a: a[1] == "memory"),
    "before an order is acknowledged": (MailboxInbox, "post", "before", lambda a: a[1] == "order_ack"),
    "after an order is acknowledged": (MailboxInbox, "post", "after", lambda a: a[1] == "order_ack"),
    "between two journal files": (journal, "close_segment", "after", lambda a: True),
    "after the next journal file": (journal, "retire", "before", lambda a: True),
    "while letting go": (ModbusField, "release", "before", lambda a: True),
}


def arm(point: str, passes: int) -> None:
    """Puts the kill in its place."""
    owner, name, when, is_meant = POINTS[point]
    whole: Step = getattr(owner, name)
    left = passes

    def due(arguments: tuple[Any, ...]) -> bool:
        nonlocal left
        left -= is_meant(arguments)
        return left <= 0 and is_meant(arguments)

    @functools.wraps(whole)
    async def awaited(*arguments: Any, **named: Any) -> Any:
        is_due = due(arguments)
        if is_due and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = await whole(*arguments, **named)
        if is_due:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    @functools.wraps(whole)
    def called(*arguments: Any, **named: Any) -> Any:
        is_due = due(arguments)
        if is_due and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = whole(*arguments, **named)
        if is_due:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    is_async = name in ("_first_poll",) or owner is Link
    setattr(owner, name, awaited if is_async else called)
    if "journal file" in point:
        opened.Journal = functools.partial(journal.Journal, rotate_bytes=1, look_every=3)  # type: ignore[misc,assignment]


if __name__ == "__main__":
    arm(sys.argv[1], int(sys.argv[2]))
    sys.exit(control.main(sys.argv[3:]))
