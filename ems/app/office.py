"""The office process: history, API, dashboard and feeds, on wall-clock cadences. Started as `python -m ems.app.office STATE_DIR`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from setproctitle import setproctitle

from ems.app.beat import watch_supervisor
from ems.app.log import log_line
from ems.app.runfile import RunFile
from ems.app.statedir import StateDir, shared_clock
from ems.errors import EmsError
from ems.office.service import serve

NAME = "office"


def main(argv: list[str]) -> int:
    """Serves until terminated or until the supervisor is gone."""
    setproctitle("ems office")
    watch_supervisor(lambda: os._exit(0))
    state = StateDir(Path(argv[0]))
    try:
        asyncio.run(until_told(state, RunFile.load(state.site)))
    except EmsError as error:
        log_line(NAME, "could not run", fields={"error": str(error)})
        return 1
    return 0


async def until_told(state: StateDir, run_file: RunFile) -> None:
    """The office of a state directory, until SIGTERM or SIGINT."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await serve(state.path, state.site, run_file.port, shared_clock(state), run_file.db_url)
    except asyncio.CancelledError:
        pass  # told to stop: the service has closed its files


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
