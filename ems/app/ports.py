"""Free ports of 127.0.0.1 for the demo: one for the dashboard, a row for the simulated devices."""

from __future__ import annotations

import socket

from ems.errors import EmsError

FIRST_PORT, PORT_STEP, LAST_PORT = 15020, 20, 25000


def refuse_busy_port(port: int) -> None:
    """EmsError when something listens on the dashboard's port."""
    if not is_free(port):
        raise EmsError(f"port {port} of 127.0.0.1 is in use; --port names another")


class PortRow:
    """Free ports in a row for the simulated devices, kept from other demos until `let_go`.

    The sockets are bound and do not listen: a server that asks for address reuse may still listen there, another row may not begin there.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        for base in range(FIRST_PORT, LAST_PORT, PORT_STEP):
            if self._take(base):
                self.base = base
                return
        raise EmsError(f"no {PORT_STEP} free ports in a row between {FIRST_PORT} and {LAST_PORT} for the simulated devices")

    def let_go(self) -> None:
        """Gives the ports free; those in use stay with their servers."""
        for held in self._sockets:
            held.close()
        self._sockets = []

    def _take(self, base: int) -> bool:
        for port in range(base, base + PORT_STEP):
            held = socket.socket()
            self._sockets.append(held)
            try:
                held.bind(("127.0.0.1", port))
            except OSError:
                self.let_go()
                return False
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return True


def is_free(port: int) -> bool:
    """True when a server could listen on the port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_listening(port: int) -> bool:
    """True when something accepts connections on the port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
