import base64
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from render_examples import ENVIRONMENT, FAILED, JOB, MISSED, NASTY_NAMES, NOTIFICATION, NOW, RUN

from runner.model.jobs import JobSpec
from runner.model.runs import Change, ChangeKind, Difference, FoundFile, Problem
from runner.output import records
from runner.output.records import (
    change_record,
    encode,
    exact,
    file_record,
    job_record,
    run_record,
    show_record,
)


def test_a_run_has_the_keys_of_the_contract_in_its_order() -> None:
    contract = """run job root cause status scheduled_at started_at finished_at wall_s files directories added removed
        modified problems message executions"""
    execution = """strategy position workers start_method wall_s startup_s user_s system_s max_rss_bytes cache files
        directories"""
    record = run_record(RUN)
    later = ["missed", "differences", "root_base64", "attempt", "lateness_s", "retry_at"]
    assert [*contract.split(), *later] == list(record)
    assert [*execution.split(), "status", "entries", "message"] == list(record["executions"][0])


def test_every_value_of_a_run_is_given_as_it_is() -> None:
    assert {key: value for key, value in run_record(RUN).items() if key != "executions"} == {
        "run": 12,
        "job": "docs",
        "root": "/srv/docs",
        "cause": "schedule",
        "status": "succeeded",
        "scheduled_at": "2026-11-22T10:00:00Z",
        "started_at": "2026-11-22T10:00:00.031000Z",
        "finished_at": "2026-11-22T10:00:01Z",
        "wall_s": 0.91,
        "files": 2987,
        "directories": 101,
        "added": 1,
        "removed": 1,
        "modified": 1,
        "problems": 0,
        "message": None,
        "missed": 0,
        "differences": 0,
        "root_base64": None,
        "attempt": 1,
        "lateness_s": None,
        "retry_at": None,
    }
    assert run_record(RUN)["executions"][1] == {
        "strategy": "sequential",
        "position": 2,
        "workers": 1,
        "start_method": None,
        "wall_s": 0.4712345678,
        "startup_s": None,
        "user_s": 0.2,
        "system_s": 0.25,
        "max_rss_bytes": 20_000_000,
        "cache": "warm",
        "files": 2987,
        "directories": 101,
        "status": "succeeded",
        "entries": 30_000,
        "message": None,
    }


def test_what_did_not_happen_is_null() -> None:
    record = run_record(MISSED)
    assert [record[key] for key in ("started_at", "wall_s", "files", "added", "directories")] == [None] * 5
    assert (record["missed"], record["executions"]) == (12, [])
    assert run_record(FAILED)["executions"][0]["cache"] is None


def test_show_gives_the_lists_in_place_of_their_counts() -> None:
    shown = show_record(
        replace(RUN, problems=1),
        [Change(kind=ChangeKind.ADDED, path=b"new.md", new_size_bytes=3)],
        [Problem(path=b"", errno=13, text="Permission denied")],
        [Difference(path=b"a", found_by=("pool",))],
        [NOTIFICATION],
    )
    assert [*run_record(RUN), "changes", "environment", "notifications"] == list(shown)
    assert [change["path"] for change in shown["changes"]] == ["new.md"]
    assert shown["problems"] == [{"path": "", "errno": 13, "text": "Permission denied", "path_base64": None}]
    assert shown["differences"] == [{"path": "a", "found_by": ["pool"], "path_base64": None}]
    assert (ENVIRONMENT.host, 2) == (shown["environment"]["host"], shown["environment"]["workers"])
    assert shown["notifications"] == [
        {
            "event": "change",
            "command": ["mail", "-s", "two words"],
            "started_at": "2026-11-22T10:02:00Z",
            "wall_s": 0.25,
            "exit_code": None,
            "message": "it is missing",
        }
    ]
    assert (None, []) == (show_record(MISSED)["environment"], show_record(MISSED)["notifications"])


@given(st.binary() | st.sampled_from(NASTY_NAMES))
def test_a_path_can_always_be_told_byte_for_byte(path: bytes) -> None:
    text, encoded = exact(path)
    assert path == (text.encode() if encoded is None else base64.b64decode(encoded))
    text.encode()


def test_every_record_has_its_documented_keys_and_fits_json() -> None:
    name = b"caf\xe9.md"
    file = FoundFile(path=name, size_bytes=7, mtime_ns=1_700_000_000_123_456_789, first_run=3)
    expected = {
        records.RUN_KEYS: run_record(replace(RUN, root=name)),
        records.JOB_KEYS: job_record(JOB, NOW, RUN),
        records.FILE_KEYS: file_record(file),
        records.CHANGE_KEYS: change_record(Change(kind=ChangeKind.REMOVED, path=name, old_size_bytes=7)),
        ("path", "errno", "text", "path_base64"): encode(Problem(path=name, errno=2, text="No such file or directory")),
        ("path", "found_by", "path_base64"): encode(Difference(path=name, found_by=("pool", "sequential"))),
    }
    for keys, record in expected.items():
        assert list(keys) == list(record)
        assert record == json.loads(json.dumps(record))
        if "path" in record:
            assert (r"caf\xe9.md", name) == (record["path"], base64.b64decode(record["path_base64"]))
    assert file_record(file)["modified_at"] == "2023-11-14T22:13:20.123456Z"
    assert file_record(file)["mtime_ns"] == 1_700_000_000_123_456_789


@pytest.mark.parametrize("mtime_ns", [None, 2**63 * 1000, -(2**63) * 1000])
def test_a_modification_time_beyond_the_calendar_is_no_obstacle(mtime_ns: int | None) -> None:
    record = file_record(FoundFile(path=b"a", size_bytes=None, mtime_ns=mtime_ns, first_run=1))
    assert (None, mtime_ns) == (record["modified_at"], record["mtime_ns"])


def test_a_modification_time_before_1970_is_shown() -> None:
    record = file_record(FoundFile(path=b"a", size_bytes=0, mtime_ns=-1, first_run=1))
    assert record["modified_at"] == "1969-12-31T23:59:59.999999Z"


def test_a_job_tells_what_was_chosen_and_what_came_of_it() -> None:
    record = job_record(JOB, datetime(2026, 11, 22, 11, tzinfo=UTC), RUN)
    assert tuple(record[key] for key in ("number", "name", "schedule", "timezone", "jitter_s")) == (
        1,
        "docs",
        "every 1h",
        "Europe/Berlin",
        30,
    )
    assert tuple(record[key] for key in ("next_at", "last_run", "last_status", "last_finished_at")) == (
        "2026-11-22T11:00:00Z",
        12,
        "succeeded",
        "2026-11-22T10:00:01Z",
    )
    assert tuple(record[key] for key in ("patterns", "excludes", "strategies")) == (
        ["*.md", "*.rst"],
        [".git"],
        ["sequential", "pool"],
    )


def test_a_job_without_schedule_or_runs_has_nulls() -> None:
    record = job_record(replace(JOB, spec=JobSpec(name="x", root=b"/\xff")))
    nothing = ("schedule", "timezone", "next_at", "last_run", "last_status", "last_finished_at")
    assert [record[key] for key in nothing] == [None] * 6
    assert (record["root"], record["root_base64"], record["jitter_s"]) == ("/\\xff", "L/8=", 0)
