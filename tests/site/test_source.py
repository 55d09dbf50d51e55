"""Reading an operator's file: every fault has its line, its column and what would be right."""

from pathlib import Path

import pytest

from ems.errors import Complaint, ConfigError
from ems.site.source import FileModel, Instant, overrides_source, parse_source, read_source, validated
from ems.site.yaml_reader import MAX_BYTES

HERE = Path("file.yaml")


class Part(FileModel):
    """A part of the file of these tests."""

    kw: float
    count: int = 1


class Model(FileModel):
    """The file of these tests."""

    name: str
    at: Instant | None = None
    parts: dict[str, Part] = {}
    rows: list[Part] = []


def complaints_of(text: str) -> list[Complaint]:
    with pytest.raises(ConfigError) as caught:
        validated(parse_source(text, HERE), Model)
    return caught.value.complaints


def test_yaml_1_2_reads_norway_times_and_exponents_as_they_look():
    data = parse_source("a: NO\nb: 12:30\nc: 1e3\nd: on\ne: 010\nf: 2024-08-19\ng: true\nh: ~\ni: 1_000\nj: 0x10\n", HERE).data
    assert data == {"a": "NO", "b": "12:30", "c": 1000.0, "d": "on", "e": 10, "f": "2024-08-19", "g": True, "h": None, "i": 1000, "j": 16}


def test_every_key_and_list_item_knows_its_line_and_column():
    source = parse_source("name: x\nparts:\n  a: {kw: 1}\nrows:\n  - kw: 2\n", HERE)
    assert {path: mark[1:] for path, mark in source.marks.items()} == {
        (): (1, 1),
        ("name",): (1, 1),
        ("parts",): (2, 1),
        ("parts", "a"): (3, 3),
        ("parts", "a", "kw"): (3, 7),
        ("rows",): (4, 1),
        ("rows", 0): (5, 5),
        ("rows", 0, "kw"): (5, 5),
    }


BAD = {
    "a wrong type": ("name: x\nparts:\n  a: {kw: big}\n", 3, 7, "parts.a.kw", "big", "a number"),
    "a quoted number": ('name: x\nparts:\n  a: {kw: "5"}\n', 3, 7, "parts.a.kw", "5", "a number"),
    "true for a number": ("name: x\nparts:\n  a: {kw: true}\n", 3, 7, "parts.a.kw", "true", "a number"),
    "a fraction for a count": ("name: x\nrows:\n  - {kw: 1, count: 1.5}\n", 3, 13, "rows[0].count", "1.5", "a whole number"),
    "not a number": ("name: x\nrows:\n  - kw: .nan\n", 3, 5, "rows[0].kw", "NaN", "a finite number"),
    "an endless number": ("name: x\nrows:\n  - kw: 1e999\n", 3, 5, "rows[0].kw", "Infinity", "a finite number"),
    "a near miss": ("name: x\nparts:\n  a: {kw: 1, coumt: 2}\n", 3, 14, "parts.a.coumt", "2", "a known key, perhaps `count`"),
    "an unknown key": ("name: x\nzzz: 1\n", 2, 1, "zzz", "1", "one of the keys at, name, parts, rows"),
    "a missing key": ("name: x\nparts:\n  a: {count: 1}\n", 3, 3, "parts.a.kw", "(missing)", "this key, which is required"),
    "a list for a mapping": ("name: x\nparts: [1]\n", 2, 1, "parts", "[1]", "a mapping of keys to values"),
    "a mapping for a list": ("name: x\nrows: {a: 1}\n", 2, 1, "rows", '{"a": 1}', "a list"),
    "nothing for text": ("name:\n", 1, 1, "name", "null", "text"),
    "a date for text's sake": ("name: x\nat: soon\n", 2, 1, "at", "soon", "an instant with its offset"),
    "an instant without offset": ("name: x\nat: 2024-08-19T05:00:00\n", 2, 1, "at", "2024-08-19T05:00:00", "an instant with its offset"),
    "a duplicate key": ("name: x\nname: y\n", 2, 1, "name", "y", "each key once (it stands on line 1 already)"),
    "a deep duplicate key": (
        "name: x\nparts:\n  a:\n    kw: 1\n    kw: 2\n",
        5,
        5,
        "parts.a.kw",
        "2",
        "each key once (it stands on line 4",
    ),
    "a merge key": ("name: x\nparts:\n  a: &a {kw: 1}\n  b: {<<: *a}\n", 4, 7, "parts.b.<<", "…", "a plain text key"),
    "a tag": ("name: !secret x\n", 1, 7, "name", "x", "a plain value without a tag"),
    "a tab": ("name: x\nparts:\n\ta: {kw: 1}\n", 3, 1, "yaml", "a: {kw: 1}", "spaces, never tabs"),
    "an open bracket": ("name: x\nrows: [1, 2\n", 3, 1, "yaml", "end of file", "valid YAML"),
    "an open quote": ('name: "x\n', 2, 1, "yaml", "end of file", "valid YAML"),
    "a missing colon": ("name: x\nparts\n", 3, 1, "yaml", "end of file", "valid YAML"),
    "two documents": ("name: x\n---\nname: y\n", 2, 1, "yaml", "---", "valid YAML"),
    "an unknown alias": ("name: *nobody\n", 1, 7, "yaml", "name: *nobody", "valid YAML"),
    "an empty file": ("", 1, 1, "file", "nothing", "keys with values"),
    "only a comment": ("# later\n", 1, 1, "file", "nothing", "keys with values"),
    "a list": ("- 1\n", 1, 1, "file", "no mapping", "keys with values"),
    "a control character": ("name: \x01\n", 1, 1, "file", "", "YAML 1.2 text"),
    "an alias in itself": ("name: x\nparts: &p\n  a: *p\n", 1, 1, "file", "too many or too deep values", "at most 50 levels"),
    "a tower of brackets": ("name: " + "[" * 1200 + "\n", 1, 1, "file", "too deep values", "at most 50 levels"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_text_is_one_complaint_at_its_place(case: str):
    text, line, column, key, value, expected = BAD[case]
    found = [c for c in complaints_of(text) if c.key == key]
    assert [(c.file, c.line, c.column) for c in found] == [("file.yaml", line, column)], complaints_of(text)
    assert value in found[0].value and found[0].expected.startswith(expected), str(found[0])
    assert "\n" not in str(found[0]) and "\t" not in str(found[0])


def test_all_errors_of_a_file_are_reported_at_once_in_its_order():
    text = "name: x\nname: y\nparts:\n  a: {kw: big}\n  b: {kw: 1, cuont: 2}\nrows:\n  - {}\n"
    assert [(c.line, c.key) for c in complaints_of(text)] == [(2, "name"), (4, "parts.a.kw"), (5, "parts.b.cuont"), (7, "rows[0].kw")]


def test_a_complaint_is_the_one_line_that_users_see():
    assert str(complaints_of("name: x\nparts:\n  a: {kw: big}\n")[0]) == "file.yaml:3:7 parts.a.kw = big: expected a number"


def test_aliases_that_multiply_are_refused_quickly():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "too many" in complaints_of("\n".join(lines) + "\n")[0].value


def test_files_that_cannot_be_read_say_so(tmp_path: Path):
    (tmp_path / "big.yaml").write_text("a: 1\n" * (MAX_BYTES // 5 + 1))
    (tmp_path / "latin.yaml").write_bytes(b"name: x\nrows: \xe9\n")
    words = {
        "absent.yaml": "a file that can be read",
        ".": "a file that can be read",
        "big.yaml": "at most 1 MiB",
        "latin.yaml": "UTF-8 text",
    }
    for name, expected in words.items():
        with pytest.raises(ConfigError) as caught:
            read_source(tmp_path / name)
        assert expected in caught.value.complaints[0].expected
    assert caught.value.complaints[0].line == 2


def test_windows_line_ends_and_a_byte_order_mark_are_no_trouble(tmp_path: Path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfname: x\r\nrows: []\r\n")
    assert validated(read_source(tmp_path / "a.yaml"), Model).name == "x"


def test_overlaid_mappings_are_joined_and_everything_else_is_replaced():
    below = parse_source("a: {x: 1, y: 2}\nb: [1, 2]\nc: 1\n", HERE)
    above = parse_source("a: {y: 3}\nb: [9]\nd: 4\n", Path("above.yaml"))
    assert below.overlaid(above).data == {"a": {"x": 1, "y": 3}, "b": [9], "c": 1, "d": 4}
    assert below.data == {"a": {"x": 1, "y": 2}, "b": [1, 2], "c": 1}


def test_a_fault_in_an_override_points_to_the_file_of_the_override():
    below = parse_source("name: x\nparts:\n  a: {kw: 1}\n", HERE)
    scenario = parse_source("overrides:\n  parts:\n    a: {kw: big}\n    b: {}\n", Path("scenario.yaml"))
    with pytest.raises(ConfigError) as caught:
        validated(below.overlaid(scenario.part("overrides")), Model)
    assert [(c.file, c.line, c.key) for c in caught.value.complaints] == [
        ("scenario.yaml", 3, "parts.a.kw"),
        ("scenario.yaml", 4, "parts.b.kw"),
    ]


def test_a_key_missing_from_both_files_is_reported_in_the_lower_one():
    below = parse_source("parts:\n  a: {kw: 1}\n", HERE)
    with pytest.raises(ConfigError) as caught:
        validated(below.overlaid(overrides_source({"parts": {"a": {"count": 2}}})), Model)
    assert [(c.file, c.key) for c in caught.value.complaints] == [("file.yaml", "name")]


def test_overrides_that_are_no_mapping_are_refused():
    source = parse_source("overrides: 5\n", HERE)
    with pytest.raises(ConfigError, match=r"file.yaml:1:1 .*a mapping of site keys"):
        overrides_source(source.part("overrides"))
