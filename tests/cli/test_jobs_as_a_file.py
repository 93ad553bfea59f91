"""Jobs as a file that is kept under version control."""

import json
import os
from pathlib import Path

import pytest
from conftest import Program, until

from runner.history.jobs import jobs_revision

FILE = """\
# by hand
[jobs.docs]
root = "docs"
every = "2h"

[jobs.notes]
root = "docs/part-1"
"""


@pytest.fixture
def file(program: Program, tree: Path) -> Path:
    """Give a file beside a tree, in a database that has a job docs of another interval, and a job mine."""
    program.out("schedule", tree, "--every", "1h", "--timezone", "UTC", "--timeout", "30m")
    program.out("schedule", tree, "--every", "1h", "--name", "mine")
    file = program.folder / "jobs.toml"
    file.write_text(FILE.replace('"2h"', '"2h"\ntimezone = "UTC"'))
    return file


def revision(program: Program) -> int:
    with program.opened() as database:
        return jobs_revision(database)


def test_the_difference_is_told_job_by_job(program: Program, file: Path) -> None:
    expected = (
        "changed docs: every 1h → 2h, timeout 30m → none\nadded notes; it has no schedule and runs by hand only\n"
    )
    left = "left mine alone: the file does not name it; --prune removes it\n"
    removed = "removed mine; its runs stay: runner history 2\n"
    before = program.out("jobs", "export"), revision(program)
    done = program.quick("jobs", "apply", file, "--dry-run", "--prune")
    assert (expected + removed, b"nothing was changed: this was a dry run\n") == (done.stdout.decode(), done.stderr)
    assert before == (program.out("jobs", "export"), revision(program))
    done = program.quick("jobs", "apply", file)
    assert (0, expected + left, b"") == (done.returncode, done.stdout.decode(), done.stderr)
    assert "unchanged docs\nunchanged notes\n" + removed == program.out("jobs", "apply", file, "--prune")
    assert before[1] + 2 == revision(program)
    assert ["docs", "notes"] == [job["name"] for job in program.json("jobs")]


def test_what_holds_spaces_is_told_in_quotes(program: Program, file: Path) -> None:
    program.out("jobs", "apply", file)
    file.write_text(
        file.read_text().replace(
            "[jobs.docs]",
            "[jobs.docs]"
            """
patterns = ["*.md", "two words"]
notify = [{on = "failure", run = ["mail", "-s", "it fails", "me"]}, {on = "change", run = ["say"]}]
""",
        )
    )
    (line,) = (line for line in program.out("jobs", "apply", file).splitlines() if line.startswith("changed"))
    assert "patterns *.md → *.md 'two words'," in line
    assert line.endswith(" notify none → failure=mail -s 'it fails' me; change=say")


def test_the_difference_for_scripts(program: Program, file: Path) -> None:
    told = program.json("jobs", "apply", file)
    assert ["job", "number", "fate", "changes", "never_fires"] == list(told[0])
    assert [("docs", 1, "changed"), ("notes", 3, "added"), ("mine", 2, "left")] == [
        (one["job"], one["number"], one["fate"]) for one in told
    ]
    assert [{"key": "every", "old": "1h", "new": "2h"}, {"key": "timeout", "old": "30m", "new": "none"}] == told[0][
        "changes"
    ]
    lines = program.out("jobs", "apply", file, "--format", "jsonl").splitlines()
    assert ["unchanged", "unchanged", "left"] == [json.loads(line)["fate"] for line in lines]
    assert "job,number,fate,changes,never_fires\ndocs,1,unchanged,0,false\n" == "".join(
        program.out("jobs", "apply", file, "--format", "csv").splitlines(keepends=True)[:2]
    )


def test_a_job_that_will_never_fire_by_itself_is_told(program: Program, file: Path) -> None:
    program.out("jobs", "apply", file)
    file.write_text("[jobs.docs]\nroot = 'docs'\ntimeout = '30m'\n[jobs.fresh]\nroot = 'docs'\n")
    dry = program.json("jobs", "apply", file, "--dry-run")
    assert [("docs", True), ("fresh", True)] == [(one["job"], one["never_fires"]) for one in dry[:2]]
    told = program.out("jobs", "apply", file).splitlines()
    assert told[0].startswith("changed docs: every 2h → none")
    assert told[0].endswith("; it has no schedule any more and runs by hand only")
    assert "added fresh; it has no schedule and runs by hand only" == told[1]
    assert "unchanged docs" == program.out("jobs", "apply", file).splitlines()[0]


def test_what_comes_to_nothing_in_a_file_is_told_by_its_job(program: Program, file: Path) -> None:
    file.write_text("[jobs.docs]\nroot = 'docs'\nevery = '1m'\nretries = 3\nretry_delay = '5m'\n")
    for flags, dry in ((["--dry-run"], b"nothing was changed: this was a dry run\n"), ([], b"")):
        done = program.quick("jobs", "apply", file, *flags)
        assert 0 == done.returncode
        said, rest = done.stderr.split(b"\n", 1)
        assert said.startswith(b"warning: docs: retries can never start")
        assert dry == rest
    assert b"" == program.quick("jobs", "apply", file).stderr


def test_a_file_comes_from_standard_input_too(program: Program, file: Path) -> None:
    with file.open("rb") as opened:
        done = program.call("jobs", "apply", "-", stdin=opened)
    assert (0, b"") == (done.returncode, done.stderr)
    assert str(program.folder / "docs/part-1") == program.json("jobs")[-1]["root"]
    file.write_text("[jobs.docs]\nroot = 'docs'\n\nevery = '1x'\n")
    with file.open("rb") as opened:
        done = program.call("jobs", "apply", "-", stdin=opened)
    assert (2, b"") == (done.returncode, done.stdout)
    assert done.stderr.startswith(b"runner: stdin: jobs.docs.every: '1x' is not a duration")


def test_what_is_exported_makes_the_same_jobs_elsewhere(program: Program, file: Path) -> None:
    odd = os.fsencode(program.folder) + b"/caf\xe9\n\x1b]0;x\x07"
    os.mkdir(odd)  # noqa: PTH102  bytes
    program.out("schedule", odd, "--at", "2099-01-01", "--pattern", b"\xff*", "--name", "ünï 'quoted\" 🦊")
    program.out("pause", "docs")
    exported = program.call("jobs", "export", env=program.environment | {"PYTHONIOENCODING": "latin-1"}).stdout
    assert exported.decode().replace("\n", "").isprintable()
    file.write_bytes(exported)
    program.out("jobs", "--db", "other.db", "apply", file)
    assert exported.decode() == program.out("jobs", "export", "--db", "other.db")
    assert exported.decode() == program.out("--db", "other.db", "jobs", "export")
    chosen = [
        sorted(
            (job["name"], job["root"], job["root_base64"], job["schedule"], job["patterns"], job["paused"])
            for job in program.json("jobs", "--db", db)
        )
        for db in (program.environment["RUNNER_DB"], "other.db")
    ]
    assert chosen[0] == chosen[1]
    assert 3 == len(chosen[0])


def test_what_is_wrong_is_told_by_file_and_line_and_changes_nothing(program: Program, file: Path) -> None:
    before = program.out("jobs", "export"), revision(program)
    file.write_text(file.read_text() + 'timout = "1m"\n')
    said = program.refused("jobs", "apply", "jobs.toml", "--prune")
    assert "runner: jobs.toml: jobs.notes: unknown key 'timout'; did you mean 'timeout'?\n" == said
    assert before == (program.out("jobs", "export"), revision(program))


def test_a_wrong_file_creates_no_database(program: Program) -> None:
    (program.folder / "jobs.toml").write_text("[jobs.docs]")
    said = program.refused("jobs", "apply", "jobs.toml")
    assert "runner: jobs.toml: jobs.docs: the key root is missing; add it\n" == said
    assert not program.database.exists()


def test_a_running_daemon_follows_the_file(program: Program, file: Path) -> None:
    file.write_text("[jobs.docs]\nroot = 'docs'\nevery = '1s'\nstrategies = ['sequential']\n")
    with program.daemon():
        program.out("jobs", "apply", file, "--prune")
        until(lambda: program.history("succeeded", job="docs"), "a firing")


def test_the_list_has_both_commands_in_its_help(program: Program) -> None:
    shown = program.out("jobs", "--help")
    for word in ("--format", "--db", "export", "apply"):
        assert word in shown
