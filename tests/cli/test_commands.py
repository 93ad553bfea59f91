"""Every command as a person and a script use it."""

import csv
import io
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Program, find_markdown, until

RUN_KEYS = [
    *("run", "job", "root", "cause", "status", "scheduled_at", "started_at", "finished_at", "wall_s", "files"),
    *("directories", "added", "removed", "modified", "problems", "message", "executions"),
]
EXECUTION_KEYS = [
    *("strategy", "position", "workers", "start_method", "wall_s", "startup_s", "user_s", "system_s"),
    *("max_rss_bytes", "cache", "files", "directories"),
]
DANGEROUS = (b"\x1b", b"\x07", b"\xe9", "\u202e".encode())


@pytest.fixture
def odd(program: Program) -> Path:
    """Give a folder of odd name that holds files of odd names and kinds."""
    root = os.fsencode(program.folder) + b"/o\n\x1b]0;x\x07\xe9"
    os.mkdir(root)  # noqa: PTH102  bytes
    for name in (b"caf\xe9.md", b"a\n\x1b]0;x\x07.md", b"[/b].md".replace(b"/", b""), b"-rf.md", " \u202e.md".encode()):
        with open(root + b"/" + name, "wb") as file:  # noqa: PTH123
            file.write(name)
    os.mkdir(root + b"/folder.md")  # noqa: PTH102
    os.mkfifo(root + b"/fifo.md")
    os.symlink(b"nowhere", root + b"/dangling.md")  # noqa: PTH211
    os.symlink(b"loop.md", root + b"/loop.md")  # noqa: PTH211
    os.chdir(root)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket.md")
    os.chdir(program.folder)
    return Path(os.fsdecode(root))


def test_from_schedule_to_history(program: Program, tree: Path) -> None:
    done = program.call("schedule", "docs", "--every", "1h30m")
    assert (0, b"") == (done.returncode, done.stdout)
    assert b"job 1 'docs'" in done.stderr
    (job,) = program.json("jobs")
    assert ["docs", str(tree), "every 1h30m", None] == [job[key] for key in ("name", "root", "schedule", "last_run")]
    shown = program.json("run", "docs")
    assert ["succeeded", 7, 7] == [shown["status"], shown["files"], len(shown["changes"])]
    (run,) = program.json("history")
    assert RUN_KEYS == list(run)[: len(RUN_KEYS)]
    assert "manual" == run["cause"]
    for execution in run["executions"]:
        assert EXECUTION_KEYS == list(execution)[: len(EXECUTION_KEYS)]
        assert [7, 5] == [execution["files"], execution["directories"]]
    assert "succeeded" == program.json("jobs")[0]["last_status"]


def test_a_folder_without_a_job_gets_one_and_keeps_it(program: Program, tree: Path) -> None:
    said = b"note: docs is created as job 1, without a schedule; `runner remove docs` removes it\n"
    assert [said, b""] == [program.quick("run", tree, "--format", "jsonl").stderr for _ in range(2)]
    (job,) = program.json("jobs")
    assert ["docs", None] == [job["name"], job["schedule"]]
    assert [0, 7] == [run["added"] for run in program.json("history", "docs")]


def test_the_last_run_is_shown_without_its_number(program: Program, tree: Path) -> None:
    assert 2 == program.quick("show").returncode
    program.out("run", tree)
    program.out("run", tree / "part-1")
    assert [2, 2, 1, 2] == [program.json("show", *of)["run"] for of in ([], ["last"], ["docs"], ["part-1"])]
    program.out("schedule", tree / "part-1", "--every", "1h", "--name", "new")
    done = program.quick("show", "new")
    assert (2, True) == (done.returncode, b"no run of 'new' has started yet" in done.stderr)


def test_tables_of_fire_times_note_that_no_daemon_is_alive(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1h")
    for command in ("jobs", "next"):
        assert b"no daemon is alive" in program.quick(command).stderr
        assert b"daemon" not in program.quick(command, "--format", "json").stderr
    with program.daemon():
        until(lambda: b"daemon" not in program.quick("jobs").stderr, "the daemon")
    program.out("pause", "docs")
    assert b"daemon" not in program.quick("jobs").stderr


SWALLOWED = """
import time, weakref
from runner.cli import main

class Thing:
    pass

def swallow(_):
    raise KeyboardInterrupt

def app(*_, **__):
    thing = Thing()
    kept = weakref.ref(thing, swallow)
    del thing
    time.sleep(20)

main.app = app
main.main()
"""


def test_an_interrupt_that_python_swallows_ends_a_command() -> None:
    done = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, timeout=60, check=False)
    assert (130, b"runner: interrupted\n") == (done.returncode, done.stderr)


def test_old_and_new_files_are_given_exactly(program: Program, tree: Path) -> None:
    program.out("run", tree)
    before = find_markdown(tree)
    (tree / "new.md").write_text("new\n")
    (tree / "part-0/a.md").unlink()
    (tree / "part-1/a.md").write_text("changed\n")
    run = program.json("run", "docs")
    assert [1, 1, 1] == [run["added"], run["removed"], run["modified"]]
    assert {"added": "new.md", "removed": "part-0/a.md", "modified": "part-1/a.md"} == {
        change["kind"]: change["path"] for change in run["changes"]
    }
    for number, expected in (("1", before), ("2", find_markdown(tree))):
        listed = program.quick("files", "docs", "--run", number, "-0").stdout
        assert expected == sorted(filter(None, listed.split(b"\0")))


def test_edit_pause_resume_and_remove(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1h")
    program.out("edit", "docs", "--name", "book", "--cron", "30 2 * * mon-fri", "--timezone", "Europe/Berlin")
    program.out("pause", "book")
    (job,) = program.json("jobs")
    assert ["book", "cron 30 2 * * mon-fri", "Europe/Berlin", True, None] == [
        job[key] for key in ("name", "schedule", "timezone", "paused", "next_at")
    ]
    assert [["paused"], []] == [[time["note"] for time in program.json("next", *of, "-n", "1")] for of in (["1"], [])]
    assert " paused" in program.out("next", "book")
    program.out("resume", "1")
    times = program.json("next", "book", "--count", "7")
    assert 7 == len(times)
    assert {"02:30:00"} == {time["local"][11:19] for time in times}
    program.out("run", "book")
    program.out("remove", "book")
    assert [] == program.json("jobs")
    assert 1 == len(program.json("history", "book"))  # history stays


def test_an_edit_to_what_a_job_is_already_changes_nothing(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1h", "--jitter", "5m")
    before = program.json("next", "docs")
    for flags in (("--every", "60m"), ("--every", "1h", "--jitter", "5m"), ("--name", "docs")):
        done = program.quick("edit", "docs", *flags)
        assert (2, True) == (done.returncode, b"has these options already" in done.stderr)
    assert b"the job 'docs' has these options already" in program.quick("edit", "docs", "--every", "1h").stderr
    assert b"nothing says what to change; give --every" in program.quick("edit", "docs").stderr
    program.out("edit", "docs", "--every", "1h", "--workers", "2")
    assert before == program.json("next", "docs")
    program.out("edit", "docs", "--every", "2h")
    assert before != program.json("next", "docs")


def test_choices_that_come_to_nothing_are_told_in_a_line_and_made(program: Program, tree: Path) -> None:
    done = program.quick("schedule", tree, "--every", "1h", "--retry-delay", "5m", "--notify", "slow=no-such-program")
    _, *notes = done.stderr.decode().splitlines()
    assert (0, [True, True]) == (done.returncode, [note.startswith("warning: ") for note in notes])
    assert 300 == program.json("jobs")[0]["retry_delay_s"]
    done = program.quick("edit", "docs", "--every", "1m", "--retries", "3")
    assert (0, 2) == (done.returncode, done.stderr.count(b"\n"))
    assert b"warning: retries can never start" in done.stderr
    assert 1 == program.quick("edit", "docs", "--timeout", "1m").stderr.count(b"\n")
    program.out("run", tree / "part-1")
    done = program.quick("pause", "part-1")
    assert (0, True) == (done.returncode, b"warning: " in done.stderr)
    assert b"warning: " not in program.quick("resume", "part-1").stderr


def test_doubts_are_found_before_anything_is_written(
    program: Program, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    when = ("--cron", "0 0 29 2 *", "--retries", "1", "--retry-delay", "3000d")
    done = program.quick("schedule", tree, *when)
    assert (0, True) == (done.returncode, b"warning: retries can never start" in done.stderr), done.stderr
    before = program.json("jobs")
    (program.folder / "jobs.toml").write_text("[jobs.new]\nroot = 'docs'\n")

    def fail(*_: object) -> list[str]:
        raise ZeroDivisionError

    for module in ("jobs.apply", "jobs.warnings"):
        monkeypatch.setattr(f"runner.{module}.find_warnings", fail)
    for arguments in (
        ("schedule", tree, "--every", "1h", "--name", "other"),
        ("edit", "docs", "--workers", "2"),
        ("pause", "docs"),
        ("jobs", "apply", "jobs.toml"),
    ):
        assert 3 == program.quick(*arguments).returncode, arguments
        assert before == program.json("jobs")


def test_each_format_reads_back_to_the_same(program: Program, tree: Path) -> None:
    program.out("schedule", tree, "--every", "1h")
    program.out("run", "docs")
    for command in (["history"], ["jobs"], ["files", "docs"], ["next"]):
        records = program.json(*command)
        lines = program.out(*command, "--format", "jsonl").splitlines()
        rows = list(csv.DictReader(io.StringIO(program.out(*command, "--format", "csv"))))
        if command in (["history"], ["files", "docs"]):  # the others tell of times still to come
            assert records == [json.loads(line) for line in lines]
        assert [list(record) for record in records] == [list(json.loads(line)) for line in lines]
        assert len(records) == len(rows)
        key = next(iter(records[0]))
        assert [str(record[key]) for record in records] == [row[key] for row in rows]


@pytest.mark.parametrize("fmt", ["table", "json", "jsonl", "csv"])
def test_odd_names_drive_nothing_in_any_format(program: Program, odd: Path, fmt: str) -> None:
    program.out("schedule", odd, "--every", "1h", "--name", "odd")
    program.out("run", "odd")
    for command in (["files", "odd"], ["show", "1"], ["history"], ["jobs"], ["status"]):
        done = program.quick(*command, "--format", fmt)
        assert command == ["status"] or 0 == done.returncode
        assert done.stderr in {b"", b"note: no daemon is alive, so nothing fires; start one with `runner daemon`\n"}
        assert [] == [byte for byte in DANGEROUS if byte in done.stdout]
        done.stdout.decode("utf-8")


def test_odd_names_are_kept_byte_for_byte(program: Program, odd: Path) -> None:
    run = program.json("run", odd)
    expected = find_markdown(odd)
    assert [9, 9] == [len(expected), run["files"]]
    assert expected == sorted(filter(None, program.quick("files", run["job"], "-0").stdout.split(b"\0")))
    assert 9 == len(program.json("files", run["job"]))


def test_a_real_tree_equals_find(program: Program) -> None:
    root = Path(os.__file__).parent
    job = program.json("run", root)["job"]
    assert find_markdown(root) == sorted(filter(None, program.quick("files", job, "-0").stdout.split(b"\0")))


def test_pipes_get_no_escape_codes_and_a_terminal_without_colour_none(program: Program, tree: Path) -> None:
    program.out("run", tree)
    assert "\x1b" not in program.out("history") + program.out("show", "1") + program.out("--help")
    import pty

    for setting, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        ours, theirs = pty.openpty()
        program.call("history", stdout=theirs, env=program.environment | setting)
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:  # Linux's way to say that nobody writes any more
            pass
        os.close(ours)
        assert b"succeeded" in shown
        assert coloured is (b"\x1b[32m" in shown)


def test_a_reader_that_has_seen_enough_is_no_error(program: Program, tree: Path) -> None:
    for number in range(3000):
        (tree / f"{number:0100}.md").touch()
    program.out("run", tree)
    shown = ("", " -0", " --format json", " --format jsonl", " --format csv")
    for arguments in (*(f"files docs{how}" for how in shown), "changes docs", "show 1 --format json"):
        line = f"'{sys.executable}' -m runner {arguments} | head -c 1; echo ${{PIPESTATUS[*]}} >&2"
        done = subprocess.run(["bash", "-c", line], env=program.environment, capture_output=True, check=False)
        assert (b"0 0\n", 1) == (done.stderr, len(done.stdout)), arguments


def test_a_failed_run_exits_with_one_and_a_summary_of_the_problem(program: Program, tree: Path) -> None:
    program.out("run", tree)
    tree.rename(tree.with_name("away"))
    done = program.call("run", "docs", "--format", "json")
    assert 1 == done.returncode
    assert ["failed", None] == [json.loads(done.stdout)[key] for key in ("status", "removed")]
    assert 7 == len(program.json("files", "docs"))
    done = program.quick("run", "docs")
    assert 1 == done.returncode
    for text in (b"docs failed", b"does not exist", b"runner show 3"):
        assert text in done.stdout


def test_history_is_filtered(program: Program, tree: Path) -> None:
    program.out("run", tree)
    program.out("run", tree)
    assert [2] == [run["run"] for run in program.json("history", "--limit", "1")]
    assert [] == program.json("history", "--status", "failed")
    assert [] == program.json("history", "--until", "1h")
    assert [2, 1] == [run["run"] for run in program.json("history", "docs", "--since", "1h", "--status", "succeeded")]


def test_one_deleted_run_and_an_unchanged_size_are_reported(program: Program, tree: Path) -> None:
    for _ in range(2):
        program.out("run", tree)
    told = program.quick("prune", "--keep", "1", "--dry-run").stderr
    assert b"Would delete 1 run (use without --dry-run to delete)\n" == told
    assert "runs on 1 day are too few" in " ".join(program.out("trends", "docs").split())
    size = program.database.stat().st_size
    said = f"deleted 1 run and 0 states of files; the database stays at {size / 1024:.1f} KiB\n"
    assert said == program.quick("prune", "--keep", "1").stderr.decode()


def test_the_database_is_told_checked_and_copied(program: Program, tree: Path) -> None:
    program.out("run", tree)
    assert f"{program.database}\n" == program.out("db", "path")
    assert "sound" in program.out("db", "check")
    program.out("db", "upgrade")
    program.out("db", "backup", "copy.db")
    assert 1 == len(program.json("--db", "copy.db", "history"))
    assert 2 == program.quick("db", "backup", "copy.db").returncode


def test_the_database_is_chosen_by_flag_then_environment(program: Program, tree: Path) -> None:
    program.out("run", tree)
    assert 1 == len(program.json("history"))
    assert [] == program.json("history", "--db", "flag.db")
    assert [] == program.json("--db", "before.db", "history")


def test_the_version_is_told(program: Program) -> None:
    from importlib.metadata import version

    assert f"runner {version('runner')}\n" == program.out("--version")


def test_a_defect_is_one_line_and_a_log(program: Program, tmp_path: Path) -> None:
    script = (
        "import sys; sys.argv = ['runner', 'jobs']\n"
        "import runner.cli.settings as settings\n"
        "def broken(db): raise ZeroDivisionError\n"
        "settings.load_settings = broken\n"
        "from runner.cli.main import main; main()\n"
    )
    environment = program.environment | {"XDG_STATE_HOME": str(tmp_path / "state")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False, text=True)
    assert (3, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    log = Path(done.stderr.split(" is in ")[1].strip())
    assert log.is_relative_to(tmp_path)
    assert "Traceback" in log.read_text()


def test_a_list_of_no_jobs_as_csv_is_a_header(program: Program) -> None:
    program.out("db", "upgrade")
    (header,) = program.out("jobs", "--format", "csv").splitlines()
    assert header.startswith("number,name,root,")


def test_a_damaged_database_is_told_and_a_backup_put_in_its_place_has_all(program: Program, tree: Path) -> None:
    program.out("run", tree)
    before = program.json("history")
    backup = program.folder / "backup.db"
    program.out("db", "backup", backup)
    os.truncate(program.database, program.database.stat().st_size // 2)
    for command in (("db", "check"), ("history",)):
        done = program.quick(*command)
        assert 1 == done.returncode
        assert done.stderr.decode().endswith("is damaged; stop the daemon and put a backup in its place\n")
    for ending in ("", "-wal", "-shm"):
        Path(f"{program.database}{ending}").unlink(missing_ok=True)
    shutil.copyfile(backup, program.database)
    assert b"sound" in program.quick("db", "check").stdout
    assert before == program.json("history")


def test_excludes_without_the_likely_effect_are_warned_about(program: Program, tree: Path) -> None:
    done = program.quick("schedule", tree, "--every", "1h", "--exclude", "!docs")
    assert (0, True) == (done.returncode, b"warning: the exclude '!docs' matches only names" in done.stderr)
    done = program.quick("edit", "docs", "--exclude", "*", "--pattern", "[a")
    assert b"warning: the exclude '*' leaves nothing" in done.stderr
    assert b"warning: the pattern '[a' has a bracket" in done.stderr
    assert 2 == program.quick("edit", "docs", "--exclude", "a", "--exclude", "").returncode
    assert [] == program.quick("edit", "docs", "--exclude", "").stderr.splitlines()[1:]
    assert [] == program.json("jobs")[0]["excludes"]
    jobs = tree / "jobs.toml"
    jobs.write_text("[jobs.docs]\nroot = '.'\nexcludes = ['..']\n")
    assert b"warning: docs: the exclude '..' never matches" in program.call("jobs", "apply", jobs).stderr


def test_a_run_ends_with_a_summary_of_a_few_lines(program: Program, tree: Path) -> None:
    first = program.out("run", tree)
    assert len(first.splitlines()) <= 8
    for text in (
        "docs succeeded in ",
        "7 in 5 directories",
        "7 added, 0 removed, 0 modified",
        "sequential",
        "runner files docs",
    ):
        assert text in first
    assert "\N{MULTIPLICATION SIGN} sequential" in first
    assert "environment" not in first
    (tree / "part-1" / "a.md").unlink()
    (tree / "part-2" / "a.md").write_text("longer than before\n")
    second = program.out("run", "docs")
    assert "0 added, 1 removed, 1 modified" in second
    assert "runner changes docs" in second
    for flags in ((), ("--by-folder",)):
        assert "0 added, 1 removed, 1 modified" == program.out("changes", "docs", *flags).splitlines()[-1]
    assert "environment" in program.out("run", "docs", "--verbose")
    assert "runner show 4" in program.out("run", "docs")
    assert {"executions", "environment"} <= set(program.json("run", "docs"))
