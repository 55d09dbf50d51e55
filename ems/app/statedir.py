"""The state directory of a run: which files it holds, and the locks that keep a second instance out."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ems.clock import Clock
from ems.errors import EmsError
from ems.journal.file import FILE_NAME as JOURNAL

DEFAULT = "var/ems"
HISTORY = "history.sqlite"
LOCK_POLL_S = 0.05


@dataclass(frozen=True)
class StateDir:
    """The files of one run."""

    path: Path

    @property
    def site(self) -> Path:
        """The resolved site with pages and start modes, written by the supervisor."""
        return self.path / "site.json"

    @property
    def clock(self) -> Path:
        """The clock all processes of the run share."""
        return self.path / "clock.json"

    @property
    def mailbox(self) -> Path:
        """Messages between the processes."""
        return self.path / "mailbox.db"

    @property
    def journal(self) -> Path:
        """The journal of the control process."""
        return self.path / JOURNAL

    @property
    def epoch(self) -> Path:
        """The number of the newest control process: only that one may write to equipment."""
        return self.path / "control.epoch"

    @property
    def pids(self) -> Path:
        """Process ids of the run, for eyes and tests."""
        return self.path / "pids.json"

    @property
    def history_url(self) -> str:
        """Where history goes when nobody says otherwise."""
        return f"sqlite:///{self.path / HISTORY}"

    @property
    def has_history(self) -> bool:
        """True once a run has written there."""
        return (self.path / HISTORY).exists()


def find_state_dir(given: Path | None) -> StateDir:
    """The state directory: as given, else EMS_STATE_DIR, else ./var/ems."""
    return StateDir((given or Path(os.environ.get("EMS_STATE_DIR") or DEFAULT)).absolute())


def running_state_dir(given: Path | None) -> StateDir:
    """The state directory of a run that exists; EmsError when there is none."""
    state = find_state_dir(given)
    if not state.site.exists():
        raise EmsError(f"{state.path}: no site runs here (--state-dir or EMS_STATE_DIR names another place)")
    return state


def is_stopped(state: StateDir) -> bool:
    """True when control ran here and does not any more: its lock is there and nobody holds it."""
    try:
        descriptor = os.open(state.path / "control.lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def shared_clock(state: StateDir) -> Clock:
    """The clock of the run; EmsError when its file is gone or none."""
    try:
        return Clock.load(state.clock)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EmsError(f"{state.clock}: not the clock of a run ({error}); a restart of `ems run` writes it anew") from None


def prepare(state: StateDir) -> None:
    """Makes the directory and proves that it can be written; EmsError in one line when not."""
    try:
        state.path.mkdir(mode=0o750, parents=True, exist_ok=True)  # who can write here can give orders
        with tempfile.TemporaryFile(dir=state.path):
            pass
    except OSError as error:
        raise EmsError(f"{state.path}: the state directory cannot be written: {error.strerror}") from None


def hold_lock(state: StateDir, name: str, wait_s: float = 0.0) -> int:
    """A lock held until this process ends, however it ends. EmsError when another process holds it after `wait_s` wall seconds."""
    try:
        descriptor = os.open(state.path / f"{name}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise EmsError(f"{state.path / name}.lock: cannot be opened: {error.strerror}") from None
    give_up_at = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up_at:
                holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
                os.close(descriptor)
                raise EmsError(f"{state.path}: another instance runs on this state directory (process {holder})") from None
            time.sleep(LOCK_POLL_S)
            continue
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        return descriptor


def write_whole(path: Path, text: str) -> None:
    """Replaces a file in one step, so that a reader never sees half of it."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(text)
    draft.replace(path)
