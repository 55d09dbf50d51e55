"""Databases for the tests of history: SQLite in a file, PostgreSQL on a socket of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ems.history import schema


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty PostgreSQL: EMS_TEST_POSTGRES_URL, else a server of this machine started for the tests on a socket of its own."""
    if named := os.environ.get("EMS_TEST_POSTGRES_URL"):
        yield named
        return
    pytest.importorskip("psycopg", reason="PostgreSQL driver absent")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("PostgreSQL server absent")
    yield from _own_server(programs[-1].parent, tmp_path_factory.mktemp("pg"))


def _own_server(programs: Path, folder: Path) -> Iterator[str]:
    user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    home = Path(subprocess.check_output([*user, "mktemp", "-d", "/tmp/ems-pg-XXXXXX"], text=True).strip())
    data, options = home / "data", f"-c listen_addresses='' -k {home} -c fsync=off"
    try:
        _quiet(*user, str(programs / "initdb"), "-D", str(data), "-U", "ems", "-A", "trust", "-E", "UTF8", "--no-sync")
        _quiet(*user, str(programs / "pg_ctl"), "-D", str(data), "-o", options, "-l", str(home / "log"), "-w", "-t", "180", "start")
        try:
            yield f"postgresql+psycopg://ems@/postgres?host={home}"
        finally:
            _quiet(*user, str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _quiet(*argv: str) -> None:
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd="/")


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'history.sqlite'}"
        return
    found = request.getfixturevalue("postgres_url")
    yield found
    schema.downgrade(found, "base")
