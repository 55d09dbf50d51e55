"""Programmes are data: every rule has a source, a day and a basis; a slip is told with its place."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ems.app.cli import app
from ems.errors import ConfigError
from ems.program.library import find_program, lint, load_program, program_paths, schema_text
from ems.program.terms import terms_on

FILES = program_paths()
NAMED = {"ercot-ers-10", "ercot-ers-30", "ercot-4cp", "pjm-capacity-dr", "pjm-economic", "caiso-pdr", "ca-elrp", "pge-bip", "nyiso-scr"}
NAMED |= {"neso-dfs", "nonfirm-connection", "texas-sb6"}


def test_the_shipped_programmes_are_there_and_sound():
    assert {p.stem for p in FILES} >= NAMED
    assert lint(FILES) == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_rule_names_its_source_day_and_basis(path):
    file = load_program(path)
    rules = [r for name in type(file.rules).model_fields for r in getattr(file.rules, name) or []]
    assert rules
    for rule in rules:
        assert rule.source in file.sources
        assert rule.basis in {"read", "general"}
        assert (rule.source in {"common"}) == (rule.basis == "general")


def test_the_published_json_schema_is_the_one_the_files_are_read_with():
    assert (FILES[0].parent / "program.schema.json").read_text() == schema_text()


def test_a_rule_holds_from_its_effective_day_on():
    file = find_program("pjm-capacity-dr", Path("x.yaml"))
    before, after = terms_on(file, date(2027, 5, 31)), terms_on(file, date(2027, 6, 1))
    assert (before.window.from_h, before.window.to_h) == (10, 22)
    assert (after.window.from_h, after.window.to_h) == (0, 24)
    assert before.penalties == () and after.penalties[0].price == 2.3
    assert before.version != after.version


def test_a_changed_number_changes_the_rule_version():
    file = find_program("pge-bip", Path("x.yaml"))
    rule = file.rules.min_kw[0]
    changed = file.model_copy(update={"rules": file.rules.model_copy(update={"min_kw": [rule.model_copy(update={"value": 101})]})})
    day = date(2026, 7, 1)
    assert terms_on(file, day).version != terms_on(changed, day).version
    assert terms_on(file, day).version == terms_on(file, date(2026, 7, 2)).version


@pytest.mark.parametrize(
    ("start", "end", "says"),
    [
        ("2026-07-07T23:00:00Z", "2026-07-08T03:00:00Z", ""),  # 16 to 20 h in California
        ("2026-07-07T22:00:00Z", "2026-07-08T03:00:00Z", "not inside"),
        ("2026-07-07T23:00:00Z", "2026-07-08T04:15:00Z", "not inside"),
        ("2026-12-08T00:30:00Z", "2026-12-08T02:00:00Z", "month 12"),
    ],
)
def test_a_season_and_its_hours_are_local(start, end, says):
    terms = terms_on(find_program("ca-elrp", Path("x.yaml")), date(2026, 7, 7))
    found = terms.covers(datetime.fromisoformat(start).astimezone(UTC), datetime.fromisoformat(end).astimezone(UTC))
    assert (says in found) if says else found == ""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("notice_min: {value: 5,", "notice_min: {value: -5,", "expected a number >= 0"),
        ("notice_min: {value: 5,", "notice_mins: {value: 5,", "perhaps `notice_min`"),
        ("basis: read", "basis: heard", "expected one of"),
        ("source: accuracy-group", "source: accuracy_group", "perhaps `accuracy-group`"),
        ("method: caiso_10in10", "method: caiso_10in11", "perhaps `caiso_10in10`"),
        ("method: caiso_10in10", "method: caiso_10in10, with: {lookback: 3}", "has no lookback"),
        ("time_zone: America/Los_Angeles", "time_zone: America/Los_Angelos", "expected an IANA zone"),
        (
            "effective: 2018-11-01, basis: general, source: common, note",
            "effective: first, basis: general, source: common, note",
            "a day such as",
        ),
        ("currency: USD", "currency: USD\nkind: energy", "each key once"),
        ("name: caiso-pdr", "name: caiso", "the name of the file"),
        ("mode: exclusive", "mode: exclusive, not_with: [caiso-pdx]", "perhaps `caiso-pdr`"),
    ],
)
def test_a_slip_is_told_with_file_line_and_column(tmp_path, old, new, says):
    text = next(p for p in FILES if p.stem == "caiso-pdr").read_text()
    assert old in text
    path = tmp_path / "caiso-pdr.yaml"
    path.write_text(text.replace(old, new, 1))
    lines = [str(c) for c in lint([path])]
    assert any(says in line for line in lines), lines
    assert all(line.startswith(f"{path}:") and line.split(":")[1].isdigit() for line in lines)


def test_a_programme_paid_per_kwh_needs_a_baseline(tmp_path):
    lines = next(p for p in FILES if p.stem == "ca-elrp").read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("  baseline:"))
    path = tmp_path / "ca-elrp.yaml"
    path.write_text("\n".join(lines[:at] + lines[at + 5 :]))
    with pytest.raises(ConfigError, match="baseline"):
        load_program(path)


def test_lint_and_list_on_the_command_line(tmp_path):
    runner = CliRunner()
    listed = runner.invoke(app, ["programs", "list", "--on", "2026-07-01"])
    assert listed.exit_code == 0 and "ercot-ers-30" in listed.output
    assert "rules read in a source" in runner.invoke(app, ["programs", "lint"]).output
    path = tmp_path / "caiso-pdr.yaml"
    path.write_text("name: caiso-pdr\n")
    assert isinstance(runner.invoke(app, ["programs", "lint", str(path)]).exception, ConfigError)
