"""Readers of traces: each publisher's format, and everything that can be wrong with a file."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from ems.errors import DataError
from ems.replay.traces import cover, read_trace, skip
from tests.replay import made


def read(path: Path, kind: str = "rates", fmt: str = "table", **columns: str):
    return read_trace(path, kind, fmt, columns, None, "start")


def table(path: Path, rows: str, head: str = "t_s,requests_per_s") -> Path:
    path.write_text(head + "\n" + rows)
    return path


def test_an_azure_file_is_counted_into_ten_second_bins_with_its_tokens(tmp_path: Path):
    trace = read(made.write_azure(tmp_path / "a.csv"), "requests", "azure-llm")
    assert trace.step_s == 10.0 and trace.is_absolute
    assert trace.level.sum() * 10 == pytest.approx(150)
    assert trace.prompt_per_s is not None and trace.prompt_per_s.sum() * 10 == pytest.approx(sum(300 + i for i in range(0, 300, 2)))


def test_a_mooncake_file_is_in_milliseconds_and_simultaneous_requests_all_count(tmp_path: Path):
    trace = read(made.write_mooncake(tmp_path / "m.jsonl"), "requests", "mooncake")
    assert not trace.is_absolute
    assert trace.level.sum() * 10 == pytest.approx(200)
    assert trace.end_s == pytest.approx(120.0)
    assert trace.quality["duplicates"] == 0


def test_servegen_clients_are_summed_and_tokens_scaled_from_those_that_are_known(tmp_path: Path):
    trace = read(made.write_servegen(tmp_path / "m-small"), "rates", "servegen")
    assert trace.level.tolist() == [4.0, 4.0, 6.0]
    assert trace.prompt_per_s is not None and trace.prompt_per_s.tolist() == pytest.approx([800.0, 800.0, 1200.0])
    assert trace.dispersion is not None and trace.dispersion.tolist() == pytest.approx([(2 * 1.5**2 + 2) / 4, 4.0, 1.0])


def test_a_compressed_file_reads_like_a_plain_one(tmp_path: Path):
    plain = made.write_rates(tmp_path / "r.csv", made.rates(5))
    (tmp_path / "r.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert read(tmp_path / "r.csv.gz").level.tolist() == read(plain).level.tolist()


def test_all_zero_windows_hold_the_last_value_and_are_counted(tmp_path: Path):
    trace = read(table(tmp_path / "r.csv", "0,5\n600,0\n1200,\n1800,7\n"))
    assert trace.level.tolist() == [5.0, 5.0, 5.0, 7.0]
    assert (trace.quality["zero_windows"], trace.quality["blank"], trace.quality["held"]) == (1, 1, 2)
    assert trace.quality["held_s"] == 1200


def test_power_of_zero_is_a_value(tmp_path: Path):
    trace = read(table(tmp_path / "p.csv", "0,5\n600,0\n1200,\n1800,7\n", "t_s,power_kw"), "power")
    assert trace.level.tolist() == [5.0, 0.0, 0.0, 7.0]
    assert (trace.quality["zero_windows"], trace.quality["held"], trace.quality["held_s"]) == (0, 1, 600)


def test_a_hall_that_is_mostly_off_is_not_absurd_while_it_is_on(tmp_path: Path):
    rows = "".join(f"{600 * i},{500 if i < 3 else 0}\n" for i in range(200))
    trace = read(table(tmp_path / "p.csv", rows, "t_s,power_kw"), "power")
    assert trace.level[:3].tolist() == [500.0] * 3 and trace.quality["absurd"] == 0


def test_an_empty_ten_second_bin_of_requests_is_an_honest_zero(tmp_path: Path):
    trace = read(table(tmp_path / "q.csv", "0,1,1\n35,1,1\n", "t_s,prompt_tokens,output_tokens"), "requests")
    assert trace.level.tolist() == [0.1, 0.0, 0.0, 0.1]


def test_missing_rows_hold_the_last_value_and_are_counted_as_gaps(tmp_path: Path):
    trace = read(table(tmp_path / "r.csv", "0,5\n600,6\n1200,7\n3000,8\n3600,9\n"))
    assert trace.level.tolist() == [5.0, 6.0, 7.0, 7.0, 7.0, 8.0, 9.0]
    assert trace.quality["gaps"] == 2


def test_backward_and_duplicate_stamps_are_sorted_counted_and_the_last_row_kept(tmp_path: Path):
    trace = read(table(tmp_path / "r.csv", "0,5\n1200,7\n600,\n600,6.5\n1800,8\n"))
    assert trace.level.tolist() == [5.0, 6.5, 7.0, 8.0]
    assert (trace.quality["backward"], trace.quality["duplicates"]) == (1, 1)


@pytest.mark.parametrize(("kind", "name"), [("power", "power_kw"), ("rates", "requests_per_s")])
def test_stamps_with_different_values_are_counted_and_beyond_one_in_a_hundred_refused(tmp_path: Path, kind: str, name: str):
    rows = [f"{600 * i},{i + 1}\n" for i in range(200)]
    again = ["1200,3\n", "1800,\n", "2400,50\n", "2400,51\n", "3000,60\n"]  # the same, a blank, two others, another
    trace = read(table(tmp_path / "r.csv", "".join([*rows, *again]), f"t_s,{name}"), kind)
    assert (trace.quality["duplicates"], trace.quality["contradicting_duplicates"]) == (5, 2)
    assert trace.level[[4, 5]].tolist() == [51.0, 60.0], "the last row stands"
    with pytest.raises(DataError, match=r"r.csv: 3 of 200 stamps stand there with different values, the first is 2400 s"):
        read(table(tmp_path / "r.csv", "".join([*rows, *again, "9000,1\n"]), f"t_s,{name}"), kind)


def test_the_first_stamp_with_different_values_is_named_as_an_instant(tmp_path: Path):
    rows = "2024-08-20T05:00:00Z,1\n2024-08-20T05:00:00Z,2\n2024-08-20T05:10:00Z,2\n"
    with pytest.raises(DataError, match=r"1 of 2 stamps .* the first is 2024-08-20T05:00:00Z"):
        read(table(tmp_path / "r.csv", rows, "time,requests_per_s"))


def test_single_requests_at_one_instant_contradict_nothing(tmp_path: Path):
    trace = read(table(tmp_path / "q.csv", "0,1,1\n0,2,1\n35,1,1\n", "t_s,prompt_tokens,output_tokens"), "requests")
    assert trace.quality["contradicting_duplicates"] == 0


def test_negative_and_absurd_values_are_held_and_counted(tmp_path: Path):
    rows = "".join(f"{600 * i},{v}\n" for i, v in enumerate([5.0] * 10 + [-3.0, 1e9, 6.0]))
    trace = read(table(tmp_path / "r.csv", rows))
    assert trace.level.tolist() == [5.0] * 12 + [6.0]
    assert trace.quality["absurd"] == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("t_s,requests_per_s\n0,1\n600,2,3,4\n", "not readable"),
        ("t_s,requests_per_s\n", "no rows"),
        ("t_s,requests_per_s\n0,1,5\n600,2,5\n", "more fields than its header"),
        ("t_s,other\n0,1\n600,2\n", "no column for kind rates; .* as requests_per_s: <its name> or requests: <its name>"),
        ("when,requests_per_s\n0,1\n", "no time column"),
        ("t_s,requests_per_s\n0,0\n600,0\n1200,x\n", "no usable value of requests_per_s in 3 rows: 1 no number .*, 2 zero"),
        ("time,requests_per_s\n07/14/2026 05:00,1\n", "no readable time; the first is 07/14/2026 05:00, read is ISO 8601"),
        ("time,requests_per_s\n2024-08-20 05:00:00,1\n2024-08-20 05:10:00,1\n", "no zone"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong(tmp_path: Path, text: str, complaint: str):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=complaint):
        read(path)


def test_a_missing_or_mislabelled_file_is_a_clear_error(tmp_path: Path):
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "nowhere.csv")
    (tmp_path / "x.parquet").write_text("this is no parquet")
    with pytest.raises(DataError, match="not readable"):
        read(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="chunk-<n>-trace"):
        (tmp_path / "empty").mkdir()
        read(tmp_path / "empty", "rates", "servegen")


def test_the_skipped_part_is_left_out_and_the_rest_starts_where_the_trace_did(tmp_path: Path):
    trace = read(made.write_rates(tmp_path / "r.csv", made.rates(5)))
    rest = skip(trace, 3600)
    assert rest.begin_s == trace.begin_s
    assert rest.level.tolist() == trace.level[6:].tolist()
    with pytest.raises(DataError, match="leaves nothing"):
        skip(trace, 6 * 3600)


def test_a_repeat_stays_within_ten_percent_and_is_reported(tmp_path: Path):
    trace = read(made.write_rates(tmp_path / "r.csv", made.rates(5)))
    longer = cover(trace, 3 * 5 * 3600, np.random.default_rng(1))
    again = cover(trace, 3 * 5 * 3600, np.random.default_rng(1))
    assert len(longer.level) == 90 and longer.quality["repeats"] == 2
    assert longer.level[:30].tolist() == trace.level.tolist()
    assert 0.9 * trace.level.min() <= longer.level.min() and longer.level.max() <= 1.1 * trace.level.max()
    assert again.level.tolist() == longer.level.tolist()


@pytest.mark.parametrize("name", ["cut.csv.gz", "junk.csv.gz", "numbers.jsonl", "objects.jsonl"])
def test_a_damaged_archive_or_foreign_jsonl_is_a_clear_error(tmp_path: Path, name: str):
    whole = gzip.compress(b"t_s,requests_per_s\n" + b"".join(b"%d,%d\n" % (600 * i, i % 7) for i in range(2000)))
    texts = {
        "cut.csv.gz": whole[: len(whole) // 2],
        "junk.csv.gz": b"\x1f\x8bjunk",
        "numbers.jsonl": b"1\n2\n",
        "objects.jsonl": b'{"time":{"a":1}}\n',
    }
    (tmp_path / name).write_bytes(texts[name])
    with pytest.raises(DataError, match=name):
        read(tmp_path / name)


def test_differing_offsets_are_read_and_a_stamp_without_one_among_them_is_unreadable(tmp_path: Path):
    rows = "2024-08-20T05:00:00Z,1\n2024-08-20T07:10:00+02:00,2\n2024-08-20T05:20:00,9\n2024-08-20T05:20:00Z,3\n"
    trace = read(table(tmp_path / "r.csv", rows, "time,requests_per_s"))
    assert trace.level.tolist() == [1.0, 2.0, 3.0] and trace.quality["unreadable_times"] == 1


def test_a_far_year_is_a_date_like_any_other(tmp_path: Path):
    trace = read(table(tmp_path / "r.csv", "9999-08-20T05:00:00Z,1\n9999-08-20T05:10:00Z,2\n", "time,requests_per_s"))
    assert trace.level.tolist() == [1.0, 2.0]
