"""Schemathesis runs where its environment can be made; where not the reason is said. A package that is not the locked one is an error."""

import subprocess
from pathlib import Path

import pytest

from tests.conformance.openadr3 import fuzz


class Pip:
    """Answers as pip would."""

    def __init__(self, code: int, said: str = "") -> None:
        self.code, self.said, self.asked = code, said, list[list[str]]()

    def __call__(self, argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.asked.append(argv)
        return subprocess.CompletedProcess(argv, self.code, "", self.said)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "lock-fuzz.txt"
    path.write_text("schemathesis==4.32.5 --hash=sha256:00\n")
    return path


def pretend(monkeypatch: pytest.MonkeyPatch, pip: Pip) -> None:
    def make(folder: Path, **_: object) -> None:
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        (folder / "bin" / "st").touch()

    monkeypatch.setattr(fuzz.venv, "create", make)
    monkeypatch.setattr(fuzz.subprocess, "run", pip)


def test_it_is_installed_by_its_hashes_once_and_again_when_the_lock_changes(tmp_path, monkeypatch, lock):
    pip = Pip(0)
    pretend(monkeypatch, pip)
    assert fuzz.installed(tmp_path / "env", lock) == fuzz.installed(tmp_path / "env", lock) == tmp_path / "env" / "bin" / "st"
    assert len(pip.asked) == 1 and "--require-hashes" in pip.asked[0]
    lock.write_text(lock.read_text() + "anyio==4.16.0 --hash=sha256:11\n")
    fuzz.installed(tmp_path / "env", lock)
    assert len(pip.asked) == 2


def test_without_the_packages_the_run_is_skipped_with_its_reason(tmp_path, monkeypatch, lock, capsys):
    pretend(monkeypatch, Pip(1, "ERROR: No matching distribution found for anyio"))
    monkeypatch.setattr(fuzz, "FOLDER", tmp_path / "env")
    monkeypatch.setattr(fuzz, "LOCK", lock)
    assert fuzz.main(["--quick"]) == 0
    assert "schemathesis skipped: package index unreachable: ERROR: No matching" in capsys.readouterr().out


def test_a_package_that_is_not_the_locked_one_is_an_error(tmp_path, monkeypatch, lock):
    pretend(monkeypatch, Pip(1, "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE."))
    with pytest.raises(SystemExit, match=r"not what lock-fuzz\.txt names"):
        fuzz.installed(tmp_path / "env", lock)


def test_the_lock_names_every_package_with_its_hashes_and_no_index():
    text = fuzz.LOCK.read_text()
    pinned = [line for line in text.splitlines() if line and not line.startswith(" ")]
    assert any(line.startswith("schemathesis==4.32.5") for line in pinned) and all("==" in line for line in pinned)
    assert "://" not in text and text.count("--hash=sha256:") > len(pinned)
