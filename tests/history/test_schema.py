"""The schema of history goes up and down, fits the code, and keeps what was written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, insert, inspect, select

from ems.errors import DataError
from ems.history import schema
from ems.history.engine import open_engine
from ems.history.tables import metadata, site_minute

AT = datetime(2024, 11, 3, 6, 30, tzinfo=UTC)  # 01:30 in Chicago, an hour that exists twice


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
        _quiet(*user, str(programs / "pg_ctl"), "-D", str(data), "-o", options, "-l", str(home / "log"), "-w", "start")
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


def test_the_schema_goes_up_down_and_up_again(url: str):
    schema.upgrade(url)
    assert schema.current(url) == "0001"
    schema.downgrade(url, "base")
    assert schema.current(url) is None
    assert set(tables_of(url)) <= {"alembic_version"}
    schema.upgrade(url)
    assert set(metadata.tables) <= set(tables_of(url))


def test_migrations_and_tables_of_the_code_do_not_drift_apart(url: str):
    schema.upgrade(url)
    assert schema.check(url) is None


def test_drift_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    schema.upgrade(url)
    widened = site_minute.to_metadata(type(metadata)())
    widened.append_column(Column("gusts", Integer))
    monkeypatch.setattr(schema, "metadata", widened.metadata)
    assert "gusts" in (schema.check(url) or "")


def test_a_database_without_schema_is_told_to_upgrade(tmp_path: Path):
    assert "ems db upgrade" in (schema.check(f"sqlite:///{tmp_path / 'empty.sqlite'}") or "")


def test_what_was_written_survives_another_upgrade(url: str):
    schema.upgrade(url)
    write_minute(url, AT)
    schema.upgrade(url)
    assert read_starts(url) == [AT]


def test_instants_come_back_aware_and_in_utc_whatever_zone_they_went_in_with(url: str):
    schema.upgrade(url)
    write_minute(url, AT.astimezone(timezone(timedelta(hours=-5))))
    [start] = read_starts(url)
    assert (start, start.utcoffset()) == (AT, timedelta(0))


def test_a_naive_instant_is_refused(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    schema.upgrade(url)
    with pytest.raises(Exception, match="no time zone"):
        write_minute(url, datetime(2024, 8, 19, 5))


def test_a_folder_with_a_percent_sign_is_an_ordinary_folder(tmp_path: Path):
    folder = tmp_path / "100%s"
    folder.mkdir()
    url = f"sqlite:///{folder / 'history.sqlite'}"
    schema.upgrade(url)
    assert schema.current(url) == "0001"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("not a url", "expected a database URL"),
        ("sqlite:////nowhere/at/all/history.sqlite", "unable to open"),
        ("oracle+nosuch://x/y", "driver|URL"),
        ("postgresql+psycopg://ems:secret@127.0.0.1:1/none", "127.0.0.1"),
    ],
)
def test_a_database_that_cannot_be_reached_is_one_line_without_the_password(url: str, said: str):
    with pytest.raises(DataError, match=said) as caught:
        schema.upgrade(url)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_revision_nobody_knows_is_one_line(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    with pytest.raises(DataError, match="9999"):
        schema.upgrade(url, "9999")


def write_minute(url: str, start: datetime) -> None:
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(insert(site_minute).values(start=start, poc_kw=1213.5))
    engine.dispose()


def read_starts(url: str) -> list[datetime]:
    engine = open_engine(url)
    with engine.connect() as connection:
        found = list(connection.scalars(select(site_minute.c.start)))
    engine.dispose()
    return found


def tables_of(url: str) -> list[str]:
    engine = open_engine(url)
    found = inspect(engine).get_table_names()
    engine.dispose()
    return found
