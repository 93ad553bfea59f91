import csv
import io
import json
from base64 import b64decode
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from render_examples import ACTIVE, FAILED, JOB, MISSED, NASTY_NAMES, POOL, RUN, original

from runner.model.runs import FoundFile, Problem
from runner.output.formats import listing, to_json
from runner.output.records import RUN_KEYS, Record, file_record, job_record, run_record, show_record

MACHINE_FORMATS = ["json", "jsonl", "csv"]
paths = st.binary() | st.sampled_from(NASTY_NAMES)


def file_of(path: bytes) -> Record:
    return file_record(FoundFile(path=path, size_bytes=7, mtime_ns=None, first_run=1))


def to_csv(records: Iterable[Record]) -> str:
    return "".join(line + "\n" for line in listing(records, "raw-csv"))


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@given(st.lists(paths))
def test_json_gives_back_exactly_what_went_in(names: list[bytes]) -> None:
    records = list(map(file_of, names))
    for indented in (True, False):
        text = "".join(to_json({"files": iter(records)}, indented=indented))
        assert text == json.dumps({"files": records}, indent=2 if indented else None) + "\n"
    assert records == json.loads("\n".join(listing(records, "json")))
    assert records == [json.loads(line) for line in listing(records, "jsonl")]


@given(st.lists(paths, min_size=1))
def test_csv_gives_back_exactly_the_printable_forms(names: list[bytes]) -> None:
    rows = rows_of(to_csv(map(file_of, names)))
    assert [(name, "7", "") for name in names] == [
        (original(row["path"]), row["size_bytes"], row["modified_at"]) for row in rows
    ]


@given(st.lists(paths))
def test_no_format_lets_an_active_character_through(names: list[bytes]) -> None:
    run = replace(RUN, job="\x7f\u202e", message="\x1b[31m\x9b\r\n", root=b"/\x1b")
    problems = [Problem(path=name, errno=5, text="\x7f") for name in names]
    for fmt in MACHINE_FORMATS:
        for records in (map(file_of, names), [run_record(run)], [show_record(run, problems=problems)]):
            lines = list(listing(records, fmt))
            assert ACTIVE.isdisjoint("".join(lines))
            assert not any("\n" in line for line in lines)
    assert ACTIVE.isdisjoint("".join(to_json(show_record(run, problems=problems))).replace("\n", ""))


@pytest.mark.parametrize(
    ("fmt", "two", "none"),
    [
        ("json", ["[", '  {"a": 1},', '  {"a": 2}', "]"], ["[]"]),
        ("jsonl", ['{"a": 1}', '{"a": 2}'], []),
        ("csv", ["a", "1", "2"], []),
    ],
)
def test_a_listing_has_one_record_per_line(fmt: str, two: list[str], none: list[str]) -> None:
    assert two == list(listing([{"a": 1}, {"a": 2}], fmt))
    assert none == list(listing([], fmt))
    assert "".join(to_json({"a": [1]})) == '{\n  "a": [\n    1\n  ]\n}\n'


def test_an_empty_listing_has_the_header_of_a_full_one() -> None:
    full = next(listing([run_record(RUN)], "csv", columns=RUN_KEYS))
    assert [full] == list(listing([], "csv", columns=RUN_KEYS))


@pytest.mark.parametrize("fmt", MACHINE_FORMATS)
def test_records_are_written_as_they_come(fmt: str) -> None:
    def endless() -> Iterator[Record]:
        while True:
            yield {"a": 1}

    assert len(list(islice(listing(endless(), fmt), 1000))) == 1000


def test_executions_become_columns_of_their_strategies() -> None:
    odd_one = replace(RUN, executions=(replace(POOL, wall_s=0.1 + 0.2),))
    both, odd, missed, failed = rows_of(to_csv(map(run_record, [RUN, odd_one, MISSED, FAILED])))
    assert (both["sequential_wall_s"], both["pool_wall_s"]) == ("0.4712345678", "0.27")
    assert (both["sequential_position"], both["pool_position"], both["pool_start_method"]) == ("2", "1", "fork")
    assert (odd["sequential_wall_s"], odd["pool_wall_s"]) == ("", "0.30000000000000004")
    assert (missed["pool_status"], missed["status"], missed["missed"]) == ("", "missed", "12")
    assert (failed["pool_status"], failed["pool_message"]) == ("failed", "no such folder")
    record = run_record(replace(RUN, executions=(replace(POOL, strategy="new"),)))
    with pytest.raises(ValueError, match="new_wall_s"):  # not lost silently
        list(listing([run_record(RUN), record], "csv"))


def test_lists_and_nested_records_are_readable_in_csv() -> None:
    (job,) = rows_of(to_csv([job_record(JOB)]))
    assert (job["patterns"], job["paused"], job["next_at"]) == ("*.md *.rst", "false", "")
    problems = [Problem(path=b"a", errno=13, text="Permission denied")] * 2
    (shown,) = rows_of(to_csv([show_record(RUN, problems=problems)]))
    assert (shown["problems"], shown["differences"], shown["environment_host"]) == ("2", "0", "box")


def test_numbers_that_json_lacks_are_refused() -> None:
    record: Record = {"a": float("nan")}
    for pieces in (to_json(record), listing([record], "jsonl")):
        with pytest.raises(ValueError, match="JSON compliant"):
            list(pieces)


def test_a_name_and_its_escaped_twin_are_told_apart_in_csv() -> None:
    names = [b"a\n.md", b"a\\n.md", b"plain.md"]
    rows = rows_of(to_csv(map(file_of, names)))
    assert names == [b64decode(row["path_base64"]) if row["path_base64"] else row["path"].encode() for row in rows]


@pytest.mark.parametrize("begin", "=+-@\uff1d\uff20")
def test_csv_has_no_text_that_a_spreadsheet_would_execute(begin: str) -> None:
    record: Record = {"path": f"{begin}1+1", "count": -5, "share": -0.5, "tags": [f"{begin}x"]}
    assert f"'{begin}1+1,-5,-0.5,'{begin}x" == list(listing([record], "csv"))[1]
    assert f"{begin}1+1,-5,-0.5,{begin}x" == list(listing([record], "raw-csv"))[1]
