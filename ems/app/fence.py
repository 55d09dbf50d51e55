"""One writer at a time: the epoch of the state directory and the age of our own last cycle, checked before every write.

The lock (`statedir.hold_lock`) keeps a second instance out while the first one lives. A process that was paused, or whose lock file was
replaced, may wake up beside its successor: then its epoch is no longer the newest, and its last cycle is too old to act on. What remains
is one frame that was already handed to the network.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ems.errors import EmsError

STALL_S = 3.0  # a process that did not finish a cycle for so long must read the equipment again before it writes


class Fence:
    """`path` holds the newest epoch; taking it makes ours the newest, durably. `wall_s` gives monotonic seconds that go on while a process
    is paused; `period_s` is the time between two cycles."""

    def __init__(self, path: Path, wall_s: Callable[[], float], period_s: float = 1.0) -> None:
        self._path, self._wall_s = path, wall_s
        self._stall_s = max(STALL_S, 2.5 * period_s)
        self._fed_s = wall_s()
        self.epoch = _read(path) + 1
        try:
            _write_durably(path, self.epoch)
        except OSError as error:
            raise EmsError(f"{path}: the epoch cannot be written: {error.strerror}") from None

    @property
    def is_stalled(self) -> bool:
        """True when our last cycle is so old that nothing may be written on its account."""
        return self._wall_s() - self._fed_s > self._stall_s

    def feed(self) -> None:
        """A cycle on fresh readings is complete."""
        self._fed_s = self._wall_s()

    def may_write(self) -> bool:
        """True while our epoch is the newest and our last cycle is recent; asked immediately before every write."""
        return not self.is_stalled and _read(self._path) == self.epoch


def _read(path: Path) -> int:
    """The newest epoch; 0 when there is none that can be read: then nobody may write."""
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):
        return 0


def _write_durably(path: Path, epoch: int) -> None:
    draft = path.with_name(path.name + ".new")
    with draft.open("wb") as out:
        out.write(str(epoch).encode())
        out.flush()
        os.fsync(out.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
