"""Sizes whose sum is larger than any number that a database keeps."""

import json

import pytest
from history_examples import listing, play, snapshot, some_job

from runner.history.contents import count_directories
from runner.history.database import Database
from tests.benchmarks.consistency import answer

LARGEST = 2**63 - 1


@pytest.mark.parametrize("count", [2, 3, 40])
def test_sizes_add_up_beyond_63_bits(count: int, database: Database) -> None:
    found = {f"{number}.md".encode(): (LARGEST - number, 1) for number in range(count)}
    run = play(database, some_job(database), snapshot(listing(b"", {**found, b"unknown.md": None})))
    [directory] = count_directories(database, run.job_id, run.run_id)
    assert sum(LARGEST - number for number in range(count)) == directory.size_bytes
    assert count + 1 == directory.files


def test_every_command_accepts_huge_files(database: Database, place: str) -> None:
    job = some_job(database)
    play(database, job, snapshot(listing(b"", {b"small.md": (1, 1)})))
    two = {b"a.md": (LARGEST, 1), b"b.md": (LARGEST, 1)}
    play(database, job, snapshot(listing(b"", {b"small.md": (1, 1)}), listing(b"deep", two)))
    for question in (
        ("files", "docs", "--by-folder"),
        ("files", "docs", "--by-folder", "--depth", "0"),
        ("files", "docs"),
        ("changes", "docs", "--by-folder"),
        ("changes", "docs"),
        ("show", "2"),
    ):
        for form in ("table", "json", "csv"):
            code, out, err = json.loads(answer(place, (*question, "--format", form)))
            assert (0, "") == (code, err), question
            if "--by-folder" in question and form != "table":
                assert str(2 * LARGEST) in out or str(2 * LARGEST + 1) in out


def test_the_size_of_an_empty_file_is_known(database: Database) -> None:
    run = play(database, some_job(database), snapshot(listing(b"", {b"empty.md": (0, 1)})))
    assert [0] == [directory.size_bytes for directory in count_directories(database, run.job_id, run.run_id)]
    unknown = play(database, some_job(database, "other"), snapshot(listing(b"", {b"unknown.md": None})))
    assert [None] == [directory.size_bytes for directory in count_directories(database, unknown.job_id, unknown.run_id)]
