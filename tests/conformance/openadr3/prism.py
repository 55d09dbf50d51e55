"""Prism, the mock and proxy server of an unrelated maker, installed from npm into the environment's folder and run on a free port."""

from __future__ import annotations

import fcntl
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ems.app.ports import PortRow

PACKAGE = "@stoplight/prism-cli@5.14.2"
CHECKOUT = Path(__file__).resolve().parents[3]
FOLDER = CHECKOUT / ".venv" / "prism"
INTERFACES = CHECKOUT.parent / "shared" / "reference" / "openadr3"


def interface(version: str) -> Path:
    """The public interface description; it is not part of this repository."""
    found = INTERFACES / f"openadr-{version}.yaml"
    if not found.is_file():
        pytest.skip(f"data folder absent: the interface description {found.name}")
    return found


def program() -> Path:
    """The installed program; skips where npm cannot be reached."""
    npm, found = shutil.which("npm"), FOLDER / "node_modules" / ".bin" / "prism"
    if npm is None:
        pytest.skip("npm unreachable: not installed")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with open(FOLDER / "lock", "w") as lock:  # two workers of a test run ask at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            asked = [npm, "install", "--prefix", str(FOLDER), "--no-fund", "--no-audit", "--loglevel=error", PACKAGE]
            try:
                done = subprocess.run(asked, capture_output=True, text=True, timeout=100)
            except subprocess.TimeoutExpired:
                pytest.skip("npm unreachable: no answer within 100 s")
            if done.returncode:
                pytest.skip(f"npm unreachable: {(done.stderr.strip().splitlines() or ['no reason given'])[-1][:120]}")
    return found


@contextmanager
def prism(mode: str, description: Path, upstream: str = "") -> Iterator[str]:
    """A running Prism's URL. `mock` answers requests itself and refuses what the description does not allow; `proxy` hands them on and
    names what breaks it, in either direction, in a header."""
    row = PortRow()  # nobody else takes the port
    port = row.base
    argv = [str(program()), mode, "-h", "127.0.0.1", "-p", str(port), str(description), *([upstream] if upstream else [])]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)
        row.let_go()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up_at = time.perf_counter() + 90
    while time.perf_counter() < give_up_at and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("Prism does not listen")
