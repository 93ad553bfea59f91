"""Log lines: one for each message, with the job and the run it is about."""

import json
import logging
import os
import sys
import tempfile
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model.subject import log_context, note_run
from runner.output.logs import LogFormat, add_subject, goes_to_journal, make_formatter

KEYS = ["at", "level", "message", "job", "run", "traceback"]


def record(message: str, *arguments: object, level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    made = logging.getLogger("test").makeRecord("test", level, "x.py", 1, message, arguments, None, extra=extra)
    assert add_subject(made)
    return made


def text(made: logging.LogRecord) -> str:
    return make_formatter(LogFormat.TEXT).format(made)


def as_json(made: logging.LogRecord) -> dict[str, Any]:
    line = make_formatter(LogFormat.JSON).format(made)
    assert line.isascii()
    assert line.isprintable()
    loaded: dict[str, Any] = json.loads(line)
    json.dumps(loaded, ensure_ascii=False).encode()  # which a broken surrogate has no bytes in
    assert KEYS == list(loaded)
    return loaded


def failed(error: Exception) -> logging.LogRecord:
    made = record("it failed", level=logging.ERROR)
    try:
        raise error
    except type(error):
        made.exc_info = sys.exc_info()
    return made


def test_a_line_is_about_the_job_and_the_run_in_whose_course_it_was_logged() -> None:
    assert " INFO started" in text(record("started"))
    with log_context("docs"):
        assert " INFO docs: waiting" in text(record("waiting"))
        note_run(12)
        inside = record("%s in %s", "succeeded", "0.1 s")
        with log_context("notes", 7):
            assert " INFO notes run 7: skipped" in text(record("skipped"))
    assert text(inside).endswith(" INFO docs run 12: succeeded in 0.1 s")
    assert ["docs", 12] == [as_json(inside)[key] for key in ("job", "run")]
    assert [None, None] == [as_json(record("stopped"))[key] for key in ("job", "run")]
    note_run(13)  # outside of any job it is nobody's
    made = record("x", level=logging.WARNING, job="notes", run=3)
    said = as_json(made)
    assert ["warning", "notes", 3] == [said[key] for key in ("level", "job", "run")]
    assert said["at"].endswith("Z")
    assert abs(datetime.fromisoformat(said["at"]).timestamp() - made.created) <= 0.001


@given(st.text(st.characters()))
def test_any_message_is_one_line(message: str) -> None:
    made = record("%s", message + "\n\x1b]0;x\x07\x85\u2028\u202e\udce9")
    said = text(made)
    assert [said] == said.splitlines()
    assert said.encode()
    assert said.endswith(r"\n\x1b]0;x\x07\u0085\u2028\u202e\xe9")
    assert said.endswith(as_json(made)["message"])


def test_no_text_of_an_error_passes_for_a_line_of_the_log() -> None:
    made = failed(ValueError("bad\n2026-11-22T10:00:00+0000 INFO all is well\r\x1b[2J"))
    first, *rest = text(made).split("\n")
    assert first.endswith("ERROR it failed")
    assert rest
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    assert [text(made)] != text(made).splitlines()
    told = as_json(made)["traceback"]
    assert told.startswith("Traceback (most recent call last):\n")
    assert r"all is well\r\x1b[2J" in told


def test_the_traceback_of_another_process_is_one_too() -> None:
    made = record("the pool execution failed", traceback="Traceback: of a trial\n  line\n")
    assert "Traceback: of a trial\n  line" == as_json(made)["traceback"]
    assert text(made).endswith("\n    Traceback: of a trial\n      line")


@pytest.mark.parametrize("fmt", [*LogFormat, None])
def test_no_password_is_shown_in_message_or_traceback(fmt: LogFormat | None) -> None:
    made = failed(RuntimeError("postgresql://me:hunter2@db/x"))
    made.msg = "no way to postgresql://me:hunter2@db/x"
    said = make_formatter(fmt).format(made)
    assert "hunter2" not in said
    assert 2 == said.count("me:***@db/x")


def test_the_journal_is_told_the_priority_and_not_the_time() -> None:
    formatter = make_formatter(LogFormat.TEXT, to_journal=True)
    with log_context("docs", 3):
        assert "<6>docs run 3: succeeded" == formatter.format(record("succeeded"))
    assert "<4>" == formatter.format(record("", level=logging.WARNING))
    lines = formatter.format(failed(ValueError("x"))).split("\n")
    assert {"<3>"} == {line[:3] for line in lines}


def test_a_journal_of_another_stream_is_none() -> None:
    with tempfile.TemporaryFile() as file:
        found = os.fstat(file.fileno())
        assert goes_to_journal({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}, file.fileno())
        assert not goes_to_journal({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"}, file.fileno())
        assert not goes_to_journal({}, file.fileno())
        closed = os.dup(file.fileno())
    os.close(closed)
    assert not goes_to_journal({"JOURNAL_STREAM": "1:2"}, closed)
