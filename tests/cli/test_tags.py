"""Jobs listed by a tag."""

import csv
import io

import pytest
from conftest import Program

LISTS = ("jobs", "next", "history", "trends", "regressions")


@pytest.fixture
def tagged(program: Program) -> Program:
    """Return a program with three jobs, two of them with a tag."""
    for name, *tags in (("notes", "text", "mine"), ("docs", "text"), ("photos",)):
        (program.folder / name).mkdir()
        (program.folder / name / "one.md").touch()
        program.out("schedule", name, "--every", "1h", *(word for tag in tags for word in ("--tag", tag)))
        program.out("run", name)
    return program


@pytest.mark.parametrize("command", LISTS[:4])
def test_a_tag_chooses_jobs(tagged: Program, command: str) -> None:
    rows = csv.DictReader(io.StringIO(tagged.out(command, "--tag", "text", "--format", "csv")))
    named = {row.get("name") or row["job"] for row in rows}
    assert {"notes", "docs"} == named


def test_a_tag_chooses_the_jobs_of_a_report(tagged: Program) -> None:
    report = tagged.out("report", "--tag", "mine", "--output", "-")
    assert "notes" in report
    assert "photos" not in report


@pytest.mark.parametrize("command", [*LISTS, "report"])
def test_an_unknown_tag_is_answered_with_the_known_ones(tagged: Program, command: str) -> None:
    output = ["--output", "-"] if command == "report" else []
    said = "runner: no job has the tag 'texts'; choose from mine, text\n"
    assert said == tagged.refused(command, "--tag", "texts", *output)


def test_every_none_removes_a_schedule(tagged: Program) -> None:
    tagged.out("edit", "docs", "--every", "none")
    assert [None, None] == [tagged.json("jobs")[1][key] for key in ("schedule", "next_at")]
