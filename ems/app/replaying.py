"""`ems replay`: a scenario under policies, or a journal decided again."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TaskID

from ems.app.prepare import find_file
from ems.app.rerun import rerun_journal
from ems.app.wrong_usage import WrongUsage
from ems.errors import EmsError
from ems.nearest import perhaps

MOST_SEED = 2**63 - 1
TOLD_EVERY = 0.25  # share of a replay, where progress goes into a log


def rerun_state_dir(state_dir: Path, say: Callable[[str], object]) -> int:
    """Re-runs a journal and says how many setpoints differ; 1 when any does."""
    result = rerun_journal(state_dir)
    if result.skipped:
        say(f"{result.skipped} cycles before the first start record that is kept were not compared")
    say(f"{result.cycles} cycles compared over {result.starts} starts, {result.differing} setpoints differ")
    for line in result.first:
        say(line)
    return 1 if result.differing else 0


def replay_scenario(given: str, out: Path, policy: str, seeds: str | None, jobs: int) -> int:
    """Replays a scenario with its progress on stderr; exit status."""
    from ems.replay.command import ALL, run_replay

    policies = [name.strip() for name in policy.split(",")]
    unknown = [name for name in policies if name not in (*ALL, "all")]
    if unknown:
        raise WrongUsage(f"--policy {unknown[0]}: expected some of {', '.join(ALL)}, or all{perhaps(unknown[0], ALL)}")
    path, numbers = find_file("scenarios", given), _seeds(seeds)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with Advances() as advances:
            return run_replay(path, out, policies, numbers, jobs, advances.show, advances.say)
    except BrokenProcessPool:
        raise EmsError(f"{out}: the process of a replay was killed, perhaps for want of memory; with --jobs 1 it needs less") from None
    except OSError as error:
        raise EmsError(f"{out}: cannot be written ({error.strerror or error})") from None


def _interrupt(number: int, frame: object) -> None:
    """SIGTERM ends a replay as Ctrl-C does: its worker processes end too."""
    raise KeyboardInterrupt


class Advances:
    """Progress of the replays: bars on a terminal, a line per quarter elsewhere."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(console=self._console, transient=True)
        self._tasks: dict[str, TaskID] = {}
        self._told: dict[str, float] = {}

    def __enter__(self) -> Advances:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, task: str, done: float) -> None:
        """Takes how far a replay is, 0 to 1."""
        if self._console.is_terminal:
            if task not in self._tasks:
                self._tasks[task] = self._bars.add_task(task, total=1.0)
            self._bars.update(self._tasks[task], completed=done)
        elif done >= self._told.get(task, 0.0) + TOLD_EVERY or done >= 1.0 > self._told.get(task, 0.0):
            self._told[task] = done
            print(f"{task}: {done:.0%}", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Prints a result."""
        self._bars.stop()
        print(text, flush=True)


def _seeds(text: str | None) -> list[int]:
    try:
        seeds = [int(seed) for seed in text.split(",")] if text else []
        if not all(0 <= seed <= MOST_SEED for seed in seeds):
            raise ValueError
    except ValueError:
        raise WrongUsage(f"--seeds {text}: expected whole numbers from 0 with commas, as 7,8") from None
    return seeds
