"""The simulated equipment in a process of its own: `ems simulate`, or `python -m ems.app.simulate STATE_DIR` in the demo."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from setproctitle import setproctitle

from adapters.modbus.page import Page
from ems.app.beat import watch_supervisor
from ems.app.log import log_line
from ems.app.runfile import RunFile
from ems.app.statedir import StateDir, shared_clock
from ems.clock import Clock
from ems.errors import EmsError
from ems.site.model import Site
from simulators.faults import Fault
from simulators.modbus import serve

NAME = "simulate"
DEMO_SEED = 7


def main(argv: list[str]) -> int:
    """Serves the site of a state directory on its clock until terminated or until the starter is gone."""
    state = StateDir(Path(argv[0]))
    try:
        run_file = RunFile.load(state.site)
        watch_supervisor(lambda: os.kill(os.getpid(), signal.SIGTERM))
        simulate(run_file.site, run_file.pages, shared_clock(state), DEMO_SEED, (), state.path)
    except EmsError as error:
        log_line(NAME, "could not run", fields={"error": str(error)})
        return 1
    return 0


def simulate(site: Site, pages: Mapping[str, Page], clock: Clock, seed: int, faults: Sequence[Fault], state_dir: Path | None) -> None:
    """Serves the devices at the site's addresses until SIGTERM or SIGINT. EmsError when a port is taken."""
    setproctitle("ems simulate")
    asyncio.run(_until_told(site, pages, clock, seed, faults, state_dir))


async def _until_told(
    site: Site, pages: Mapping[str, Page], clock: Clock, seed: int, faults: Sequence[Fault], state_dir: Path | None
) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await serve(site, pages, clock, seed=seed, faults=faults, state_dir=state_dir)
    except asyncio.CancelledError:
        pass  # told to stop: the servers are closed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
