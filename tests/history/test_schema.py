"""The schema of history goes up and down, fits the code, and keeps what was written."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Column, Integer, insert, inspect, select

from ems.errors import DataError
from ems.history import schema
from ems.history.engine import open_engine
from ems.history.tables import metadata, site_minute

AT = datetime(2024, 11, 3, 6, 30, tzinfo=UTC)  # 01:30 in Chicago, an hour that exists twice


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


def test_a_schema_of_a_newer_version_is_told_as_that(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    schema.upgrade(url)
    with sqlite3.connect(tmp_path / "history.sqlite") as db:
        db.execute("update alembic_version set version_num = '9999'")
    db.close()
    assert "9999, which this version does not know" in (schema.check(url) or "")
    with pytest.raises(DataError, match="9999"):
        schema.upgrade(url)
