"""One child process as the supervisor sees it: started with exec, restarted when it dies, backed off when it keeps dying."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import IO

from ems.app.beat import BEAT_ENV
from ems.app.log import log_line


@dataclass(frozen=True)
class ChildSpec:
    """How to start a child and how patient to be. Wall seconds."""

    name: str
    argv: tuple[str, ...]
    first_pause_s: float = 0.0  # before the first restart after a good life
    most_pause_s: float = 30.0  # the back-off doubles up to this
    good_life_s: float = 20.0  # a child that lived so long is not crash-looping
    beat_within_s: float | None = None  # killed when it did not beat for so long
    first_beat_within_s: float = 20.0


class Child:
    """Keeps one process alive. Call `look` often."""

    def __init__(self, spec: ChildSpec, log: IO[bytes] | None) -> None:
        self.spec = spec
        self.starts = 0
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._beat_fd = -1
        self._started_at = self._beat_at = 0.0
        self._has_beaten = False
        self._pause_s = 0.0
        self._start_at = 0.0

    @property
    def pid(self) -> int | None:
        """The process id, None while it is down."""
        return self._process.pid if self._process else None

    def look(self) -> None:
        """Starts, watches, restarts."""
        now_s = time.monotonic()
        if self._process is None:
            if now_s >= self._start_at:
                self._start(now_s)
            return
        self._take_beats(now_s)
        if self._process.poll() is not None:
            self._bury(now_s)
        elif self._is_stuck(now_s):
            log_line("supervisor", f"{self.spec.name} finished no cycle in time: replaced", fields={"pid": self._process.pid})
            self._process.kill()
            self._process.wait()
            self._bury(now_s)

    def terminate(self) -> None:
        """Asks it to end (SIGTERM)."""
        if self._process is not None:
            self._process.terminate()

    def has_ended(self) -> bool:
        """True when it is down."""
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """Ends it now."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _start(self, now_s: float) -> None:
        read_fd, write_fd = os.pipe()
        os.set_blocking(read_fd, False)
        self._process = subprocess.Popen(
            [sys.executable, "-P", *self.spec.argv],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            pass_fds=(write_fd,),
            env={**os.environ, BEAT_ENV: str(write_fd), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        os.close(write_fd)
        self._beat_fd, self._has_beaten = read_fd, False
        self._started_at = self._beat_at = now_s
        self.starts += 1
        log_line("supervisor", f"{self.spec.name} started", fields={"pid": self._process.pid})

    def _take_beats(self, now_s: float) -> None:
        try:
            while os.read(self._beat_fd, 4096):
                self._beat_at, self._has_beaten = now_s, True
        except BlockingIOError:
            pass

    def _is_stuck(self, now_s: float) -> bool:
        if self.spec.beat_within_s is None:
            return False
        patience_s = self.spec.beat_within_s if self._has_beaten else self.spec.first_beat_within_s
        return now_s - self._beat_at > patience_s

    def _bury(self, now_s: float) -> None:
        assert self._process is not None
        lived_s = now_s - self._started_at
        is_good = lived_s >= self.spec.good_life_s
        self._pause_s = self.spec.first_pause_s if is_good else min(self.spec.most_pause_s, max(0.25, 2 * self._pause_s))
        self._start_at = now_s + (self._pause_s if not is_good or self._pause_s else 0.0)
        fields = {"pid": self._process.pid, "exit": self._process.returncode, "lived_s": round(lived_s, 1), "again_in_s": self._pause_s}
        log_line("supervisor", f"{self.spec.name} ended", fields=fields)
        if self._process.stdin is not None:
            self._process.stdin.close()
        os.close(self._beat_fd)
        self._process = None
