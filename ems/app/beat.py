"""The two pipes between supervisor and child: the child beats after each finished cycle; the supervisor's end of file means it died."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

BEAT_ENV = "EMS_BEAT_FD"


class Beat:
    """The child's side of the watchdog. Without a supervisor it does nothing."""

    def __init__(self) -> None:
        self._descriptor = int(os.environ.pop(BEAT_ENV, "-1"))
        if self._descriptor >= 0:
            os.set_blocking(self._descriptor, False)

    def give(self) -> None:
        """Says that a whole cycle was completed."""
        if self._descriptor >= 0:
            try:
                os.write(self._descriptor, b".")
            except (BlockingIOError, BrokenPipeError):
                pass  # a supervisor that does not read is noticed elsewhere


def watch_supervisor(on_death: Callable[[], None]) -> None:
    """Calls `on_death` from a thread once stdin, which the supervisor holds open, reaches its end."""

    def wait() -> None:
        while os.read(0, 64):
            pass
        on_death()

    threading.Thread(target=wait, name="supervisor watch", daemon=True).start()
