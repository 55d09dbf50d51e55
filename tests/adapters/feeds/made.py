"""Feeds for tests, and a real HTTP server whose answers a test decides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ems.site.feed import Feed
from ems.site.schema_feeds import FeedFile, build_feed

RESPONSES = Path(__file__).parent / "responses"
Answer = Callable[[BaseHTTPRequestHandler], None]


def feed(**keys: Any) -> Feed:
    """A feed of real-time prices in JSON rows; keys change it."""
    own = {
        "kind": "real_time_price",
        "url": "http://127.0.0.1:9/x",
        "format": "json",
        "columns": {"time": "t", "value": "p"},
        "per": "MWh",
        "currency": "USD",
        "step_min": 15.0,
    }
    own.update(keys)
    if "folder" in keys:
        del own["url"]
    return build_feed("rt", FeedFile.model_validate(own))


class Server(ThreadingHTTPServer):
    """Answers every GET by `answer`; `asked` holds path and headers of each."""

    daemon_threads = True
    answer: Answer

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()  # slow answers end with the test

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        self.close_connection = True
        try:
            self.server.answer(self)
        except OSError:
            pass  # the client has gone

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def says(body: bytes | str, status: int = 200, **headers: str) -> Answer:
    """An answer with a body."""
    data = body.encode() if isinstance(body, str) else body

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Connection", "close")  # as it does: a client that was not told may ask on a socket that is closing
        for name, value in {"content_length": str(len(data)), **headers}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(data)

    return answer


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    """A server on a port of its own until the block ends."""
    server = Server()
    server.answer = answer
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
