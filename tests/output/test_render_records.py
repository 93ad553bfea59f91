import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from render_examples import ENVIRONMENT, JOB, MISSED, NASTY_NAMES, NOTIFICATION, NOW, RUN

from runner.model.contents import FolderChange, FolderCount
from runner.model.jobs import JobSpec
from runner.model.runs import Change, ChangeKind, Difference, FoundFile, Problem
from runner.output.contents import COUNT_KEYS, MOVE_KEYS
from runner.output.records import (
    CHANGE_KEYS,
    FILE_KEYS,
    JOB_KEYS,
    RUN_KEYS,
    encode,
    exact,
    file_record,
    job_record,
    run_record,
    show_record,
)

NAME = b"caf\xe9.md"


def found(mtime_ns: int | None) -> FoundFile:
    return FoundFile(path=NAME, size_bytes=7, mtime_ns=mtime_ns, first_run=3)


def test_show_gives_the_lists_in_place_of_their_counts() -> None:
    shown = show_record(
        replace(RUN, problems=1),
        [Change(kind=ChangeKind.ADDED, path=b"new.md", new_size_bytes=3)],
        [Problem(path=b"", errno=13, text="Permission denied")],
        [Difference(path=b"a", found_by=("pool",))],
        [NOTIFICATION],
    )
    assert [*run_record(RUN), "changes", "environment", "notifications"] == list(shown)
    assert ["new.md"] == [change["path"] for change in shown["changes"]]
    assert shown["problems"] == [{"path": "", "errno": 13, "text": "Permission denied", "path_base64": None}]
    assert shown["differences"] == [{"path": "a", "found_by": ["pool"], "path_base64": None}]
    assert (ENVIRONMENT.host, 2) == (shown["environment"]["host"], shown["environment"]["workers"])
    assert [["change", ["mail", "-s", "two words"], "2026-11-22T10:02:00Z", 0.25, None, "it is missing"]] == [
        list(one.values()) for one in shown["notifications"]
    ]
    assert (None, []) == (show_record(MISSED)["environment"], show_record(MISSED)["notifications"])


@given(st.binary() | st.sampled_from(NASTY_NAMES))
def test_a_path_can_always_be_told_byte_for_byte(path: bytes) -> None:
    text, encoded = exact(path)
    assert path == (text.encode() if encoded is None else base64.b64decode(encoded))
    text.encode()


@pytest.mark.parametrize(
    ("keys", "record"),
    [
        (RUN_KEYS, run_record(replace(RUN, root=NAME))),
        (JOB_KEYS, job_record(JOB, NOW, RUN)),
        (FILE_KEYS, file_record(found(None))),
        (CHANGE_KEYS, encode(Change(kind=ChangeKind.REMOVED, path=NAME, old_size_bytes=7))),
        (COUNT_KEYS, encode(FolderCount(path=NAME, files=1, size_bytes=None))),
        (MOVE_KEYS, encode(FolderChange(path=NAME, **dict.fromkeys(MOVE_KEYS[1:-1], 1)))),
    ],
)
def test_every_record_has_its_documented_keys_and_fits_json(keys: Sequence[str], record: dict[str, Any]) -> None:
    assert list(keys) == list(record)
    assert record == json.loads(json.dumps(record))
    if "path" in record:
        assert (r"caf\xe9.md", NAME) == (record["path"], base64.b64decode(record["path_base64"]))


@pytest.mark.parametrize(
    ("mtime_ns", "shown"),
    [
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (None, None),
        (2**63 * 1000, None),
        (-(2**63) * 1000, None),
    ],
)
def test_a_modification_time_is_an_instant_within_the_calendar(mtime_ns: int | None, shown: str | None) -> None:
    record = file_record(found(mtime_ns))
    assert (shown, mtime_ns) == (record["modified_at"], record["mtime_ns"])


def test_a_job_tells_what_was_chosen_and_what_came_of_it() -> None:
    record = job_record(JOB, datetime(2026, 11, 22, 11, tzinfo=UTC), RUN)
    assert ["every 1h", "Europe/Berlin", 30, ["*.md", "*.rst"], ["sequential", "pool"]] == [
        record[key] for key in ("schedule", "timezone", "jitter_s", "patterns", "strategies")
    ]
    results = ("next_at", "last_run", "last_status", "last_finished_at")
    assert ["2026-11-22T11:00:00Z", 12, "succeeded", "2026-11-22T10:00:01Z"] == [record[key] for key in results]
    by_hand = job_record(replace(JOB, spec=JobSpec(name="x", root=b"/\xff")))
    assert [None] * 6 == [by_hand[key] for key in ("schedule", "timezone", *results)]
    assert ("/\\xff", "L/8=", 0) == (by_hand["root"], by_hand["root_base64"], by_hand["jitter_s"])
