"""Names of shipped and local files."""

from pathlib import Path

import pytest

from ems import resources
from ems.resources import bundled, resolve

TARIFF = "ercot-indexed-demand"


def test_shipped_files_are_found_from_anywhere(tmp_path: Path):
    assert bundled("config/sites/demo-2mw.yaml").is_file()
    assert resolve("tariffs", TARIFF, tmp_path / "site.yaml") == bundled(f"config/tariffs/{TARIFF}.yaml")


def test_the_nearest_config_folder_comes_first(tmp_path: Path):
    for folder in (tmp_path, tmp_path / "inner"):
        (folder / "config" / "tariffs").mkdir(parents=True)
        (folder / "config" / "tariffs" / f"{TARIFF}.yaml").touch()
    beside = tmp_path / "inner" / "config" / "sites" / "site.yaml"
    assert resolve("tariffs", TARIFF, beside) == (tmp_path / "inner" / "config" / "tariffs" / f"{TARIFF}.yaml").resolve()


@pytest.mark.parametrize("name", ["nobody", "nobody.yaml", "../nobody", "x" * 300, "x" * 300 + ".yaml", "a\0b", ""])
def test_a_name_that_is_nowhere_says_where_it_was_searched(name: str, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no such file: "):
        resolve("devices", name, tmp_path / "site.yaml")


def test_an_installed_package_finds_its_files_inside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "ems")
    assert bundled("migrations") == tmp_path / "migrations"
    (tmp_path / "ems" / "_bundled").mkdir(parents=True)
    assert bundled("migrations") == tmp_path / "ems" / "_bundled" / "migrations"


def test_a_relative_path_of_a_shipped_file_still_works_in_a_copy_placed_elsewhere(tmp_path: Path):
    assert resolve("sites", "../sites/demo-2mw.yaml", tmp_path / "copy.yaml") == bundled("config/sites/demo-2mw.yaml")
    with pytest.raises(FileNotFoundError):
        resolve("sites", "../mine/demo-2mw.yaml", tmp_path / "copy.yaml")


def test_a_local_file_comes_before_the_shipped_one_of_the_same_path(tmp_path: Path):
    (tmp_path / "sites").mkdir()
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "sites" / "demo-2mw.yaml").touch()
    assert resolve("sites", "../sites/demo-2mw.yaml", tmp_path / "scenarios" / "x.yaml") == (tmp_path / "sites" / "demo-2mw.yaml").resolve()
