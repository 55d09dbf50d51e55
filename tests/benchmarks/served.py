"""Many simulated devices over Modbus/TCP in a process of their own: `python -m tests.benchmarks.served ANSWER_S PAGE ...`.

Every device takes ANSWER_S seconds to answer, on top of the work itself. Prints the ports as one JSON line and serves until its standard
input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys

from adapters.modbus.page_file import load_page
from adapters.modbus.server import Fault, PageServer
from tests.adapters.small_site import equipment, server_of


async def serve(answer_s: float, pages: list[str]) -> None:
    """One server per page name given, in that order."""
    servers: list[PageServer] = []
    for n, name in enumerate(pages):
        page = load_page(name)
        servers.append(server_of(f"device-{n}", page, equipment(page), []))
        if answer_s > 0:
            servers[-1].fault, servers[-1].slow_s = Fault.SLOW, answer_s
        await servers[-1].start()
    print(json.dumps([server.port for server in servers]), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]), sys.argv[2:]))
